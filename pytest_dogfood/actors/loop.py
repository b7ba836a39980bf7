"""The loop of a step without a command: ask, act, grade, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import (
    Action,
    ActorError,
    Answer,
    Command,
    Done,
    Performed,
    Verdict,
    Whose,
    free_text,
)
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.expectations import Mismatch, Observation, Stream, compare, saved_values
from pytest_dogfood.execution.runner import (
    Deadline,
    Grade,
    StepEnd,
    StepResult,
    StepsResult,
)
from pytest_dogfood.fileformat.expected_text import TooSlow, search
from pytest_dogfood.journey import Step


class DoneAction(Struct, frozen=True, kw_only=True):
    """An action with its unmasked `command` and its result, `seen`. `shown` is the masked action for others."""

    shown: Action
    command: str
    seen: Observation


def deciding_steps(steps: Sequence[Step]) -> tuple[bool, ...]:
    """Return for each step whether it decides the outcome.

    Those marked `core` do, or the last one if none is marked. Steps with a command in the file always do, and so do
    steps that save values, because later steps use them.
    """
    marked = any(step.core for step in steps)
    last = len(steps) - 1
    return tuple(
        step.run is not None or step.core or bool(step.save) or (not marked and number == last)
        for number, step in enumerate(steps)
    )


def graded_action(step: Step, own: Sequence[DoneAction], earlier: Sequence[DoneAction]) -> DoneAction | None:
    """Return the action on which a step is graded.

    That is the last of its `own` whose command matches `expect_cmd_re`, else the last of them. If it has none, an
    `earlier` one that matches is credited to it. Raises HarnessError if the search for that takes too long.
    """
    matching: list[DoneAction] = []
    if step.expect_cmd_re:
        try:
            matching = [
                one
                for one in own or earlier
                if search(step.expect_cmd_re, one.command, seconds=one.seen.left)
            ]
        except TooSlow as error:
            raise HarnessError(
                f"{step.location}: expect_cmd_re {step.expect_cmd_re!r} takes too long on a command of the actor"
            ) from error
    return next(reversed(matching or own), None)


class Limits(Struct, frozen=True, kw_only=True):
    """How much an actor may do: actions in a journey, and answers to one step."""

    actions: int
    turns: int


class StepSession(Protocol):
    """Asks, runs, judges and records the actions of one journey; every method may raise HarnessError."""

    @property
    def limits(self) -> Limits: ...

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        """Prepare a step; all calls until the next `begin` belong to it."""

    def next(self, actions: Sequence[Action]) -> Answer: ...

    def do(self, answer: Command | Performed, *, limit: float | None) -> Observation:
        """Run a command, or keep the result of an action that was performed by other means."""

    def in_step_directory(self, seen: Observation) -> Observation:
        """Return the same observation with files relative to the step's own directory."""

    def learn(self, secrets: Iterable[str]) -> None: ...

    def describe(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        """Return a command and its result as an action, secrets masked; add it to the trajectory."""

    def judge(self, actions: Sequence[Action]) -> Verdict | None: ...

    def record(self, step: int, command: str, seen: Observation) -> None:
        """Add a finished action to the record of the run."""

    def note_grade(self, number: int, result: Grade) -> None: ...


class ActorLoop:
    """An actor's part in the steps of one journey; knows all actions so far, also those of the file's own commands."""

    def __init__(self, steps: Sequence[Step], session: StepSession) -> None:
        self._steps = steps
        self._session = session
        self._decides = deciding_steps(steps)
        self._done_actions: list[DoneAction] = []
        self._known: list[Action] = []

    def observed(self, result: StepResult) -> None:
        """Note a step that has a command in the journey file itself."""
        if result.seen is not None:
            shown = self._session.describe(result.number, result.step.command, result.seen, by="journey")
            self._known.append(shown)

    def act(self, number: int, done: StepsResult, deadline: Deadline) -> StepResult:
        """Let the actor do a step, and grade it; its saved values are variables of later steps."""
        step, first = self._steps[number - 1], len(self._done_actions)
        self._session.begin(step, number, variables=done.values)
        ended = self._run_actions(step, number, deadline)
        own, earlier = self._done_actions[first:], self._done_actions[:first]
        graded = graded_action(step, own, earlier)
        seen, withheld, verdict, unjudged = None, frozenset[Stream](), None, False
        if graded is None:
            wrong: tuple[Mismatch, ...] = (
                Mismatch("never reached", "an action of the actor", f"none: {ended}"),
            )
        else:
            seen = self._session.in_step_directory(graded.seen)
            wrong, saved, withheld = compare(step, seen)
            for one in saved:
                done.keep(one)
            if not wrong and (wanted := free_text(step)):
                verdict = self._session.judge([one.shown for one in own or (graded,)])
                unjudged = verdict is None
                if verdict is not None and not verdict.passed:
                    wrong = (Mismatch("judge", wanted, verdict.why or "not what was expected"),)
        grade = Grade(
            ended=ended,
            decisive=self._decides[number - 1],
            actions=len(own),
            graded=None if graded is None else graded.shown,
            credited=graded is not None and not own,
            wrong=wrong,
            verdict=verdict,
            unjudged=unjudged,
        )
        self._session.note_grade(number, grade)
        return StepResult(
            step=step if graded is None else replace(step, run=graded.command),
            number=number,
            total=len(self._steps),
            wrong=wrong if grade.decisive else (),
            seen=seen,
            withheld=withheld,
            grade=grade,
        )

    def finish(self) -> None:
        """Finish the outputs of all actions, and record them; after that no step can be graded."""
        for done_action in self._done_actions:
            done_action.seen.finish()
            self._session.record(done_action.shown.step, done_action.command, done_action.seen)

    def _run_actions(self, step: Step, number: int, deadline: Deadline) -> StepEnd:
        """Ask for actions and run them until the step ends."""
        limits, last = self._session.limits, None
        secret = tuple(save for save in step.save if save.secret)
        for _ in range(limits.turns):
            if len(self._done_actions) >= limits.actions:
                return StepEnd.ACTIONS
            if deadline.left() <= 0:
                return StepEnd.TIME
            with deadline.paused():
                answer = self._session.next(self._known)
            if isinstance(answer, Done):
                return StepEnd.DONE
            if isinstance(answer, ActorError):
                raise HarnessError(f"{step.location}: the actor reports an error: {answer.why}")
            if isinstance(answer, Command) and answer.run == last:
                return StepEnd.REPEATED
            last = answer.run if isinstance(answer, Command) else None
            seen = self._session.do(answer, limit=deadline.left())
            if secret:  # a possible secret must be masked before the actor sees the output
                found, _ = saved_values(replace(step, save=secret), seen)
                self._session.learn(one.value for one in found)
            command = answer.run if isinstance(answer, Command) else answer.what
            shown = self._session.describe(number, command, seen)
            self._known.append(shown)
            self._done_actions.append(DoneAction(shown=shown, command=command, seen=seen))
        return StepEnd.TURNS
