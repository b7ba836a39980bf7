"""Performs a journey's steps in order, given something that runs a single step."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec.structs import replace

from pytest_dogfood.actors.loop import Act, Cast
from pytest_dogfood.journey import Step
from pytest_dogfood.performance import Bench, Deadline, Performance, StepResult, compare


def perform(
    steps: Sequence[Step],
    bench: Bench,
    *,
    timeout: float | None = None,
    keep_going: bool = False,
    cast: Cast | None = None,
    done: Performance | None = None,
) -> Performance:
    """Run steps until one does not do as expected; `timeout` (seconds) bounds them all together.

    `done` accounts for each step as it ends, so that the caller knows it even if something is raised; it is returned.

    With `keep_going` every step is run, as clean-up wants it, and the first failure is put last. Steps without a
    command are left to the `cast`; the time it takes to decide does not count.
    """
    deadline = Deadline(timeout)
    done = Performance() if done is None else done
    failed: StepResult | None = None
    act = None if cast is None else Act(steps, cast)
    try:
        for number, step in enumerate(steps, start=1):
            if act is not None and step.run is None:
                result = act.perform(number, done, deadline)
            else:
                result = _perform_one(step, number, len(steps), bench, done, deadline)
                if act is not None:
                    act.saw(result)
            done.results.append(result)
            if result.wrong:
                failed = failed or result
                if not keep_going:
                    break
    finally:
        if act is not None:
            act.finish()
    if failed is not None and done.results[-1] is not failed:
        done.results.remove(failed)
        done.results.append(failed)
    return done


def _perform_one(
    step: Step, number: int, total: int, bench: Bench, done: Performance, deadline: Deadline
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
        seen = bench.run(step, number=number, variables=before, limit=limit)
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
