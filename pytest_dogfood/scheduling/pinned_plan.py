"""Pins a run to a plan file: which journeys run, in which order in each state, and what else is tried and asked.

The command that tests declarations writes such files, one for each run. It is no format for people, and a run follows
it to the letter: neither durations nor gates nor other plugins change the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from math import isfinite

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import PinnedPlanError, did_you_mean
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import TOKEN_PATTERN, Journey, JourneyId, StateId, Token
from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.split import StateTree, split
from pytest_dogfood.walks import in_order, reachable

VERSION = 1


class Idle(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of a line in place of a journey: the state is left alone for so many seconds."""

    idle: float


Entry = JourneyId | Idle


class Added(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Declarations of a journey that no file has yet."""

    journey: JourneyId
    requires: tuple[Token, ...] = ()
    invalidates: tuple[Token, ...] = ()
    establishes: tuple[Token, ...] = ()


class Joined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directory of a run in which several runs have their shared directory and their machine-wide tokens.

    The process `pid` owns it, and holds the leases on these tokens.
    """

    directory: str
    pid: int


class PinnedPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of a plan file.

    `orders` has a line for each state that takes part: exactly these journeys run, in exactly this order. Without it
    the order is the ordinary one; then `only` may name journeys that run with all that they need. `probes` names the
    tokens that are asked for before and after each entry of a line: True means those of the state's chain. `twice`
    names tokens whose provision steps run a second time. With `steps`, the tokens that a journey establishes are asked
    for between its steps, too. `stops` maps journeys to the number of the step behind which they end. With `files` it
    is noted which files each entry has written or removed. With `release` nothing runs: what is left in the `joined`
    directory is released. `result` is the file in which the outcome is written.
    """

    version: int = VERSION
    orders: tuple[tuple[Entry, ...], ...] | None = None
    only: tuple[JourneyId, ...] | None = None
    probes: bool | tuple[Token, ...] = False
    twice: tuple[Token, ...] = ()
    files: bool = False
    steps: bool = False
    stops: Mapping[JourneyId, int] = field(default_factory=dict)
    added: tuple[Added, ...] = ()
    joined: Joined | None = None
    release: bool = False
    result: str = ""

    @property
    def asked(self) -> tuple[Token, ...]:
        """The tokens that are named to be asked for."""
        return self.probes if isinstance(self.probes, tuple) else ()

    @property
    def observes(self) -> bool:
        """Whether anything is looked at between the entries of a line."""
        return bool(self.probes) or self.files


def read_pinned_plan(content: bytes) -> PinnedPlan:
    """Read a plan file; raises PinnedPlanError for anything but a whole one of this version."""
    try:
        version = msgspec.json.decode(content, type=_Versioned).version
        if version != VERSION:
            raise PinnedPlanError(
                f"it has version {version}, and this pytest-dogfood reads version {VERSION}"
            )
        plan = msgspec.json.decode(content, type=PinnedPlan)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise PinnedPlanError(f"it is no plan file, or only half of one: {error}") from error
    if wrong := tuple(_contradictions(plan)):
        raise PinnedPlanError(*wrong)
    return plan


class _Versioned(Struct):
    version: int = VERSION


def _contradictions(plan: PinnedPlan) -> Iterator[str]:
    wrong = {
        "`orders` names all that runs, so leave `only` out": plan.orders is not None
        and plan.only is not None,
        "`release` runs no journeys": plan.release and (plan.orders or plan.only),
        "`release` needs `joined`": plan.release and plan.joined is None,
        "`orders` has no line, so nothing would run": plan.orders == () and not plan.release,
    }
    yield from (message for message, is_so in wrong.items() if is_so)
    named = Counter(one for line in plan.orders or () for one in journeys_in(line))
    yield from (f"{one!r} stands in `orders` {number} times" for one, number in named.items() if number > 1)
    for number, line in enumerate(plan.orders or (), 1):
        if not journeys_in(line):
            yield f"line {number} of `orders` has no journey"
        for entry in line:
            if isinstance(entry, Idle) and not (isfinite(entry.idle) and entry.idle >= 0):
                yield f"line {number} of `orders`: idle {entry.idle} is no number of seconds"
    for journey, step in plan.stops.items():
        if journey not in named:
            yield f"`stops` names {journey!r}, which does not stand in `orders`"
        if step < 1:
            yield f"`stops`: {journey!r} cannot end behind step {step}"
    for added in plan.added:
        tokens = (*added.requires, *added.invalidates, *added.establishes)
        none = [token for token in tokens if not TOKEN_PATTERN.fullmatch(token)]
        yield from (f"`added` for {added.journey!r}: {token!r} is not a token" for token in none)


def journeys_in(line: Iterable[Entry]) -> tuple[JourneyId, ...]:
    """Return the journeys of a line, in order."""
    return tuple(entry for entry in line if not isinstance(entry, Idle))


def with_added(journey: Journey, added: Iterable[Added]) -> Journey:
    """Return a journey with the declarations that were added to it, at its own place."""
    for one in added:
        if one.journey == journey.id:
            here = journey.location
            groups = {token: str(journey.id) for token in one.establishes} if journey.python else {}
            journey = replace(
                journey,
                requires={**journey.requires, **dict.fromkeys(one.requires, here)},
                invalidates={**journey.invalidates, **dict.fromkeys(one.invalidates, here)},
                establishes={**journey.establishes, **dict.fromkeys(one.establishes, here)},
                groups={**groups, **journey.groups},
            )
    return journey


def with_needs(graph: CapabilityGraph, journeys: Iterable[JourneyId]) -> tuple[JourneyId, ...]:
    """Return journeys with all that establish what they need, directly or not, in the order of the graph."""

    def needed(journey: JourneyId) -> Iterator[JourneyId]:
        found = graph.journeys[journey]
        yield from found.follows
        for token in graph.needed_by(found):
            yield from graph.establishing(token)

    wanted = reachable(journeys, needed)
    return tuple(one for one in graph.journeys if one in wanted)


def unknown_names(
    plan: PinnedPlan, graph: CapabilityGraph, collected: Collection[JourneyId]
) -> Iterator[str]:
    """Yield a message for each name in a plan that is none of a collected journey, or of a token."""
    named = [one for line in plan.orders or () for one in journeys_in(line)]
    for where, journeys in (
        ("orders", named),
        ("only", plan.only or ()),
        ("added", [one.journey for one in plan.added]),
    ):
        for journey in journeys:
            if journey not in collected:
                near = did_you_mean(journey, collected)
                yield f"`{where}` names {journey!r}, which is no journey or test that was collected" + (
                    f"; {near}" if near else ""
                )
    for where, tokens in (("probes", plan.asked), ("twice", plan.twice)):
        for token in tokens:
            if not graph.is_known(token):
                near = did_you_mean(token, graph.tokens)
                yield (
                    f"`{where}` names the token {token!r}, which nothing establishes, provides or defines"
                    + (f"; {near}" if near else "")
                )


def make_pinned_plan(
    graph: CapabilityGraph,
    orders: Sequence[Sequence[Entry]],
    *,
    durations: Mapping[str, float] | None = None,
) -> Plan:
    """Plan a run of exactly these lines; the gates of their journeys do not count.

    Raises PinnedPlanError if the journeys of a line do not share a state, if a line breaks what is declared, or if
    lines wait for each other.
    """
    tree = split(graph)
    lines = [journeys_in(line) for line in orders]
    wrong = [*_wrong_states(lines, tree)]
    if wrong:
        raise PinnedPlanError(*wrong)
    plan = make_plan(graph, [one for line in lines for one in line], gates=(), durations=durations)
    planned = {one.id: one for one in plan.journeys}
    after = {
        one: tuple(
            dict.fromkeys(
                [
                    *planned[one].after,
                    *(other for other in graph.prerequisites_in_one_state[one] if other in line),
                    *_left_for_parts(one, planned, lines, tree),
                ]
            )
        )
        for line in lines
        for one in line
    }
    wrong = [*_broken_needs(lines, after)]
    if wrong:
        raise PinnedPlanError(*wrong)
    for line in lines:
        for earlier, later in pairwise(line):
            after[later] = tuple(dict.fromkeys((*after[later], earlier)))
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        circle = " before ".join(map(repr, error.args[1]))
        raise PinnedPlanError(f"lines of `orders` wait for each other: {circle}") from error
    return replace(plan, journeys=tuple(replace(planned[one], after=after[one]) for one in in_order(after)))


def _wrong_states(lines: Iterable[Sequence[JourneyId]], tree: StateTree) -> Iterator[str]:
    begun: dict[StateId, int] = {}
    for number, line in enumerate(lines, 1):
        states = dict.fromkeys(tree.state_of[one] for one in line)
        if len(states) > 1:
            first, other = (
                next(one for one in line if tree.state_of[one] == state) for state in [*states][:2]
            )
            yield f"line {number} of `orders`: {first!r} and {other!r} do not run in the same state"
        for state in states:
            if state in begun:
                yield f"lines {begun[state]} and {number} of `orders` are of the same state: make one of them"
            begun.setdefault(state, number)


def _left_for_parts(
    journey: JourneyId,
    planned: Collection[JourneyId],
    lines: Iterable[Sequence[JourneyId]],
    tree: StateTree,
) -> Iterator[JourneyId]:
    """Yield what must be over before the state of a journey begins as a copy: the order may differ from the tree's."""
    of_state = {tree.state_of[line[0]]: line for line in lines}
    state = tree.state_of[journey]
    while state in tree.forks:
        fork = tree.forks[state]
        if fork.after is not None:
            line = of_state.get(fork.state, ())
            last = tree.positions[fork.after]
            yield from [one for one in line if one in planned and tree.positions[one] <= last][-1:]
        state = fork.state


def _broken_needs(
    lines: Iterable[Sequence[JourneyId]], after: Mapping[JourneyId, Sequence[JourneyId]]
) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        place = {one: position for position, one in enumerate(line)}
        for one in line:
            for other in after[one]:
                if place.get(other, -1) > place[one]:
                    yield (
                        f"line {number} of `orders`: {one!r} stands before {other!r}, "
                        "after which it must run by what is declared"
                    )


def lines_of(pinned: PinnedPlan, plan: Plan) -> dict[StateId, tuple[Entry, ...]]:
    """Return the line of each state that takes part in a run; without `orders` its journeys as they are planned."""
    state_of = {one.id: one.state for one in plan.journeys}
    if pinned.orders is not None:
        return {state_of[journeys_in(line)[0]]: line for line in pinned.orders}
    lines: dict[StateId, tuple[Entry, ...]] = {}
    for one in plan.journeys:
        lines[one.state] = (*lines.get(one.state, ()), one.id)
    return lines
