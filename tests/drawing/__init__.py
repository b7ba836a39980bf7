"""Tests of the drawn graph."""

from __future__ import annotations
