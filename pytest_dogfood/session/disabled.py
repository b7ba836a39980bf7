"""The plugins of a project that has opted in, without --dogfood: they skip tests. Light, because most runs load it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

ADD_DOGFOOD = "add --dogfood, or `dogfood = true` to the ini file"


class DisabledPlugin:
    """Skips the tests that require a token, because nothing ensures that the token is present.

    Tests that depend on others are left to pytest-dependency if that is loaded.
    """

    def __init__(self, config: pytest.Config) -> None:
        names = ("dependency", "pytest_dependency")
        self._goes_by_marks = bool(config.getini("dogfood_dependency_markers"))
        self._has_pytest_dependency = any(map(config.pluginmanager.hasplugin, names))

    def pytest_report_header(self) -> str | None:
        if not self._goes_by_marks:
            return None
        reader = "pytest-dependency reads" if self._has_pytest_dependency else "nothing reads"
        return f"dogfood: off, because there is no --dogfood; {reader} the dependency marks"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Mark a test that cannot run without --dogfood as skipped: pytest then names the test's own place."""
        mark = item.get_closest_marker("requires") or item.get_closest_marker("dogfood_requires")
        depends = item.get_closest_marker("dependency") if self._goes_by_marks else None
        if mark is not None:
            tokens = ", ".join(map(str, mark.args))
            reason = f"requires {tokens}, and only pytest --dogfood ensures that"
            item.add_marker(pytest.mark.skip(reason=reason))
        elif depends is not None and depends.kwargs.get("depends") and not self._has_pytest_dependency:
            reason = "depends on other tests, and only pytest --dogfood runs them first"
            item.add_marker(pytest.mark.skip(reason=reason))
        return (yield)


class DisabledFiles:
    """Tells you to add --dogfood if you named journey files and nothing collects them."""

    def __init__(self, named: dict[Path, str]) -> None:
        self._named = named
        self._answers: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Replace pytest's "not found" by a hint; a file that another plugin collects is left to that."""
        try:
            return (yield)
        except pytest.UsageError as error:
            from pytest_dogfood.collection.discovery import declares_journeys, is_journey_file
            from pytest_dogfood.settings import JOURNEY_FILES

            told = [str(text) for text in error.args]
            for path, name in self._named.items():
                missed = [text for text in told if text.startswith(f"not found: {path}")]
                if missed and (is_journey_file(path, JOURNEY_FILES) or declares_journeys(path)):
                    told = [text for text in told if text not in missed]
                    self._answers.append(f"{name} is a journey file: {ADD_DOGFOOD}")
            if not self._answers:
                raise
            workeroutput = getattr(session.config, "workeroutput", {})  # an xdist worker's own error is lost
            workeroutput["dogfood_answers"] = self._answers
            raise pytest.UsageError(*self._answers, *told) from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        self._answers = getattr(node, "workeroutput", {}).get("dogfood_answers", self._answers)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        result = yield
        if self._answers:
            raise pytest.UsageError(*self._answers)
        return result


def left_out(config: pytest.Config) -> Iterator[str]:
    """Yield a line that names the journey files that pytest passed over while it looked for tests."""
    from pytest_dogfood.collection.discovery import files_below, named_on_command_line
    from pytest_dogfood.settings import JOURNEY_FILES

    def is_ignored(path: Path) -> bool:
        return bool(config.hook.pytest_ignore_collect(collection_path=path, config=config))

    patterns = tuple(config.getini("dogfood_files") or JOURNEY_FILES)
    directory = config.invocation_params.dir
    places = [path for path in named_on_command_line(config.args, directory) if path.is_dir()]
    first, *others = dict.fromkeys(
        file for place in places for file in files_below(place, patterns, is_ignored)
    ) or [None]
    if first is not None:
        more = f" (so {'is' if len(others) == 1 else 'are'} {len(others)} more)" if others else ""
        name = os.path.relpath(first, directory)
        yield f"dogfood: {name} is a journey file{more}: {ADD_DOGFOOD}"


class DisabledFixtures:
    """Skips tests that use this plugin's fixtures in a run without journeys."""

    @pytest.fixture
    def capabilities(self) -> None:
        """Values of the tokens that a test requires; only under pytest --dogfood."""
        pytest.skip("the fixture capabilities works only under pytest --dogfood")

    @pytest.fixture
    def dogfood_state(self) -> None:
        """Directory that the journeys of a test's chain share; only under pytest --dogfood."""
        pytest.skip("the fixture dogfood_state works only under pytest --dogfood")
