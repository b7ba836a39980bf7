"""Tests that the documentation is true."""

from __future__ import annotations
