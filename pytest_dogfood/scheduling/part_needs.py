"""Tells which items of a plan run in which state, and which tokens the parts at a fork have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, StateId, Token
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.scheduling.split import Fork, split
from pytest_dogfood.walks import inverted, reachable


class NeedsOfParts:
    """Which tokens a template must hold, for the items of a plan; it asks the graph only."""

    def __init__(self, graph: CapabilityGraph, plan: Plan) -> None:
        self._graph = graph
        self._tree = split(graph)
        self._is_item = frozenset(planned.id for planned in plan.journeys)
        self._items: dict[StateId, list[JourneyId]] = defaultdict(list)
        for planned in plan.journeys:
            self._items[planned.state].append(planned.id)
        self._played: dict[StateId, list[JourneyId]] = defaultdict(list)
        """The items, and the journeys that are replayed for them if a token is not there, by their states."""
        for one in reachable((planned.id for planned in plan.journeys), self._replayed_for):
            self._played[self._tree.state_of[one]].append(one)
        self._parts = self._tree.parts()
        self._with_items: dict[int, list[StateId]] = {}
        self._forks: dict[StateId, dict[int, Fork]] = defaultdict(dict)
        for fork in self._tree.forks.values():
            self._forks[fork.state][fork.number] = fork

    def _replayed_for(self, journey: JourneyId) -> Iterable[JourneyId]:
        for token in self._needed_in_its_state(journey):
            if not self._graph.has_own_provider(token):
                yield from self._graph.establishing(token)

    def _needed_in_its_state(self, journey: JourneyId) -> Iterable[Token]:
        """Yield the tokens of chains that a journey needs, those on which others rest first."""
        found = self._graph.journeys[journey]
        needed = frozenset(self._graph.needed_by(found))  # not what it only makes or invalidates
        return (token for token in reversed(self._graph.chain_tokens_of(found)) if token in needed)

    def items_in(self, state: StateId) -> tuple[JourneyId, ...]:
        """Return the items of the run in a state, in their order."""
        return tuple(self._items.get(state, ()))

    def forks_in(self, state: StateId) -> Iterable[Fork]:
        return self._forks.get(state, {}).values()

    def states_from(self, state: StateId) -> tuple[StateId, ...]:
        """Return a state and all that begin as copies of it, directly or indirectly."""
        found = [state]
        for one in found:  # grows while it is read
            for fork in self.forks_in(one):
                found += self._parts[fork.number]
        return tuple(found)

    def forks_behind(self, item: JourneyId) -> Iterable[Fork]:
        """Return the forks before whose parts the item is the last one to run in their own state."""
        return self._forks_behind.get(item, ())

    @cached_property
    def _forks_behind(self) -> Mapping[JourneyId, list[Fork]]:
        found: dict[JourneyId, list[Fork]] = defaultdict(list)
        for state, forks in self._forks.items():
            after = inverted({number: [fork.after] for number, fork in forks.items()})
            place = {item: number for number, item in enumerate(self._items.get(state, ()))}
            last: JourneyId | None = None
            for member in self._tree.members[state]:
                # A run may have been given another order than that of the tree.
                if member in place and (last is None or place[member] > place[last]):
                    last = member
                if last is not None:
                    found[last] += [forks[number] for number in after[member]]
        return found

    def has_items_behind(self, fork: Fork) -> bool:
        """Return whether an item of the run is in a part at a fork, or in a copy of such a part."""
        return bool(self._parts_with_items(fork))

    def has_several_parts(self, fork: Fork) -> bool:
        """Return whether items of the run are in several parts at a fork, or in copies of these."""
        return len(self._parts_with_items(fork)) > 1

    def _parts_with_items(self, fork: Fork) -> list[StateId]:
        if fork.number not in self._with_items:
            self._with_items[fork.number] = [
                part for part in self._parts[fork.number] if any(map(self._items.get, self.states_from(part)))
            ]
        return self._with_items[fork.number]

    def shared_by_parts(self, fork: Fork, *, with_items: bool = False) -> tuple[Token, ...]:
        """Return the copyable tokens that must be provisioned before the parts at a fork begin as copies.

        They are those above the fork that journeys in the parts need, or journeys that are replayed for these, and that
        no item establishes; or also those, `with_items`, where the items have left nothing to copy, such as on another
        machine. A single part provisions them in its own state.
        """
        parts = self._parts_with_items(fork)
        if len(parts) < 2:
            return ()
        played = (
            one for part in parts for state in self.states_from(part) for one in self._played.get(state, ())
        )
        needed = {token for one in played for token in self._needed_in_its_state(one)}
        return tuple(token for token in self._made_above(fork, with_items=with_items) if token in needed)

    def _made_above(self, fork: Fork, *, with_items: bool) -> tuple[Token, ...]:
        """Return the copyable tokens above a fork, the nearest last; those that items establish only `with_items`.

        Those are left out that a journey of a part establishes, too: its replay would leave its files for all parts.
        """
        found: list[Token] = []
        above: set[JourneyId] = set()
        at: Fork | None = fork
        while at is not None:
            members = self._tree.members[at.state]
            here = () if at.after is None else members[: members.index(at.after) + 1]
            above.update(here)
            journeys = [self._graph.journeys[one] for one in here]
            found = [*at.provided, *(token for one in journeys for token in one.establishes), *found]
            at = self._tree.forks.get(at.state)
        graph, makers = self._graph, self._graph.establishing
        return tuple(
            token
            for token in dict.fromkeys(found)
            if graph.is_copyable(token)
            and (with_items or self._is_item.isdisjoint(makers(token)))
            and (graph.has_own_provider(token) or above.issuperset(makers(token)))
        )

    @cached_property
    def never_begun_again(self) -> frozenset[StateId]:
        """The states whose items need what only tests or fixtures can make there: it could not be made again."""
        graph, found = self._graph, set()
        for state, items in self._items.items():
            tokens = {token for item in items for token in graph.chain_tokens_of(graph.journeys[item])}
            if any(not self._can_be_made_again(token) for token in tokens):
                found.add(state)
        return frozenset(found)

    def _can_be_made_again(self, token: Token) -> bool:
        graph = self._graph
        if token in graph.fixtures:
            return False
        makers = [graph.journeys[one] for one in graph.establishing(token)]
        return graph.has_own_provider(token) or not any(one.python or one.use for one in makers)
