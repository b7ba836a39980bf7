"""Journey files and marked tests as pytest items, and as journeys of the graph."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from pytest_dogfood.api import PROVIDES
from pytest_dogfood.collection.project import Project
from pytest_dogfood.collection.stash import (
    ESTABLISHES,
    INVALIDATES,
    JOURNEY,
    OUR_FIXTURES,
    PROJECT,
    REQUIRES,
    any_graph_item,
    mark_meant_by,
)
from pytest_dogfood.diagnostics import Diagnostic, Location, error
from pytest_dogfood.journey import TOKEN_PATTERN, Dependence, Journey, JourneyId, Mark, Token
from pytest_dogfood.no_doubt import DOUBT_CODES, NO_DOUBT, read_no_doubt


class JourneyFile(pytest.Module):
    """A journey file as a module with one function per journey, so that everything that works on tests works on them.

    `_getobj` is the one method by which a module can come from something other than an import; its documentation
    invites subclasses to override it.
    """

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Make the items, and let pytest's --lf find those of a matrix, as it finds parametrised tests.

        Since 9.2 pytest compares node ids in parts, and parses those of its cache from text, in which `[` begins the
        parameters. For items it sets parameters only for its own parametrisation, which a matrix is not; so a private
        attribute is set here. A test of private names notices if it changes.
        """
        found = list(super().collect())
        for item in found:
            if isinstance(item, pytest.Function):
                item.__class__ = JourneyItem  # pytest makes functions; this one differs in how it is shown
            node_id = getattr(item, "id", None)
            if node_id is not None and "[" in item.name:
                item._id = type(node_id).parse(item.nodeid)  # noqa: SLF001
        return found

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType(self.path.name.partition(".")[0])
        module.__file__ = str(self.path)
        project = self.config.stash[PROJECT]()
        for journey in project.read(self.path).journeys:
            name = journey.nodeid.partition("::")[2]
            # pytest shows a function at the place that its code object names: that of the journey in its file.
            code = _stand_in.__code__.replace(
                co_filename=str(self.path),
                co_firstlineno=journey.location.line or 1,
                co_name=name,
                co_qualname=name,
            )
            function = types.FunctionType(code, {}, name)
            marks = [mark.mark for mark in _marks_of(journey, project)]
            function.__dict__.update(__test__=True, pytestmark=marks, journey=journey)
            setattr(module, name, function)
        return module


class JourneyItem(pytest.Function):
    """A journey as an item; `--collect-only` shows it as `<Journey …>`."""

    def __repr__(self) -> str:
        return f"<Journey {self.name}>"


def _stand_in() -> None:
    raise AssertionError("the steps of a journey run in pytest_pyfunc_call, not here")


def _marks_of(journey: Journey, project: Project) -> Iterator[pytest.MarkDecorator]:
    """Yield the marks of a journey; one that pytest refuses, under --strict-markers, becomes a finding."""
    for mark in journey.marks:
        try:
            yield getattr(pytest.mark, mark.name)(*mark.args, **mark.kwargs)
        except pytest.fail.Exception as refusal:
            message = f"journey {journey.id!r} carries a mark that pytest refuses: {refusal}"
            hint = "declare it under `markers` in pytest's ini file; pytest --markers lists what is known"
            project.add_finding(error(journey.location, "unknown-mark", message, hint))
    if journey.use:
        yield pytest.mark.usefixtures(*journey.use)


def journeys_of(
    items: Iterable[pytest.Item], project: Project, dependences: Mapping[JourneyId, Dependence]
) -> tuple[list[Diagnostic], list[Journey]]:
    """Store its journey on every item of the graph; return findings on marks, and the Python tests as journeys.

    `dependences` holds the meaning of the tests' dependency marks, if this run uses them.
    """
    wrong: list[Diagnostic] = []
    tests: list[Journey] = []
    parametrised: dict[JourneyId, Diagnostic] = {}
    for item in items:
        journey: Journey | None
        if isinstance(item, pytest.Function) and isinstance(item.parent, JourneyFile):
            journey = item.obj.journey
            if hasattr(item, "callspec") and journey.id not in parametrised:
                message = f"journey {journey.id!r} would run as {item.name}: "
                message += "a fixture of it, or a plugin, parametrises it"
                hint = "a journey is one item: let it do without that fixture or option; matrix: runs it once per value"
                parametrised[journey.id] = error(journey.location, "parametrised-journey", message, hint)
        else:
            journey = _test_as_journey(item, dependences.get(JourneyId(item.nodeid)), wrong)
            if journey is None:
                continue
            journey = project.completed(journey)
            tests.append(journey)
            project.read_settings_above(item.path)
        wrong += _misused_no_doubt(item, journey.location)
        item.stash[JOURNEY] = journey
    return [*wrong, *parametrised.values()], tests


