"""Reads dependency marks, keeps tests in file order, answers `depends`, and replaces pytest-dependency."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.api import depends
from pytest_dogfood.collection.collector import JourneyFile, place_of, reordered
from pytest_dogfood.collection.dependency_names import (
    DEFAULT_SCOPE,
    SCOPES,
    WIDE,
    MarkedTest,
    Names,
    RuntimeDependsReach,
    dependences,
    why_unknown,
)
from pytest_dogfood.collection.exceptions import deferral, harness_failure
from pytest_dogfood.diagnostics import Diagnostic, HarnessError, did_you_mean, error, warning
from pytest_dogfood.journey import Dependence, JourneyId
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.storage.journal import Journal

ORIGINAL = "pytest_dependency"
ITS_PLUGIN = "dependency"
"""The name under which pytest knows its plugin."""
OFFERING = frozenset({"pytest_dogfood", ORIGINAL})
"""Modules that export `depends`."""

MARK = "dependency"
KEYWORDS = ("name", "depends", "scope")
NODES = {"package": pytest.Package, "module": pytest.Module, "class": pytest.Class}


def replace_depends(config: pytest.Config) -> None:
    """Make `from pytest_dependency import depends` in conftest files and tests import ours, for this run.

    The original would read records that this run does not keep, and so skip every test.
    """
    if importlib.util.find_spec(ORIGINAL) is None:
        return
    original = importlib.import_module(ORIGINAL)
    config.add_cleanup(partial(setattr, original, "depends", original.depends))
    original.depends = depends  # type: ignore[attr-defined]


def unregister_original(config: pytest.Config) -> bool:
    """Unregister pytest-dependency for this run; return whether it was registered."""
    for name in (ITS_PLUGIN, ORIGINAL):
        if config.pluginmanager.hasplugin(name):
            config.pluginmanager.unregister(name=name)
            return True
    return False


class DependencyMarks:
    """The plugin that resolves the dependency marks of this run.

    Tests that marks connect run in file order if possible, even if others are shuffled, because their shared state
    expects that order. A plugin that sorts them later has a reason to.
    """

    def __init__(self, *, automark: bool, ignore_unknown: bool, instead_of_the_original: bool) -> None:
        self._automark = automark
        self._ignore_unknown = ignore_unknown
        self._scan = RuntimeDependsScan()
        self._collected: list[pytest.Item] = []
        self._order: list[pytest.Item] = []
        self._original = instead_of_the_original
        self._tied: Mapping[JourneyId, Dependence] = {}
        self._names = Names(())
        self.answer: RuntimeDepends | None = None
        """What `depends` asks, in a process that runs items."""

    @pytest.hookimpl
    def pytest_report_header(self) -> str:
        instead = "; pytest-dependency is off in this run" if self._original else ""
        return f"dogfood: runs tests by their dependency marks{instead}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        # Registered last, its hook comes before that of pytest, which groups tests by the parameters of fixtures, and
        # after those of plugins that shuffle, which are `tryfirst`.
        session.config.pluginmanager.register(_OrderAmongPlugins(self), "dogfood-file-order")

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._collected.append(item)

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the order after pytest has grouped the tests and before a selection leaves any of them out."""
        self._order = list(items)

    def put_in_file_order(self, items: list[pytest.Item]) -> None:
        """Put the tests that marks connect in file order, in the same positions."""
        tied = dependences(Names(self._read(self._collected, [])))
        items[:] = reordered(items, [item.nodeid for item in self._collected if item.nodeid in tied])

    def take_over_order(self, items: Sequence[pytest.Item]) -> None:
        """Note the order in which other plugins have put the selected items."""
        self._order = reordered(self._order, [item.nodeid for item in items])

    def in_order(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Return the items with connected tests in the order that was noted; call `resolve` first."""
        return reordered(items, [test.id for test in self._names.tests if test.id in self._tied])

    def resolve(
        self, collected: Sequence[pytest.Item], selected: Iterable[pytest.Item]
    ) -> tuple[dict[JourneyId, Dependence], list[Diagnostic]]:
        """Return the meaning of the marks of all collected tests, and the findings on them."""
        wrong: list[Diagnostic] = []
        seen = dict.fromkeys(self._order)
        left_out = [item for item in collected if item not in seen]
        self._names = Names(self._read([*left_out, *seen], wrong))
        only = {JourneyId(item.nodeid) for item in selected} if self._ignore_unknown else None
        self._tied = dependences(self._names, only=only)
        for item in collected:
            dependence = self._tied.get(JourneyId(item.nodeid))
            if dependence is not None and dependence.obstacle is not None:
                obstacle = dependence.obstacle
                skipped = f"{item.nodeid} will be skipped: {obstacle.who} {obstacle.why}"
                wrong.append(warning(place_of(item), obstacle.code, skipped, ""))
        return self._tied, wrong

    def answer_from(self, journal: Journal) -> None:
        """Let `depends` use the results in the journal of this run."""
        self.answer = RuntimeDepends(self._names, journal, ignore_unknown=self._ignore_unknown)

    def _read(self, items: Iterable[pytest.Item], wrong: list[Diagnostic]) -> list[MarkedTest]:
        tests: list[MarkedTest] = []
        for item in items:
            if isinstance(item.parent, JourneyFile):
                continue
            mark = item.get_closest_marker(MARK)
            homes = {scope: home for scope in SCOPES if (home := home_of(item, scope)) is not None}
            arguments = _arguments_of(item, mark, homes, wrong) if mark is not None else {}
            tests.append(
                MarkedTest(
                    id=JourneyId(item.nodeid),
                    homes=homes,
                    marked=mark is not None,
                    counts=mark is not None or self._automark,
                    asks=self._scan.reach_of(item),
                    **arguments,
                )
            )
        return tests


def home_of(node: Any, scope: str) -> str | None:  # noqa: ANN401 - pytest exports no common base of its nodes
    """Return the id of the node that is the scope of an item or of a collector; None if it is in no such node."""
    if scope == "session":
        return ""
    home = node.getparent(NODES[scope])
    return None if home is None else str(home.nodeid)


def _arguments_of(
    item: pytest.Item, mark: pytest.Mark, homes: Mapping[str, str], wrong: list[Diagnostic]
) -> dict[str, Any]:
    """Return the arguments of a mark, and add findings on it to `wrong`; a bad mark depends on nothing."""
    place, code = place_of(item), "bad-dependency-mark"
    if mark.args:
        message = f"{item.nodeid}: the dependency mark takes keywords, not {mark.args[0]!r}"
        wrong.append(warning(place, code, message, "write name=…, depends=[…] or scope=…"))
    for key in mark.kwargs:
        if key not in KEYWORDS:
            hint = did_you_mean(key, KEYWORDS) or f"its keywords are {', '.join(KEYWORDS)}"
            wrong.append(
                warning(place, code, f"{item.nodeid}: the dependency mark has no keyword {key!r}", hint)
            )
    depends_on, scope = mark.kwargs.get("depends") or (), mark.kwargs.get("scope", DEFAULT_SCOPE)
    problem = hint = ""
    if not isinstance(depends_on, Iterable):
        problem, hint = f"depends={depends_on!r} is not a list of names", "write depends=['test_a']"
    elif depends_on and not (isinstance(scope, str) and scope in SCOPES):
        problem = f"{scope!r} is not a scope of a dependency"
        hint = did_you_mean(str(scope), SCOPES) or f"the scopes are {', '.join(SCOPES)}"
    elif depends_on and scope not in homes:
        problem = f"the test depends on others of its {scope}, but it is not in a {scope}"
        hint = "scope 'class' is for methods, scope 'package' for directories with an __init__.py"
    if problem:
        wrong.append(error(place, code, f"{item.nodeid}: {problem}", hint))
        depends_on, scope = (), DEFAULT_SCOPE
    name = mark.kwargs.get("name")
    return {
        "name": None if name is None else str(name),
        "depends": tuple(map(str, depends_on)),
        "scope": scope,
    }


class _OrderAmongPlugins:
    """The plugin whose hooks come between those of others: it is registered after all of them."""

    def __init__(self, marks: DependencyMarks) -> None:
        self._marks = marks

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._marks.put_in_file_order(items)

    @pytest.hookimpl(specname="pytest_collection_modifyitems", wrapper=True, trylast=True)
    def pytest_note_final_order(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Run after all plugins that sort tests for good, and before those that put some of them first."""
        result = yield
        self._marks.take_over_order(items)
        return result


class RuntimeDepends:
    """Answers `depends` in this run."""

    def __init__(self, names: Names, journal: Journal, *, ignore_unknown: bool) -> None:
        self._names = names
        self._journal = journal
        self._ignore_unknown = ignore_unknown
        self._places = {test.id: place for place, test in enumerate(names.tests)}

    def __call__(self, request: pytest.FixtureRequest, other: tuple[str, ...], scope: str) -> None:
        """Skip the running test unless each of the others has passed; raises ValueError for a bad scope.

        `request` may be that of a module's fixture.
        """
        __tracebackhide__ = True
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is not a scope: {did_you_mean(scope, SCOPES) or ', '.join(SCOPES)}")
        home = home_of(request.node, scope)
        if home is None:
            raise ValueError(f"{request.node.nodeid} is in no {scope}, so it cannot depend on others of it")
        running = JourneyId(os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0])
        test = MarkedTest(id=running, homes={scope: home}, depends=other, scope=scope)
        for name in other:
            self._check(test, name)

    def _check(self, test: MarkedTest, name: str) -> None:
        """Skip as if tests ran in file order; raise an error if in that order the other test would have run before."""
        __tracebackhide__ = True
        here = self._places.get(test.id, len(self._places))
        place = self._names.find(name, test.scope, test.homes[test.scope], seen_from=here)
        if place is None:
            if not self._ignore_unknown:
                unknown = why_unknown(self._names, test, name)
                raise deferral(Cause(who=unknown.who, why=unknown.why))
            return
        meant = self._names.tests[place].id
        verdict = self._journal.end_of(meant)
        cause = None if verdict is None else verdict.blocking_cause()
        if cause is not None:
            raise deferral(cause)
        if verdict is None and not self._ignore_unknown:
            why = "has not run yet when the test asks for it"
            remedy = "a mark, depends=[…], says so before the run, and then it comes first"
            if place < here:
                raise harness_failure(HarnessError(f"{meant} {why}: {remedy}"))
            raise deferral(Cause(who=meant, why=f"{why}: {remedy}"))


