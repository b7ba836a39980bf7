"""Runs a whole journey for an item or a replay: its actor, its steps, what it establishes, its clean-up."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.diagnostics import NoActor, UnansweredProbeError
from pytest_dogfood.execution.runner import StepsResult, failure_text, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.fileformat.expected_text import written_in
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, Script, Step, Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.evidence import Probed
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.settings import Leaks
from pytest_dogfood.storage.journal import Journal, Why
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.token_registry import TokenRecord


def require_actor(workspace: Workspace, journey: Journey) -> None:
    """Check that a journey with a step without a command has an actor.

    Raises NoActor if there is none, HarnessError if the recording to replay is missing or does not fit.
    """
    if journey.needs_actor:
        if workspace.actors is None:
            raise NoActor(journey.no_actor_reason)
        workspace.actors.require(journey)


def run_journey(
    workspace: Workspace,
    journey: Journey,
    runner: ShellRunner,
    *,
    why: Why,
    asked_by: str = "",
    done: StepsResult,
    last: int | None = None,
) -> None:
    """Run the steps of a journey up to number `last`, and add their results to `done`, step by step.

    Raises HarnessError where the harness, an actor among it, could not do its part, and NoActor where no hook answers.
    """
    if workspace.actors is None or not journey.needs_actor:
        run_steps(journey.steps, runner, timeout=journey.timeout, done=done, last=last)
    else:
        workspace.actors.run_steps(journey, runner, why=why, asked_by=asked_by, done=done, last=last)


def forget_invalidated(presence: Presence, tokens: Iterable[Token], state: ChainState) -> None:
    """Forget the tokens that a journey, or a provider, is about to destroy."""
    for token in tokens:
        with presence.locked(token, state):
            presence.forget(token, state)


def runner_for_journey(
    presence: Presence, journey: Journey, state: ChainState, attempt: str, workdir: Path | None = None
) -> ShellRunner:
    """Return a runner in the journey's working directory, with the values of its tokens as variables."""
    workspace = presence.workspace
    workdir = workdir or workspace.workdir_for(journey, state, attempt)
    environment = workspace.environment(
        workdir=workdir,
        state=state.path,
        directory=(workspace.rootdir / journey.path).parent,
        journey=journey.id,
        chain=state.chain,
        locks=journey.locks,
        values=presence.variables(presence.graph.required_by(journey), state),
        own=journey.env,
    )
    if any(presence.graph.scope_of(token).is_shared for token in journey.establishes):
        environment = workspace.for_machine(environment)
    return workspace.runner(workdir, environment, attempt)


def reproduction(journey: Journey, workspace: Workspace) -> str:
    """Return the command that runs this journey alone, from where this run was started; its needs are provisioned."""
    path, separator, name = journey.nodeid.partition("::")
    nearest = Path(os.path.relpath(workspace.rootdir / path, workspace.invoked_from)).as_posix()
    nearest = f"./{nearest}" if nearest.startswith("-") else nearest  # else pytest takes it for an option
    quoted = f"{nearest}{separator}{name}".replace("'", "'\\''")
    # Its tokens may be established by a journey that needs an actor, too.
    actor = ""
    if journey.needs_actor or journey.requires:
        settings = workspace.settings
        recording = settings.replay or settings.record  # what was recorded, else what the same actor decides
        if recording is not None:
            actor = f"--dogfood-replay {shlex.quote(recording)} "
        elif settings.actor is not None:
            actor = f"--dogfood-actor {shlex.quote(settings.actor)} "
    return f"pytest --dogfood {workspace.again}{actor}'{quoted}'"


def establish(
    presence: Presence,
    journal: Journal,
    journey: Journey,
    state: ChainState,
    values: Mapping[str, str],
    secret: Iterable[str],
    established: dict[Token, Proof],
    *,
    is_half: bool = False,
) -> str:
    """Run the probes of the tokens that a passed journey establishes, and record the tokens that are present.

    Its proofs are put into `established`. Return what a person reads if a probe fails, else nothing. Raises
    UnansweredProbeError if none fails and one cannot be run, because that shows nothing about the product.

    A journey that was ended half-way (`is_half`) need not have established all: a token without a probe is absent then.
    """
    denied: dict[Token, Probed] = {}
    unanswered: dict[Token, str] = {}
    for token in journey.establishes:
        if is_half and not presence.graph.has_probe(token):
            continue
        with presence.locked(token, state):
            place = presence.place_of(token, state)
            earlier = presence.registry.record_of(token, place)
            kept = presence.registry.kept_values(token, place)
            known = {**(earlier.values if earlier else {}), **kept, **values}
            together = next((one for one in presence.graph.establishers[token] if journey.id in one), ())
            ends = [journal.end_of(other) for other in together if other != journey.id]
            if not all(end is not None and end.outcome.establishes for end in ends):
                presence.registry.keep_values(token, place, known)
                continue
            probed = presence.probe(token, state, known)
            if probed is not None and not probed.present:
                presence.forget(token, state)
                if probed.why_not_run:
                    unanswered[token] = probed.text
                else:
                    denied[token] = probed
                continue
            established[token] = Proof.JOURNEY if probed is None else Proof.PROBE
            presence.record(
                TokenRecord(
                    token=token,
                    place=place,
                    by=journey.id,
                    proof=established[token],
                    values=known,
                    secret=tuple(secret),
                    home=state.name,
                )
            )
    names = ", ".join(map(repr, denied or unanswered))
    if denied and is_half:
        return ""
    if denied:
        probes = " and ".join(dict.fromkeys(f"the probe {probed.denial}" for probed in denied.values()))
        no = f"established but not present: {names}: the journey passed, but {probes}"
        again = f"reproduce: {reproduction(journey, presence.workspace)}"
        return "\n\n".join([f"{journey.location}: {no}", *(probed.text for probed in denied.values()), again])
    if unanswered:
        why = f"{journey.id} passed, but it is not known whether {names} is present: its probe cannot be run"
        text = "\n\n".join([f"{journey.location}: {why}", *unanswered.values()])
        raise UnansweredProbeError(text, tokens=unanswered)
    return ""