def reordered(items: Sequence[pytest.Item], order: Iterable[str]) -> list[pytest.Item]:
    """Return the items with those that `order` names in that order, in the same positions."""
    place = {nodeid: number for number, nodeid in enumerate(order)}
    ours = (item for item in items if item.nodeid in place)
    next_one = iter(sorted(ours, key=lambda item: place[item.nodeid]))
    return [next(next_one) if item.nodeid in place else item for item in items]


def place_of(item: pytest.Item) -> Location:
    path, line, _ = item.location
    return Location(path.replace("\\", "/"), (line or 0) + 1)


def _test_as_journey(
    item: pytest.Item, dependence: Dependence | None, wrong: list[Diagnostic]
) -> Journey | None:
    if dependence is None and not any_graph_item([item]):
        return None
    place = place_of(item)
    wrong += _misspelt_marks(item, place)
    requires = [token for token, _ in _tokens(item, REQUIRES, place, wrong)]
    groups = dict(_tokens(item, ESTABLISHES, place, wrong))
    invalidates = [token for token, _ in _tokens(item, INVALIDATES, place, wrong)]
    asks = not OUR_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    if dependence is None and not (requires or groups or invalidates or asks):
        return None
    for token in filter(groups.__contains__, requires):
        message = f"{item.nodeid} both requires and establishes {token!r}"
        hint = "a test cannot require what it establishes itself: remove one of the two marks"
        wrong.append(error(place, "requires-what-it-establishes", message, hint))
    for token in filter(groups.__contains__, invalidates):
        message = f"{item.nodeid} both invalidates and establishes {token!r}"
        hint = "it holds only once the test has passed: remove one of the two marks"
        wrong.append(error(place, "conflicting-tokens", message, hint))
    mark = dependence or Dependence()
    return Journey(
        id=JourneyId(item.nodeid),
        location=place,
        path=place.path,
        nodeid=item.nodeid,
        requires=dict.fromkeys((*requires, *mark.requires), place),
        establishes=dict.fromkeys((*groups, *([mark.establishes] if mark.establishes else [])), place),
        invalidates=dict.fromkeys(invalidates, place),
        python=True,
        marks=tuple(
            Mark(name=NO_DOUBT, args=one.args, kwargs=one.kwargs) for one in item.iter_markers(NO_DOUBT)
        ),
        groups=groups,
        follows=mark.follows,
        obstacle=mark.obstacle,
    )


def _tokens(
    item: pytest.Item, names: tuple[str, ...], place: Location, wrong: list[Diagnostic]
) -> Iterator[tuple[Token, str]]:
    """Yield the tokens of an item's marks, each with the node that carries the mark."""
    every_instance = ":*" if names is REQUIRES else ""  # establishes and invalidates need one instance
    for name in names:
        for node, mark in item.iter_markers_with_node(name):
            carriers = _carriers(item, node)
            slips = [f"{key}={value!r}" for key, value in mark.kwargs.items()]
            for argument in mark.args:
                base = argument.removesuffix(every_instance) if isinstance(argument, str) else ""
                if TOKEN_PATTERN.fullmatch(base):
                    yield Token(argument), carriers
                else:
                    slips.append(repr(argument))
            if slips or not mark.args:
                problem = (
                    f"takes tokens, one by one, and not {', '.join(slips)}" if slips else "names no token"
                )
                message = f"{carriers}: the mark {name!r} {problem}"
                meant = ", ".join(map(repr, _tokens_meant_by(mark)))
                hint = f"write @pytest.mark.{name}({meant}): a token is kebab-case text"
                wrong.append(error(place, "bad-token", message, hint))


