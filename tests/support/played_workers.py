"""Workers played in memory: they take jobs from the real queue, and keep states as sets of tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from pytest_dogfood.journey import ChainId, Journey, JourneyId, Token
from pytest_dogfood.scheduling.plan import Plan, gates_by_tier
from pytest_dogfood.scheduling.queue import Queue, jobs_for
from tests.support.strategies import Scene

Place = tuple[str, str]
"""A chain and the worker that it is on; the machine is a place of its own."""

MACHINE: Place = ("", "")
PLAIN_TESTS = 3
NO_WORKER = "main"


@dataclass(slots=True)
class Simulation:
    """Runs a plan: jobs end in random order and workers die. A missing token is brought about only for a cause."""

    scene: Scene
    plan: Plan
    dice: Random
    workers: int
    deaths: int = 0
    elsewhere: Collection[JourneyId] = ()
    dist: str = "load"
    holds: dict[Place, set[Token]] = field(default_factory=lambda: defaultdict(set))
    outcomes: dict[JourneyId, str] = field(default_factory=dict)
    gates_of_others: dict[JourneyId, str] = field(default_factory=dict)
    replays: list[tuple[JourneyId, Place]] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    destroyed: set[Token] = field(default_factory=set)
    homes: dict[str, str] = field(default_factory=dict)
    _hired: int = 0
    _chains: Mapping[JourneyId, ChainId] = field(init=False)

    def __post_init__(self) -> None:
        self._chains = self.scene.graph().chains

    def run(self) -> dict[JourneyId, str]:
        """Return what became of each planned journey."""
        if not self.workers:
            for planned in self.plan.journeys:
                self._start(planned.nodeid, NO_WORKER)
                self._end(planned.nodeid, NO_WORKER)
        else:
            self._distribute()
        return self.outcomes

    def _distribute(self) -> None:
        ids = [planned.nodeid for planned in self.plan.journeys]
        for number in range(PLAIN_TESTS):
            ids.insert(self.dice.randint(0, len(ids)), f"test_plain.py::test_{number}")
        queue = Queue(jobs_for(ids, self.plan, self.dist))
        busy: dict[str, list[int]] = {self._hire(queue): [] for _ in range(self.workers)}
        while not queue.is_done:
            for worker in self.dice.sample(list(busy), len(busy)):
                if not busy[worker]:
                    busy[worker] = list(queue.next_for(worker))
                    self._start_first(ids, busy, worker)
            active = [worker for worker, held in busy.items() if held]
            assert active, f"nobody has anything to do, but there is {queue.pending} left"
            worker = self.dice.choice(active)
            if self.deaths and self.dice.random() < 0.2:
                self.deaths -= 1
                self._die(worker, ids, busy, queue)
            else:
                index = busy[worker].pop(0)
                self._end(ids[index], worker)
                queue.finish(index)
                self._start_first(ids, busy, worker)

    def _hire(self, queue: Queue) -> str:
        self._hired += 1
        queue.add_worker(f"gw{self._hired}")
        return f"gw{self._hired}"

    def _die(self, worker: str, ids: list[str], busy: dict[str, list[int]], queue: Queue) -> None:
        index = busy.pop(worker)[0]
        planned = self.plan.by_nodeid().get(ids[index])
        if planned is not None:
            self.outcomes[planned.id] = "crashed"
        queue.finish(index)
        queue.lose(worker)
        self.homes = {chain: home for chain, home in self.homes.items() if home != worker}
        busy[self._hire(queue)] = []

    def _start_first(self, ids: list[str], busy: dict[str, list[int]], worker: str) -> None:
        for index in busy[worker][:1]:
            self._start(ids[index], worker)

    def _start(self, nodeid: str, worker: str) -> None:
        self.runs[nodeid] += 1
        planned = self.plan.by_nodeid().get(nodeid)
        if planned is None:
            return
        early = [other for other in planned.after if other not in self.outcomes]
        assert not early, f"{planned.id} starts before {early} have ended"
        home = self.homes.setdefault(planned.chain, worker)
        assert home == worker, f"{planned.id} runs on {worker}, its chain on {home}"

    def _end(self, nodeid: str, worker: str) -> None:
        planned = self.plan.by_nodeid().get(nodeid)
        if planned is not None:
            closed = any(self._gate(gate, worker) != "passed" for gate in planned.gates)
            place = (planned.chain, worker)
            journey = self.journey(planned.id)
            self.outcomes[planned.id] = "deferred" if closed else self._attempt(journey, place)

    def _is_held_back(self, journey: Journey, worker: str) -> bool:
        """Return whether a gate is closed before something that another shard runs as an item."""
        gates = gates_by_tier(self.scene.graph(), self.elsewhere if journey.id in self.elsewhere else ())
        return any(self._gate(gate, worker) != "passed" for gate in gates[journey.tier])

    def _gate(self, gate: JourneyId, worker: str) -> str:
        """Return what a gate came to; one of another shard is replayed here, once."""
        if gate in self.outcomes:
            return self.outcomes[gate]
        if gate not in self.gates_of_others:
            held_back = self._is_held_back(self.journey(gate), worker)
            place = (self._chains[gate], worker)
            self.gates_of_others[gate] = "deferred" if held_back else self._attempt(self.journey(gate), place)
        return self.gates_of_others[gate]

    def journey(self, journey_id: JourneyId) -> Journey:
        return next(journey for journey in self.scene.journeys if journey.id == journey_id)

    def _place(self, token: Token, place: Place) -> Place:
        return MACHINE if self.scene.is_shared(token) else place

    def _attempt(self, journey: Journey, place: Place) -> str:
        while any(token not in self.holds[self._place(token, place)] for token in journey.requires):
            problem = self._provide_all(journey.requires, place)
            if problem:
                return problem
        if journey.id in self.scene.failing:
            return "failed"
        for token in journey.invalidates:
            self.holds[self._place(token, place)].discard(token)
            self.destroyed.add(token)
        for token in journey.establishes:
            self.holds[self._place(token, place)].add(token)
        return "passed"

    def _provide_all(self, tokens: Iterable[Token], place: Place) -> str:
        """Provide what is lacking; a token that defers goes before an error of another one."""
        problem = ""
        for token in tokens:
            lacks = token not in self.holds[self._place(token, place)]
            if lacks and not (problem and self.scene.capability(token).provision):
                found = self._provide(token, place)
                if found == "deferred":
                    return found
                problem = problem or found
        return problem

    def _provide(self, token: Token, place: Place) -> str:
        capability = self.scene.capability(token)
        if capability.provision:
            problem = self._provide_all(capability.requires, place)
            if problem:
                return problem
            self.holds[self._place(token, place)].add(token)
            return ""
        establishers = self.scene.establishers(token)
        for journey in establishers:
            if not journey.python and self.outcomes.get(journey.id, "passed") == "passed":
                # A machine-wide token is established in the state of its own journey's chain.
                where = (self._chains[journey.id], place[1]) if self.scene.is_shared(token) else place
                self.replays.append((journey.id, where))
                if self._is_held_back(journey, place[1]):
                    continue
                if self._attempt(journey, where) == "passed":
                    return ""
        return "deferred" if establishers else "error"


def replays_without_cause(done: Simulation, selected: Collection[JourneyId]) -> list[tuple[JourneyId, Place]]:
    """Return the replays of journeys that had passed as items, though nothing they establish was lost."""
    chains = {planned.id: planned.chain for planned in done.plan.journeys}
    return [
        (journey, place)
        for journey, place in done.replays
        if journey in selected
        and place == (chains[journey], done.homes.get(chains[journey]))
        and done.destroyed.isdisjoint(done.journey(journey).establishes)
    ]
