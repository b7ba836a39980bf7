"""The files that a run collects although you did not name them: they establish tokens that the named ones require."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pytest_dogfood.collection.discovery import files_below, is_below
from pytest_dogfood.collection.exceptions import OUTCOMES
from pytest_dogfood.collection.project import Project
from pytest_dogfood.collection.source_marks import SourceMarks, is_test_file, marks_in, may_establish
from pytest_dogfood.collection.stash import ADDED, PROJECT
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Token


def needed_files(project: Project, patterns: Sequence[str]) -> tuple[Path, ...]:
    """Return in order the files that must be collected because they establish tokens that the named files require.

    These are Python files, and journey files with a journey that cannot be replayed for others. `patterns` are those
    of pytest's `python_files`. Files are read, not imported; if the named files require nothing, no other file is
    read.
    """
    if not (patterns and project.is_named_in_part):
        return ()
    named = _named_files(project, patterns)
    asked = [marks_in(path) for path in named if may_establish(path, b"requires")]
    wanted = [token for marks in asked for token in marks.requires]
    wanted += [token for journey in project.named_journeys() for token in journey.requires]
    everything = any(marks.requires_more for marks in asked)
    if not wanted and not everything:
        return ()
    others = {path: marks_in(path) for path in _other_files(project, patterns)}
    offers = {path: marks for path, marks in others.items() if marks.establishes or marks.establishes_more}
    project.read_whole()
    graph = project.graph()
    journeys = {one: project.rootdir / graph.journeys[one].path for one in _run_as_items(graph)}
    found = {*offers, *journeys.values()} if everything else _establishing(wanted, graph, offers, journeys)
    return tuple(sorted(path for path in found if not is_below(path, project.named)))


def _establishing(
    wanted: Iterable[Token],
    graph: CapabilityGraph,
    offers: Mapping[Path, SourceMarks],
    journeys: Mapping[JourneyId, Path],
) -> set[Path]:
    """Return the files whose items establish the wanted tokens, or tokens that these rest on in turn.

    `offers` are Python files, `journeys` the journeys that run as items, with their files. Tokens that a named file
    establishes are included: if it fails, an item of another file that passes is enough.
    """
    found: set[Path] = set()
    seen: set[Token] = set()
    waiting = list(wanted)
    while waiting:
        token = waiting.pop()
        if token in seen:
            continue
        seen.add(token)
        waiting += [one for one in graph.instances_of(token) if one != token]
        waiting += graph.needs_of_provider(token)
        if graph.has_own_provider(token):
            continue
        for one in graph.establishing(token):
            waiting += graph.journeys[one].requires
            # Within its chain it can be replayed for others, once its prerequisites have run.
            if one in journeys and (graph.journeys[one].use or graph.scope_of(token).is_shared):
                found.add(journeys[one])
        for path, marks in offers.items():
            if path not in found and marks.may_establish(token):
                found.add(path)
                if marks.requires_more:
                    return {*offers, *journeys.values()}
                waiting += marks.requires
    return found


def _run_as_items(graph: CapabilityGraph) -> set[JourneyId]:
    """Return the journeys that cannot be replayed anywhere, because they or their prerequisites use fixtures."""
    found: set[JourneyId] = set()
    for one in graph.ordered(graph.journeys):
        journey = graph.journeys[one]
        if journey.use or any(  # a token that no file establishes or provides comes from a test or a fixture
            not graph.establishing(token) or not found.isdisjoint(graph.establishing(token))
            for token in graph.needed_by(journey)
            if not graph.has_own_provider(token)
        ):
            found.add(one)
    return found


def _named_files(project: Project, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the Python files that were named, and the conftest files that apply to them."""
    above = dict.fromkeys(parent for path in project.named for parent in path.parents)
    inside = (parent for parent in above if parent.is_relative_to(project.rootdir))
    yield from (path for parent in inside if (path := parent / "conftest.py").is_file())
    for named in project.named:
        for path in files_below(named, ("*.py",), project.is_ignored_directory):
            if path.suffix == ".py" and (path == named or is_test_file(path, (*patterns, "conftest.py"))):
                yield path


