"""Plans a run from the project's graph and a selection: which items run, where, and after which others.

A selection, as by -k, may leave out what cannot be replayed; `prerequisites_to_run` brings that back first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set as AbstractSet
from itertools import pairwise

import msgspec
from msgspec import Struct, field

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, JourneyId, StateId, Tier, Token
from pytest_dogfood.scheduling.split import StateTree, split
from pytest_dogfood.walks import in_order, reachable


def weights(
    journeys: Iterable[Journey], *, seen: Mapping[str, float], committed: Mapping[str, float]
) -> dict[str, float]:
    """Return each node id a weight in seconds: its known duration, else the median of the known.

    While nothing is known each weighs the same, so that the longest path is counted in hops.
    """
    journeys = tuple(journeys)
    known = known_seconds(journeys, seen=seen, committed=committed)
    usual = usual_duration(known.values())
    return {journey.nodeid: known.get(journey.nodeid, usual) for journey in journeys}


def known_seconds(
    journeys: Iterable[Journey], *, seen: Mapping[str, float], committed: Mapping[str, float]
) -> dict[str, float]:
    """Return the known durations by node id, in seconds: seen, else estimated, else committed."""
    found: dict[str, float] = {}
    for journey in journeys:
        each = (seen.get(journey.nodeid), journey.estimate, committed.get(journey.nodeid))
        known = next((one for one in each if one is not None), None)
        if known is not None:
            found[journey.nodeid] = known
    return found


UNKNOWN_DURATION = 1.0
"""Weight, in seconds, of a journey whose duration is neither measured nor estimated."""


class Share(Struct, frozen=True, kw_only=True):
    """The number of units of a lock that an item holds while it runs, out of `of` units."""

    lock: str
    units: int
    of: int


class PlannedJourney(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the run: its place, what it comes after, and which gates must be open.

    `after` names items of this run; `gates` may also name journeys that another shard runs. `state` is the state of its
    chain in which it runs, `number` the number of that state.
    `uses` holds the tokens that live while this item is unfinished: those it names, and those that gates of other
    shards name, which may be replayed for it. `prerequisite` is set on what the selection had left out, another item
    needs, and cannot be replayed.
    """

    id: JourneyId
    nodeid: str
    chain: ChainId
    state: StateId
    number: int
    after: tuple[JourneyId, ...] = ()
    gates: tuple[JourneyId, ...] = ()
    weight: float = UNKNOWN_DURATION
    tier: Tier = Tier.CORE
    requires: tuple[Token, ...] = ()
    establishes: tuple[Token, ...] = ()
    invalidates: tuple[Token, ...] = ()
    uses: tuple[Token, ...] = ()
    locks: tuple[Share, ...] = ()
    prerequisite: bool = False


class Expected(Struct, frozen=True, kw_only=True):
    """What all shards together are to run: the shard of every selected item, and the journeys among the items.

    `graph` is a fingerprint of what requires and establishes which token in the whole project.
    """

    shards: Mapping[str, int]
    journeys: Mapping[str, JourneyId]
    graph: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """The items of one run in dependency order.

    `rests_on` maps each token that some item uses, directly or not, to those that it may rest on. With
    `asks_at_run_time` some item may ask for any token while it runs, without having said so before.
    """

    journeys: tuple[PlannedJourney, ...] = ()
    rests_on: Mapping[Token, tuple[Token, ...]] = field(default_factory=dict)
    asks_at_run_time: bool = False

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that differ between different plans."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    def by_nodeid(self) -> dict[str, PlannedJourney]:
        return {planned.nodeid: planned for planned in self.journeys}


