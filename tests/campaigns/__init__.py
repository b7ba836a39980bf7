"""Long runs that are started by hand."""

from __future__ import annotations
