"""pytest's hooks around a run: worker, items, leader, terminal, exit status."""

from __future__ import annotations
