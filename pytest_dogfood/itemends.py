"""How items end: what pytest raises, and what unittest keeps to itself."""

from __future__ import annotations

import pytest

OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception)
"""Failed and skipped: they derive from BaseException, so `except Exception` lets them pass."""


def has_failed_in_unittest(item: pytest.Item) -> bool:
    """Whether the call of a test of unittest's has failed or was skipped: it raises nothing then.

    pytest keeps what unittest has caught on the item, under a private name; a test of ours notices if that changes.
    """
    return bool(getattr(item, "_excinfo", None))
