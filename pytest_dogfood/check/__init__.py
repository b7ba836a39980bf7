"""Everything that `dogfood check` and `dogfood explain` find and say."""

from __future__ import annotations