def _misused_no_doubt(item: pytest.Item, place: Location) -> Iterator[Diagnostic]:
    """Yield findings on marks `no_doubt` without a reason, or with what is no code."""
    for node, mark in item.iter_markers_with_node(NO_DOUBT):
        try:
            read_no_doubt(Mark(name=NO_DOUBT, args=mark.args, kwargs=mark.kwargs))
        except ValueError as problem:
            hint = f"give it a reason, and no codes or some of {', '.join(sorted(DOUBT_CODES))}"
            yield error(
                place, "bad-no-doubt", f"{_carriers(item, node)}: the mark 'no_doubt' {problem}", hint
            )


def _carriers(item: pytest.Item, node: Any) -> str:  # noqa: ANN401 - pytest exports no common base of its nodes
    """Name the node that carries a mark: a class, a module, or a function with all its parametrised instances."""
    if node is item and item.parent is not None:
        return f"{item.parent.nodeid}::{getattr(item, 'originalname', None) or item.name}"
    return str(node.nodeid)


def _misspelt_marks(item: pytest.Item, place: Location) -> Iterator[Diagnostic]:
    """Yield findings on undeclared marks with tokens whose names are nearly those of this plugin's marks."""
    for node, mark in item.iter_markers_with_node():
        meant = mark_meant_by(mark.name, item.config)
        tokens = [one for one in mark.args if isinstance(one, str) and TOKEN_PATTERN.fullmatch(one)]
        if meant and tokens == list(mark.args) and tokens and not mark.kwargs:
            hint = f"did you mean @pytest.mark.{meant}({', '.join(map(repr, tokens))})? "
            hint += f"If {mark.name!r} is a mark of your own, declare it under `markers` in pytest's ini file"
            message = f"{_carriers(item, node)}: nothing declares the mark {mark.name!r}"
            yield Diagnostic(location=place, code="unknown-mark", message=message, hint=hint)


def _tokens_meant_by(mark: pytest.Mark) -> list[str]:
    """Return the arguments of a mark in kebab-case, with lists flattened; an example if there are none."""
    waiting: list[object] = [*mark.args, *mark.kwargs.values()]
    meant: dict[str, None] = {}
    while waiting:
        argument = waiting.pop(0)
        if isinstance(argument, list | tuple | set | frozenset):
            waiting[:0] = sorted(argument, key=str) if isinstance(argument, set | frozenset) else argument
            continue
        for text in str(argument).split(","):
            base, colon, instance = text.strip().partition(":")
            words = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
            meant |= {f"{words}{colon}{instance}": None} if words else {}
    return list(meant) or ["logged-in"]


def fixture_providers(
    config: pytest.Config, items: Iterable[pytest.Item]
) -> tuple[dict[Token, str], dict[Token, str]]:
    """Find the fixtures that `provides` has marked, in plugins, conftest files and test modules.

    Return the name of each token's fixture, and its scope.
    """
    parents = dict.fromkeys(item.parent for item in items if isinstance(item, pytest.Function))
    tests = [parent for parent in parents if not isinstance(parent, JourneyFile)]
    modules = dict.fromkeys(module for parent in tests if (module := getattr(parent, "module", None)))
    classes = dict.fromkeys(cls for parent in tests if (cls := getattr(parent, "cls", None)))
    found: dict[Token, tuple[str, str]] = {}
    for holder in (*config.pluginmanager.get_plugins(), *modules, *classes):
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            marked = getattr(value, "__dict__", {}).get(PROVIDES)
            for token, fixture in (marked or {}).items():
                found[token] = (fixture or name, scope_of_fixture(value))
    tokens = sorted(found)
    return {token: found[token][0] for token in tokens}, {token: found[token][1] for token in tokens}


def scope_of_fixture(fixture: object) -> str:
    """Return pytest's name of a fixture's scope; if that is unknown, "session", which never causes a finding.

    pytest has no public name for it before a fixture is set up. The attribute differs between versions 8.3 and 8.4; a
    test of private names notices if it changes again.
    """
    for attribute in ("_fixture_function_marker", "_pytestfixturefunction"):
        scope = getattr(getattr(fixture, attribute, None), "scope", None)
        if isinstance(scope, str):
            return scope
    return "session"
