"""Tests of what a run keeps on disk."""

from __future__ import annotations
