"""Tests of the command that tests declarations by running."""

from __future__ import annotations
