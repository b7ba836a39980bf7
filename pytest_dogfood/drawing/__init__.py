"""Draws the capability graph: a picture as values, and its notations."""

from __future__ import annotations
