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
from pytest_dogfood.execution.expectations import Mismatch, Observation, compare, saved_values
from pytest_dogfood.execution.runner import (
    Deadline,
    Ending,
    Grade,
    StepResult,
    StepsResult,
)
from pytest_dogfood.fileformat.expected_text import TooSlow, search
from pytest_dogfood.journey import Journey, Step


class DoneAction(Struct, frozen=True, kw_only=True):
    """An action as it really was: `command` unmasked, `seen` what it left. `shown` is what others are told of it."""

    shown: Action
    command: str
    seen: Observation


def deciding_steps(steps: Sequence[Step]) -> tuple[bool, ...]:
    """Return for each step whether it decides the outcome.

    Those marked `core` do, or the last one if none is marked. What the file itself gives a command for always does,
    and so does what saves values: others rely on them.
    """
    marked = any(step.core for step in steps)
    last = len(steps) - 1
    return tuple(
        step.run is not None or step.core or bool(step.save) or (not marked and number == last)
        for number, step in enumerate(steps)
    )


def graded_action(step: Step, own: Sequence[DoneAction], earlier: Sequence[DoneAction]) -> DoneAction | None:
    """Return the action that a step is graded on.

    That is the last of its `own` whose command matches `expect_cmd_re`, else the last of them. If it has none, an
    `earlier` one that matches is credited to it. Raises HarnessError if the search for that takes too long.
    """
    matching = _matching(step, own)
    if own:
        return (matching or own)[-1]
    return next(reversed(_matching(step, earlier)), None)


def _matching(step: Step, done_actions: Sequence[DoneAction]) -> Sequence[DoneAction]:
    if not step.expect_cmd_re:
        return ()
    by_the_actor = [done_action for done_action in done_actions if done_action.shown.by == "actor"]
    try:
        return [
            done_action
            for done_action in by_the_actor
            if search(step.expect_cmd_re, done_action.command, seconds=done_action.seen.left)
        ]
    except TooSlow as error:
        message = (
            f"{step.location}: expect_cmd_re {step.expect_cmd_re!r} takes too long on a command of the actor"
        )
        raise HarnessError(message) from error


def never_reached(ended: Ending) -> tuple[Mismatch, ...]:
    return (Mismatch("never reached", "an action of the actor", f"none: {ended}"),)


def mismatches_of_verdict(step: Step, verdict: Verdict | None) -> tuple[Mismatch, ...]:
    """Return what a judge's verdict says is not as expected."""
    if verdict is None or verdict.passed:
        return ()
    return (Mismatch("judge", free_text(step), verdict.why or "not what was expected"),)


class NoActor(Exception):  # noqa: N818 - a reason to skip
    """A step has no command, and there is no actor to decide one."""


def no_actor_reason(journey: Journey) -> str:
    """Return which step has no command, and that no actor decides one."""
    number, step = next((number, step) for number, step in enumerate(journey.steps, 1) if step.run is None)
    reason = f"no actor: step {number} of {len(journey.steps)} has no command ({step.location})"
    if journey.is_gui:
        return f"{reason}, and no plugin implements pytest_dogfood_gui_action for 'modality: gui'"
    return f"{reason}; --dogfood-actor names one"


class Limits(Struct, frozen=True, kw_only=True):
    """How much an actor may do: actions in a journey, and answers to one step."""

    actions: int
    turns: int


