"""Runs an establishing journey again, in the state of an item that needs its token."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field

from pytest_dogfood.actors.loop import NoActor
from pytest_dogfood.diagnostics import HarnessError, UnansweredProbeError
from pytest_dogfood.execution.failure_text import failure_text
from pytest_dogfood.execution.runner import StepsResult
from pytest_dogfood.execution.step import ShellRunner, place_files
from pytest_dogfood.journey import Journey, JourneyId, Mark, Scope, Token, is_of_a_test
from pytest_dogfood.outcomes import Cause, Outcome, Proof, Provisioned, reason_of
from pytest_dogfood.provisioning.establishers import establish
from pytest_dogfood.provisioning.journey_runner import (
    CLEAN_UP_FAILED,
    clean_up,
    require_actor,
    run_journey,
    session_for,
)
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.storage.journal import Journal, Why
from pytest_dogfood.storage.run_directory import remove_tree
from pytest_dogfood.storage.token_registry import Holding


class DeferredError(Exception):
    """What a journey needs did not come about, and `cause` is the root of it."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


FixtureValue = Callable[[str], object]
"""Sets a fixture up for the asking item and gives its value; raises LookupError if it cannot be seen from there."""


class Request(Struct, kw_only=True):
    """Who asks for tokens, in which state, and what came of it: proofs, and acts of provisioning.

    `fixture` is None while the item's fixtures are not set up yet. `seen_at` holds the number of changes in the world
    when each token was last seen to be present. `kept` are the directories of journeys that were
    replayed for it and failed. `rested_on` are the proofs of what replays for it required.
    """

    journey: JourneyId
    state: ChainState
    fixture: FixtureValue | None = None
    proofs: dict[Token, Proof] = field(default_factory=dict)
    rested_on: dict[Token, Proof] = field(default_factory=dict)
    seen_at: dict[Token, int] = field(default_factory=dict)
    provisioned: list[Provisioned] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    @contextmanager
    def noting(self, token: Token) -> Iterator[Callable[[str, str], None]]:
        """Time an act of provisioning; call what this gives with how and where once it has succeeded.

        What is provisioned meanwhile for the act's own needs is noted by itself and not counted twice.
        """
        started, before = time.monotonic(), len(self.provisioned)

        def note(how: str, where: str) -> None:
            nested = sum(one.seconds for one in self.provisioned[before:])
            seconds = max(time.monotonic() - started - nested, 0.0)
            self.provisioned.append(Provisioned(token=token, how=how, seconds=seconds, where=where))

        yield note


Ensure = Callable[[Iterable[Token], Request], object]
"""Makes sure that tokens are present, or raises DeferredError or HarnessError."""

Admit = Callable[[Journey, Request], None]
"""Raises DeferredError if a gate is closed before a journey."""


class NotReplayableError(Exception):
    """No journey can be replayed that would establish a token; the text says why."""


