"""A forecast of a run: how long it takes, its critical path, and what it has to provision."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Scope, StateId, Token
from pytest_dogfood.scheduling.part_needs import NeedsOfParts
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.scheduling.queue import Job, Queue, in_chain_order
from pytest_dogfood.scheduling.split import Fork, split
from pytest_dogfood.walks import deep_recursion, in_order


class ToProvision(Struct, frozen=True, kw_only=True):
    """A token that no item of the run establishes where it is needed: how it would be provisioned, and for what.

    `chain` and `state` name the state in which that happens, None if it happens outside of all states. With `parts` it
    happens once for so many parts of the chain, which begin as copies of the state as the journey `behind` leaves it;
    None if no journey runs before.
    """

    token: Token
    how: str
    scope: Scope
    needed_by: JourneyId
    chain: ChainId | None = None
    state: StateId | None = None
    behind: JourneyId | None = None
    parts: int = 0


def predict_provisioning(
    graph: CapabilityGraph, plan: Plan, *, knows_tests: bool = False
) -> tuple[ToProvision, ...]:
    """Return what a run would provision if no probe found it present and nothing failed or was destroyed.

    With `knows_tests` the graph holds what Python tests establish and fixtures provide.
    """
    prediction = _ProvisioningForecast(graph, plan, knows_tests=knows_tests)
    here = {planned.id for planned in plan.journeys}
    with deep_recursion(len(graph.journeys)):
        for planned in plan.journeys:
            for gate in planned.gates:
                if gate not in here:
                    prediction.replay(gate, prediction.place_of_replay(gate), planned.id)
            own = prediction.begin(planned)
            for token in planned.requires:
                prediction.ensure(token, own, planned.id)
            prediction.end(planned)
    return tuple(prediction.acts)


class _Place(Struct, frozen=True):
    """A state; or, with a `fork`, what the parts there copy; or the directory in which it is replayed `for_others`."""

    state: StateId
    fork: Fork | None = None
    for_others: bool = False


class _ProvisioningForecast:
    """Follows a run: what an item requires is present, established by an item, or provisioned at once.

    A part of a chain begins with the copyable tokens of the state that it copies. What several parts need is
    provisioned there before the first of them begins.
    """

    def __init__(self, graph: CapabilityGraph, plan: Plan, *, knows_tests: bool) -> None:
        self._graph = graph
        self._knows_tests = knows_tests
        self._tree = split(graph)
        self._there: dict[_Place | None, set[Token]] = defaultdict(set)
        for planned in plan.journeys:
            for token in planned.establishes:
                self._there[self._place(token, _Place(planned.state))].add(token)
        self._replayed: set[tuple[JourneyId, _Place]] = set()
        self.acts: list[ToProvision] = []
        self._begun: set[StateId] = set()
        self._left: set[int] = set()
        self._ready: set[int] = set()
        self._plan = plan

    @cached_property
    def _needs(self) -> NeedsOfParts:
        return NeedsOfParts(self._graph, self._plan)

    @cached_property
    def _parts(self) -> Mapping[int, tuple[StateId, ...]]:
        return self._tree.parts()

    def _place(self, token: Token, place: _Place) -> _Place | None:
        return place if self._graph.scope_of(token) is Scope.CHAIN else None

    def place_of_replay(self, journey: JourneyId) -> _Place:
        """Return where a journey is replayed for another state: in its own, unless items will begin in a new one."""
        state = self._tree.state_of[journey]
        return _Place(state, for_others=self._tree.is_split(state) and state not in self._begun)

    def begin(self, planned: PlannedJourney) -> _Place:
        """Return the place of an item; with the first item of a part, let it begin as a copy."""
        own = _Place(planned.state)
        fork = self._tree.forks.get(planned.state)
        if planned.state not in self._begun and fork is not None:
            self._copy(self._template(fork, planned.id), own)
        self._begun.add(planned.state)
        return own

    def end(self, planned: PlannedJourney) -> None:
        """Keep a copy for the parts that begin behind an item, before others go on in its state."""
        if self._tree.is_split(planned.state):
            for fork in self._needs.forks_behind(planned.id):
                self._copy(_Place(planned.state), _Place(fork.state, fork))
                self._left.add(fork.number)

    def _template(self, fork: Fork, needed_by: JourneyId) -> _Place:
        """Return the place that the parts at a fork copy, once it holds what several of them need."""
        place = _Place(fork.state, fork)
        if fork.number not in self._ready:
            self._ready.add(fork.number)
            above = self._tree.forks.get(fork.state)
            if fork.number not in self._left and above is not None:
                self._copy(self._template(above, needed_by), place)
            for token in self._needs.shared_by_parts(fork):
                self.ensure(token, place, needed_by)
        return place

    def _copy(self, original: _Place, copy: _Place) -> None:
        self._there[copy].update(filter(self._graph.is_copyable, self._there[original]))

    def _number_of_parts(self, fork: Fork) -> int:
        """Return how many of the parts at a fork have items, in themselves or in copies of them."""
        return sum(
            any(map(self._needs.items_in, self._needs.states_from(one))) for one in self._parts[fork.number]
        )

    def ensure(self, token: Token, where: _Place, needed_by: JourneyId) -> None:
        place = self._place(token, where)
        if token in self._there[place]:
            return
        self._there[place].add(token)
        if token not in self._graph.fixtures:
            if self._graph.has_own_provider(token):
                for need in self._graph.needs_of_provider(token):
                    self.ensure(need, where, needed_by)
            else:
                for journey in _replayable(self._graph, token)[:1]:
                    self.replay(journey, place or self.place_of_replay(journey), needed_by)
        fork = None if place is None else place.fork
        self.acts.append(
            ToProvision(
                token=token,
                how=provider_of(self._graph, token, knows_tests=self._knows_tests),
                scope=self._graph.scope_of(token),
                needed_by=needed_by,
                chain=None if place is None else self._tree.chain_of[place.state],
                state=None if place is None else place.state,
                behind=None if fork is None else fork.after,
                parts=0 if fork is None else self._number_of_parts(fork),
            )
        )

    def replay(self, journey: JourneyId, where: _Place, needed_by: JourneyId) -> None:
        """Ensure what a journey needs in the state where it is replayed; it establishes all its tokens there."""
        if (journey, where) not in self._replayed:
            self._replayed.add((journey, where))
            for need in self._graph.required_by(self._graph.journeys[journey]):
                self.ensure(need, where, needed_by)
            for token in self._graph.journeys[journey].establishes:
                self._there[self._place(token, where)].add(token)


def _replayable(graph: CapabilityGraph, token: Token) -> tuple[JourneyId, ...]:
    return tuple(
        member
        for member in graph.establishing(token)
        if not graph.journeys[member].python and not graph.lacks_actor(member)
    )


def provider_of(graph: CapabilityGraph, token: Token, *, knows_tests: bool = False) -> str:
    """Return how a token would be provisioned, to complete 'provisioned …'."""
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
        return f"by nothing: unless it is present, the Python test {tests[0]} has to establish it"
    if knows_tests:
        return "by nothing: it has to be present already, because no journey, test or fixture establishes it"
    return "by no journey file: unless it is present, a Python test or fixture has to establish it"


class Slot(Struct, frozen=True, kw_only=True):
    """When and where a job would run; `start` and `end` in seconds from the beginning, workers count from 0."""

    index: int
    worker: int
    start: float
    end: float


class Forecast(Struct, frozen=True, kw_only=True):
    """The course of a run if every job took exactly its weight.

    `lower_bound` is the longest of the critical path, the total over the workers (Graham 1966), and what the busiest
    lock has to do over its units: nothing is faster.
    """

    slots: tuple[Slot, ...]
    workers: int
    total: float
    critical_path: tuple[int, ...]
    critical_seconds: float
    locked_seconds: float

    @property
    def makespan(self) -> float:
        return max((slot.end for slot in self.slots), default=0.0)

    @property
    def lower_bound(self) -> float:
        return max(self.critical_seconds, self.total / self.workers, self.locked_seconds)


def make_forecast(jobs: Sequence[Job], workers: int) -> Forecast:
    """Run the queue with `workers` that need no time between jobs; raises ValueError for fewer than one."""
    if workers < 1:
        raise ValueError("a run needs at least one worker")
    queue = Queue(jobs)
    names = [str(number) for number in range(workers)]
    for name in names:
        queue.add_worker(name)
    by_index = {job.index: job for job in jobs}
    idle = dict.fromkeys(names)
    running: list[tuple[float, int, str]] = []
    slots: list[Slot] = []
    now = 0.0
    while True:
        for name in list(idle):
            moment = now
            for index in queue.next_for(name):
                end = moment + by_index[index].weight
                slots.append(Slot(index=index, worker=int(name), start=moment, end=end))
                heapq.heappush(running, (end, index, name))
                idle.pop(name, None)
                moment = end
        if not running:
            break
        now, index, name = heapq.heappop(running)
        queue.finish(index)
        if not any(other == name for _, _, other in running):
            idle[name] = None
    path, seconds = critical_path(jobs)
    locked: dict[str, float] = defaultdict(float)
    for job in jobs:
        for share in job.locks:
            locked[share.lock] += job.weight * share.units / share.of
    return Forecast(
        slots=tuple(slots),
        workers=workers,
        total=sum(job.weight for job in jobs),
        critical_path=path,
        critical_seconds=seconds,
        locked_seconds=max(locked.values(), default=0.0),
    )


def critical_path(jobs: Sequence[Job]) -> tuple[tuple[int, ...], float]:
    """Return the longest path through the graph and its length, or the heaviest chain, as one worker runs it.

    No order of the jobs takes less; the way does not pass along a chain, whose order may be another one. To the queue
    each state of a chain that is split is a chain.
    """
    by_index = {job.index: job for job in jobs}
    length: dict[int, float] = {}
    before: dict[int, int | None] = {}
    chains: dict[str, float] = defaultdict(float)
    for index in in_order({job.index: job.after for job in in_chain_order(jobs)}):
        job = by_index[index]
        before[index] = behind = max(job.after, key=length.__getitem__, default=None)
        length[index] = job.weight + (length[behind] if behind is not None else 0.0)
        if job.chain is not None:
            chains[job.chain] += job.weight
    last = max(length, key=length.__getitem__, default=None)
    seconds = length[last] if last is not None else 0.0
    heaviest = max(chains, key=chains.__getitem__, default=None)
    if heaviest is not None and chains[heaviest] > seconds:
        return tuple(index for index in length if by_index[index].chain == heaviest), chains[heaviest]
    path: list[int] = []
    while last is not None:
        path.append(last)
        last = before[last]
    return tuple(reversed(path)), seconds


LEAST_SECONDS = 10.0
"""A chain with less work than this is not reported: waiting for it costs too little."""


class CostlyChain(Struct, frozen=True, kw_only=True):
    """A chain that made a run longer, or one state of a chain that is split.

    `idle` is how long the workers did nothing that did not run it, in seconds each. `tokens` are those that several of
    its items use, the most used first.
    """

    id: StateId
    seconds: float
    idle: tuple[float, ...]
    tokens: tuple[Token, ...]


def costly_chain(
    plan: Plan, seconds: Mapping[JourneyId, float], *, busy: Sequence[float], elapsed: float
) -> CostlyChain | None:
    """Return the chain that cost a run more than a third of its time, if there is one.

    `seconds` is how long each item took, `busy` how long each worker ran items, and `elapsed` how long all of it took.
    Without the chain, a run takes as long as its longest path, or as its work shared by all workers.
    """
    length: dict[JourneyId, float] = {}
    states: dict[StateId, float] = defaultdict(float)
    for planned in plan.journeys:
        before = max((length[other] for other in planned.after), default=0.0)
        length[planned.id] = before + seconds.get(planned.id, 0.0)
        states[planned.state] += seconds.get(planned.id, 0.0)
    longest = max(states, key=states.__getitem__, default=None)
    if longest is None or len(busy) < 2 or states[longest] < LEAST_SECONDS:
        return None
    possible = max(*length.values(), sum(busy) / len(busy))
    if (states[longest] - possible) * 3 <= elapsed:
        return None
    members = [planned for planned in plan.journeys if planned.state == longest]
    uses = Counter(token for one in members for token in dict.fromkeys((*one.requires, *one.establishes)))
    return CostlyChain(
        id=longest,
        seconds=states[longest],
        idle=tuple(max(0.0, elapsed - one) for one in sorted(busy)[:-1]),
        tokens=tuple(token for token, count in uses.most_common() if count > 1),
    )
