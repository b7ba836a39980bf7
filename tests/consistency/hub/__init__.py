"""Tests of the hub's tables, queries and guarded changes."""

from __future__ import annotations
