"""Tests of the life of a token."""

from __future__ import annotations
