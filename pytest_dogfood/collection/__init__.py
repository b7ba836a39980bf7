"""From files and tests to pytest items, and which of them are selected."""

from __future__ import annotations