def make_plan(
    graph: CapabilityGraph,
    selected: Sequence[JourneyId],
    *,
    gates: Iterable[JourneyId] | None = None,
    prerequisites: Collection[JourneyId] = (),
    durations: Mapping[str, float] | None = None,
) -> Plan:
    """Plan a run of `selected`, which keeps its order as far as the requirements allow.

    `gates` are the journeys that count as gates if they say so (default: the selection), those of other shards
    included, which are replayed for what stands behind them; `durations` has the weight of each node id, in seconds.
    """
    in_run = frozenset(selected if gates is None else gates)
    closed_by = gates_by_tier(graph, in_run)
    tree = split(graph)
    reach = _reach_within(graph, tree, selected, in_run, closed_by)
    planned: dict[JourneyId, PlannedJourney] = {}
    for journey_id in selected:
        journey = graph.journeys[journey_id]
        behind = closed_by[journey.tier]
        after = reach[journey_id].after
        if behind:
            after = tuple(dict.fromkeys((*after, *(gate for gate in behind if gate in reach))))
        state = tree.state_of[journey_id]
        if journey_id in tree.before:  # the order within a state is that of the plan, and no dependency
            own = graph.prerequisites[journey_id]
            after = tuple(one for one in after if tree.state_of[one] != state or one in own)
        required = graph.required_by(journey)
        named = (*required, *journey.establishes, *journey.invalidates, *reach[journey_id].of_gates)
        planned[journey_id] = PlannedJourney(
            id=journey_id,
            nodeid=journey.nodeid,
            chain=graph.chains[journey_id],
            state=state,
            number=tree.numbers[state],
            after=after,
            gates=behind,
            weight=(durations or {}).get(journey.nodeid, UNKNOWN_DURATION),
            tier=journey.tier,
            requires=required,
            establishes=tuple(journey.establishes),
            invalidates=tuple(journey.invalidates),
            uses=tuple(dict.fromkeys(named)),
            locks=tuple(
                Share(lock=lock, units=units, of=graph.units_of(lock))
                for lock, units in journey.locks.items()
            ),
            prerequisite=journey_id in prerequisites,
        )
    return Plan(
        journeys=tuple(planned[one] for one in _order(graph, tree, planned)),
        rests_on=_what_tokens_rest_on(graph, planned),
    )


def _what_tokens_rest_on(
    graph: CapabilityGraph, planned: Mapping[JourneyId, PlannedJourney]
) -> dict[Token, tuple[Token, ...]]:
    """Map the tokens that items use, and all tokens on which these rest, to those on which each rests directly.

    A replay for a token also establishes its journey's other tokens. The token counts as resting on these, so that they
    are released after it, and before the tokens on which both rest. If one of them may rest on the token itself, no
    item and no token keeps it alive: see `Lifetimes`.
    """
    found: dict[Token, tuple[Token, ...]] = {}
    besides: dict[Token, list[Token]] = {}
    left_out = graph.journeys.keys() - planned.keys()

    def below(token: Token) -> Iterable[Token]:
        found[token] = graph.rests_on(token)
        if not left_out:
            return found[token]
        replayed = (graph.journeys[one] for one in graph.establishing(token) if one in left_out)
        besides[token] = [other for journey in replayed for other in journey.establishes]
        return (*found[token], *besides[token])

    reachable((token for one in planned.values() for token in one.uses), below)
    for token, others in besides.items():
        for other in others:
            if other == token or other in found[token] or token in found[other]:
                continue  # seen at a glance, without the walk
            if token not in reachable([other], found.__getitem__):
                found[token] = (*found[token], other)
    return found


def _order(
    graph: CapabilityGraph, tree: StateTree, planned: Mapping[JourneyId, PlannedJourney]
) -> tuple[JourneyId, ...]:
    """Order the items so that each follows those it comes after, otherwise as given.

    In the states of a chain with copyable tokens they keep the order of the tree. Within any other chain, of the items
    that are ready, those come first for which another worker waits, directly or through others of the chain; tests that
    keep their file order are exempt. The order is the same for any number of workers and any durations: neither may
    change the state that an item finds.
    """
    before = {journey: one.after for journey, one in planned.items()}
    for members in tree.members.values():
        if members[:1] and members[0] in tree.positions:
            here = [one for one in members if one in planned]
            before |= {one: (*before[one], earlier) for earlier, one in pairwise(here)}
    elsewhere = (
        other for one in planned.values() for other in one.after if planned[other].state != one.state
    )
    awaited = reachable(elsewhere, before.__getitem__)
    first = {journey for journey in awaited if not graph.journeys[journey].keeps_file_order}
    last: dict[StateId, JourneyId] = {}
    one_by_one: dict[JourneyId, tuple[JourneyId, ...]] = {}
    for journey in in_order(before, first=first):
        state = planned[journey].state
        one_by_one[journey] = (*before[journey], *((last[state],) if state in last else ()))
        last[state] = journey
    return in_order({journey: one_by_one[journey] for journey in planned})


