"""What a run would have to bring about for its items, as far as the graph tells."""

from __future__ import annotations

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Scope, Token
from pytest_dogfood.recursion import room_for
from pytest_dogfood.scheduling.plan import Plan


class ToProvision(Struct, frozen=True, kw_only=True):
    """A token that no item of the run establishes where it is needed: how it would be brought about, and for whom.

    `chain` names the state in which that happens, None if it happens once for the machine.
    """

    token: Token
    how: str
    scope: Scope
    needed_by: JourneyId
    chain: ChainId | None = None


def foresee_provisioning(
    graph: CapabilityGraph, plan: Plan, *, knows_tests: bool = False
) -> tuple[ToProvision, ...]:
    """Say what a run would bring about for its items if no probe found it there and nothing failed or was destroyed.

    With `knows_tests` the graph holds what Python tests establish and fixtures provide.
    """
    foresight = _Foresight(graph, plan, knows_tests=knows_tests)
    here = {planned.id for planned in plan.journeys}
    with room_for(len(graph.journeys)):
        for planned in plan.journeys:
            for gate in planned.gates:
                if gate not in here:
                    foresight.replay(gate, graph.chains[gate], planned.id)
            for token in planned.requires:
                foresight.ensure(token, planned.chain, planned.id)
    return tuple(foresight.acts)


class _Foresight:
    """Goes the way of a run: what an item needs is there, is established by an item, or is brought about at once."""

    def __init__(self, graph: CapabilityGraph, plan: Plan, *, knows_tests: bool) -> None:
        self._graph = graph
        self._knows_tests = knows_tests
        self._there = {
            (token, self._place(token, planned.chain))
            for planned in plan.journeys
            for token in planned.establishes
        }
        self._replayed: set[tuple[JourneyId, ChainId]] = set()
        self.acts: list[ToProvision] = []

    def _place(self, token: Token, chain: ChainId) -> ChainId | None:
        return chain if self._graph.scope_of(token) is Scope.CHAIN else None

    def ensure(self, token: Token, chain: ChainId, needed_by: JourneyId) -> None:
        place = self._place(token, chain)
        if (token, place) in self._there:
            return
        self._there.add((token, place))
        if token not in self._graph.fixtures:
            if self._graph.has_own_provider(token):
                for need in self._graph.needs_of_provider(token):
                    self.ensure(need, chain, needed_by)
            else:
                for journey in _replayable(self._graph, token)[:1]:
                    self.replay(journey, chain if place else self._graph.chains[journey], needed_by)
        self.acts.append(
            ToProvision(
                token=token,
                how=how_provided(self._graph, token, knows_tests=self._knows_tests),
                scope=self._graph.scope_of(token),
                needed_by=needed_by,
                chain=place,
            )
        )

    def replay(self, journey: JourneyId, chain: ChainId, needed_by: JourneyId) -> None:
        """Ensure what a journey needs in the state where it is replayed; there it brings all its tokens at once."""
        if (journey, chain) not in self._replayed:
            self._replayed.add((journey, chain))
            for need in self._graph.required_by(self._graph.journeys[journey]):
                self.ensure(need, chain, needed_by)
            for token in self._graph.journeys[journey].establishes:
                self._there.add((token, self._place(token, chain)))


def _replayable(graph: CapabilityGraph, token: Token) -> tuple[JourneyId, ...]:
    return tuple(
        member
        for member in graph.establishing(token)
        if not graph.journeys[member].python and not graph.lacks_actor(member)
    )


def how_provided(graph: CapabilityGraph, token: Token, *, knows_tests: bool = False) -> str:
    """Say how a token would be provisioned, to complete 'provisioned …'."""
    if token in graph.fixtures:
        return f"by fixture {graph.fixtures[token]}"
    capability = graph.capability(token)
    if capability is not None and graph.has_own_provider(token):
        return "by starting its service" if capability.service else "by its provision steps"
    replayable = _replayable(graph, token)
    if replayable:
        return f"by replaying {replayable[0]}"
    tests = [member for member in graph.establishing(token) if graph.journeys[member].python]
    if tests:
        return f"by nothing: unless it is there, the Python test {tests[0]} has to establish it"
    if knows_tests:
        return "by nothing: it has to be there, because no journey, test or fixture here establishes it"
    return "by no journey file: unless it is there, a Python test or fixture has to establish it"
