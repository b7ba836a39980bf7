"""Reads journey files and dogfood.yaml, with positions and hints, and describes their format to editors."""

from __future__ import annotations
