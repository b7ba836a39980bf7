"""Reads dependency marks from items, keeps their file order, answers `depends`, and stands in for pytest-dependency."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from pytest_dogfood.api import depends
from pytest_dogfood.collection.collector import JourneyFile, place_of
from pytest_dogfood.collection.dependency_calls import RuntimeDependsScan
from pytest_dogfood.collection.dependency_names import (
    DEFAULT_SCOPE,
    SCOPES,
    MarkedTest,
    Names,
    dependences,
    why_unknown,
)
from pytest_dogfood.collection.exceptions import deferral, harness_failure
from pytest_dogfood.diagnostics import Diagnostic, HarnessError, Severity, did_you_mean
from pytest_dogfood.journey import Dependence, JourneyId, Obstacle
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.storage.journal import Journal

ORIGINAL = "pytest_dependency"
ITS_PLUGIN = "dependency"
"""The name under which pytest knows its plugin."""


def stand_in(config: pytest.Config) -> None:
    """Let `from pytest_dependency import depends` in conftest files and tests mean ours, for this run.

    The original's own would ask records that are not kept in this run, and so skip every test.
    """
    if importlib.util.find_spec(ORIGINAL) is None:
        return
    original = importlib.import_module(ORIGINAL)
    config.add_cleanup(partial(setattr, original, "depends", original.depends))
    original.depends = depends  # type: ignore[attr-defined]


def set_aside(config: pytest.Config) -> bool:
    """Take the original's hooks out of this run; whether there was anything to take out."""
    for name in (ITS_PLUGIN, ORIGINAL):
        if config.pluginmanager.hasplugin(name):
            config.pluginmanager.unregister(name=name)
            return True
    return False


MARK = "dependency"
KEYWORDS = ("name", "depends", "scope")
NODES = {"package": pytest.Package, "module": pytest.Module, "class": pytest.Class}


Answer = Callable[[pytest.FixtureRequest, tuple[str, ...], str], None]
"""Raises what skips the running test unless the tests named in a scope have passed."""


class DependencyMarks:
    """The plugin that knows what dependency marks mean in this run.

    Tests tied by marks tell one story, so they run as they are written where that is possible, even if others are
    shuffled: what they share was never meant to be met in another order. Who sorts them later knows what for.
    """

    def __init__(self, *, automark: bool, ignore_unknown: bool, instead_of_the_original: bool) -> None:
        self._automark = automark
        self.ignore_unknown = ignore_unknown
        self._callers = RuntimeDependsScan()
        self._collected: list[pytest.Item] = []
        self._order: list[pytest.Item] = []
        self._original = instead_of_the_original
        self._tied: Mapping[JourneyId, Dependence] = {}
        self.names = Names(())
        self.answer: Answer | None = None

    @pytest.hookimpl
    def pytest_report_header(self) -> str:
        instead = ", and pytest-dependency does nothing in this run" if self._original else ""
        return f"dogfood: goes by dependency marks{instead}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        # Registered last, its hook comes before the one with which pytest groups tests by the parameters of fixtures,
        # and after those, which want to be first, of plugins that shuffle.
        session.config.pluginmanager.register(_FileOrder(self), "dogfood-file-order")
        session.config.pluginmanager.register(_FinalOrder(self), "dogfood-final-order")

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._collected.append(item)

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the order once pytest has grouped the tests and before a selection leaves any of them out."""
        self._order = list(items)

    def put_in_file_order(self, items: list[pytest.Item]) -> None:
        """Let the tests that are tied to others change places among themselves."""
        tied = dependences(Names(self._read(self._collected, [])), why_unknown)
        items[:] = _rearranged(items, [item.nodeid for item in self._collected if item.nodeid in tied])

    def take_over_order(self, items: Sequence[pytest.Item]) -> None:
        """Note how other plugins have sorted what is selected."""
        self._order = _rearranged(self._order, [item.nodeid for item in items])

    def in_order(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Return the items with those that are tied to others in the order that was noted; `resolve` comes first."""
        return _rearranged(items, [test.id for test in self.names.tests if test.id in self._tied])

    def resolve(
        self, collected: Sequence[pytest.Item], selected: Iterable[pytest.Item]
    ) -> tuple[dict[JourneyId, Dependence], list[Diagnostic]]:
        """Return what the marks of all collected tests mean, and what is wrong with them."""
        wrong: list[Diagnostic] = []
        seen = dict.fromkeys(self._order)
        left_out = [item for item in collected if item not in seen]
        self.names = Names(self._read([*left_out, *seen], wrong))
        only = {JourneyId(item.nodeid) for item in selected} if self.ignore_unknown else None
        found = self._tied = dependences(self.names, why_unknown, only=only)
        obstacles = {nodeid: one.obstacle for nodeid, one in found.items() if one.obstacle is not None}
        wrong += [
            _hopeless(item, obstacle)
            for item in collected
            if (obstacle := obstacles.get(JourneyId(item.nodeid))) is not None
        ]
        return found, wrong

    def _read(self, items: Iterable[pytest.Item], wrong: list[Diagnostic]) -> list[MarkedTest]:
        return [self._read_one(item, wrong) for item in items if not isinstance(item.parent, JourneyFile)]

    def _read_one(self, item: pytest.Item, wrong: list[Diagnostic]) -> MarkedTest:
        mark = item.get_closest_marker(MARK)
        homes = {scope: home for scope in SCOPES if (home := home_of(item, scope)) is not None}
        said = _said(item, mark, homes, wrong) if mark is not None else {}
        return MarkedTest(
            id=JourneyId(item.nodeid),
            homes=homes,
            marked=mark is not None,
            counts=mark is not None or self._automark,
            asks=self._callers.asked_by(item),
            **said,
        )


