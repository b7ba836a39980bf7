"""Tests of distributed runs."""

from __future__ import annotations
