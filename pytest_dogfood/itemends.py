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


def tear_down_to(session: pytest.Session, nextitem: pytest.Item | None) -> None:
    """Tear down every fixture and collector that `nextitem` does not need; None needs nothing."""
    # The one private call of this project. The public hook for it, pytest_runtest_teardown, is wrapped by plugins that
    # keep state from the item's setup, which is gone: they would fail. The barrier's tests notice if it changes.
    session._setupstate.teardown_exact(nextitem)  # noqa: SLF001