class StepSession(Protocol):
    """Who decides, does, judges and keeps the books in one journey; every method may raise HarnessError."""

    @property
    def limits(self) -> Limits: ...

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        """Make the place ready for a step; what is asked, done and judged until the next one is about this."""

    def next(self, actions: Sequence[Action]) -> Answer: ...

    def do(self, command: str, *, limit: float | None) -> Observation: ...

    def see(self, performed: Performed) -> Observation:
        """Take what somebody has done and seen by other means than a command."""

    def looking_from_home(self, seen: Observation) -> Observation:
        """Return the same observation with files looked for where the step is at home."""

    def learn(self, secrets: Iterable[str]) -> None: ...

    def tell(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        """Word what came of a command for others, secrets masked; keep it in the books."""

    def judge(self, actions: Sequence[Action]) -> Verdict | None: ...

    def note_grade(self, number: int, result: Grade) -> None: ...


class ActorLoop:
    """An actor's part in the steps of one journey; knows all that has been done so far, by whomever."""

    def __init__(self, steps: Sequence[Step], actor_session: StepSession) -> None:
        self._steps = steps
        self._actor_session = actor_session
        self._decides = deciding_steps(steps)
        self._done_actions: list[DoneAction] = []
        self._actions = 0
        self._known: list[Action] = []

    def observed(self, result: StepResult) -> None:
        """Take note of a step that the journey file itself gave a command for."""
        if result.seen is not None:
            shown = self._actor_session.tell(result.number, result.step.command, result.seen, by="journey")
            self._known.append(shown)

    def act(self, number: int, done: StepsResult, deadline: Deadline) -> StepResult:
        """Let the actor do a step, and grade it; what it saves becomes a value for the steps after it."""
        step = self._steps[number - 1]
        first = len(self._done_actions)
        self._actor_session.begin(step, number, variables=done.values)
        ended = self._play(step, number, deadline)
        own, earlier = self._done_actions[first:], self._done_actions[:first]
        done_action = graded_action(step, own, earlier)
        seen = None if done_action is None else self._actor_session.looking_from_home(done_action.seen)
        if seen is not None:
            wrong, saved, withheld = compare(step, seen)
        else:
            wrong, saved, withheld = never_reached(ended), (), frozenset()
        for one in saved:
            done.keep(one)
        verdict: Verdict | None = None
        to_judge = done_action is not None and not wrong and bool(free_text(step))
        if to_judge:
            verdict = self._actor_session.judge([one.shown for one in own or filter(None, (done_action,))])
            wrong = mismatches_of_verdict(step, verdict)
        grade = Grade(
            ended=ended,
            decisive=self._decides[number - 1],
            actions=len(own),
            graded=None if done_action is None else done_action.shown,
            credited=done_action is not None and not own,
            wrong=wrong,
            verdict=verdict,
            unjudged=to_judge and verdict is None,
        )
        self._actor_session.note_grade(number, grade)
        return StepResult(
            step=step if done_action is None else replace(step, run=done_action.command),
            number=number,
            total=len(self._steps),
            wrong=wrong if grade.decisive else (),
            seen=seen,
            withheld=withheld,
            grade=grade,
        )

    def finish(self) -> None:
        """Let go of what the actions have left; nothing can be graded on it any more."""
        for done_action in self._done_actions:
            done_action.seen.finish()

    def _play(self, step: Step, number: int, deadline: Deadline) -> Ending:
        """Ask and do, until there is an end."""
        limits, last = self._actor_session.limits, None
        for _ in range(limits.turns):
            if self._actions >= limits.actions:
                return Ending.ACTIONS
            if deadline.left() <= 0:
                return Ending.TIME
            with deadline.paused():
                answer = self._actor_session.next(self._known)
            if isinstance(answer, Done):
                return Ending.DONE
            if isinstance(answer, ActorError):
                raise HarnessError(f"{step.location}: the actor reports an error: {answer.why}")
            if isinstance(answer, Command) and answer.run == last:
                return Ending.REPEATED
            last = answer.run if isinstance(answer, Command) else None
            self._take(step, number, answer, deadline)
        return Ending.TURNS

    def _take(self, step: Step, number: int, answer: Command | Performed, deadline: Deadline) -> None:
        """Do what was answered and remember it."""
        self._actions += 1
        if isinstance(answer, Command):
            command, seen = answer.run, self._actor_session.do(answer.run, limit=deadline.left())
        else:
            command, seen = answer.what, self._actor_session.see(answer)
        secret = tuple(save for save in step.save if save.secret)
        if secret:  # what may come to be the value must not reach the actor before it is known to be one
            found, _ = saved_values(replace(step, save=secret), seen)
            self._actor_session.learn(one.value for one in found)
        shown = self._actor_session.tell(number, command, seen)
        self._known.append(shown)
        self._done_actions.append(DoneAction(shown=shown, command=command, seen=seen))
