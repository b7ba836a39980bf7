"""Tests of what is typed and seen."""

from __future__ import annotations