def gates_by_tier(graph: CapabilityGraph, among: Iterable[JourneyId]) -> dict[Tier, tuple[JourneyId, ...]]:
    """Return the gates `among` some journeys that a journey of each tier stands behind, in the order of the files."""
    chosen = set(among)
    gating = [journey for journey in graph.journeys.values() if journey.gating and journey.id in chosen]
    return {tier: tuple(gate.id for gate in gating if gate.tier < tier) for tier in Tier}


class _Reach(Struct, frozen=True):
    """The journeys before a journey, and the tokens of gates of other shards, which may be replayed for it."""

    after: tuple[JourneyId, ...]
    of_gates: tuple[Token, ...] = ()


def _reach_within(
    graph: CapabilityGraph,
    tree: StateTree,
    selected: Collection[JourneyId],
    in_run: AbstractSet[JourneyId],
    gates: Mapping[Tier, tuple[JourneyId, ...]],
) -> dict[JourneyId, _Reach]:
    """For each selected journey the other selected ones that it comes after, also through journeys left out.

    Those left out may be replayed, and so may their prerequisites: an item among these must run first, because in a
    later state its work would be done already, and no token may be released before. The same holds for the gates of
    journeys that are left out although they are `in_run`: gates that are items are not replayed.
    """
    here = set(selected)
    prerequisites = graph.prerequisites
    if tree.before:  # what is before an item in its state, or in the one that this copies, counts as well
        above = tree.before
        prerequisites = {
            one: tuple(dict.fromkeys((*before, *above.get(one, ())))) for one, before in prerequisites.items()
        }
    everything = selected if len(here) == len(graph.journeys) else in_order(prerequisites)
    some_run_elsewhere = any(gates.values()) and not in_run <= here
    behind_gates = _reach_of_gates(graph, here, in_run, gates) if some_run_elsewhere else {}
    reach: dict[JourneyId, _Reach] = {}
    for journey in everything:
        before = prerequisites[journey]
        left_out = [reach[other] for other in before if other not in here]
        if behind_gates and (journey in here or journey in in_run):
            left_out.append(behind_gates[graph.journeys[journey].tier])
        of_gates: tuple[Token, ...] = ()
        if left_out:
            after = [other for other in before if other in here]
            before = tuple(dict.fromkeys([*after, *(one for other in left_out for one in other.after)]))
            of_gates = tuple(dict.fromkeys(token for other in left_out for token in other.of_gates))
        reach[journey] = _Reach(before, of_gates)
    return {journey: reach[journey] for journey in selected}


def _reach_of_gates(
    graph: CapabilityGraph,
    here: AbstractSet[JourneyId],
    in_run: AbstractSet[JourneyId],
    gates: Mapping[Tier, tuple[JourneyId, ...]],
) -> dict[Tier, _Reach]:
    """Return the reach of gates, by the tier of what stands behind them, where other shards run some of these."""

    def before(journey: JourneyId) -> tuple[JourneyId, ...]:
        if journey in here:
            return ()
        closed_by = gates[graph.journeys[journey].tier] if journey in in_run else ()
        return (*graph.prerequisites[journey], *closed_by)

    found: dict[Tier, _Reach] = {}
    for tier, closed_by in gates.items():
        behind = reachable(closed_by, before)
        left_out = [graph.journeys[one] for one in behind if one not in here]
        named = (token for one in left_out for token in (*graph.required_by(one), *one.establishes))
        found[tier] = _Reach(tuple(one for one in behind if one in here), tuple(dict.fromkeys(named)))
    return found


