"""What pytest loads: options, markers and wiring."""

from __future__ import annotations
