"""Simulated projects whose declarations may be wrong: what journeys write and need, and what a run of them shows.

What a journey does is a list of actions on named things, which may be files, rows of a database, or something outside
of every state. `Simulation` obeys the rules of a real run: presence is asked before each journey, what is missing is
provisioned, what a journey has established is probed.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.doubt.experiments.values import Experiment, JourneyEnd, Line, Observation, ProbeAnswer
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Step, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.scheduling.plan import make_plan

Action = tuple[str, str]
"""What is done to which thing: need, lack, write, delete, log, outside, once (fails if it is outside already)."""

_PLACE = Location("doubted.journey.yaml", 1)
_STEP = Step(location=_PLACE, run="true")


class Failed(Exception):  # noqa: N818 - what a journey does in the simulation
    pass


@dataclass
class Project:
    """A project. `probes` maps tokens to the things they ask for, `expiring` things to the seconds they last."""

    journeys: list[Journey] = field(default_factory=list)
    does: dict[JourneyId, list[Action]] = field(default_factory=dict)
    seconds: dict[JourneyId, float] = field(default_factory=dict)
    flaky: dict[JourneyId, float] = field(default_factory=dict)
    probes: dict[Token, list[str]] = field(default_factory=dict)
    providers: dict[Token, list[Action]] = field(default_factory=dict)
    expiring: dict[str, float] = field(default_factory=dict)

    def graph(self, lines: Iterable[Line] = ()) -> CapabilityGraph:
        added: dict[JourneyId, dict[str, dict[Token, Location]]] = {}
        for line in lines:
            added.setdefault(line.journey, {}).setdefault(line.key, {})[line.token] = _PLACE
        journeys = [
            replace(
                one,
                requires={**one.requires, **added.get(one.id, {}).get("requires", {})},
                establishes={**one.establishes, **added.get(one.id, {}).get("establishes", {})},
                invalidates={**one.invalidates, **added.get(one.id, {}).get("invalidates", {})},
            )
            for one in self.journeys
        ]
        defined = dict.fromkeys([*self.probes, *self.providers])
        return CapabilityGraph(
            journeys,
            [
                Capability(
                    token=token,
                    location=_PLACE,
                    probe=_STEP if token in self.probes else None,
                    provision=(_STEP,) if token in self.providers else (),
                )
                for token in defined
            ],
        )

    def with_lines(self, lines: Iterable[Line]) -> Project:
        """Return the project with lines added to its files."""
        journeys = list(self.graph(lines).journeys.values())
        return Project(
            journeys, self.does, self.seconds, self.flaky, self.probes, self.providers, self.expiring
        )


class Simulation:
    """Runs experiments on a project. What is outside of every state stays from one to the next."""

    def __init__(self, project: Project, *, seed: int = 0) -> None:
        self.project = project
        self.dice = random.Random(seed)  # noqa: S311 - dice
        self.outside: set[str] = set()
        self.journeys_run = 0
        self.experiments = 0

    def run(self, experiment: Experiment) -> Observation:
        """Do one experiment in a fresh state."""
        self.experiments += 1
        graph = self.project.graph(experiment.lines)
        before = graph.prerequisites
        if len(graph.ordered(graph.journeys)) and _has_cycle(before):
            return Observation(refused="journeys depend on each other in a cycle")
        if experiment.order:
            order = experiment.order
        else:
            plan = make_plan(graph, tuple(graph.journeys))
            order = tuple(one.id for one in plan.journeys if one.chain == experiment.chain)
        for number, one in enumerate(order):
            late = set(order[number:]) & set(before[one])
            if late:
                return Observation(void=f"{one} runs before {sorted(late)}")
        return _State(self, graph, experiment).run(order)


def _has_cycle(before: Mapping[JourneyId, Sequence[JourneyId]]) -> bool:
    done: set[JourneyId] = set()
    left = dict(before)
    while left:
        ready = [one for one, others in left.items() if done.issuperset(others)]
        if not ready:
            return True
        done.update(ready)
        for one in ready:
            del left[one]
    return False


class _State:
    def __init__(self, simulation: Simulation, graph: CapabilityGraph, experiment: Experiment) -> None:
        self._simulation = simulation
        self._project = simulation.project
        self._graph = graph
        self._experiment = experiment
        self._things: dict[str, float] = {}
        self._held: set[Token] = set()
        self._failed: set[JourneyId] = set()
        self._clock = 0.0
        self._again: dict[Token, str] = {}
        self._provisioned: list[Token] = []

    def run(self, order: Sequence[JourneyId]) -> Observation:
        ends: dict[JourneyId, JourneyEnd] = {}
        probes = self._ask("")
        for one in order:
            if one == order[-1]:
                self._clock += self._experiment.pause
            idle = self._experiment.idle.get(one)
            if idle is not None:
                self._clock += idle
            else:
                ends[one] = self._end_of(one)
            probes += self._ask(one)
        return Observation(
            ends=ends,
            order=tuple(one for one in order if one in ends),
            probes=tuple(probes),
            provisioned=tuple(self._provisioned),
            failed_again=self._again,
        )

    def _ask(self, after: str) -> list[ProbeAnswer]:
        if not self._experiment.probes:
            return []
        return [
            ProbeAnswer(token=token, after=JourneyId(after), present=self._is_there(token))
            for token in self._project.probes
            if token in self._graph.tokens
        ]

    def _is_there(self, token: Token) -> bool:
        return all(map(self._has, self._project.probes[token]))

    def _has(self, thing: str) -> bool:
        if thing not in self._things:
            return False
        return self._clock - self._things[thing] < self._project.expiring.get(thing, float("inf"))

    def _end_of(self, journey: JourneyId) -> JourneyEnd:
        found, started = self._graph.journeys[journey], self._clock
        try:
            for token in self._graph.required_by(found):
                self._ensure(token, ())
        except Failed as error:
            maker = str(error).partition(" ")[0]
            deferred = maker in self._failed
            self._failed.add(journey)
            return JourneyEnd(outcome=Outcome.DEFERRED if deferred else Outcome.ERROR, way=f"set-up: {error}")
        try:
            self._do(journey)
        except Failed as error:
            self._failed.add(journey)
            return JourneyEnd(outcome=Outcome.FAILED, way=str(error), seconds=self._clock - started)
        return JourneyEnd(outcome=Outcome.PASSED, seconds=self._clock - started)

    def _do(self, journey: JourneyId) -> None:
        project = self._project
        self._simulation.journeys_run += 1
        self._clock += project.seconds.get(journey, 1.0)
        if self._simulation.dice.random() < project.flaky.get(journey, 0.0):
            raise Failed("step 1: chance")
        self._act(project.does[journey])
        for token in self._graph.journeys[journey].invalidates:
            self._held.discard(token)
        for token in self._graph.journeys[journey].establishes:
            if token in project.probes and not self._is_there(token):
                raise Failed(f"established but not present: {token}")
            self._held.add(token)

    def _act(self, actions: Iterable[Action]) -> None:
        for number, (what, thing) in enumerate(actions, 1):
            if problem := self._problem_with(what, thing):
                raise Failed(f"step {number}: {problem}")
            if what in {"write", "log"} or (what == "toggle" and not self._has(thing)):
                self._things[thing] = self._clock
            elif what in {"delete", "toggle"}:
                self._things.pop(thing, None)
            elif what in {"outside", "once"}:
                self._simulation.outside.add(thing)

    def _problem_with(self, what: str, thing: str) -> str:
        if what == "need" and not self._has(thing):
            return f"no {thing}"
        if what == "lack" and self._has(thing):
            return f"{thing} is there"
        return f"{thing} exists already" if what == "once" and thing in self._simulation.outside else ""

    def _ensure(self, token: Token, asking: tuple[Token, ...]) -> None:
        """Make sure that a token is present, as a real run does before a journey; raises Failed if it cannot be had."""
        probed = token in self._project.probes
        if probed and self._is_there(token):
            self._held.add(token)
            return
        if token in self._held and not probed:
            return
        self._held.discard(token)
        if token in self._project.providers:
            self._provide(token, twice=token in self._experiment.twice and token not in asking)
        else:
            self._replay(token, asking)
        if probed and not self._is_there(token):
            raise Failed(f"{token} is not there after its provider")
        self._held.add(token)

    def _provide(self, token: Token, *, twice: bool) -> None:
        self._provisioned.append(token)
        self._act(self._project.providers[token])
        if twice:
            try:
                self._act(self._project.providers[token])
            except Failed as error:
                self._again[token] = str(error)
                raise

    def _replay(self, token: Token, asking: tuple[Token, ...]) -> None:
        makers = self._graph.establishing(token)
        if not makers:
            raise Failed(f"{token} cannot be had")
        for maker in makers:
            if maker in self._failed:
                raise Failed(f"{maker} failed")
        for need in self._graph.required_by(self._graph.journeys[makers[0]]):
            self._ensure(need, (*asking, token))
        try:
            self._do(makers[0])
        except Failed as error:
            self._failed.add(makers[0])
            raise Failed(f"{makers[0]} failed when it was replayed: {error}") from error


def examined(
    trial: Generator[Experiment, Observation, None], simulation: Simulation, *, most: int = 2000
) -> None:
    """Do the experiments of an examination until it ends."""
    experiment = next(trial)
    for _ in range(most):
        try:
            experiment = trial.send(simulation.run(experiment))
        except StopIteration:
            return
    raise AssertionError("the examination does not end")
