"""Tests of plan, shards, jobs and queue."""

from __future__ import annotations
