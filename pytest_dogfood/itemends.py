"""What pytest raises to end an item."""

from __future__ import annotations

import pytest

OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception)
"""Failed and skipped: they derive from BaseException, so `except Exception` lets them pass."""
