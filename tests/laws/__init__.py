"""Laws that hold for random projects."""

from __future__ import annotations
