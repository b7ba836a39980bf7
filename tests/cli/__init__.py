"""Tests of the `dogfood` command."""

from __future__ import annotations
