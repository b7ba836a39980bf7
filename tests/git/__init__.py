"""Tests of what is asked of git."""

from __future__ import annotations
