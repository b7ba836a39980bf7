"""The hub: its schema, its queries and its guarded changes."""

from __future__ import annotations
