"""Resolves the names in dependency marks to tests, or explains why there is none; one token per test.

A test has a name in each scope that it is part of: the name in its mark, else its node id without the scope's part.
Names should be unique in a scope. If one is not, it means the nearest test of that name before the dependent one: in
file order, that is the test whose result counts last.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import IntEnum

from msgspec import Struct

from pytest_dogfood.journey import Dependence, JourneyId, Obstacle, Token
from pytest_dogfood.walks import cycle_representatives, inverted, reachable

SCOPES = {"session": 0, "package": 0, "module": 1, "class": 2}
"""The scopes of names, each with the number of leading parts of a node id that a name in it leaves out."""

DEFAULT_SCOPE = "module"

WIDE = ("session", "package")
"""Scopes that reach beyond one file."""


class RuntimeDependsReach(IntEnum):
    """Whether a test may depend on more tests while it runs, and how far away those may be."""

    NOTHING = 0
    ITS_MODULE = 1
    EVERYTHING = 2


class MarkedTest(Struct, frozen=True, kw_only=True):
    """A collected test and its dependency mark. Without a mark it depends on nothing, but others may name it.

    `homes` names, per scope, the node that the test is part of. `counts` says whether others may depend on it.
    """

    id: JourneyId
    homes: Mapping[str, str]
    name: str | None = None
    depends: tuple[str, ...] = ()
    scope: str = DEFAULT_SCOPE
    marked: bool = False
    counts: bool = False
    asks: RuntimeDependsReach = RuntimeDependsReach.NOTHING

    def name_in(self, scope: str) -> str:
        return self.name or self.automatic_name(scope)

    def automatic_name(self, scope: str) -> str:
        return self.id.split("::", SCOPES[scope])[-1]


class Names:
    """The names of all tests of a run. Tests are identified by their positions in the order in which they would run."""

    def __init__(self, tests: Sequence[MarkedTest]) -> None:
        self.tests = tests
        self._places: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for place, test in enumerate(tests):
            for scope, home in test.homes.items() if test.counts else ():
                self._places[scope, home, test.name_in(scope)].append(place)

    def find(self, name: str, scope: str, home: str, *, seen_from: int) -> int | None:
        """Return the position of the test that a name means to the test at `seen_from`, None if there is none."""
        places = self._places.get((scope, home, name), ())
        before = [place for place in places if place < seen_from]
        after = [place for place in places if place > seen_from]
        return before[-1] if before else next(iter([*after, *places]), None)


def dependences(names: Names, *, only: Collection[JourneyId] | None = None) -> dict[JourneyId, Dependence]:
    """Return the meaning of the marks for the graph, in the order of the tests, without tests that marks leave alone.

    A name that no test has is an obstacle. If `only` is given, such names are ignored, and so are names of tests
    that are not in `only`.
    """
    tests = names.tests
    needs, obstacles = _needs(names, only)
    follows = _follows(tests)
    pairs = (*needs.items(), *follows.items())
    tied = {one for place, others in pairs for one in (place, *others) if others} | obstacles.keys()
    tokens = _tokens_of(tests)
    return {
        test.id: Dependence(
            establishes=tokens[test.id] if test.counts else None,
            requires=tuple(tokens[tests[other].id] for other in needs[place]),
            follows=tuple(tests[other].id for other in follows.get(place, ())),
            obstacle=obstacles.get(place),
        )
        for place, test in enumerate(tests)
        if test.marked or place in tied
    }


def _needs(
    names: Names, only: Collection[JourneyId] | None
) -> tuple[dict[int, list[int]], dict[int, Obstacle]]:
    """Return, per test, the tests that it needs, and its obstacle; a test with an obstacle needs none."""
    needs: dict[int, list[int]] = {}
    obstacles: dict[int, Obstacle] = {}
    for place, test in enumerate(names.tests):
        needs[place] = []
        for name in test.depends:
            other = names.find(name, test.scope, test.homes[test.scope], seen_from=place)
            if only is not None and (other is None or names.tests[other].id not in only):
                continue
            if other is None:
                obstacles.setdefault(place, why_unknown(names, test, name))
            else:
                needs[place].append(other)
    for place, cycle in _cycles(needs).items():
        way = " -> ".join(names.tests[one].id for one in cycle)
        each = "waits for itself" if len(cycle) == 2 else "wait for each other"
        obstacles[place] = Obstacle(code="dependency-cycle", who=way, why=each)
    return needs | {place: [] for place in obstacles}, obstacles


def _tokens_of(tests: Iterable[MarkedTest]) -> dict[JourneyId, Token]:
    """Return for each test the token that it has passed: its name, with the file in front.

    The token contains two colons, so it is never the name of a capability in a file.
    """
    tokens: dict[JourneyId, Token] = {}
    times: dict[str, int] = defaultdict(int)
    for test in tests:
        file = test.id.partition("::")[0]
        text = test.id if test.name is None else f"{file}::{test.name}"
        times[text] += 1
        tokens[test.id] = Token(text if times[text] == 1 else f"{text} ({times[text]})")
    return tokens


def _follows(tests: Iterable[MarkedTest]) -> dict[int, tuple[int, ...]]:
    """Return for each test that may call `depends` the earlier tests to follow, back to the last such test."""
    everywhere: list[int] = []
    nearby: dict[str, list[int]] = defaultdict(list)
    found: dict[int, tuple[int, ...]] = {}
    for place, test in enumerate(tests):
        here = nearby[test.homes.get("module", "")]
        if test.asks:
            met = everywhere if test.asks is RuntimeDependsReach.EVERYTHING else here
            found[place] = tuple(met)
            met.clear()
        if test.asks or test.counts:
            everywhere.append(place)
            here.append(place)
    return found


def _cycles(needs: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Return, for each test that waits for itself in the end, the cycle, with the same test first and last.

    Tests on a path from one cycle to another count as well: they cannot be run either.
    """
    needed_by = inverted(needs)
    heads = cycle_representatives(needs)
    sizes = Counter(heads.values())
    in_cycles = [place for place in needs if sizes[heads[place]] > 1 or place in needs[place]]
    before = reachable(in_cycles, lambda place: needs[place])
    behind = reachable(in_cycles, lambda place: needed_by[place])
    left = before.keys() & behind.keys()
    found: dict[int, tuple[int, ...]] = {}
    for start in left:
        way = [start]
        while (further := next(other for other in needs[way[-1]] if other in left)) not in way:
            way.append(further)
        cycle = way[way.index(further) :]
        first = cycle.index(min(cycle))
        found[start] = (*cycle[first:], *cycle[:first], cycle[first])
    return found