def _other_files(project: Project, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the other Python files that pytest would collect and that may establish tokens, as their text shows."""
    for root in project.roots:
        # Files are checked below, and only those that matter.
        for path in files_below(
            root, ("*.py",), lambda path: path.suffix != ".py" and project.is_ignored_directory(path)
        ):
            if (
                is_test_file(path, patterns)
                and not is_below(path, project.named)
                and may_establish(path)
                and not project.is_ignored(path)
            ):
                yield path


def tests_in(node: pytest.Item | pytest.Collector) -> Iterator[pytest.Item]:
    """Yield the tests of a class, if its file may establish a token; nothing if it cannot be collected."""
    if isinstance(node, pytest.Item):
        yield node
    elif may_establish(node.path):
        try:
            inner = list(node.collect())
        except (Exception, *OUTCOMES):  # noqa: BLE001 - the file's author sees it when the class itself is run
            return
        for one in inner:
            yield from tests_in(one)


class AddedFiles:
    """The plugin that adds files to the arguments of this process, and keeps their errors from ending the run.

    Their items are collected and not selected; those that are needed run as prerequisites.
    """

    def __init__(self, config: pytest.Config, paths: Sequence[Path]) -> None:
        self._config = config
        self._paths = tuple(paths)
        self._project = config.stash[PROJECT]()  # made now, before the files are added to the arguments
        self._problems: dict[Path, str] = {}
        self._uncollected: dict[str, None] = {}
        config.stash[ADDED] = self

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Add the files to pytest's arguments; xdist gives a worker only those that the user typed."""
        start = self._config.invocation_params.dir
        more = [os.path.relpath(path, start) for path in self._paths]
        self._config.args = [*self._config.args, *(path for path in more if path not in self._config.args)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Leave out files that a conftest file tells pytest to ignore, as pytest does for files it finds itself."""
        found = yield
        if file_path not in self._paths:
            return found
        ignores = parent.ihook.pytest_ignore_collect
        inside = (one for one in (file_path, *file_path.parents) if self._config.rootpath in one.parents)
        if not found or any(ignores(collection_path=one, config=self._config) for one in inside):
            return [_NoFile.from_parent(parent, path=file_path)]
        return found

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Replace a report that would end the run by an empty one, and keep its text."""
        below = [path for path in self._paths if is_below(path, [collector.path])]
        named, here = self._project.named, collector.path
        if not below or is_below(here, named) or any(is_below(one, [here]) for one in named):
            return (yield)
        try:
            report = yield
        except SystemExit as error:
            problem = f"it ends the process when it is imported: SystemExit({error.code!r})"
        else:
            if report.passed:
                return report
            problem = report.longreprtext
            if report.skipped and isinstance(report.longrepr, tuple):
                problem = f"it is skipped as a whole: {report.longrepr[2].removeprefix('Skipped: ')}"
        self._problems.update(dict.fromkeys(below, problem))
        self._uncollected[collector.nodeid] = None
        is_directory = isinstance(collector, pytest.Directory)
        left: list[pytest.Item | pytest.Collector] = [*_stand_ins(collector, below)] if is_directory else []
        return pytest.CollectReport(collector.nodeid, "passed", longrepr=None, result=left)

    def take_out(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Remove the items of the added files from `items`, and return them: the user has not asked for them."""
        added = [item for item in items if item.path in self._paths]
        items[:] = [item for item in items if item.path not in self._paths]
        return added

    def uncollected(self) -> tuple[str, ...]:
        """Return the node ids of the files and directories whose report was replaced."""
        return tuple(self._uncollected)

    def problems(self) -> dict[Token, str]:
        """Return for each token why the file that would establish it could not be collected."""
        found: dict[Token, str] = {}
        for path, problem in self._problems.items():
            marks = marks_in(path)
            name = os.path.relpath(path, self._config.rootpath)
            for token in sorted(marks.mentions if marks.establishes_more else marks.establishes):
                found.setdefault(token, f"{name}, which establishes it, could not be collected:\n{problem}")
        return found


class _NoFile(pytest.File):
    """An empty file in place of one that cannot be collected."""

    def collect(self) -> list[pytest.Item]:
        return []


class _NoDirectory(pytest.Directory):
    """An empty directory in place of one whose conftest file, or one above it, cannot be imported."""

    below: Sequence[Path] = ()

    def collect(self) -> Iterator[pytest.Collector]:
        return _stand_ins(self, self.below)


def _stand_ins(directory: pytest.Collector, below: Sequence[Path]) -> Iterator[pytest.Collector]:
    """Yield placeholders for the nodes that lead to each path in a directory, so that pytest finds its arguments."""
    parts = dict.fromkeys(directory.path / path.relative_to(directory.path).parts[0] for path in below)
    for part in parts:
        if part in below:
            yield _NoFile.from_parent(directory, path=part)
        else:
            inner = _NoDirectory.from_parent(directory, path=part)
            inner.below = [path for path in below if is_below(path, [part])]
            yield inner
