"""Performs a journey's steps in order, given something that runs a single step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Protocol

from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import Mismatch
from pytest_dogfood.judgement import SavedValue
from pytest_dogfood.judgement import Seen
from pytest_dogfood.judgement import mismatches
from pytest_dogfood.judgement import saved_values


class Observation(Seen, Protocol):
    """What is left of a step that has run: something to judge, and something to show."""

    @property
    def seconds(self) -> float: ...

    def tail(self, stream: str) -> str: ...

    def finish(self, secrets: Sequence[str]) -> None:
        """Take note of the secret values that the step has brought to light; called once, after judging."""


class Bench(Protocol):
    """Runs one step for real, within `limit` seconds if that is less than its own limit."""

    def run(
        self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None
    ) -> Observation: ...

    def mask(self, text: str) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step that has run: `number` of `total`; it succeeded if nothing is `wrong`."""

    step: Step
    number: int
    total: int
    wrong: tuple[Mismatch, ...]
    seen: Observation
    tries: int = 1


@dataclass(slots=True)
class Performance:
    """The steps that ran, up to and including the first that did not do as expected."""

    results: list[StepResult] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)

    @property
    def failure(self) -> StepResult | None:
        return self.results[-1] if self.results and self.results[-1].wrong else None


def perform(
    steps: Sequence[Step],
    bench: Bench,
    *,
    timeout: float | None = None,
    keep_going: bool = False,
) -> Performance:
    """Run steps until one does not do as expected; `timeout` (seconds) bounds them all together.

    With `keep_going` every step is run, as clean-up wants it, and the first failure is put last.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    done = Performance()
    failed: StepResult | None = None
    for number, step in enumerate(steps, start=1):
        result = _perform_one(step, number, len(steps), bench, done, deadline)
        done.results.append(result)
        if result.wrong:
            failed = failed or result
            if not keep_going:
                break
    if failed is not None and done.results[-1] is not failed:
        done.results.remove(failed)
        done.results.append(failed)
    return done


def _perform_one(
    step: Step, number: int, total: int, bench: Bench, done: Performance, deadline: float | None
) -> StepResult:
    give_up = None if step.until is None else time.monotonic() + step.until.timeout
    tries = 0
    while True:
        tries += 1
        limits = [moment - time.monotonic() for moment in (deadline, give_up) if moment is not None]
        limit = max(min(limits), 0.001) if limits else None
        seen = bench.run(step, number=number, variables=done.values, limit=limit)
        wrong = mismatches(step, seen)
        values: tuple[SavedValue, ...] = ()
        if not wrong and step.save:
            values, wrong = saved_values(step, seen)
        seen.finish([one.value for one in values if one.secret])
        for one in values:
            done.values[one.name] = one.value
            if one.secret:
                done.secret.append(one.name)
        if not wrong or not _again(step, give_up, deadline):
            return StepResult(step=step, number=number, total=total, wrong=wrong, seen=seen, tries=tries)


def _again(step: Step, give_up: float | None, deadline: float | None) -> bool:
    if step.until is None or give_up is None:
        return False
    wait = step.until.interval
    now = time.monotonic()
    if now + wait >= give_up or (deadline is not None and now + wait >= deadline):
        return False
    time.sleep(wait)
    return True
