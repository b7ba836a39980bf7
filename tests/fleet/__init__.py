"""Tests of one run on several machines."""

from __future__ import annotations