def usual_duration(known: Collection[float]) -> float:
    """Return the median of the durations that are known, in seconds: what the others may take."""
    ordered = sorted(known)
    # To import `statistics` for this one takes longer than most plans.
    return (
        (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else UNKNOWN_DURATION
    )


def prerequisites_to_run(
    graph: CapabilityGraph, selected: Collection[JourneyId], *, elsewhere: Collection[JourneyId] = ()
) -> tuple[JourneyId, ...]:
    """Return the journeys that must be added to a selection as items, because they cannot be replayed for others.

    Python tests and journeys with fixtures cannot be replayed in another item's set-up. Neither can journeys that need
    them, or a token of a fixture, in the state of their chain, except on its own worker. All others are provisioned.
    Of the journeys that may establish a needed token, all that cannot be replayed are added: one may fail, and then
    another one that passes is enough. `elsewhere` are the items of other shards. Journeys that would be added without
    shards are added here too if an item here needs them. Gates of other shards are needed by the items after them.
    The order of the items does not matter.
    """
    if not graph.fixtures and not any(map(_is_run_by_pytest, graph.journeys.values())):
        return ()
    replayable = replayable_anywhere(graph)
    present = set(selected)
    wanted: dict[JourneyId, None] = {}
    seen: set[Token] = set()
    waiting: list[Token] = []
    everywhere = present.union(elsewhere)
    # The items of a run without shards are the same on each shard.
    in_run = everywhere.union(prerequisites_to_run(graph, everywhere) if elsewhere else ())
    added_without_shards = in_run - everywhere
    gates = gates_by_tier(graph, (journey for journey in elsewhere if journey not in present))
    asked: set[Tier] = set()

    def wait_for_needs(journey: Journey) -> None:
        waiting.extend(graph.needed_by(journey))
        if journey.id in in_run and journey.tier not in asked:
            asked.add(journey.tier)
            require(gates[journey.tier], anywhere=True)

    def require(journeys: Iterable[JourneyId], *, anywhere: bool) -> None:
        for journey in reachable(journeys, lambda one: graph.journeys[one].follows):
            found = graph.journeys[journey]
            in_reach = journey in replayable if anywhere else not _is_run_by_pytest(found)
            if journey not in present and (not in_reach or journey in added_without_shards):
                wanted[journey] = None
            wait_for_needs(found)

    for journey in filter(present.__contains__, graph.journeys):
        wait_for_needs(graph.journeys[journey])
        require(graph.journeys[journey].follows, anywhere=False)
    present.update(wanted)
    while waiting:
        token = waiting.pop()
        if token not in seen and not graph.has_independent_provider(token):
            seen.add(token)
            require(graph.establishing(token), anywhere=graph.scope_of(token).is_shared)
            present.update(wanted)
            in_run.update(wanted)
    return tuple(journey for journey in graph.journeys if journey in wanted)


def _is_run_by_pytest(journey: Journey) -> bool:
    """Return whether a journey is a test, or uses fixtures: those of another item may be others, or none."""
    return journey.python or bool(journey.use)


def replayable_anywhere(graph: CapabilityGraph) -> set[JourneyId]:
    """Return the journeys that can be replayed on any worker that needs them.

    Shared tokens are available to all of them, whatever has provided them. A fixture's token is not: it is set up
    for an item that can see the fixture, in the state of its chain.
    """
    found: set[JourneyId] = set()

    def can_be_had(token: Token) -> bool:
        if token in graph.fixtures:
            return False
        if graph.scope_of(token).is_shared or graph.has_own_provider(token):
            return True
        return all(member in found for member in graph.establishing(token))

    for journey_id in graph.ordered(graph.journeys):  # each rests on what is known by then
        journey = graph.journeys[journey_id]
        if not _is_run_by_pytest(journey) and all(map(can_be_had, graph.needed_by(journey))):
            found.add(journey_id)
    return found
