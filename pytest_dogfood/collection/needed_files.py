"""Which files a run has to collect although they were not named: those that establish what the named ones require."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from pytest_dogfood.collection.discovery import files_below, is_below
from pytest_dogfood.collection.project import Project
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.sourcemarks import SourceMarks, read_marks

_PROVIDES = re.compile(rb"\bprovides\s*\(|import[^\n]*\bprovides\b")
"""The word stands in many texts that have nothing to do with tokens."""


def needed_files(project: Project, patterns: Sequence[str]) -> tuple[Path, ...]:
    """Name the files that must be collected because what the user has named requires what they establish, in order.

    These are Python files, and journey files of which a journey cannot be replayed for others. `patterns` are those of
    pytest's `python_files`. Files are read, and none is imported; of those that were not named, none is read where
    nothing is required.
    """
    if not (patterns and project.is_named_in_part and project.has_files()):
        return ()
    asked = [marks_in(path) for path in _named_files(project, patterns) if _holds(path, b"requires")]
    wanted = [token for marks in asked for token in marks.requires]
    wanted += [token for journey in project.named_journeys() for token in journey.requires]
    everything = any(marks.requires_more for marks in asked)
    if not wanted and not everything:
        return ()
    offers = {path: marks for path in _other_files(project, patterns) if _offers(marks := marks_in(path))}
    project.read_whole()
    graph = project.graph()
    journeys = {one: project.rootdir / graph.journeys[one].path for one in _run_as_items(graph)}
    found = {*offers, *journeys.values()} if everything else _establishing(wanted, graph, offers, journeys)
    return tuple(sorted(path for path in found if not is_below(path, project.named)))


def _offers(marks: SourceMarks) -> bool:
    return bool(marks.establishes) or marks.establishes_more


def _establishing(
    wanted: Iterable[Token],
    graph: CapabilityGraph,
    offers: Mapping[Path, SourceMarks],
    journeys: Mapping[JourneyId, Path],
) -> set[Path]:
    """Name the files of what establishes the wanted tokens, or those that they rest on in turn, and runs as an item.

    `offers` are Python files, `journeys` the journeys that run as items, with their files. What a named file
    establishes is looked for as well: that may fail, and then one that passes elsewhere is enough.
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
            # Within its chain it can be replayed for others, once what it rests on has run.
            if one in journeys and (graph.journeys[one].use or graph.scope_of(token) is Scope.MACHINE):
                found.add(journeys[one])
        for path, marks in offers.items():
            if path not in found and marks.may_establish(token):
                found.add(path)
                if marks.requires_more:
                    return {*offers, *journeys.values()}
                waiting += marks.requires
    return found


def _run_as_items(graph: CapabilityGraph) -> set[JourneyId]:
    """Name the journeys that cannot be replayed wherever they are needed: they, or what they rest on, use fixtures."""
    found: set[JourneyId] = set()
    for one in graph.ordered(graph.journeys):
        journey = graph.journeys[one]
        if journey.use or any(  # what no file establishes or provides, a test does, or a fixture
            not graph.establishing(token) or not found.isdisjoint(graph.establishing(token))
            for token in graph.needed_by(journey)
            if not graph.has_own_provider(token)
        ):
            found.add(one)
    return found


def _named_files(project: Project, patterns: Sequence[str]) -> Iterator[Path]:
    """Give the Python files that were named, and the conftest files that count for them."""
    above = dict.fromkeys(parent for path in project.named for parent in path.parents)
    inside = (parent for parent in above if parent.is_relative_to(project.rootdir))
    yield from (path for parent in inside if (path := parent / "conftest.py").is_file())
    for named in project.named:
        for path in files_below(named, ("*.py",), project.is_ignored_directory):
            if path.suffix == ".py" and (path == named or _matches(path, (*patterns, "conftest.py"))):
                yield path


def _other_files(project: Project, patterns: Sequence[str]) -> Iterator[Path]:
    """Give the Python files that pytest would collect as well, and whose text says that they might establish tokens."""
    for root in project.roots:
        for path in files_below(root, ("*.py",), lambda path: _is_left_out(path, project)):
            if (
                _matches(path, patterns)
                and not is_below(path, project.named)
                and may_establish(path)
                and not project.is_ignored(path)
            ):
                yield path


def _is_left_out(path: Path, project: Project) -> bool:
    """Whether a directory is none of the project; of files only those that matter are asked about, later."""
    return path.suffix != ".py" and project.is_ignored_directory(path)


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    """Whether a pattern of `python_files` fits: one with a slash in it is matched against the whole path."""
    return any(
        fnmatch(str(path), f"*/{pattern}") if "/" in pattern else fnmatch(path.name, pattern)
        for pattern in patterns
    )


def may_establish(path: Path) -> bool:
    """Whether a file holds a word without which it establishes nothing."""
    return _holds(path)


def _holds(path: Path, *more: bytes) -> bool:
    """Whether a file may establish something, going by its words, or holds one of `more` words."""
    try:
        content = path.read_bytes()
    except OSError:  # pytest reports it once it collects the file
        return False
    # A search for plain words takes a hundredth of the time that an expression takes.
    return any(word in content for word in (b"establishes", *more)) or (
        b"provides" in content and _PROVIDES.search(content) is not None
    )


def marks_in(path: Path) -> SourceMarks:
    """Read what a Python file says of tokens; raises OSError if it is gone."""
    return read_marks(path.read_text(encoding="utf-8", errors="replace"))
