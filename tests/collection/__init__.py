"""Tests of what is collected and selected."""

from __future__ import annotations
