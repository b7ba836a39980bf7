"""Runs steps: starts processes, watches, captures, masks, compares, words a failure."""

from __future__ import annotations