def why_unknown(names: Names, test: MarkedTest, name: str) -> Obstacle:
    """Return the obstacle that no test has a name in the scope of the mark of `test`, with a remedy."""
    home = test.homes[test.scope] or "this run"
    near = next(_remedies(names, test, name), "")
    return Obstacle(
        code="unknown-dependency",
        who=repr(name),
        why=f"is not the name of a test with a dependency mark in {home}{near and f'; {near}'}",
    )


def _remedies(names: Names, test: MarkedTest, name: str) -> Iterator[str]:
    """Yield possible remedies, the most likely first."""
    if len(name) == 1 and len(test.depends) > 1 and all(len(one) == 1 for one in test.depends):
        yield f"'depends' is a list of names: write depends=[{''.join(test.depends)!r}]"
    here = [one for one in names.tests if one.homes.get(test.scope) == test.homes[test.scope]]
    counting = [one for one in here if one.counts]
    known = [one.name_in(test.scope) for one in counting]
    for one in here:
        if one.automatic_name(test.scope) == name:
            unmarked = "it is there, but has no mark: give it @pytest.mark.dependency()"
            yield f"its mark names it {one.name!r}" if one.counts else unmarked
    instances = [one for one in known if one.startswith(f"{name}[")]
    if instances:
        yield f"each of its {len(instances)} instances has a name of its own, such as {instances[0]!r}"
    yield from _in_another_scope(names, test, name)
    yield from (
        f"did you mean {one.name_in(test.scope)!r}?"
        for one in counting
        if one.automatic_name(test.scope).endswith(f"::{name}")
    )
    file = name.partition("::")[0]
    if "::" in name and test.scope in WIDE and not any(one.id.startswith(f"{file}::") for one in names.tests):
        yield f"nothing of {file} was collected: if it is there, name it on the command line too"
    near = _nearest(name, known)
    if near:
        yield f"did you mean {near!r}?"


def _in_another_scope(names: Names, test: MarkedTest, name: str) -> Iterator[str]:
    for one in names.tests:
        if one.counts and name in {one.name_in(scope) for scope in one.homes}:
            if one.homes.get(test.scope) == test.homes[test.scope]:
                yield f"did you mean {one.name_in(test.scope)!r}?"
            else:
                yield f"did you mean {one.name_in('session')!r} with scope='session'?"


def _nearest(name: str, known: Collection[str]) -> str:
    """Return the nearest name; a common `test_` at the beginning does not count."""
    stems = {one.removeprefix("test_"): one for one in sorted(known, reverse=True)}
    near = get_close_matches(name.removeprefix("test_"), stems, n=1) or get_close_matches(
        name, known, n=1, cutoff=0.85
    )
    return stems.get(near[0], near[0]) if near else ""
