"""Tests of the hub and of what keeps workplans true to it."""

from __future__ import annotations
