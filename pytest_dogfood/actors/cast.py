"""Who plays in one journey: decides by hooks, by the actor's process or from a recording, and keeps the books."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec import Struct, field

from pytest_dogfood.actions import (
    Action,
    Answer,
    Command,
    JourneyBrief,
    Performed,
    StepBrief,
    Verdict,
    Whose,
    brief_of_journey,
    brief_of_step,
    masked,
)
from pytest_dogfood.actors.actions import Stage
from pytest_dogfood.actors.loop import Limits
from pytest_dogfood.actors.recording import AGAIN, filled_in
from pytest_dogfood.actors.trajectory import Trajectory
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Journey, Step
from pytest_dogfood.performance import Grade, Observation
from pytest_dogfood.stepping import SecretKeeper

Decide = Callable[[JourneyBrief, StepBrief, Sequence[Action]], Answer]
"""Gives what is to be done next; raises HarnessError if nobody can tell."""

Judge = Callable[[JourneyBrief, StepBrief, Sequence[Action]], Verdict | None]


class JourneyCast(Struct, kw_only=True):
    """The cast of one journey. `variables` grow by what its steps save, and `commands` are those run for each step.

    With `recorded`, what `decide` gives are commands with place holders.
    """

    journey: Journey
    limits: Limits
    stage: Stage
    decide: Decide
    judged_by: Judge
    keeper: SecretKeeper
    trajectory: Trajectory
    variables: dict[str, str]
    recorded: bool = False
    commands: dict[int, list[str]] = field(default_factory=dict)
    grades: list[Grade] = field(default_factory=list)
    _briefs: tuple[JourneyBrief, StepBrief] | None = None
    _number: int = 0
    _note: str = ""

    @property
    def unjudged(self) -> int:
        """How many expectations in free text nobody has judged."""
        return sum(grade.unjudged for grade in self.grades)

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        self.variables.update(variables)
        told = masked(self.variables, self.keeper.mask)
        total = len(self.journey.steps)
        self._briefs = brief_of_journey(self.journey, told), brief_of_step(step, number, total)
        self._number = number
        self.commands[number] = []
        self.stage.begin(step, variables)

    def _told(self) -> tuple[JourneyBrief, StepBrief]:
        if self._briefs is None:
            raise AssertionError("a step begins before anybody is asked about it")
        return self._briefs

    def next(self, actions: Sequence[Action]) -> Answer:
        journey, step = self._told()
        try:
            answer = self.decide(journey, step, tuple(actions))
            if self.recorded and isinstance(answer, Command):
                answer = replace(answer, run=filled_in(answer.run, self.variables))
        except ValueError as error:
            raise HarnessError(
                f"{step.location}: a recorded command cannot be run: {error}; {AGAIN}"
            ) from error
        self._note = getattr(answer, "note", "")
        return answer

    def do(self, command: str, *, limit: float | None) -> Observation:
        self.commands[self._number].append(command)
        return self.stage.run(command, limit=limit)

    def see(self, performed: Performed) -> Observation:
        return self.stage.told(performed)

    def looking_from_home(self, seen: Observation) -> Observation:
        return self.stage.looking_from_home(seen)

    def learn(self, secrets: Iterable[str]) -> None:
        self.keeper.learn(secrets)

    def tell(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        action = Action(
            step=step,
            command=self.keeper.mask(command),
            exit=seen.status,
            stdout=seen.ending("stdout"),
            stderr=seen.ending("stderr"),
            seconds=round(seen.seconds, 3),
            timed_out=seen.timed_out,
            by=by,
        )
        self.trajectory.action(action, note=self._noted())
        return action

    def judge(self, actions: Sequence[Action]) -> Verdict | None:
        return self.judged_by(*self._told(), tuple(actions))

    def note_grade(self, number: int, result: Grade) -> None:
        self.grades.append(result)
        self.trajectory.grade(number, result, note=self._noted())

    def _noted(self) -> str:
        """Give what the actor said beside its answer, once."""
        note, self._note = self._note, ""
        return note
