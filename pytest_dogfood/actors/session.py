"""One journey with actors: asks them for the next action, and runs it in the journey's working directory."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import (
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
from pytest_dogfood.actors.loop import Limits
from pytest_dogfood.actors.recording import Trajectory
from pytest_dogfood.diagnostics import HarnessError, Location, NoActor
from pytest_dogfood.execution.expectations import CommandInStep, Observation, Stream
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.runner import Grade
from pytest_dogfood.execution.step import (
    TAIL,
    CommandObservation,
    ShellRunner,
    file_below,
    place_files,
    shell_argv,
)
from pytest_dogfood.journey import Journey, Step


class Actor(Protocol):
    """Decides what steps without a command need: the project's hooks, a program, or a recording."""

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Answer | None:
        """Return what is to be done next, None to leave that to others; raises HarnessError where it cannot tell."""


_PLACE_VARIABLE = "_DOGFOOD_CWD"
_TELLING_ITS_PLACE = f"trap 'pwd -P >\"${_PLACE_VARIABLE}\" 2>/dev/null || :' EXIT\n"
"""What lets a shell say where it was in the end, put before a command on a line of its own."""

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
"""Shells that understand it; elsewhere each command starts where its step does."""


class ActorSession(Struct, kw_only=True):
    """The actors of one journey, which are asked in turn, and what has been done for it.

    `runner` is a step runner of its own. `variables` grow by what the steps save, and `commands` are those run for each
    step.
    """

    journey: Journey
    limits: Limits
    runner: ShellRunner
    actors: tuple[Actor, ...]
    judged_by: Callable[[JourneyBrief, StepBrief, Sequence[Action]], Verdict | None]
    trajectory: Trajectory
    variables: dict[str, str]
    commands: dict[int, list[str]] = field(default_factory=dict)
    unjudged: int = 0
    """How many expectations in free text were not judged."""
    # What is asked about, and where it is done; empty until the first step begins.
    _number: int = 0
    _step: Step = Step(location=Location(""))
    _briefs: tuple[JourneyBrief, StepBrief] = (JourneyBrief(id=""), StepBrief(number=0, total=0))
    _environment: Mapping[str, str] = field(default_factory=dict)
    _home: Path = Path()
    _here: Path | None = None
    _count: int = 0
    _note: str = ""
    _has_answered: bool = False

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        """Place a step's files; it goes on where the last one was left, unless it names a directory of its own."""
        self._number, self._step = number, step
        self.variables.update(variables)
        told = masked(self.variables, self.runner.keeper.mask)
        total = len(self.journey.steps)
        self._briefs = brief_of_journey(self.journey, told), brief_of_step(step, number, total)
        self.commands[number] = []
        self._environment, self._home = self.runner.prepare(step, variables)
        place_files(step.seed_files, self.runner.workdir)
        if step.cwd is not None:
            self._here = None

    def next(self, actions: Sequence[Action]) -> Answer:
        journey, step = self._briefs
        for actor in self.actors:
            answer = actor.next_action(journey, step, tuple(actions))
            if answer is not None:
                self._has_answered = True
                self._note = getattr(answer, "note", "")
                return answer
        if self._has_answered:
            raise HarnessError(f"{step.location}: no actor answers any more: every implementation gave None")
        raise NoActor(f"{self.journey.no_actor_reason}, for every implementation of the hook gave None")

    def do(self, answer: Command | Performed, *, limit: float | None) -> Observation:
        """Run a command of the step that has begun, or take the actor's word for what it did by other means."""
        if isinstance(answer, Performed):
            return ActionOutput(
                performed=answer,
                status=answer.exit,
                seconds=answer.seconds,
                cwd=self._home,
                environment=self._environment,
                keeper=self.runner.keeper,
            )
        self.commands[self._number].append(answer.run)
        self._count += 1
        mark = f"{self.runner.name}-action-{self._count}"
        place = self.runner.outputs / f"{mark}.cwd"
        shell = self._step.shell
        tells = shell is None or Path(shell.split(maxsplit=1)[0]).name in _SHELLS
        seen = self.runner.execute(
            self._step,
            shell_argv(_TELLING_ITS_PLACE + answer.run if tells else answer.run, shell),
            mark=mark,
            environment={**self._environment, _PLACE_VARIABLE: str(place)},
            cwd=self._here if self._here is not None and self._here.is_dir() else self._home,
            limit=limit if limit is None else max(limit, 0.001),
        )
        try:
            text = place.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n")
            place.unlink()
        except OSError:
            text = ""
        self._here = Path(text) if text else self._here
        return replace(seen, cwd=self._home)

    def looking_from_home(self, seen: Observation) -> Observation:
        """Return the same observation with files relative to the step that has begun."""
        if isinstance(seen, CommandObservation | ActionOutput):
            return replace(seen, cwd=self._home, environment=self._environment)
        return seen

    def learn(self, secrets: Iterable[str]) -> None:
        self.runner.keeper.learn(secrets)

    def tell(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        action = Action(
            step=step,
            command=self.runner.keeper.mask(command),
            exit=seen.status,
            stdout=seen.ending("stdout"),
            stderr=seen.ending("stderr"),
            seconds=round(seen.seconds, 3),
            timed_out=seen.timed_out,
            by=by,
        )
        self.trajectory.action(action, note=self._take_note())
        return action

    def judge(self, actions: Sequence[Action]) -> Verdict | None:
        return self.judged_by(*self._briefs, tuple(actions))

    def note_grade(self, number: int, result: Grade) -> None:
        self.unjudged += result.unjudged
        self.trajectory.grade(number, result, note=self._take_note())

    def _take_note(self) -> str:
        """Return what the actor said beside its answer, once."""
        note, self._note = self._note, ""
        return note


class ActionOutput(Struct, kw_only=True):
    """What an actor says that it has done and seen, in place of the outputs of a command."""

    performed: Performed
    status: int
    seconds: float
    cwd: Path
    environment: Mapping[str, str]
    keeper: SecretKeeper
    timed_out: bool = False
    ended_at: CommandInStep | None = None
    limit: float = math.inf
    left: float = 60.0

    def text(self, stream: Stream) -> str:
        return self.performed.stdout if stream == "stdout" else self.performed.stderr

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)

    def file(self, path: str) -> str | None:
        return file_below(self.cwd, path)

    def tail(self, stream: Stream) -> str:
        return self.mask(self.text(stream))

    def ending(self, stream: Stream) -> str:
        return self.tail(stream)[-TAIL:]

    def learn(self, secrets: Sequence[str]) -> None:
        self.keeper.learn(secrets)

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        pass  # nothing of it is in a file
