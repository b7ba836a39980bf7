"""What a project of ours sees when it is run without --dogfood: no token can be had."""

from __future__ import annotations

import pytest


class Absence:
    """Skips the tests that require a token, since nobody sees to it that the token is there."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for name in ("requires", "dogfood_requires"):
            mark = item.get_closest_marker(name)
            if mark is not None:
                tokens = ", ".join(map(str, mark.args))
                pytest.skip(f"requires {tokens}, and only pytest --dogfood ensures that")


class AbsentFixtures:
    """Stands in for the fixtures of ours where no journey runs."""

    @pytest.fixture
    def capabilities(self) -> None:
        pytest.skip("capabilities can be had only under pytest --dogfood")

    @pytest.fixture
    def dogfood_state(self) -> None:
        pytest.skip("the state of a chain can be had only under pytest --dogfood")
