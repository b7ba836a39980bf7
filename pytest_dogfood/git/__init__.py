"""Runs git; no other package does."""

from __future__ import annotations
