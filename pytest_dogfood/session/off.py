"""What a project of ours sees when it is run without --dogfood: no token can be had."""

from __future__ import annotations

from collections.abc import Generator

import pytest


class OffPlugin:
    """Skips the tests that require a token, since nobody sees to it that the token is there.

    Tests that depend on others are left to pytest-dependency where that is loaded.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._marked = bool(config.getini("dogfood_dependency_markers"))
        self._left_to_the_original = self._marked and any(
            map(config.pluginmanager.hasplugin, ("dependency", "pytest_dependency"))
        )

    def pytest_report_header(self) -> str | None:
        if not self._marked:
            return None
        who = "pytest-dependency goes" if self._left_to_the_original else "nobody goes"
        return f"dogfood: off, for there is no --dogfood; {who} by dependency marks"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for name in ("requires", "dogfood_requires"):
            mark = item.get_closest_marker(name)
            if mark is not None:
                tokens = ", ".join(map(str, mark.args))
                pytest.skip(f"requires {tokens}, and only pytest --dogfood ensures that")
        mark = item.get_closest_marker("dependency")
        if (
            mark is not None
            and mark.kwargs.get("depends")
            and self._marked
            and not self._left_to_the_original
        ):
            pytest.skip("depends on other tests, and only pytest --dogfood sees to that")


class NamedWhileOff:
    """Says why journey files that were named are not found."""

    def __init__(self, named: list[str]) -> None:
        self._named = named

    def pytest_report_header(self) -> str:
        return self._answer()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Tell it with the error, too, where -q leaves the header out."""
        try:
            return (yield)
        except pytest.UsageError as error:
            if session.config.get_verbosity() >= 0:
                raise
            raise pytest.UsageError(*error.args, self._answer()) from error

    def _answer(self) -> str:
        return (
            f"dogfood: off; {self._named[0]} is collected with --dogfood, or `dogfood = true` in the ini file"
        )


class AbsentFixtures:
    """Stands in for the fixtures of ours where no journey runs."""

    @pytest.fixture
    def capabilities(self) -> None:
        pytest.skip("capabilities can be had only under pytest --dogfood")

    @pytest.fixture
    def dogfood_state(self) -> None:
        pytest.skip("the state of a chain can be had only under pytest --dogfood")
