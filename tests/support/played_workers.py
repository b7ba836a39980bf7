"""Workers played in memory: they take jobs from the real queue, and keep states as sets of tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from random import Random

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, JourneyId, StateId, Token
from pytest_dogfood.scheduling.plan import Plan, gates_by_tier
from pytest_dogfood.scheduling.queue import Queue, jobs_for
from pytest_dogfood.scheduling.split import Fork, StateTree, split
from tests.support.strategies import Scene

Place = tuple[str, str]
"""A state and the worker that it is on; the machine is a place of its own."""

MACHINE: Place = ("", "")
PLAIN_TESTS = 3
NO_WORKER = "main"


@dataclass(slots=True)
class Simulation:
    """Runs a plan: jobs end in random order and workers die. A missing token is brought about only for a cause.

    A part of a chain begins with the copyable tokens that hold where it begins as a copy.
    """

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
    _graph: CapabilityGraph = field(init=False)
    _tree: StateTree = field(init=False)
    _begun: set[Place] = field(default_factory=set)
    _templates: dict[Fork, set[Token]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._graph = self.scene.graph()
        self._tree = split(self._graph)

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
            if self._is_to_die(worker):
                self.deaths -= 1
                self._die(worker, ids, busy, queue)
            else:
                index = busy[worker].pop(0)
                self._end(ids[index], worker)
                queue.finish(index)
                self._start_first(ids, busy, worker)

    def _is_to_die(self, worker: str) -> bool:
        return self.deaths > 0 and bool(worker) and self.dice.random() < 0.2

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
        self.homes = {state: home for state, home in self.homes.items() if home != worker}
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
        home = self.homes.setdefault(planned.state, worker)
        assert home == worker, f"{planned.id} runs on {worker}, its state is on {home}"

    def _end(self, nodeid: str, worker: str) -> None:
        planned = self.plan.by_nodeid().get(nodeid)
        if planned is not None:
            closed = any(self._gate(gate, worker) != "passed" for gate in planned.gates)
            place = (planned.state, worker)
            journey = self.journey(planned.id)
            self.outcomes[planned.id] = "deferred" if closed else self._attempt(journey, place)
            self._note_templates(planned.id, place)

    def _note_templates(self, ended: JourneyId, place: Place) -> None:
        """Keep what parts will begin with that are copied from here, behind what has ended or a later journey."""
        members = self._tree.members[StateId(place[0])]
        for fork in dict.fromkeys(self._tree.forks.values()):
            if fork.state == place[0] and members.index(fork.after or ended) >= members.index(ended):
                self._templates[fork] = set(filter(self._graph.is_copyable, self.holds[place]))

    def _template(self, state: StateId) -> set[Token]:
        """Return what a state begins with: what is kept of the nearest one above it that has run anything before."""
        fork = self._tree.forks.get(state)
        if fork is None:
            return set()
        return self._templates[fork] if fork in self._templates else self._template(fork.state)

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
            place = (self._tree.state_of[gate], worker)
            self.gates_of_others[gate] = "deferred" if held_back else self._attempt(self.journey(gate), place)
        return self.gates_of_others[gate]

    def journey(self, journey_id: JourneyId) -> Journey:
        return next(journey for journey in self.scene.journeys if journey.id == journey_id)

    def _place(self, token: Token, place: Place) -> Place:
        return MACHINE if self.scene.is_shared(token) else place

    def _attempt(self, journey: Journey, place: Place) -> str:
        if place not in self._begun:
            self._begun.add(place)
            self.holds[place] |= self._template(StateId(place[0]))
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
                # A machine-wide token is established in the state of its own journey.
                shared = self.scene.is_shared(token)
                where = (self._tree.state_of[journey.id], place[1]) if shared else place
                self.replays.append((journey.id, where))
                if self._is_held_back(journey, place[1]):
                    continue
                if self._attempt(journey, where) == "passed":
                    return ""
        return "deferred" if establishers else "error"


def replays_without_cause(done: Simulation, selected: Collection[JourneyId]) -> list[tuple[JourneyId, Place]]:
    """Return the replays of journeys that had passed as items, though nothing they establish was lost.

    They are replays in the home of the state in which they ran, or for a copyable token in any state of their chain.
    """
    tree = split(done.scene.graph())
    found = []
    for journey, place in done.replays:
        if journey not in selected or not done.destroyed.isdisjoint(done.journey(journey).establishes):
            continue
        state = tree.state_of[journey]
        copied = done.homes.get(place[0]) == place[1] and place[0] in _copies_of(tree, state)
        if place == (state, done.homes.get(state)) or copied:
            found.append((journey, place))
    return found


def _copies_of(tree: StateTree, state: StateId) -> set[StateId]:
    """Return the parts that begin as copies of a state, or of its copies."""
    parts = [part for part, fork in tree.forks.items() if fork.state == state]
    return {*parts, *(copy for part in parts for copy in _copies_of(tree, part))}


def lineage(tree: StateTree, one: JourneyId) -> list[JourneyId]:
    """Return the journeys whose work is in the state in which a journey runs, if all of them run."""
    state = tree.state_of[one]
    members = tree.members[state]
    found = list(members[: members.index(one)])
    while (fork := tree.forks.get(state)) is not None:
        state = fork.state
        members = tree.members[state]
        if fork.after is not None:
            found += members[: members.index(fork.after) + 1]
    return found
