"""Decides what runs, in which order, in which shard; forecasts a run."""

from __future__ import annotations
