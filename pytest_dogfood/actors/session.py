"""One journey with actors: asks them for the next action, and runs it in the journey's working directory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from pytest_dogfood.diagnostics import HarnessError, Location, NoActor, to_harness_error
from pytest_dogfood.execution.expectations import Observation, Stream
from pytest_dogfood.execution.output import Output
from pytest_dogfood.execution.runner import Grade, StepResult, StepsResult
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.execution.step import CommandObservation, ShellRunner, place_files
from pytest_dogfood.journey import Journey, Step
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.recorder import Note, Recorder


class Actor(Protocol):
    """Chooses the commands of steps without one: the project's hooks, a program, or a recording."""

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Answer | None:
        """Return the next action, None to leave the choice to others; raises HarnessError if it fails."""


_PLACE_VARIABLE = "_DOGFOOD_CWD"
_WRITE_DIRECTORY = f"trap 'pwd -P >\"${_PLACE_VARIABLE}\" 2>/dev/null || :' EXIT\n"
"""A line before a command that makes the shell write its last working directory."""

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
"""Shells that understand it; with others each command starts in its step's directory."""


_SECONDS_TO_JUDGE = 60.0
"""Seconds that searches may take in the output of an action without a command, which has no time limit."""


class ActorSession(Struct, kw_only=True):
    """The actors of one journey, which are asked in turn, and the commands that they have run.

    `runner` is its own step runner. `variables` get the values that steps save, and `commands` are those run for each
    step.
    """

    journey: Journey
    limits: Limits
    runner: ShellRunner
    actors: tuple[Actor, ...]
    judge_hook: Callable[[JourneyBrief, StepBrief, Sequence[Action]], Verdict | None]
    trajectory: Trajectory
    variables: dict[str, str]
    recorder: Recorder
    commands: dict[int, list[str]] = field(default_factory=dict)
    # The current step and its directories; empty until the first step begins.
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
        """Write a step's files; it starts in the last command's directory, unless it names its own."""
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
            raise HarnessError(f"{step.location}: no actor answers any more: every hook returned None")
        raise NoActor(f"{self.journey.no_actor_reason}, because every hook returned None")

    def do(self, answer: Command | Performed, *, limit: float | None) -> Observation:
        """Run a command of the current step, or keep the actor's report of an action by other means."""
        self._count += 1
        mark = f"{self.runner.name}-action-{self._count}"
        if isinstance(answer, Performed):
            return self._keep_performed(answer, mark)
        self.commands[self._number].append(answer.run)
        place = self.runner.outputs / f"{mark}.cwd"
        shell = self._step.shell
        tells = shell is None or Path(shell.split(maxsplit=1)[0]).name in _SHELLS
        seen = self.runner.execute(
            self._step,
            shell_argv(_WRITE_DIRECTORY + answer.run if tells else answer.run, shell),
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

    def _keep_performed(self, performed: Performed, mark: str) -> CommandObservation:
        """Keep the output of an action without a command as that of a command."""
        runner = self.runner
        texts: dict[Stream, str] = {"stdout": performed.stdout, "stderr": performed.stderr}
        outputs = {stream: Output(runner.outputs, f"{mark}.{stream[3:]}", None) for stream in texts}
        for stream, output in outputs.items():
            with to_harness_error(f"write {output.name}"), os.fdopen(output.open(), "wb") as file:
                file.write(texts[stream].encode(errors="replace"))
        return CommandObservation(
            status=performed.exit,
            timed_out=False,
            seconds=performed.seconds,
            limit=performed.seconds + _SECONDS_TO_JUDGE,
            ended_at=None,
            outputs=outputs,
            cwd=self._home,
            environment=self._environment,
            keeper=runner.keeper,
        )

    def in_step_directory(self, seen: Observation) -> Observation:
        """Return the same observation with files relative to the current step."""
        if isinstance(seen, CommandObservation):
            return replace(seen, cwd=self._home, environment=self._environment)
        return seen

    def learn(self, secrets: Iterable[str]) -> None:
        self.runner.keeper.learn(secrets)

    def describe(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        action = Action(
            step=step,
            command=self.runner.keeper.mask(command),
            exit=seen.status,
            stdout=seen.masked_tail("stdout"),
            stderr=seen.masked_tail("stderr"),
            seconds=round(seen.seconds, 3),
            timed_out=seen.timed_out,
            by=by,
        )
        self.trajectory.action(action, note=self._take_note())
        return action

    def record(self, step: int, command: str, seen: Observation) -> None:
        now, total = time.time(), len(self.journey.steps)
        done = StepResult(
            step=replace(self.journey.steps[step - 1], run=command),
            number=step,
            total=total,
            wrong=(),
            seen=seen,
            started=now - seen.seconds,
            seconds=seen.seconds,
        )
        self.recorder.write(Kind.ACTION, self.journey.id, Note(), None, StepsResult(results=[done]))

    def judge(self, actions: Sequence[Action]) -> Verdict | None:
        return self.judge_hook(*self._briefs, tuple(actions))

    def note_grade(self, number: int, result: Grade) -> None:
        self.trajectory.grade(number, result, note=self._take_note())

    def _take_note(self) -> str:
        """Return the note to the actor's last answer, once."""
        note, self._note = self._note, ""
        return note
