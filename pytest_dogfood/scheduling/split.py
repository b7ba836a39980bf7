"""Splits chains with copyable tokens into states: which journeys share one, and of which state it begins as a copy.

That is decided from the files alone, before anything runs: it is the same for any number of workers, selection, shard
and recorded durations, because all of these may not change what an item finds in its state.

In a chain, a journey is *tied* to a later one that needs what it establishes, that works in the same directory, or that
needs the same token which cannot be copied. From the last journey to the first, each becomes the parent of the groups
of later journeys that it is tied to. Where several groups follow a journey, each is a *part*, which begins as a copy
of the state that the journey leaves. A group that needs a token that holds already and is not copyable goes on in that
state itself. A copyable token that no journey establishes counts as established by its provider, in the place that a
journey would have.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from functools import cache, lru_cache

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, JourneyId, StateId, Tier, Token
from pytest_dogfood.walks import DisjointSets, in_order, inverted, reachable


class Provider(Struct, frozen=True):
    """What provides a copyable token that no journey establishes, in the order of the journeys."""

    token: Token


Node = JourneyId | Provider


class Fork(Struct, frozen=True, kw_only=True):
    """The place in a state from which parts begin as copies: behind the journey `after`, or at the state's beginning.

    With `goes_on` later journeys run in the state itself, so that the copy must be made before they do. `provided` are
    the tokens of the state up to there that no journey establishes.
    """

    number: int
    state: StateId
    after: JourneyId | None
    goes_on: bool
    provided: tuple[Token, ...] = ()


class StateTree(Struct, frozen=True, kw_only=True):
    """The states of a project. `forks` maps each part to where it begins; other states begin empty.

    `state_of` maps each journey to its state, which is named after the first journey in it, and `members` each state to
    its journeys, in order where the chain is split. `numbers` maps each state to its number, `chain_of` to its chain.
    `positions` gives the order of the journeys in chains that are split, and `before` those that each comes after, in
    its own state or in the one that this copies. `split` names these chains.
    """

    state_of: Mapping[JourneyId, StateId]
    members: Mapping[StateId, tuple[JourneyId, ...]]
    numbers: Mapping[StateId, int]
    chain_of: Mapping[StateId, ChainId]
    forks: Mapping[StateId, Fork]
    before: Mapping[JourneyId, tuple[JourneyId, ...]]
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


@lru_cache(maxsize=4)
def split(graph: CapabilityGraph) -> StateTree:
    """Return the states of the journeys of a graph; without a copyable token each chain is one state."""
    forkable = _chains_with_copyable_tokens(graph)
    builder = _TreeBuilder(graph, forkable)
    for chain in dict.fromkeys(graph.chains.values()):
        if chain in forkable:
            builder.split(chain)
    made = {journey: state for state, journeys in builder.members.items() for journey in journeys}
    state_of = {journey: made.get(journey, StateId(chain)) for journey, chain in graph.chains.items()}
    chain_of = {state: graph.chains[journey] for journey, state in state_of.items()}
    chain_of |= {state: chain for state, chain in builder.chain_of.items() if not builder.members[state]}
    unsplit = inverted({journey: [state] for journey, state in state_of.items() if journey not in made})
    return StateTree(
        state_of=state_of,
        members={state: tuple(builder.members.get(state) or unsplit[state]) for state in chain_of},
        numbers={state: number for number, state in enumerate(chain_of)},
        chain_of=chain_of,
        forks=builder.forks,
        before=builder.before,
        positions={one: number for one, number in builder.position.items() if not isinstance(one, Provider)},
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


def _in_split_order(
    graph: CapabilityGraph, providers: Mapping[Provider, Iterable[JourneyId]]
) -> tuple[Node, ...]:
    """Return all journeys, and providers with what needs them, after those that they come after, gates included.

    Of those that are ready, the one with the longest way to the end comes first, counted in journeys, then the first
    in the order of the files.
    """
    before: dict[Node, list[Node]] = {one: [] for one in providers}
    before |= {journey: [*others] for journey, others in graph.prerequisites_in_one_state.items()}
    for provider, users in providers.items():
        for base in graph.with_bases([provider.token])[1:]:
            before[provider] += [*graph.establishing(base), *({Provider(base)} & providers.keys())]
        for user in users:
            before[user].append(provider)
    dependents = inverted(before)
    ways: dict[Node, int] = {}
    for one in reversed(in_order(before)):
        way = max((ways.get(other, 0) for other in dependents.get(one, ())), default=0)
        ways[one] = way + (not isinstance(one, Provider))
    gates = [journey for journey in graph.journeys.values() if journey.gating]
    after: dict[Node | Tier, Iterable[Node | Tier]] = {
        tier: [gate.id for gate in gates if gate.tier < tier] for tier in Tier
    }
    for one in sorted(before, key=lambda one: -ways[one]):  # stable, so then as given
        tiers = () if isinstance(one, Provider) else (graph.journeys[one].tier,)
        after[one] = (*before[one], *tiers)
    return tuple(one for one in in_order(after) if not isinstance(one, Tier))


class _Group(Struct):
    """Journeys and providers that are tied to each other; `root` is the first of them.

    `fixed_since` is the lowest position of one that uses a token which is not copyable and which a member uses.
    """

    root: Node
    fixed_since: float


class _Beginning(Struct):
    """A group that begins in a state of its own, at a fork or empty, after the journeys `before`."""

    group: _Group
    fork: Fork | None = None
    before: tuple[JourneyId, ...] = ()


class _TreeBuilder:
    """Finds the states of chains with copyable tokens, their journeys in order, and the forks between them."""

    def __init__(self, graph: CapabilityGraph, chains: Collection[ChainId]) -> None:
        self._graph = graph
        self._below = cache(self._in_chain_below)  # asked for each journey above a token
        self._chains: dict[Node, ChainId] = {
            one: chain for one, chain in graph.chains.items() if chain in chains
        }
        providers: dict[Provider, list[JourneyId]] = defaultdict(list)
        for journey in graph.journeys.values():
            for token in self._needed(journey) if journey.id in self._chains else ():
                if not graph.establishing(token):
                    providers[Provider(token)].append(journey.id)
        self._chains |= {one: graph.chains[users[0]] for one, users in providers.items()}
        order = _in_split_order(graph, providers) if chains else ()
        self._order = tuple(one for one in order if one in self._chains)
        self.position = {one: number for number, one in enumerate(self._order)}
        self.members: dict[StateId, list[JourneyId]] = {}
        self.chain_of: dict[StateId, ChainId] = {}
        self.forks: dict[StateId, Fork] = {}
        self.before: dict[JourneyId, tuple[JourneyId, ...]] = {}
        self._counter = itertools.count()
        self._following: dict[Node, list[_Group]] = {}
        self._roots: dict[ChainId, list[_Group]] = defaultdict(list)
        self._group_nodes()

    def _needed(self, journey: Journey) -> list[Token]:
        """Return the copyable tokens that a journey needs in its state, not those that it only makes or invalidates."""
        needed = frozenset(self._graph.needed_by(journey))
        tokens = self._graph.chain_tokens_of(journey)
        return [token for token in tokens if token in needed and self._graph.is_copyable(token)]

    def _group_nodes(self) -> None:
        fixed = {one: tuple(dict.fromkeys(self._fixed_in_place(one))) for one in self._order}
        since: dict[Hashable, int] = {}
        for one in self._order:
            for tie in fixed[one]:
                since.setdefault(tie, self.position[one])
        sets = DisjointSets(self._order)
        groups: dict[Node, _Group] = {}
        later: dict[Hashable, list[Node]] = defaultdict(list)
        for one in reversed(self._order):
            made, needed, shared = self._made_and_needed(one)
            shared = (*fixed[one], *shared)
            tied = dict.fromkeys(sets.head(other) for tie in (*made, *shared) for other in later[tie])
            following = [groups.pop(head) for head in tied]
            for head in tied:
                sets.join(head, one)
            own = [since[tie] for tie in fixed[one]]
            lowest = min([*own, *(group.fixed_since for group in following)], default=float("inf"))
            groups[sets.head(one)] = _Group(one, lowest)
            self._following[one] = sorted(following, key=lambda group: self.position[group.root])
            for tie in (*(token for token in made if later[token]), *shared):
                later[tie] = [one]  # the later ones are all in its group by now
            for token in needed:
                later[token].append(one)
        for group in sorted(groups.values(), key=lambda group: self.position[group.root]):
            self._roots[self._chains[group.root]].append(group)

    def _made_and_needed(self, one: Node) -> tuple[list[Token], list[Token], tuple[Hashable, ...]]:
        """Return the copyable tokens that a node makes and needs, and the directory that it shares with others."""
        graph = self._graph
        if isinstance(one, Provider):
            bases = graph.with_bases([one.token])[1:]
            return [one.token], [base for base in bases if graph.is_copyable(base)], ()
        journey = graph.journeys[one]
        directory = () if journey.workdir is None else (("workdir", graph.chains[one], journey.workdir),)
        return list(filter(graph.is_copyable, journey.establishes)), self._needed(journey), directory

    def _fixed_in_place(self, one: Node) -> Iterator[Hashable]:
        """Yield what ties journeys to one state: tokens that are not copyable, and the order of tests."""
        graph = self._graph
        journey = None if isinstance(one, Provider) else graph.journeys[one]
        tokens = [one.token] if isinstance(one, Provider) else graph.chain_tokens_of(graph.journeys[one])
        for token in reachable(tokens, self._below):
            if not graph.is_copyable(token):
                yield token
        if journey is not None:
            yield from journey.groups.values()
            yield from (("follows", other) for other in (journey.id, *journey.follows))

    def _in_chain_below(self, token: Token) -> tuple[Token, ...]:
        """Return the tokens of chains on which a token rests directly."""
        graph = self._graph
        return tuple(base for base in graph.rests_on(token) if not graph.scope_of(base).is_shared)

    def split(self, chain: ChainId) -> None:
        """Give each journey of a chain its state."""
        groups = self._roots[chain]
        waiting: list[_Beginning] = [_Beginning(group) for group in groups]
        if len(groups) > 1:
            empty = StateId(f"{chain} (empty)")
            self.members[empty], self.chain_of[empty] = [], chain
            fork = Fork(number=next(self._counter), state=empty, after=None, goes_on=False)
            waiting = [_Beginning(group, fork) for group in groups]
        while waiting:
            waiting += self._fill_state(chain, waiting.pop())

    def _fill_state(self, chain: ChainId, begins: _Beginning) -> list[_Beginning]:
        """Put into a state what goes on there; return the parts that begin as copies of it."""
        left = [(self.position[begins.group.root], begins.group.root)]
        members: list[JourneyId] = []
        provided: list[Token] = []
        apart: list[tuple[Fork, list[_Group], tuple[JourneyId, ...]]] = []
        before = begins.before
        while left:
            _, one = heapq.heappop(left)
            if isinstance(one, Provider):
                provided.append(one.token)
                bases = self._graph.with_bases([one.token])[1:]
                before = (*before, *(maker for base in bases for maker in self._graph.establishing(base)))
            else:
                members.append(one)
                self.before[one], before = before, (one,)
            others: list[_Group] = []
            for group in self._following[one]:
                if group.fixed_since <= self.position[one]:
                    heapq.heappush(left, (self.position[group.root], group.root))
                else:
                    others.append(group)
            if len(others) == 1 and not left:
                heapq.heappush(left, (self.position[others[0].root], others[0].root))
            elif others:
                fork = Fork(
                    number=next(self._counter),
                    state=StateId(""),
                    after=members[-1] if members else None,
                    goes_on=bool(left),
                    provided=tuple(provided),
                )
                apart.append((fork, others, before))
        state = StateId(members[0] if members else f"{provided[0]} (template)")
        self.members[state], self.chain_of[state] = members, chain
        if begins.fork is not None:
            self.forks[state] = begins.fork
        return [
            _Beginning(group, replace(fork, state=state), after)
            for fork, groups, after in apart
            for group in groups
        ]
