"""Tests of what is found in a graph."""

from __future__ import annotations
