"""What a run keeps on disk."""

from __future__ import annotations