CLEAN_UP_FAILED = "passed, but its teardown failed"
"""The end of a sentence about a journey whose steps succeeded and whose clean-up did not."""

LEAK_HINT = "stop it in `cleanup:`; if a token stands for it, make it a `service:` or write `leaves: daemon`"


def look_for_leaks(
    workspace: Workspace, journey: Journey, runner: ShellRunner, *, passed: bool
) -> tuple[tuple[str, ...], str]:
    """Return the processes that the steps of a journey have left running, and an error if that fails the journey."""
    leaks = workspace.settings.leaks
    if leaks is Leaks.ALLOW or (passed and journey.leaves) or workspace.interruption.signalled:
        return (), ""
    found = workspace.leak_finder.find(runner.marker, runner.mask)
    fails = found and passed and leaks is Leaks.FAIL
    return found, f"{journey.location}: left running: {', '.join(found)}\n{LEAK_HINT}" if fails else ""


_REFERENCE = re.compile(
    r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{[#!]?(?P<name>[A-Za-z_]\w*)(?P<rest>[^}]*))", re.ASCII
)
_DEFAULTS = ("-", ":-", "=", ":=", "+", ":+")
"""The text after a variable's name that handles a missing value (POSIX, Parameter Expansion)."""


def clean_up(
    workspace: Workspace, journey: Journey, runner: ShellRunner, done: StepsResult
) -> tuple[str, str]:
    """Run the clean-up steps of a journey, all of them, with the values that its steps have saved so far.

    A step that uses a value which some step of the journey saves, and which is not there, is left out: the shell would
    put nothing in its place, and `rm -rf "$dir/"` would remove something else. Return what went wrong, and what was
    left out; either may be empty.
    """
    if not journey.cleanup:
        return "", ""
    missing = {save.name for step in journey.steps for save in step.save} - done.values.keys()
    missing -= runner.environment.keys()
    lacking = {
        step.location: [name for name in variables_used(step) if name in missing] for step in journey.cleanup
    }
    left_out = {place: used for place, used in lacking.items() if used}
    steps = [step for step in journey.cleanup if step.location not in left_out]
    environment = {**runner.environment, **done.values}
    runner = replace(runner, environment=environment, name=f"{runner.name}-cleanup")
    ended = StepsResult()
    with workspace.recorder.activity(Kind.CLEANUP, journey.id, runner, ended):
        run_steps(steps, runner, keep_going=True, done=ended)
    told = (
        f"{place}: not run, because no step has saved {', '.join(used)}; write ${{{used[0]}:-}} to run it anyway"
        for place, used in left_out.items()
    )
    return failure_text(ended, runner, what="cleanup step"), "\n".join(told)


def variables_used(step: Step) -> tuple[str, ...]:
    """Return the variables that a step uses without handling a missing value."""
    texts = [step.run] if isinstance(step.run, str) else []
    if isinstance(step.run, Script):
        texts += [f"${name}" for name in (step.run.variables if step.run.uses is None else step.run.uses)]
    texts += [*step.env.values(), step.cwd or ""]
    # Expectations have their own rules for variables.
    texts += [f"${name}" for written in written_in(step.expect) for name in written.variables]
    needed: dict[str, None] = {}
    answered: set[str] = set()
    for found in (found for text in texts for found in _REFERENCE.finditer(text)):
        name = found["bare"] or found["name"]
        if found["rest"] and found["rest"].startswith(_DEFAULTS):
            answered.add(name)
        else:
            needed[name] = None
    return tuple(name for name in needed if name not in answered)


def values_missed(
    graph: CapabilityGraph, journey: Journey, done: StepsResult, runner: ShellRunner
) -> Iterator[str]:
    """Yield a note on each DOGFOOD_ variable that the failed step uses, but that is not set."""
    if done.failure is None:
        return
    from pytest_dogfood.check.variables import hint_on  # few runs need it
    from pytest_dogfood.fileformat.scripts import OUR_SETTING

    step, its_own = done.failure.step, (*graph.needed_by(journey), *journey.establishes)
    there = {*runner.environment, *step.env, *OUR_SETTING.findall(step.command)}
    for name in variables_used(step):
        owners = graph.variables.get(name, frozenset())
        if name in there or not (name.startswith("DOGFOOD_") and owners.isdisjoint(its_own)):
            continue
        owner = f"it is a value of {min(owners)!r}, which this journey does not require" if owners else ""
        if why := owner or hint_on(name, graph, its_own):
            yield f"note: ${name} is not set here; {why}"