class Replayer:
    """Replays journeys; what they need themselves is asked of `ensure`, whether they may run at all of `admit`."""

    def __init__(self, presence: Presence, journal: Journal, *, ensure: Ensure, admit: Admit) -> None:
        self._presence = presence
        self._journal = journal
        self._ensure = ensure
        self._admit = admit

    def bring_about(self, token: Token, request: Request) -> Holding:
        """Establish a token by replaying the first journey that can.

        Raises DeferredError with the cause if all that were tried did not pass, NotReplayableError if there is none.
        """
        graph = self._presence.graph
        causes: list[Cause] = []
        for journey in self._replayable(token):
            verdict = self._journal.verdict(journey.id, state=request.state.name)
            earlier = None if verdict is None else verdict.blocking_cause()
            if earlier is not None:
                causes.append(earlier)
                continue
            shared = graph.scope_of(token) is Scope.MACHINE
            state = self._presence.workspace.place_of(graph, journey) if shared else request.state
            with request.noting(token) as note:
                cause = self.replay(journey, state, request)
                holding = self._presence.registry.holding(
                    token, self._presence.place_of(token, request.state)
                )
                if cause is None and holding is not None:
                    note(f"by replaying {journey.id}", holding.place)
                    return holding
            if cause is not None:
                causes.append(cause)
        if causes:
            raise DeferredError(causes[0])
        raise NotReplayableError(self._why_not(token, self._presence.how_absent(token, request.state)))

    def _replayable(self, token: Token) -> Sequence[Journey]:
        """Return the journeys that can be replayed, last those that use fixtures: who asks may see others, or none."""
        graph = self._presence.graph
        found = [graph.journeys[member] for member in graph.establishing(token)]
        return sorted((one for one in found if not one.python), key=lambda journey: bool(journey.use))

    def _why_not(self, token: Token, absent: str) -> str:
        graph = self._presence.graph
        uncollected = self._presence.workspace.uncollected.get(token)
        if uncollected is not None:
            return f"{absent}: {uncollected}"
        tests = [graph.journeys[one] for one in graph.establishing(token)]
        if is_of_a_test(token):
            return (
                f"{tests[0].id} has not passed in this process, and what a test leaves behind is gone with its "
                "process: run both again"
            )
        if tests:
            return (
                f"{absent}, and only the Python test {tests[0].id} establishes it: "
                "a test cannot be replayed; give the capability a 'provision:'"
            )
        return (
            f"{absent}, and no journey, test or fixture here establishes it: give the capability a 'provision:', "
            "or let a journey establish it"
        )

    def replay(self, journey: Journey, state: ChainState, request: Request) -> Cause | None:
        """Run a journey's steps in `state`, its own needs first; None if it passed, else the root cause.

        That it is being replayed is written down first, so that a death in the middle counts against it.
        """
        asked = Request(
            journey=request.journey,
            state=state,
            fixture=request.fixture,
            provisioned=request.provisioned,
            rested_on=request.rested_on,
            kept=request.kept,
        )
        outcome, cause = self._refused(journey)
        by_harness = outcome is Outcome.ERROR
        if outcome is None:
            try:
                self._admit(journey, asked)
                self._ensure(self._presence.graph.required_by(journey), asked)
                request.rested_on.update(asked.proofs)
            except DeferredError as error:
                outcome, cause = Outcome.DEFERRED, error.cause
            except HarnessError as error:  # as an item it would end so, and its dependents would be deferred
                outcome, cause, by_harness = Outcome.ERROR, _not_played(journey, error), True
        if outcome is None:
            self._journal.started(journey.id, Why.REPLAY, state.name)
            try:
                outcome, cause = self._run(journey, state, asked)
            except NoActor:
                outcome, cause = _because(journey.id, Outcome.NO_ACTOR)
            except HarnessError as error:  # as an item it would end so, and its dependents would be deferred
                outcome, cause, by_harness = Outcome.ERROR, _not_played(journey, error), True
        if outcome.is_bad and not by_harness and self._is_marked(journey, "xfail"):
            outcome, cause = _because(journey.id, Outcome.XFAILED)
        self._journal.ended(journey.id, Why.REPLAY, state.name, outcome, cause)
        return None if outcome.establishes else cause

    def _refused(self, journey: Journey) -> tuple[Outcome | None, Cause | None]:
        try:
            require_actor(self._presence.workspace, journey)
            if self._is_marked(journey, "skip", "skipif"):
                return _because(journey.id, Outcome.SKIPPED)
            self._is_marked(
                journey, "xfail"
            )  # a condition that makes no sense is met before the journey begins
        except NoActor:
            return _because(journey.id, Outcome.NO_ACTOR)
        except HarnessError as error:
            return Outcome.ERROR, _not_played(journey, error)
        return None, None

    def _is_marked(self, journey: Journey, *names: str) -> bool:
        known = self._presence.workspace.mark_names
        try:
            return any(mark.name in names and _applies(mark, known) for mark in journey.marks)
        except Exception as error:
            said = f"{journey.location}: a condition of {' or '.join(names)} cannot be evaluated: {error!r}"
            raise HarnessError(said) from error

    def _text_of_failure(
        self, journey: Journey, runner: ShellRunner, state: ChainState, request: Request, done: StepsResult
    ) -> str:
        """Run the steps and record what they establish; return what a person reads of a failure, else nothing."""
        workspace = self._presence.workspace
        actor_session = session_for(workspace, journey, runner)
        run_journey(
            workspace, journey, runner, actor_session, why=Why.REPLAY, asked_by=request.journey, done=done
        )
        workspace.changes.note(f"{journey.id} was replayed")
        text = failure_text(done, runner, reproduce=reproduction(journey, workspace))
        if text:
            return text
        found = establish(self._presence, self._journal, journey, state, done.values, done.secret)
        if found.unanswered and not found.denied:
            raise unanswered(journey, found.unanswered)
        return (
            f"{denial(journey, found.denied)}\n\nreproduce: {reproduction(journey, workspace)}"
            if found.denied
            else ""
        )

    def _run(self, journey: Journey, state: ChainState, request: Request) -> tuple[Outcome, Cause | None]:
        for name in journey.use:
            if request.fixture is None:
                raise HarnessError(f"{journey.id!r} uses fixtures and cannot be replayed before they exist")
            request.fixture(name)
        presence, workspace = self._presence, self._presence.workspace
        for token in journey.establishes:
            presence.claim(token, state)
        runner = runner_for_journey(
            presence, journey, state
        )  # before the values of what it destroys are gone
        forget_invalidated(presence, journey.invalidates, state)
        place_files(journey.seed_files, runner.workdir)
        done = presence.saving_for(journey.establishes, state)
        text = ""
        try:
            with workspace.interruption.doing(f"replay of {journey.id}"):
                text = self._text_of_failure(journey, runner, state, request, done)
        except BaseException:
            if not workspace.interruption.abandoned:
                with workspace.interruption.cleaning_up():
                    clean_up(journey, runner, done)
            raise
        problem, left_out = clean_up(journey, runner, done)
        if journey.cleanup:
            workspace.changes.note(f"the clean-up of {journey.id} ran")
        if problem and not text:
            cause = Cause(
                who=journey.id, why=CLEAN_UP_FAILED, details=f"replayed for {request.journey}\n{problem}"
            )
            return Outcome.ERROR, cause
        if not text:
            if journey.workdir is None:
                remove_tree(runner.workdir)
            return Outcome.PASSED, None
        request.kept += [state.path, runner.workdir]
        text += "".join(f"\n\n{one}" for one in (problem, left_out) if one)
        text += f"\nkept:      {runner.workdir} (working directory), {state.path} (state)"
        # In the same words as of an item: where it was replayed, and for whom, is chance if there are shards.
        why = reason_of(Outcome.FAILED)
        return Outcome.FAILED, Cause(
            who=journey.id, why=why, details=f"replayed for {request.journey}\n{text}"
        )


