"""Grades a step that an actor had to do, from what it did: which action counts, and whether that was as expected."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from pytest_dogfood.actions import Action
from pytest_dogfood.actions import Verdict
from pytest_dogfood.actions import free_text
from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import Mismatch
from pytest_dogfood.performance import Ending
from pytest_dogfood.performance import Observation


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
    `earlier` one that matches is credited to it.
    """
    matching = _matching(step, own)
    if own:
        return (matching or own)[-1]
    return next(reversed(_matching(step, earlier)), None)


def _matching(step: Step, deeds: Sequence[Deed]) -> Sequence[Deed]:
    if not step.expect_cmd_re:
        return ()
    pattern = re.compile(step.expect_cmd_re, re.MULTILINE)
    return [deed for deed in deeds if deed.shown.by == "actor" and pattern.search(deed.command)]


def never_reached(ended: Ending) -> tuple[Mismatch, ...]:
    return (Mismatch("never reached", "an action of the actor", f"none: {ended}"),)


def against(step: Step, verdict: Verdict | None) -> tuple[Mismatch, ...]:
    """Turn the word of a judge into what is not as expected."""
    if verdict is None or verdict.passed:
        return ()
    return (Mismatch("judge", free_text(step), verdict.why or "not what was expected"),)
