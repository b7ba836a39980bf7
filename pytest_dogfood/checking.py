"""--dogfood-check: says what a run would do, and runs nothing."""

from __future__ import annotations

import pytest


class Checking:
    """Takes the place of the loop that runs items."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        return True
