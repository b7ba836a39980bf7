"""Simulated projects whose declarations may be wrong: what journeys write and need, and what a run of them shows.

What a journey does is a list of actions on named things, which may be files, rows of a database, or something outside
of every state. `Simulation` obeys the rules of a real run: presence is asked before each journey, what is missing is
provisioned, what a journey has established is probed. Each action is a step. Where tokens are copyable, a state begins
as a copy of another one, as the state tree says.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace as replaced

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.doubt.experiments.values import (
    Experiment,
    HalfWay,
    JourneyEnd,
    Line,
    Observation,
    ProbeAnswer,
)
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, StateId, Step, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.scheduling.pinned_plan import make_pinned_plan
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.split import StateTree, split

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
    copyable: set[Token] = field(default_factory=set)
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
        defined = dict.fromkeys([*self.probes, *self.providers, *sorted(self.copyable)])
        return CapabilityGraph(
            journeys,
            [
                Capability(
                    token=token,
                    location=_PLACE,
                    probe=_STEP if token in self.probes else None,
                    provision=(_STEP,) if token in self.providers else (),
                    copyable=token in self.copyable,
                )
                for token in defined
            ],
        )

    def with_lines(self, lines: Iterable[Line]) -> Project:
        """Return the project with lines added to its files."""
        return replaced(self, journeys=list(self.graph(lines).journeys.values()))


class Simulation:
    """Runs experiments on a project. What is outside of every state stays from one to the next."""

    def __init__(self, project: Project, *, seed: int = 0, files: bool = True) -> None:
        """Without `files` nothing is known of which journey writes which thing."""
        self.project = project
        self.files = files
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
        tree = split(graph)
        if experiment.order and tree.forks:  # a copy is not made before its original is ready
            lines: dict[StateId, list[JourneyId]] = {}
            for one in order:
                lines.setdefault(tree.state_of[one], []).append(one)
            order = tuple(one.id for one in make_pinned_plan(graph, [*lines.values()]).journeys)
        return _Run(self, graph, experiment, tree).run(order)


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


@dataclass
class _State:
    """What is in a state: things, with the time at which each was written, and the tokens that are held."""

    things: dict[str, float] = field(default_factory=dict)
    held: set[Token] = field(default_factory=set)

    def copied(self) -> _State:
        return _State(dict(self.things), set(self.held))


class _Run:
    def __init__(
        self, simulation: Simulation, graph: CapabilityGraph, experiment: Experiment, tree: StateTree
    ) -> None:
        self._simulation = simulation
        self._project = simulation.project
        self._graph = graph
        self._experiment = experiment
        self._tree = tree
        self._states: dict[StateId, _State] = {}
        self._behind: dict[StateId, dict[JourneyId, _State]] = {}
        self._state = _State()
        self._half_way: list[HalfWay] = []
        self._written: dict[JourneyId, dict[str, None]] = {}
        self._failed: set[JourneyId] = set()
        self._clock = 0.0
        self._again: dict[Token, str] = {}
        self._provisioned: list[Token] = []

    def run(self, order: Sequence[JourneyId]) -> Observation:
        ends: dict[JourneyId, JourneyEnd] = {}
        probes: list[ProbeAnswer] = []
        for one in order:
            name = self._tree.state_of[one]
            if name not in self._states:
                self._states[name], after = self._beginning(name)
                self._state = self._states[name]
                if after or name not in self._tree.forks:
                    probes += self._ask(name, after)
            self._state = self._states[name]
            if one == (self._experiment.order or order)[-1]:
                self._clock += self._experiment.pause
            idle = self._experiment.idle.get(one)
            if idle is not None:
                self._clock += idle
            else:
                ends[one] = self._end_of(one)
            probes += self._ask(name, one)
            self._behind.setdefault(name, {})[one] = self._state.copied()
        return Observation(
            ends=ends,
            order=tuple(one for one in self._experiment.order or order if one in ends),
            probes=tuple(probes),
            provisioned=tuple(self._provisioned),
            failed_again=self._again,
            half_way=tuple(self._half_way),
            written={one: tuple(things) for one, things in self._written.items()},
        )

    def _beginning(self, name: StateId) -> tuple[_State, str]:
        """Return a state as it begins, and the journey behind which it was copied, if it was."""
        fork = self._tree.forks.get(name)
        if fork is None:
            return _State(), ""
        if fork.after is not None:
            last = self._tree.positions[fork.after]
            behind = self._behind.get(fork.state, {})
            if earlier := [one for one in behind if self._tree.positions[one] <= last]:
                return behind[earlier[-1]].copied(), fork.after
        return self._beginning(fork.state)

    def _ask(self, state: StateId, after: str) -> list[ProbeAnswer]:
        if not self._experiment.probes:
            return []
        return [
            ProbeAnswer(token=token, after=JourneyId(after), present=self._is_there(token), state=state)
            for token in self._project.probes
            if token in self._graph.tokens
        ]

    def _is_there(self, token: Token) -> bool:
        return all(map(self._has, self._project.probes[token]))

    def _has(self, thing: str) -> bool:
        if thing not in self._state.things:
            return False
        return self._clock - self._state.things[thing] < self._project.expiring.get(thing, float("inf"))

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
            self._do(journey, is_item=True)
        except Failed as error:
            self._failed.add(journey)
            seconds = self._clock - started
            return JourneyEnd(outcome=Outcome.FAILED, way=str(error), text=str(error), seconds=seconds)
        return JourneyEnd(outcome=Outcome.PASSED, seconds=self._clock - started)

    def _do(self, journey: JourneyId, *, is_item: bool = False) -> None:
        project = self._project
        self._simulation.journeys_run += 1
        self._clock += project.seconds.get(journey, 1.0)
        if self._simulation.dice.random() < project.flaky.get(journey, 0.0):
            raise Failed("step 1: chance")
        stop = self._experiment.stops.get(journey) if is_item else None
        self._act(project.does[journey][:stop], by=journey if is_item else None)
        for token in self._graph.journeys[journey].invalidates:
            self._state.held.discard(token)
        for token in self._graph.journeys[journey].establishes:
            if token in project.probes and not self._is_there(token):
                if stop is None:
                    raise Failed(f"established but not present: {token}")
            elif stop is None or token in project.probes:
                self._state.held.add(token)

    def _act(self, actions: Sequence[Action], *, by: JourneyId | None = None) -> None:
        """Do what a provider does, or a replayed journey, or an item (`by`)."""
        asked = [] if by is None or not self._experiment.steps else [*self._graph.journeys[by].establishes]
        asked = [token for token in asked if token in self._project.probes and not self._is_there(token)]
        for number, (what, thing) in enumerate(actions, 1):
            if problem := self._problem_with(what, thing):
                raise Failed(f"step {number}: {problem}")
            if what in {"write", "log"} or (what == "toggle" and not self._has(thing)):
                self._state.things[thing] = self._clock
            elif what in {"delete", "toggle"}:
                self._state.things.pop(thing, None)
            elif what in {"outside", "once"}:
                self._simulation.outside.add(thing)
            if by is not None:
                self._look(by, number, what, thing, asked if number < len(actions) else [])

    def _look(self, journey: JourneyId, step: int, what: str, thing: str, asked: list[Token]) -> None:
        """Note what an item has written in a step, and what is present behind it."""
        is_file = what in {"write", "log", "toggle", "delete"} and not thing.startswith("row-")
        if is_file and self._simulation.files and self._experiment.probes:
            self._written.setdefault(journey, {})[thing] = None
        for token in filter(self._is_there, [*asked]):
            asked.remove(token)
            self._half_way.append(HalfWay(token=token, journey=journey, step=step))

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
            self._state.held.add(token)
            return
        if token in self._state.held and not probed:
            return
        self._state.held.discard(token)
        if token in self._project.providers:
            self._provide(token, twice=token in self._experiment.twice and token not in asking)
        else:
            self._replay(token, asking)
        if probed and not self._is_there(token):
            raise Failed(f"{token} is not there after its provider")
        self._state.held.add(token)

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