def forget_invalidated(presence: Presence, tokens: Iterable[Token], state: ChainState) -> None:
    """Strike out what a journey, or a provider, is about to destroy."""
    for token in tokens:
        with presence.locked(token, state):
            presence.forget(token, state)


def runner_for_journey(
    presence: Presence, journey: Journey, state: ChainState, workdir: Path | None = None
) -> ShellRunner:
    """Return a runner in the journey's working directory, with the values of its tokens as variables."""
    workspace = presence.workspace
    workdir = workdir or workspace.workdir_for(journey, state)
    environment = workspace.environment(
        workdir=workdir,
        state=state.path,
        directory=workspace.directory_of(journey.path),
        journey=journey.id,
        chain=state.chain,
        values=presence.variables(presence.graph.required_by(journey), state),
        own=journey.env,
    )
    return workspace.runner(workdir, environment)


def reproduction(journey: Journey, workspace: Workspace) -> str:
    """Return the command that runs this journey alone, from where this run was started; its needs are provisioned."""
    path, separator, name = journey.nodeid.partition("::")
    nearest = Path(os.path.relpath(workspace.rootdir / path, workspace.invoked_from)).as_posix()
    nearest = f"./{nearest}" if nearest.startswith("-") else nearest  # else pytest takes it for an option
    quoted = f"{nearest}{separator}{name}".replace("'", "'\\''")
    # What it requires may be established by a journey that needs an actor, too.
    acted = _acted_as_here(workspace) if journey.needs_actor or journey.requires else ""
    return f"pytest --dogfood {workspace.again}{acted}'{quoted}'"


def _acted_as_here(workspace: Workspace) -> str:
    """Return the options by which the same is done again: what was recorded, else what the same actor decides."""
    settings = workspace.settings
    directory = settings.replay or settings.record
    if directory is not None:
        return f"--dogfood-replay {shlex.quote(directory)} "
    return "" if settings.actor is None else f"--dogfood-actor {shlex.quote(settings.actor)} "


def unanswered(journey: Journey, trouble: Mapping[Token, str]) -> UnansweredProbeError:
    """Return the error that a journey passed, and that probes of what it establishes could not be run."""
    names = ", ".join(map(repr, trouble))
    first = f"{journey.location}: {journey.id} passed, but it is unknown whether {names} holds: its probe cannot be run"
    return UnansweredProbeError("\n\n".join([first, *trouble.values()]), tokens=trouble)


def denial(journey: Journey, denied: Mapping[Token, str]) -> str:
    """Return that a journey passed without bringing about what it establishes, and what the probes have said."""
    names = ", ".join(map(repr, denied))
    first = (
        f"{journey.location}: established but not present: {names}: the journey passed, but the probe says no"
    )
    return "\n\n".join([first, *denied.values()])


def _because(journey: JourneyId, outcome: Outcome) -> tuple[Outcome, Cause]:
    return outcome, Cause(who=journey, why=reason_of(outcome))


def _not_played(journey: Journey, error: HarnessError) -> Cause:
    return Cause(who=journey.id, why=error.why or reason_of(Outcome.ERROR), details=str(error))


def _applies(mark: Mark, known: Mapping[str, object]) -> bool:
    """Return whether a skip, skipif or xfail mark counts.

    A text condition is Python, and sees what pytest lets it see.
    """
    conditions = [*mark.args] if mark.name != "skip" else []
    if "condition" in mark.kwargs:
        conditions.append(mark.kwargs["condition"])
    names = {"os": os, "sys": sys, "platform": platform, **known}
    values = [
        eval(condition, names) if isinstance(condition, str) else condition  # noqa: S307 - what pytest does with it
        for condition in conditions
    ]
    return any(values) if conditions else True
