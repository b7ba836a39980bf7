"""Runs steps in order, given something that runs a single one: retries of `until`, deadlines, results."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import Action, Verdict
from pytest_dogfood.execution.expectations import (
    Mismatch,
    SavedValue,
    Seen,
    Stream,
    mismatches,
    saved_values,
    withheld_streams,
)
from pytest_dogfood.journey import Step


class Observation(Seen, Protocol):
    """What is left of a step that has run: something to judge, and something to show."""

    @property
    def seconds(self) -> float: ...

    def tail(self, stream: Stream) -> str: ...

    def ending(self, stream: Stream) -> str:
        """Return the last bytes of an output as harmless text, secrets masked; also before `finish`."""

    def learn(self, secrets: Sequence[str]) -> None:
        """Take note of the secret values that the step has brought to light, to mask them from now on."""

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        """Let go of what was only needed for judging, and of outputs that nobody may see; called once, after that."""


class Comparison(Struct, frozen=True, kw_only=True):
    """What was seen beside what was expected, and what could be saved; of `withheld` streams nothing may be shown."""

    wrong: tuple[Mismatch, ...]
    values: tuple[SavedValue, ...]
    withheld: frozenset[Stream]


def compare(step: Step, seen: Observation) -> Comparison:
    """Compare what was seen with what the step expects, and take the values that it saves, also if it failed."""
    # First the values, even of a step that has failed: what is quoted of it must not tell a secret either.
    values, unsaved = saved_values(step, seen) if step.save else ((), ())
    seen.learn([one.value for one in values if one.secret])
    withheld = withheld_streams(step, values)
    wrong = mismatches(step, seen, withheld=withheld) or unsaved
    return Comparison(wrong=wrong, values=values, withheld=withheld)


class StepRunner(Protocol):
    """Runs one step for real, within `limit` seconds if that is less than its own limit."""

    def run(
        self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None
    ) -> Observation: ...

    def mask(self, text: str) -> str: ...


class Ending(StrEnum):
    """Why an actor's step came to its end."""

    DONE = "the actor said that it is done"
    REPEATED = "the actor gave the same command twice"
    TURNS = "the actor has had all its turns for the step"
    ACTIONS = "the actor has had all its actions for the journey"
    TIME = "the time of the journey was over"


class Grade(Struct, frozen=True, kw_only=True):
    """What is said of a step that an actor had to do, beside whether it decides against the journey.

    `graded` is the action that counted, None if there was none; `credited` tells that it was one of an earlier
    step. `wrong` is what was not as expected. `verdict` is the judge's, None where nobody judged; `unjudged` tells
    that there was something to judge.
    """

    ended: Ending
    decisive: bool
    actions: int
    graded: Action | None
    credited: bool = False
    wrong: tuple[Mismatch, ...] = ()
    verdict: Verdict | None = None
    unjudged: bool = False


class StepResult(Struct, frozen=True, kw_only=True):
    """A step that has run: `number` of `total`; it succeeded if nothing is `wrong`.

    Of `withheld` streams nothing may be shown. For a step that an actor did, `grade` says more, `step.run` is the
    command that counted, and `seen` what came of it, None if there was none.
    """

    step: Step
    number: int
    total: int
    wrong: tuple[Mismatch, ...]
    seen: Observation | None
    tries: int = 1
    withheld: frozenset[Stream] = frozenset()
    grade: Grade | None = None


class StepsResult(Struct):
    """The steps that ran, up to and including the first that did not do as expected.

    `values` are those saved so far, also by a step that failed then: what is to be cleaned up goes by them. `saved` is
    called after each.
    """

    results: list[StepResult] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)
    saved: Callable[[StepsResult], None] | None = None

    def keep(self, saved: SavedValue) -> None:
        """Take in a value that a step has saved."""
        self.values[saved.name] = saved.value
        if saved.secret and saved.name not in self.secret:
            self.secret.append(saved.name)
        if self.saved is not None:
            self.saved(self)

    @property
    def failure(self) -> StepResult | None:
        return self.results[-1] if self.results and self.results[-1].wrong else None


class Deadline:
    """The moment until which steps may run, if there is one; it moves while somebody else is being waited for."""

    def __init__(self, seconds: float | None) -> None:
        self._moment = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left, none or fewer if it is over; None if there is no limit."""
        return None if self._moment is None else self._moment - time.monotonic()

    @property
    def over(self) -> bool:
        left = self.left()
        return left is not None and left <= 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            if self._moment is not None:
                self._moment += time.monotonic() - started


class StepActor(Protocol):
    """Does the steps of one journey that have no command."""

    def act(self, number: int, done: StepsResult, deadline: Deadline) -> StepResult: ...

    def observed(self, result: StepResult) -> None:
        """Take note of a step that the journey file itself gave a command for."""

    def finish(self) -> None: ...


def run_steps(
    steps: Sequence[Step],
    runner: StepRunner,
    *,
    timeout: float | None = None,
    keep_going: bool = False,
    actor: StepActor | None = None,
    done: StepsResult | None = None,
) -> StepsResult:
    """Run steps until one does not do as expected; `timeout` (seconds) bounds them all together.

    `done` accounts for each step as it ends, so that the caller knows it even if something is raised; it is returned.

    With `keep_going` every step is run, as clean-up wants it, and the first failure is put last. Steps without a
    command are left to the `actor`; the time it takes to decide does not count.
    """
    deadline = Deadline(timeout)
    done = StepsResult() if done is None else done
    failed: StepResult | None = None
    try:
        for number, step in enumerate(steps, start=1):
            if actor is not None and step.run is None:
                result = actor.act(number, done, deadline)
            else:
                result = _perform_one(step, number, len(steps), runner, done, deadline)
                if actor is not None:
                    actor.observed(result)
            done.results.append(result)
            if result.wrong:
                failed = failed or result
                if not keep_going:
                    break
    finally:
        if actor is not None:
            actor.finish()
    if failed is not None and done.results[-1] is not failed:
        done.results.remove(failed)
        done.results.append(failed)
    return done


def _perform_one(
    step: Step, number: int, total: int, runner: StepRunner, done: StepsResult, deadline: Deadline
) -> StepResult:
    give_up = None if step.until is None else time.monotonic() + step.until.timeout
    tries = 0
    before = dict(done.values)  # what the step itself saves is for those after it, not for its next try
    earlier: StepResult | None = None
    while True:
        tries += 1
        until = None if give_up is None else give_up - time.monotonic()
        limits = [left for left in (deadline.left(), until) if left is not None]
        limit = max(min(limits), 0.001) if limits else None
        seen = runner.run(step, number=number, variables=before, limit=limit)
        found = compare(step, seen)
        seen.finish(withheld=found.withheld)
        for one in found.values:
            done.keep(one)
        result = StepResult(
            step=step,
            number=number,
            total=total,
            wrong=found.wrong,
            seen=seen,
            tries=tries,
            withheld=found.withheld,
        )
        if not found.wrong or not _again(step, give_up, deadline):
            # A last try that is cut short says nothing: what the one before has shown is why the step gave up.
            return result if earlier is None or not seen.timed_out else replace(earlier, tries=tries)
        if not seen.timed_out:
            earlier = result


def _again(step: Step, give_up: float | None, deadline: Deadline) -> bool:
    if step.until is None or give_up is None:
        return False
    wait = step.until.interval
    left = deadline.left()
    if time.monotonic() + wait >= give_up or (left is not None and wait >= left):
        return False
    time.sleep(wait)
    return True
