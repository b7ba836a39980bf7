"""Journeys that depend on each other, run by pytest only where what they need is really present."""

from __future__ import annotations

from pytest_dogfood.providing import provides

__all__ = ["provides"]
