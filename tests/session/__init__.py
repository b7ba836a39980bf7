"""Tests of the hooks around a run."""

from __future__ import annotations
