"""What a run leaves for people and programs."""

from __future__ import annotations
