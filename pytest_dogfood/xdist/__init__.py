"""The same for a run that xdist distributes."""

from __future__ import annotations
