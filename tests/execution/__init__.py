"""Tests of processes and steps."""

from __future__ import annotations
