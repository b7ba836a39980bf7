"""Runs a whole journey, with its actor and its clean-up, for an item or for a replay."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_dogfood.actors.loop import NoActor, no_actor_reason
from pytest_dogfood.execution.failure_text import failure_text
from pytest_dogfood.execution.runner import StepsResult, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.fileformat.expected_text import written_in
from pytest_dogfood.journey import Journey, Script, Step
from pytest_dogfood.provisioning.workspace import Workspace
from pytest_dogfood.storage.journal import Why

if TYPE_CHECKING:
    from pytest_dogfood.actors.actor import ActorSession


def require_actor(workspace: Workspace, journey: Journey) -> None:
    """Make sure that somebody acts where a journey has a step without a command.

    Raises NoActor if there is nobody, HarnessError if a recording is to be replayed that is missing or does not fit.
    """
    if journey.needs_actor:
        if workspace.actor is None:
            raise NoActor(no_actor_reason(journey))
        workspace.actor.require(journey)


def session_for(workspace: Workspace, journey: Journey, runner: ShellRunner) -> ActorSession | None:
    """Return the actor session of a journey, None if it needs none; raises HarnessError as `require_actor` does."""
    return (
        None
        if workspace.actor is None or not journey.needs_actor
        else workspace.actor.actor_session(journey, runner)
    )


def run_journey(
    workspace: Workspace,
    journey: Journey,
    runner: ShellRunner,
    actor_session: ActorSession | None,
    *,
    why: Why,
    asked_by: str = "",
    done: StepsResult,
) -> None:
    """Run the steps of a journey, and account for them in `done`, step by step.

    Raises HarnessError where the harness, an actor among it, could not do its part, and NoActor where no hook answers.
    """
    if actor_session is None or workspace.actor is None:
        run_steps(journey.steps, runner, timeout=journey.timeout, done=done)
    else:
        workspace.actor.run_steps(actor_session, runner, why=why, asked_by=asked_by, done=done)


CLEAN_UP_FAILED = "passed, but its teardown failed"
"""What is said of a journey that did its steps and did not clean up, as the end of a sentence."""

_REFERENCE = re.compile(
    r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{[#!]?(?P<name>[A-Za-z_]\w*)(?P<rest>[^}]*))", re.ASCII
)
_DEFAULTS = ("-", ":-", "=", ":=", "+", ":+")
"""What follows a name where the author says what is to happen without a value (POSIX, Parameter Expansion)."""


def clean_up(journey: Journey, runner: ShellRunner, done: StepsResult) -> tuple[str, str]:
    """Run the clean-up steps of a journey, all of them, with the values that its steps have saved so far.

    A step that uses a value which some step of the journey saves, and which is not there, is left out: the shell would
    put nothing in its place, and `rm -rf "$dir/"` would remove something else. Return what went wrong, and what was
    left out; either may be empty.
    """
    if not journey.cleanup:
        return "", ""
    missing = {save.name for step in journey.steps for save in step.save} - done.values.keys()
    missing -= runner.environment.keys()
    left_out = {step.location: used for step in journey.cleanup if (used := values_used(step, missing))}
    steps = [step for step in journey.cleanup if step.location not in left_out]
    environment = {**runner.environment, **done.values}
    runner = replace(runner, environment=environment, name=f"{runner.name}-cleanup")
    ended = run_steps(steps, runner, keep_going=True)
    told = (
        f"{place}: not run, for no step has saved {', '.join(used)}; write ${{{used[0]}:-}} to run it all the same"
        for place, used in left_out.items()
    )
    return failure_text(ended, runner, what="cleanup step"), "\n".join(told)


def values_used(step: Step, names: Collection[str]) -> tuple[str, ...]:
    """Return which variables among `names` a step uses without saying what to do where they have no value."""
    needed: dict[str, None] = {}
    answered: set[str] = set()
    for text in _texts(step):
        for found in _REFERENCE.finditer(text):
            name = found["bare"] or found["name"]
            if found["rest"] and found["rest"].startswith(_DEFAULTS):
                answered.add(name)
            elif name in names:
                needed[name] = None
    return tuple(name for name in needed if name not in answered)


def _texts(step: Step) -> Iterator[str]:
    """Yield every text of a step in which a variable may stand, for our own expansion or for the shell's."""
    if isinstance(step.run, Script):
        yield from (f"${name}" for name in step.run.variables)
    elif isinstance(step.run, str):
        yield step.run
    yield from step.env.values()
    if step.cwd is not None:
        yield step.cwd
    # What is expected has rules of its own for what is a variable.
    yield from (f"${name}" for written in written_in(step.expect) for name in written.variables)
