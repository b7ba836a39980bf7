"""Replays an establishing journey in the state of an item that requires its token, once its gates are open."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, NoActor
from pytest_dogfood.execution.runner import StepsResult, failure_text
from pytest_dogfood.execution.step import ShellRunner, place_files
from pytest_dogfood.journey import Journey, JourneyId, Mark, Token, is_of_a_test
from pytest_dogfood.outcomes import (
    CachedState,
    Cause,
    Outcome,
    Proof,
    Provisioned,
    StateCopy,
    listed,
    reason_of,
)
from pytest_dogfood.provisioning.journey_runner import (
    CLEAN_UP_FAILED,
    clean_up,
    establish,
    forget_invalidated,
    look_for_leaks,
    reproduction,
    require_actor,
    run_journey,
    runner_for_journey,
)
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.storage.journal import End, Journal, Why
from pytest_dogfood.storage.locks import NamedLocks
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.run_directory import remove_tree
from pytest_dogfood.storage.token_registry import MACHINE, SEVERAL, TokenRecord


class DeferredError(Exception):
    """A token was not provisioned: `cause` is the root cause, `token` the one that the asking journey itself requires.

    `token` is None if a closed gate is the reason.
    """

    def __init__(self, cause: Cause, token: Token | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.token = token


FixtureValue = Callable[[str], object]
"""Sets a fixture up for the asking item and gives its value; raises LookupError if it cannot be seen from there."""


class Request(Struct, kw_only=True):
    """The item that asks for tokens, its state, and the result: proofs, and what was provisioned.

    `fixture` is None while the item's fixtures are not set up yet. `seen_at` holds the count of the
    `InvalidationCounter` when each token was last seen to be present. `kept` are the directories of journeys that were
    replayed for the item and failed, `leaked` what replays have left running, `rested_on` the proofs of what they
    required. `copies` are the copies of states that were made for it, or could not be made, and `cached` the states
    that were restored from the cache, or stored there.
    """

    journey: JourneyId
    state: ChainState
    fixture: FixtureValue | None = None
    proofs: dict[Token, Proof] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)
    rested_on: dict[Token, Proof] = field(default_factory=dict)
    seen_at: dict[Token, int] = field(default_factory=dict)
    provisioned: list[Provisioned] = field(default_factory=list)
    copies: list[StateCopy] = field(default_factory=list)
    cached: list[CachedState] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def now(self) -> tuple[float, int]:
        """Return the time, and the number of tokens provisioned so far."""
        return time.monotonic(), len(self.provisioned)

    def note(self, token: Token, how: str, where: str, *, since: tuple[float, int]) -> None:
        """Note a provisioning that began at `since`, a value that `now` has returned.

        What was provisioned meanwhile for the act's own needs is noted by itself and not counted twice.
        """
        started, before = since
        nested = sum(one.seconds for one in self.provisioned[before:])
        seconds = max(time.monotonic() - started - nested, 0.0)
        self.provisioned.append(Provisioned(token=token, how=how, seconds=seconds, where=where))


class Replayer:
    """Replays journeys; `ensure` provides what they require themselves, and raises as `Provisioner.ensure` does.

    `gates_elsewhere` holds the gates of journeys that other shards run as items.
    """

    def __init__(
        self,
        presence: Presence,
        journal: Journal,
        gates_elsewhere: Mapping[JourneyId, tuple[JourneyId, ...]],
        ensure: Callable[[Iterable[Token], Request], object],
    ) -> None:
        self._presence = presence
        self._journal = journal
        self._gates_elsewhere = gates_elsewhere
        self._ensure = ensure

    def pass_gates(
        self, gates: Iterable[JourneyId], request: Request, locks: NamedLocks | None = None
    ) -> None:
        """Raise DeferredError at the first closed gate; one that another shard runs is replayed here once.

        `locks` is where to take the named locks that such a replay needs; without it the caller holds them all.
        """
        for gate in gates:
            end = self._journal.end_of(gate) or self._replay_gate(gate, request, locks)
            outcome, cause = (Outcome.ERROR, None) if end is None else (end.outcome, end.cause)
            if outcome.closes_a_gate and not (cause is not None and cause.blocked):
                how = reason_of(outcome)
                if cause is not None and outcome is Outcome.ERROR and cause.who == gate:
                    how = cause.why
                elif cause is not None and outcome is Outcome.DEFERRED:
                    how = f"{how} ({cause})"
                tier = self._presence.graph.journeys[gate].tier
                why = f"{how}, and it gates what comes after tier '{tier}'"
                details = "" if cause is None else cause.details
                raise DeferredError(Cause(who=gate, why=why, details=details))

    def _replay_gate(self, gate: JourneyId, request: Request, locks: NamedLocks | None) -> End | None:
        presence = self._presence
        if locks is not None:
            locks.acquire(presence.graph.locks_needed(self._gates_elsewhere, journeys=[gate]))
        name = Token(f"gate-{sha256(gate.encode()).hexdigest()[:8]}")
        # The lock for several tokens comes first: its holder may reach a gate, and a gate may need tokens.
        with presence.machine.locked(SEVERAL), presence.registry.locked(name, MACHINE):
            if self._journal.end_of(gate) is None:
                journey = presence.graph.journeys[gate]
                state = presence.workspace.state_of(presence.graph, journey)
                state = presence.workspace.state_apart(presence.graph, state)
                try:
                    self.replay(journey, state, request)
                except HarnessError as error:
                    cause = _harness_cause(journey, error)
                    self._journal.ended(gate, Why.REPLAY, state.name, Outcome.ERROR, cause)
        if locks is not None:
            locks.release()
        return self._journal.end_of(gate)

    def provision(self, token: Token, request: Request) -> TokenRecord:
        """Establish a token by replaying the first journey that can.

        Raises DeferredError with the cause if all that were tried did not pass, HarnessError if there is none.
        """
        graph = self._presence.graph
        establishing = [graph.journeys[one] for one in graph.establishing(token)]
        first_cause: Cause | None = None
        # Journeys that use fixtures come last: the requesting item may see other fixtures, or none.
        for journey in sorted((one for one in establishing if not one.python), key=lambda one: bool(one.use)):
            end = self._journal.end_of(journey.id, state=request.state.name)
            cause = None if end is None else end.blocking_cause()
            if cause is None:
                shared = graph.scope_of(token).is_shared
                workspace, state = self._presence.workspace, request.state
                if shared:
                    state = workspace.state_apart(graph, workspace.state_of(graph, journey))
                started = request.now()
                cause = self.replay(journey, state, request)
                record = self._presence.record_of(token, request.state)
                if cause is None and record is not None:
                    request.note(token, f"by replaying {journey.id}", record.place, since=started)
                    return record
            first_cause = first_cause or cause
        if first_cause is not None:
            raise DeferredError(first_cause)
        if is_of_a_test(token):
            raise HarnessError(
                f"{establishing[0].id} has not passed in this process, and what a test leaves behind is gone with its "
                "process: run both again"
            )
        if token in self._presence.workspace.uncollected:
            why = f": {self._presence.workspace.uncollected[token]}"
        elif establishing:
            why = self._why_no_test_brings_it_back(token, establishing[0], request.state)
        else:
            nothing = "no journey, test or fixture here establishes it"
            why = f", and {nothing}: give it a 'provision:' under 'capabilities:', or let a journey establish it"
        raise HarnessError(self._presence.absence(token, request.state, why))

    def _why_no_test_brings_it_back(self, token: Token, test: Journey, state: ChainState) -> str:
        """Return why a token that only Python tests establish is missing, `test` first, and what to do."""
        graph, capability = self._presence.graph, self._presence.graph.capability(token)
        end, cure = self._journal.end_of(test.id), "give it a 'provision:'"
        if end is None or not end.outcome.establishes:
            why = f", and only the Python test {test.id} establishes it: a test cannot be replayed"
            return f"{why}; {cure} under 'capabilities:'"
        where = "" if graph.scope_of(token).is_shared else state.name
        since = [one for one in self._journal.run_since(end.at, state=where) if one in graph.journeys]
        destroyers = [one for one in since if token in graph.journeys[one].invalidates]
        lost = "it has been lost since"
        if destroyers:
            lost = f"{listed(destroyers)}, which invalidates it, has run since"
        why = f": {test.id} established it, but {lost}, and a Python test cannot be replayed"
        if destroyers:
            cure += " to let several use it up,"
        elif test.requires and (capability is None or capability.probe is None):
            bases = listed(map(repr, test.requires))
            why += f"; without a 'probe:' it counts as lost with {bases}: "
            why += f"declare `invalidates` at {test.id} if that uses it up, or"
            return f"{why} give {token!r} a 'probe:' or a 'provision:' under 'capabilities:'"
        elif since:
            why += (
                f"; {listed(since)} ran since: if that destroys it, declare it there with `invalidates`, or"
            )
            return f"{why} {cure} under 'capabilities:'"
        return f"{why}; {cure} under 'capabilities:'"

    def replay(self, journey: Journey, state: ChainState, request: Request) -> Cause | None:
        """Run a journey's steps in `state`, its own needs first; None if it passed, else the root cause.

        That it is being replayed is written down first, so that a death in the middle counts against it.
        """
        asked = replace(request, state=state, proofs={}, seen_at={})
        outcome, cause = Outcome.SKIPPED, None
        try:
            require_actor(self._presence.workspace, journey)
            if not self._is_marked(journey, "skip", "skipif"):
                # A condition without sense is met before the journey begins.
                self._is_marked(journey, "xfail")
                self.pass_gates(self._gates_elsewhere.get(journey.id, ()), asked)
                self._ensure(self._presence.graph.required_by(journey), asked)
                request.rested_on.update(asked.proofs)
                self._journal.started(journey.id, Why.REPLAY, state.name)
                outcome, cause = self._run(journey, asked)
        except NoActor:
            outcome, cause = Outcome.NO_ACTOR, None
        except DeferredError as error:
            outcome, cause = Outcome.DEFERRED, error.cause
        except HarnessError as error:  # as an item it would end so, and its dependents would be deferred
            outcome, cause = Outcome.ERROR, _harness_cause(journey, error)
        else:
            if outcome.is_bad and self._is_marked(journey, "xfail"):
                outcome, cause = Outcome.XFAILED, None
        if not outcome.establishes and cause is None:
            cause = Cause(who=journey.id, why=reason_of(outcome))
        self._journal.ended(journey.id, Why.REPLAY, state.name, outcome, cause)
        return cause

    def _is_marked(self, journey: Journey, *names: str) -> bool:
        known = self._presence.workspace.mark_names
        try:
            return any(mark.name in names and _applies(mark, known) for mark in journey.marks)
        except Exception as error:
            said = f"{journey.location}: a condition of {' or '.join(names)} cannot be evaluated: {error!r}"
            raise HarnessError(said) from error

    def _run(self, journey: Journey, request: Request) -> tuple[Outcome, Cause | None]:
        presence, workspace, state = self._presence, self._presence.workspace, request.state
        for name in journey.use:
            if request.fixture is None:
                raise HarnessError(
                    f"{journey.id!r} uses fixtures, and cannot be replayed before they are set up"
                )
            request.fixture(name)
        for token in journey.establishes:
            presence.claim(token, state)
        # Before the tokens that it destroys lose their values.
        runner = runner_for_journey(presence, journey, state, workspace.attempt_at(journey.id))
        forget_invalidated(presence, journey.invalidates, state)
        place_files(journey.seed_files, runner.workdir)
        done = presence.saving_for(journey.establishes, state)
        with workspace.recorder.activity(Kind.REPLAY, journey.id, runner, done, place=state.name) as note:
            try:
                with workspace.interruption.operation(f"replay of {journey.id}"):
                    text = self._perform(journey, runner, request, done)
            except BaseException:
                if not workspace.interruption.abandoned:
                    with workspace.interruption.interruptible(by_first=False):
                        clean_up(workspace, journey, runner, done)
                raise
            problem, left_out = clean_up(workspace, journey, runner, done)
            if journey.cleanup:
                workspace.changes.note(f"the clean-up of {journey.id} ran")
            passed = not text and not problem
            leaked, problem_of_leaks = look_for_leaks(workspace, journey, runner, passed=passed)
            request.leaked += [f"{one.removesuffix(')')} of {journey.id})" for one in leaked]
            problem = problem or problem_of_leaks
            if not text and not problem:
                if journey.workdir is None:
                    remove_tree(runner.workdir)
                return Outcome.PASSED, None
            if text:
                request.kept += [state.path, runner.workdir]
                text += "".join(f"\n\n{one}" for one in (problem, left_out) if one)
                text += f"\nkept:      {runner.workdir} (working directory), {state.path} (state)"
                # Worded as for an item: with shards, the place of the replay and its dependent are chance.
                note.outcome, why = Outcome.FAILED, reason_of(Outcome.FAILED)
            else:
                note.outcome, why, text = Outcome.ERROR, CLEAN_UP_FAILED, problem
            note.text, note.again = text, reproduction(journey, workspace)
        details = f"replayed for {request.journey}\n{text}"
        return note.outcome, Cause(who=journey.id, why=why, details=details)

    def _perform(self, journey: Journey, runner: ShellRunner, request: Request, done: StepsResult) -> str:
        """Run the steps and record the established tokens; return the text of a failure, else the empty string."""
        workspace = self._presence.workspace
        run_journey(workspace, journey, runner, why=Why.REPLAY, asked_by=request.journey, done=done)
        workspace.changes.note(f"{journey.id} was replayed")
        text = failure_text(done, runner, reproduce=reproduction(journey, workspace))
        return text or establish(
            self._presence, self._journal, journey, request.state, done.values, done.secret, {}
        )


def _harness_cause(journey: Journey, error: HarnessError) -> Cause:
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
