"""What a project of ours sees when it is run without --dogfood: no token can be had. It is light: most runs load it."""

from __future__ import annotations

from collections.abc import Generator

import pytest


class DisabledPlugin:
    """Skips the tests that require a token, since nothing sees to it that the token is there.

    Tests that depend on others are left to pytest-dependency where that is loaded.
    """

    def __init__(self, config: pytest.Config) -> None:
        names = ("dependency", "pytest_dependency")
        self._goes_by_marks = bool(config.getini("dogfood_dependency_markers"))
        self._has_pytest_dependency = any(map(config.pluginmanager.hasplugin, names))

    def pytest_report_header(self) -> str | None:
        if not self._goes_by_marks:
            return None
        who = "pytest-dependency goes" if self._has_pytest_dependency else "nobody goes"
        return f"dogfood: off, for there is no --dogfood; {who} by dependency marks"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for name in ("requires", "dogfood_requires"):
            mark = item.get_closest_marker(name)
            if mark is not None:
                tokens = ", ".join(map(str, mark.args))
                pytest.skip(f"requires {tokens}, and only pytest --dogfood ensures that")
        mark = item.get_closest_marker("dependency") if self._goes_by_marks else None
        if mark is not None and mark.kwargs.get("depends") and not self._has_pytest_dependency:
            pytest.skip("depends on other tests, and only pytest --dogfood sees to that")


class DisabledFiles:
    """Says why journey files that were named are not found."""

    def __init__(self, named: list[str]) -> None:
        self._answer = (
            f"dogfood: off; {named[0]} is collected with --dogfood, or `dogfood = true` in the ini file"
        )

    def pytest_report_header(self) -> str:
        return self._answer

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Tell it with the error, too, where -q leaves the header out."""
        try:
            return (yield)
        except pytest.UsageError as error:
            if session.config.get_verbosity() >= 0:
                raise
            raise pytest.UsageError(*error.args, self._answer) from error


class DisabledFixtures:
    """Stands in for the fixtures of ours where no journey runs."""

    @pytest.fixture
    def capabilities(self) -> None:
        pytest.skip("capabilities can be had only under pytest --dogfood")

    @pytest.fixture
    def dogfood_state(self) -> None:
        pytest.skip("the state of a chain can be had only under pytest --dogfood")