def _rearranged(items: Sequence[pytest.Item], order: Iterable[str]) -> list[pytest.Item]:
    """Let the items that `order` names change places among themselves."""
    place = {nodeid: number for number, nodeid in enumerate(order)}
    ours = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])
    next_one = iter(ours)
    return [next(next_one) if item.nodeid in place else item for item in items]


def home_of(node: Any, scope: str) -> str | None:  # noqa: ANN401 - pytest exports no common base of its nodes
    """Name the node that is the scope of an item or of a collector; None if it stands outside of any such."""
    if scope == "session":
        return ""
    home = node.getparent(NODES[scope])
    return None if home is None else str(home.nodeid)


def _said(
    item: pytest.Item, mark: pytest.Mark, homes: Mapping[str, str], wrong: list[Diagnostic]
) -> dict[str, Any]:
    """Return what a mark says, with what is wrong with it added to `wrong`: then it depends on nothing."""
    name, scope = mark.kwargs.get("name"), mark.kwargs.get("scope", DEFAULT_SCOPE)
    depends_on = mark.kwargs.get("depends") or ()
    for severity, message, hint in _mistakes(mark, depends_on, scope, homes):
        wrong.append(
            Diagnostic(
                location=place_of(item),
                code="bad-dependency-mark",
                message=f"{item.nodeid}: {message}",
                hint=hint,
                severity=severity,
            )
        )
        if severity is Severity.ERROR:
            depends_on, scope = (), DEFAULT_SCOPE
    return {
        "name": None if name is None else str(name),
        "depends": tuple(map(str, depends_on)),
        "scope": scope,
    }


def _hopeless(item: pytest.Item, obstacle: Obstacle) -> Diagnostic:
    return Diagnostic(
        location=place_of(item),
        code=obstacle.code,
        message=f"{item.nodeid} will be skipped: {obstacle.who} {obstacle.why}",
        severity=Severity.WARNING,
    )