class RuntimeDependsScan:
    """Estimates, after collection, which tests may call `depends` while they run.

    A test may call it if `depends` is within its reach. That is so for a module if it, or a module that it imports
    from, names `depends`: at its top, or only inside a test or a fixture.
    """

    def __init__(self) -> None:
        self._known: dict[str, RuntimeDependsReach] = {}
        self._plugins: list[types.ModuleType] | None = None

    def reach_of(self, item: pytest.Item) -> RuntimeDependsReach:
        """Return which tests an item, or a fixture of it, may ask for; that takes both `request` and `depends`."""
        if "request" not in getattr(item, "fixturenames", ()):
            return RuntimeDependsReach.NOTHING
        if self._plugins is None:
            plugins = item.config.pluginmanager.get_plugins()
            modules = [one for one in plugins if isinstance(one, types.ModuleType)]
            self._plugins = [one for one in modules if not _offers(one.__name__) and self._reach_in(one)]
        # The fixtures of a conftest file can be seen only below it.
        files = [(plugin, Path(plugin.__file__ or "")) for plugin in self._plugins]
        above = item.path.parents
        around = [plugin for plugin, path in files if path.name != "conftest.py" or path.parent in above]
        own = getattr(item, "module", None)
        modules = [own, *around] if isinstance(own, types.ModuleType) else around
        return max(map(self._reach_in, modules), default=RuntimeDependsReach.NOTHING)

    def _reach_in(self, module: types.ModuleType) -> RuntimeDependsReach:
        if module.__name__ not in self._known:
            # It may import its classes, functions and fixtures from other modules, also bases and helpers.
            names = dict.fromkeys(map(_origin, list(vars(module).values())))
            origins = [sys.modules.get(name) for name in names if not _offers(name)]
            involved = dict.fromkeys([module, *(one for one in origins if one is not None)])
            values = [value for one in involved for value in list(vars(one).values())]
            codes = [code for one in involved for code in _code_of(one)]
            constants = {constant for code in codes for constant in code.co_consts}
            # A function imports a module by a statement, or by a string with its name.
            named = constants.union(*(code.co_names for code in codes))
            named.update(value.__name__ for value in values if isinstance(value, types.ModuleType))
            reach = RuntimeDependsReach.NOTHING
            if not OFFERING.isdisjoint(named) or any(value is depends for value in values):
                near = constants.isdisjoint(WIDE)
                reach = RuntimeDependsReach.ITS_MODULE if near else RuntimeDependsReach.EVERYTHING
            self._known[module.__name__] = reach
        return self._known[module.__name__]


def _offers(module: str) -> bool:
    return module.partition(".")[0] in OFFERING


def _origin(value: object) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type | types.FunctionType):
        return value.__module__
    return str(getattr(value, "__dict__", {}).get("__module__", ""))  # a fixture has that of its function


def _code_of(module: types.ModuleType) -> Iterator[types.CodeType]:
    """Yield the code of a module's own functions, methods and fixtures, and of the functions within them."""
    waiting: list[object] = []
    for value in list(vars(module).values()):
        if _origin(value) == module.__name__:
            members = list(vars(value).values()) if isinstance(value, type) else [value]
            functions = [unwrap(member) if callable(member) else member for member in members]
            waiting += [getattr(function, "__code__", None) for function in functions]
    while waiting:
        code = waiting.pop()
        if isinstance(code, types.CodeType):
            yield code
            waiting += code.co_consts
