"""Workplans against the hub: what differs, what a fix does."""

from __future__ import annotations
