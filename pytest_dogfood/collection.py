"""Journey files and marked tests as pytest items, and as journeys of the graph."""

from __future__ import annotations

import gc
import types
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.diagnostics import Location
from pytest_dogfood.discovery import holds_journeys
from pytest_dogfood.journey import TOKEN_PATTERN
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.journey import Token
from pytest_dogfood.project import Project
from pytest_dogfood.providing import PROVIDES
from pytest_dogfood.stash import JOURNEY
from pytest_dogfood.stash import PROJECT
from pytest_dogfood.stash import SETTINGS

REQUIRES = ("requires", "dogfood_requires")
ESTABLISHES = ("establishes", "dogfood_establishes")
OUR_MARKS = frozenset((*REQUIRES, *ESTABLISHES))


class Node(Protocol):
    """What we use of pytest's nodes, of which it exports no common base."""

    @property
    def nodeid(self) -> str: ...


OUR_FIXTURES = frozenset({"capabilities", "dogfood_state"})


class JourneyFile(pytest.Module):
    """A journey file as a module with one function per journey, so that all that works on tests works on journeys.

    `_getobj` is the one place where pytest lets a module come from elsewhere than an import; its documentation
    invites subclasses to override it.
    """

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType(self.path.name.partition(".")[0])
        module.__file__ = str(self.path)
        project = self.config.stash[PROJECT]
        for journey in project.read(self.path).journeys:
            name = journey.nodeid.partition("::")[2]
            marks = list(_marks_of(journey, project))
            setattr(module, name, _function_for(journey, name, self.path, marks))
        return module


def _stand_in() -> None:
    raise AssertionError("the steps of a journey run in pytest_pyfunc_call, not here")


def _marks_of(journey: Journey, project: Project) -> Iterator[pytest.MarkDecorator]:
    """Make the marks that a journey carries; one that pytest refuses, under --strict-markers, is a finding."""
    for mark in journey.marks:
        try:
            yield getattr(pytest.mark, mark.name)(*mark.args, **mark.kwargs)
        except pytest.fail.Exception as error:
            project.add_finding(
                Diagnostic(
                    location=journey.location,
                    code="unknown-mark",
                    message=f"journey {journey.id!r} carries a mark that pytest refuses: {error}",
                    hint="declare it under `markers` in pytest's ini file; pytest --markers lists what is known",
                )
            )
    if journey.use:
        yield pytest.mark.usefixtures(*journey.use)


def _function_for(
    journey: Journey, name: str, path: Path, marks: Iterable[pytest.MarkDecorator]
) -> Callable[[], None]:
    """Make the function that pytest collects; it claims to stand where the journey stands in its file."""
    code = _stand_in.__code__.replace(
        co_filename=str(path), co_firstlineno=journey.location.line or 1, co_name=name, co_qualname=name
    )
    function = types.FunctionType(code, {}, name)
    function.__dict__.update(__test__=True, pytestmark=[mark.mark for mark in marks], journey=journey)
    return function


class JourneyCollector:
    """The plugin that collects journey files.

    Between the start of the session and the end of the collection the garbage collector is paused: it would look at
    every node and item again and again, which takes longer than making them.
    """

    def __init__(self) -> None:
        self._paused = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self) -> Generator[None, object, object]:
        self._paused = gc.isenabled()
        gc.disable()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self.pytest_unconfigure()

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        if self._paused:
            gc.enable()
        self._paused = False

    @pytest.hookimpl
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        patterns = parent.config.stash[SETTINGS].files
        if holds_journeys(file_path, patterns, named=parent.session.isinitpath(file_path)):
            file: JourneyFile = JourneyFile.from_parent(parent, path=file_path)
            return file
        return None


def journeys_of(items: Iterable[pytest.Item], project: Project) -> tuple[list[Diagnostic], list[Journey]]:
    """Give every item its journey, if it is in the graph; gives what is wrong with marks, and the Python tests."""
    wrong: list[Diagnostic] = []
    tests: list[Journey] = []
    for item in items:
        journey = getattr(getattr(item, "function", None), "journey", None)
        if not isinstance(item.parent, JourneyFile) or not isinstance(journey, Journey):
            journey = _test_as_journey(item, wrong)
            if journey is None:
                continue
            tests.append(journey)
            project.read_settings_above(item.path)
        item.stash[JOURNEY] = journey
    return wrong, tests


def _is_in_the_graph(item: pytest.Item) -> bool:
    """Whether a test carries a mark of ours or asks for one of our fixtures; most tests of a suite do neither."""
    if not OUR_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    return any(mark.name in OUR_MARKS for mark in item.iter_markers())


def _test_as_journey(item: pytest.Item, wrong: list[Diagnostic]) -> Journey | None:
    if not _is_in_the_graph(item):
        return None
    path, line, _ = item.location
    place = Location(path.replace("\\", "/"), (line or 0) + 1)
    requires = [token for token, _ in _tokens(item, REQUIRES, place, wrong)]
    groups = dict(_tokens(item, ESTABLISHES, place, wrong))
    asks = not OUR_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    if not (requires or groups or asks):
        return None
    wrong.extend(
        Diagnostic(
            location=place,
            code="requires-what-it-establishes",
            message=f"{item.nodeid} both requires and establishes {token!r}",
            hint="a test cannot need what it brings about itself: drop one of the two",
        )
        for token in requires
        if token in groups
    )
    return Journey(
        id=JourneyId(item.nodeid),
        location=place,
        path=place.path,
        nodeid=item.nodeid,
        requires=dict.fromkeys(requires, place),
        establishes=dict.fromkeys(groups, place),
        python=True,
        groups=groups,
    )


def _tokens(
    item: pytest.Item, names: tuple[str, ...], place: Location, wrong: list[Diagnostic]
) -> Iterator[tuple[Token, str]]:
    """Give the tokens of an item's marks, each with the name of all that carry the same mark."""
    for name in names:
        for node, mark in item.iter_markers_with_node(name):
            for argument in mark.args:
                if isinstance(argument, str) and TOKEN_PATTERN.fullmatch(argument.removesuffix(":*")):
                    yield Token(argument), _carriers(item, node)
                else:
                    wrong.append(
                        Diagnostic(
                            location=place,
                            code="bad-token",
                            message=f"{item.nodeid}: {argument!r} in the mark {name!r} is no token",
                            hint="tokens are kebab-case text, such as 'logged-in'",
                        )
                    )


def _carriers(item: pytest.Item, node: Node) -> str:
    """Name what the mark stands on: a class, a module, or a function with all its parametrised instances."""
    if node is item and item.parent is not None:
        return f"{item.parent.nodeid}::{getattr(item, 'originalname', None) or item.name}"
    return node.nodeid


def fixture_providers(config: pytest.Config, items: Iterable[pytest.Item]) -> dict[Token, str]:
    """Find the fixtures that `provides` has marked, in plugins, conftest files and test modules."""
    modules = dict.fromkeys(module for item in items if (module := getattr(item, "module", None)))
    classes = dict.fromkeys(cls for item in items if (cls := getattr(item, "cls", None)))
    found: dict[Token, str] = {}
    for holder in (*config.pluginmanager.get_plugins(), *modules, *classes):
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            marked = getattr(value, "__dict__", {}).get(PROVIDES)
            for token, fixture in (marked or {}).items():
                found[token] = fixture or name
    return dict(sorted(found.items()))
