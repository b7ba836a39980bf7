"""Splits chains with copyable tokens into states: which journeys share one, and of which state it begins as a copy.

That is decided from the files alone, before anything runs: it is the same for any number of workers, selection, shard
and recorded durations, because all of these may not change what an item finds in its state.

In a chain, a journey is *tied* to a later one that needs what it establishes, that works in the same directory, or that
needs the same token which cannot be copied. From the last journey to the first, each becomes the parent of the groups
of later journeys that it is tied to. Where several groups follow a journey, each is a *part*, which begins as a copy
of the state that the journey leaves. A group that needs a token that holds already and is not copyable goes on in that
state itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import lru_cache

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, JourneyId, Scope, StateId, Tier, Token
from pytest_dogfood.walks import DisjointSets, in_order, inverted, reachable


class Fork(Struct, frozen=True, kw_only=True):
    """The place in a state from which parts begin as copies: behind the journey `after`, or at the state's beginning.

    With `goes_on` later journeys run in the state itself, so that the copy must be made before they do.
    """

    number: int
    state: StateId
    after: JourneyId | None
    goes_on: bool


class StateTree(Struct, frozen=True, kw_only=True):
    """The states of a project. `forks` maps each part to where it begins; other states begin empty.

    `state_of` maps each journey to its state, which is named after the first journey in it, and `members` each state to
    its journeys, in order where the chain is split. `numbers` maps each state to its number, `chain_of` to its chain.
    `positions` gives the order of the journeys in chains that are split; `split` names these chains.
    """

    state_of: Mapping[JourneyId, StateId]
    members: Mapping[StateId, tuple[JourneyId, ...]]
    numbers: Mapping[StateId, int]
    chain_of: Mapping[StateId, ChainId]
    forks: Mapping[StateId, Fork]
    positions: Mapping[JourneyId, int]
    split: frozenset[ChainId]

    def is_split(self, state: StateId) -> bool:
        """Return whether a state belongs to a chain with copyable tokens, which may be split into several states."""
        return self.chain_of[state] in self.split

    def parts(self) -> Mapping[int, tuple[StateId, ...]]:
        """Return the parts that begin at each fork, by its number."""
        found = inverted({part: [fork.number] for part, fork in self.forks.items()})
        return {number: tuple(parts) for number, parts in found.items()}

    def inherits(self, later: JourneyId, journey: JourneyId) -> bool:
        """Return whether `later` finds in its state what `journey` leaves; both are of chains that are split."""
        state, position = self.state_of[later], self.positions[later]
        while state != self.state_of[journey] and state in self.forks:
            fork = self.forks[state]
            state, position = fork.state, -1 if fork.after is None else self.positions[fork.after] + 1
        return state == self.state_of[journey] and position > self.positions[journey]

    def last_before_parts(self, selected: Iterable[JourneyId]) -> dict[StateId, JourneyId]:
        """Return for each part the last selected journey that runs before it begins, in the states above it."""
        here = frozenset(selected)
        up_to: dict[JourneyId, JourneyId] = {}
        for members in self.members.values():
            last: JourneyId | None = None
            for journey in members:
                last = journey if journey in here else last
                if last is not None:
                    up_to[journey] = last
        found: dict[StateId, JourneyId] = {}
        for part, fork in self.forks.items():  # each after the state that it copies
            above = None if fork.after is None else up_to.get(fork.after)
            above = above or found.get(fork.state)
            if above is not None:
                found[part] = above
        return found


@lru_cache(maxsize=4)
def split(graph: CapabilityGraph) -> StateTree:
    """Return the states of the journeys of a graph; without a copyable token each chain is one state."""
    forkable = _chains_with_copyable_tokens(graph)
    journeys = _in_split_order(graph) if forkable else ()
    builder = _TreeBuilder(graph, [one for one in journeys if graph.chains[one] in forkable])
    state_of: dict[JourneyId, StateId] = {}
    for chain in dict.fromkeys(graph.chains.values()):
        if chain in forkable:
            builder.split(chain)
    for journey, chain in graph.chains.items():
        state_of[journey] = builder.state_of.get(journey, StateId(chain))
    chain_of = {state: graph.chains[journey] for journey, state in state_of.items()}
    chain_of |= builder.empty
    numbers = {state: number for number, state in enumerate(chain_of)}
    position = builder.position
    members = inverted({journey: [state] for journey, state in state_of.items()})
    return StateTree(
        state_of=state_of,
        members={
            state: tuple(sorted(members[state], key=lambda one: position.get(one, 0))) for state in chain_of
        },
        numbers=numbers,
        chain_of=chain_of,
        forks=builder.forks,
        positions=position,
        split=frozenset(forkable),
    )


def _chains_with_copyable_tokens(graph: CapabilityGraph) -> set[ChainId]:
    if not any(capability.copyable for capability in graph.capabilities.values()):
        return set()
    return {
        graph.chains[journey.id]
        for journey in graph.journeys.values()
        if any(map(graph.is_copyable, graph.chain_tokens_of(journey)))
    }


def _in_split_order(graph: CapabilityGraph) -> tuple[JourneyId, ...]:
    """Return all journeys after those that they come after, gates included.

    Of those that are ready, the one with the longest way to the end comes first, counted in journeys, then the first
    in the order of the files.
    """
    before = graph.prerequisites_in_one_state
    dependents = inverted(before)
    ways: dict[JourneyId, int] = {}
    for journey in reversed(in_order(before)):
        ways[journey] = 1 + max((ways.get(other, 0) for other in dependents.get(journey, ())), default=0)
    gates = [journey for journey in graph.journeys.values() if journey.gating]
    tiers: dict[JourneyId | Tier, list[JourneyId | Tier]] = {tier: [] for tier in Tier}
    for gate in gates:
        for tier in Tier:
            if gate.tier < tier:
                tiers[tier].append(gate.id)
    by_way = sorted(graph.journeys, key=lambda journey: -ways[journey])  # stable, so then as given
    after: dict[JourneyId | Tier, Iterable[JourneyId | Tier]] = dict(tiers)
    for journey in by_way:
        after[journey] = (*before[journey], graph.journeys[journey].tier)
    return tuple(one for one in in_order(after) if not isinstance(one, Tier))


class _Group(Struct):
    """Journeys that are tied to each other; `root` is the first of them.

    `fixed_since` is the lowest position of a journey that uses a token which is not copyable and which a member uses.
    """

    root: JourneyId
    fixed_since: float


class _TreeBuilder:
    """Finds the states of chains with copyable tokens, and the forks between them."""

    def __init__(self, graph: CapabilityGraph, order: Iterable[JourneyId]) -> None:
        self._graph = graph
        self._order = tuple(order)
        self.position = {journey: number for number, journey in enumerate(self._order)}
        self.state_of: dict[JourneyId, StateId] = {}
        self.forks: dict[StateId, Fork] = {}
        self._counter = itertools.count()
        self.empty: dict[StateId, ChainId] = {}
        """States without journeys, whose parts only providers tie to each other; with their chains."""
        self._following: dict[JourneyId, list[_Group]] = {}
        self._roots: dict[ChainId, list[_Group]] = defaultdict(list)
        self._group_journeys()

    def _group_journeys(self) -> None:
        journeys = [self._graph.journeys[one] for one in self._order]
        fixed = {journey.id: tuple(dict.fromkeys(self._fixed_in_place(journey))) for journey in journeys}
        since: dict[Hashable, int] = {}
        for one in self._order:
            for tie in fixed[one]:
                since.setdefault(tie, self.position[one])
        sets = DisjointSets(self._order)
        groups: dict[JourneyId, _Group] = {}
        later: dict[Hashable, list[JourneyId]] = defaultdict(list)
        for journey in reversed(journeys):
            made = [token for token in journey.establishes if self._graph.is_copyable(token)]
            shared = (*fixed[journey.id], *self._shared_directory(journey))
            tied = dict.fromkeys(sets.head(one) for tie in (*made, *shared) for one in later[tie])
            following = [groups.pop(head) for head in tied]
            for head in tied:
                sets.join(head, journey.id)
            own = [since[tie] for tie in fixed[journey.id]]
            lowest = min([*own, *(group.fixed_since for group in following)], default=float("inf"))
            groups[sets.head(journey.id)] = _Group(journey.id, lowest)
            self._following[journey.id] = sorted(following, key=lambda group: self.position[group.root])
            for tie in (*(token for token in made if later[token]), *shared):
                later[tie] = [journey.id]  # the later ones are all in its group by now
            needed = frozenset(self._graph.needed_by(journey))  # not what it only invalidates
            for token in self._graph.chain_tokens_of(journey):
                if token in needed and self._graph.is_copyable(token):
                    later[token].append(journey.id)
        for group in sorted(groups.values(), key=lambda group: self.position[group.root]):
            self._roots[self._graph.chains[group.root]].append(group)

    def _fixed_in_place(self, journey: Journey) -> Iterator[Hashable]:
        """Yield what ties journeys to one state: tokens that are not copyable, and the order of tests."""
        graph = self._graph

        def below(token: Token) -> list[Token]:
            return [one for one in graph.rests_on(token) if graph.scope_of(one) is Scope.CHAIN]

        for token in reachable(graph.chain_tokens_of(journey), below):
            if not graph.is_copyable(token):
                yield token
        yield from journey.groups.values()
        yield from (("follows", other) for other in (journey.id, *journey.follows))

    def _shared_directory(self, journey: Journey) -> list[Hashable]:
        if journey.workdir is None:
            return []
        return [("workdir", self._graph.chains[journey.id], journey.workdir)]

    def split(self, chain: ChainId) -> None:
        """Give each journey of a chain its state."""
        groups = self._roots[chain]
        waiting: list[tuple[StateId, list[tuple[int, JourneyId]]]] = []
        if len(groups) == 1:
            waiting.append(self._begin(groups[0]))
        else:
            empty = StateId(f"{chain} (template)")
            self.empty[empty] = chain
            waiting += self._fork(empty, None, groups, goes_on=False)
        while waiting:
            state, left = waiting.pop()
            while left:
                _, journey = heapq.heappop(left)
                self.state_of[journey] = state
                apart: list[_Group] = []
                for group in self._following[journey]:
                    if group.fixed_since <= self.position[journey]:
                        heapq.heappush(left, (self.position[group.root], group.root))
                    else:
                        apart.append(group)
                if len(apart) == 1 and not left:
                    heapq.heappush(left, (self.position[apart[0].root], apart[0].root))
                elif apart:
                    waiting += self._fork(state, journey, apart, goes_on=bool(left))

    def _begin(self, group: _Group) -> tuple[StateId, list[tuple[int, JourneyId]]]:
        return StateId(group.root), [(self.position[group.root], group.root)]

    def _fork(
        self, state: StateId, after: JourneyId | None, groups: Iterable[_Group], *, goes_on: bool
    ) -> Iterator[tuple[StateId, list[tuple[int, JourneyId]]]]:
        fork = Fork(number=next(self._counter), state=state, after=after, goes_on=goes_on)
        for group in groups:
            self.forks[StateId(group.root)] = fork
            yield self._begin(group)
