"""Grades a step that an actor had to do, from what it did: which action counts, and whether that was as expected."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pytest_dogfood.actions import Action, Verdict, free_text
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fileformat.expected_text import TooSlow, search
from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import Mismatch
from pytest_dogfood.performance import Ending, Observation


class Deed(Struct, frozen=True, kw_only=True):
    """An action as it really was: `command` unmasked, `seen` what it left. `shown` is what others are told of it."""

    shown: Action
    command: str
    seen: Observation


def decides(steps: Sequence[Step]) -> tuple[bool, ...]:
    """Tell for each step whether it decides the outcome.

    Those marked `core` do, or the last one if none is marked. What the file itself gives a command for always does,
    and so does what saves values: others rely on them.
    """
    marked = any(step.core for step in steps)
    last = len(steps) - 1
    return tuple(
        step.run is not None or step.core or bool(step.save) or (not marked and number == last)
        for number, step in enumerate(steps)
    )


def counting(step: Step, own: Sequence[Deed], earlier: Sequence[Deed]) -> Deed | None:
    """Give the action that a step is graded on.

    That is the last of its `own` whose command matches `expect_cmd_re`, else the last of them. If it has none, an
    `earlier` one that matches is credited to it. Raises HarnessError if the search for that takes too long.
    """
    matching = _matching(step, own)
    if own:
        return (matching or own)[-1]
    return next(reversed(_matching(step, earlier)), None)


def _matching(step: Step, deeds: Sequence[Deed]) -> Sequence[Deed]:
    if not step.expect_cmd_re:
        return ()
    by_the_actor = [deed for deed in deeds if deed.shown.by == "actor"]
    try:
        return [
            deed for deed in by_the_actor if search(step.expect_cmd_re, deed.command, seconds=deed.seen.left)
        ]
    except TooSlow as error:
        message = (
            f"{step.location}: expect_cmd_re {step.expect_cmd_re!r} takes too long on a command of the actor"
        )
        raise HarnessError(message) from error


def never_reached(ended: Ending) -> tuple[Mismatch, ...]:
    return (Mismatch("never reached", "an action of the actor", f"none: {ended}"),)


def against(step: Step, verdict: Verdict | None) -> tuple[Mismatch, ...]:
    """Turn the word of a judge into what is not as expected."""
    if verdict is None or verdict.passed:
        return ()
    return (Mismatch("judge", free_text(step), verdict.why or "not what was expected"),)
