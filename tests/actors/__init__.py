"""Tests of steps without a command."""

from __future__ import annotations
