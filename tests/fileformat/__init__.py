"""Tests of the journey file and its schema."""

from __future__ import annotations