def _mistakes(
    mark: pytest.Mark, depends_on: object, scope: object, homes: Mapping[str, str]
) -> Iterator[tuple[Severity, str, str]]:
    if mark.args:
        yield (
            Severity.WARNING,
            f"{mark.args[0]!r} in the dependency mark has no meaning",
            "say what it is: name=…, depends=[…] or scope=…",
        )
    for key in (key for key in mark.kwargs if key not in KEYWORDS):
        yield (
            Severity.WARNING,
            f"the dependency mark knows no {key!r}",
            did_you_mean(key, KEYWORDS) or f"it knows {', '.join(KEYWORDS)}",
        )
    if not isinstance(depends_on, Iterable):
        yield Severity.ERROR, f"depends={depends_on!r} is no list of names", "write depends=['test_a']"
    elif depends_on and not (isinstance(scope, str) and scope in SCOPES):
        yield (
            Severity.ERROR,
            f"{scope!r} is no scope of a dependency",
            did_you_mean(str(scope), SCOPES) or f"the scopes are {', '.join(SCOPES)}",
        )
    elif depends_on and scope not in homes:
        yield (
            Severity.ERROR,
            f"the test depends on others of its {scope}, but is in none",
            "scope 'class' is for methods, scope 'package' for directories with an __init__.py",
        )


class _FileOrder:
    """The plugin with the one hook that has to come between those of others."""

    def __init__(self, marks: DependencyMarks) -> None:
        self._marks = marks

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._marks.put_in_file_order(items)


class _FinalOrder:
    """The plugin that comes after all who sort tests for good, and before those that put some of them first."""

    def __init__(self, marks: DependencyMarks) -> None:
        self._marks = marks

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        result = yield
        self._marks.take_over_order(items)
        return result


class RuntimeDepends:
    """What `depends` asks in this run."""

    def __init__(self, names: Names, journal: Journal, *, ignore_unknown: bool) -> None:
        self._names = names
        self._journal = journal
        self._ignore_unknown = ignore_unknown
        self._places = {test.id: place for place, test in enumerate(names.tests)}

    def __call__(self, request: pytest.FixtureRequest, other: tuple[str, ...], scope: str) -> None:
        """Raise what skips the running test unless each of the others has passed; ValueError for a bad scope."""
        __tracebackhide__ = True
        test = _asking(request, other, scope)
        for name in other:
            self._check(test, name)

    def _check(self, test: MarkedTest, name: str) -> None:
        __tracebackhide__ = True
        here = self._places.get(test.id, len(self._places))
        place = self._names.meant(name, test.scope, test.homes[test.scope], seen_from=here)
        if place is None:
            if not self._ignore_unknown:
                unknown = why_unknown(self._names, test, name)
                raise deferral(Cause(who=unknown.who, why=unknown.why))
            return
        meant = self._names.tests[place].id
        verdict = self._journal.verdict(meant)
        if verdict is None:
            self._refuse_what_has_not_run(meant, before=place < here)
            return
        cause = verdict.blocking_cause()
        if cause is not None:
            raise deferral(cause)

    def _refuse_what_has_not_run(self, meant: JourneyId, *, before: bool) -> None:
        """Skip, as if tests ran in the order of their files; an error where in that order it would have run."""
        __tracebackhide__ = True
        if self._ignore_unknown:
            return
        why = "has not run by the time it is asked for"
        remedy = "a mark, depends=[…], says so before the run, and then it comes first"
        if before:
            raise harness_failure(HarnessError(f"{meant} {why}: {remedy}"))
        raise deferral(Cause(who=meant, why=f"{why}: {remedy}"))


def _asking(request: pytest.FixtureRequest, other: tuple[str, ...], scope: str) -> MarkedTest:
    """Return the running test as one that depends on the others; `request` may be that of a module's fixture."""
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is no scope: {did_you_mean(scope, SCOPES) or ', '.join(SCOPES)}")
    home = home_of(request.node, scope)
    if home is None:
        raise ValueError(f"{request.node.nodeid} is in no {scope}, so it cannot depend on others of it")
    running = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    return MarkedTest(id=JourneyId(running), homes={scope: home}, depends=other, scope=scope)
