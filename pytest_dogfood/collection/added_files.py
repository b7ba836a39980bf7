"""Lets pytest collect files that you did not name, because the run needs what their items establish."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from pytest_dogfood.collection.discovery import is_below
from pytest_dogfood.collection.exceptions import OUTCOMES
from pytest_dogfood.collection.needed_files import marks_in, may_establish
from pytest_dogfood.collection.stash import ADDED, PROJECT
from pytest_dogfood.journey import Token


def tests_in(node: pytest.Item | pytest.Collector) -> Iterator[pytest.Item]:
    """Collect what is below a class, if its file may establish a token; nothing where that fails."""
    if isinstance(node, pytest.Item):
        yield node
    elif may_establish(node.path):
        try:
            inner = list(node.collect())
        except (Exception, *OUTCOMES):  # noqa: BLE001 - the file's author learns of it where the class itself is run
            return
        for one in inner:
            yield from tests_in(one)


class AddedFiles:
    """The plugin that adds them to the arguments of this process, and keeps their faults from ending the run.

    Their items are collected and not selected; what is needed of them comes back as prerequisites do.
    """

    def __init__(self, config: pytest.Config, paths: Sequence[Path]) -> None:
        self._config = config
        self._paths = tuple(paths)
        self._project = config.stash[PROJECT]()  # made now, it knows what the user has named and nothing else
        self._problems: dict[Path, str] = {}
        self._uncollected: dict[str, None] = {}
        config.stash[ADDED] = self

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Add the files to what is collected; xdist tells a worker only what the user has typed."""
        start = self._config.invocation_params.dir
        more = [os.path.relpath(path, start) for path in self._paths]
        self._config.args = [*self._config.args, *(path for path in more if path not in self._config.args)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Leave out what a conftest file tells pytest to ignore, as pytest does where it finds a file itself."""
        found = yield
        if file_path in self._paths and (not found or self._is_ignored(file_path, parent)):
            return [_NoFile.from_parent(parent, path=file_path)]
        return found

    def _is_ignored(self, path: Path, parent: pytest.Collector) -> bool:
        ignores = parent.ihook.pytest_ignore_collect
        inside = (one for one in (path, *path.parents) if self._config.rootpath in one.parents)
        return any(ignores(collection_path=one, config=self._config) for one in inside)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Put an empty report in the place of one that would end the run, and keep what it said."""
        below = [path for path in self._paths if is_below(path, [collector.path])]
        if not below or self._concerns_what_was_named(collector.path):
            return (yield)
        try:
            report = yield
        except SystemExit as error:
            problem = f"it ends the process when it is imported: SystemExit({error.code!r})"
        else:
            if report.passed:
                return report
            problem = _reason(report)
        self._problems.update(dict.fromkeys(below, problem))
        self._uncollected[collector.nodeid] = None
        left: list[pytest.Item | pytest.Collector] = []
        if isinstance(collector, pytest.Directory):
            left += _stand_ins(collector, below)
        return pytest.CollectReport(collector.nodeid, "passed", longrepr=None, result=left)

    def _concerns_what_was_named(self, path: Path) -> bool:
        named = self._project.named
        return is_below(path, named) or any(is_below(one, [path]) for one in named)

    def take_out(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Take the items of the files out of `items`, and return them: the user has not asked for them."""
        added = [item for item in items if item.path in self._paths]
        items[:] = [item for item in items if item.path not in self._paths]
        return added

    def uncollected(self) -> tuple[str, ...]:
        """Return the node ids of the files and directories whose report was replaced."""
        return tuple(self._uncollected)

    def problems(self) -> dict[Token, str]:
        """Return of each token why what would establish it could not be collected."""
        found: dict[Token, str] = {}
        for path, problem in self._problems.items():
            marks = marks_in(path)
            name = os.path.relpath(path, self._config.rootpath)
            for token in sorted(marks.mentions if marks.establishes_more else marks.establishes):
                found.setdefault(token, f"{name}, which establishes it, could not be collected:\n{problem}")
        return found


class _NoFile(pytest.File):
    """Stands where a file would be collected, and holds nothing."""

    def collect(self) -> list[pytest.Item]:
        return []


class _NoDirectory(pytest.Directory):
    """Stands where a directory would be collected whose conftest file, or one above it, cannot be imported."""

    below: Sequence[Path] = ()

    def collect(self) -> Iterator[pytest.Collector]:
        return _stand_ins(self, self.below)


def _stand_ins(directory: pytest.Collector, below: Sequence[Path]) -> Iterator[pytest.Collector]:
    """Stand in for what leads to each path in a directory, so that pytest finds the arguments it was given."""
    parts = dict.fromkeys(directory.path / path.relative_to(directory.path).parts[0] for path in below)
    for part in parts:
        if part in below:
            yield _NoFile.from_parent(directory, path=part)
        else:
            inner = _NoDirectory.from_parent(directory, path=part)
            inner.below = [path for path in below if is_below(path, [part])]
            yield inner


def _reason(report: pytest.CollectReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return f"it is skipped as a whole: {report.longrepr[2].removeprefix('Skipped: ')}"
    return report.longreprtext
