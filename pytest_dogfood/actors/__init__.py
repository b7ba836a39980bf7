"""Steps without a command: what decides them, what is done, and how that is kept."""

from __future__ import annotations
