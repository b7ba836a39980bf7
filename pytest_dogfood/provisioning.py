"""Brings a missing token about: by a fixture, by its own steps or service, or by replaying a journey."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256

from pytest_dogfood.asking import Ask
from pytest_dogfood.asking import DeferredError
from pytest_dogfood.asking import FixtureValue
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import perform
from pytest_dogfood.journal import Journal
from pytest_dogfood.journal import Why
from pytest_dogfood.journey import Capability
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.outcomes import reason_of
from pytest_dogfood.presence import Presence
from pytest_dogfood.registry import MACHINE
from pytest_dogfood.registry import SEVERAL
from pytest_dogfood.registry import Attempt
from pytest_dogfood.registry import Holding
from pytest_dogfood.replaying import Replayer
from pytest_dogfood.servicing import start_service
from pytest_dogfood.settings import Provision
from pytest_dogfood.wording import failure_text
from pytest_dogfood.wording import what_the_probe_said
from pytest_dogfood.world import State


class Provisioner:
    """Ensures that tokens are present: asks first, and brings about at most once what is missing.

    `gates_elsewhere` holds the gates of journeys that other shards run as items: here they stand behind them, too.
    """

    def __init__(
        self,
        presence: Presence,
        journal: Journal,
        gates_elsewhere: Mapping[JourneyId, tuple[JourneyId, ...]],
    ) -> None:
        self.presence = presence
        self.journal = journal
        self._graph = presence.graph
        self._settings = presence.world.settings
        self._gates_elsewhere = gates_elsewhere
        self.replayer = Replayer(presence, journal, ensure=self.ensure, admit=self._admit)
        self._by_fixtures: dict[Token, set[str]] = {}

    def ensure(self, tokens: Iterable[Token], ask: Ask) -> None:
        """Make sure that each token is present where `ask` needs it.

        Raises DeferredError if what would establish one did not pass, HarnessError if there is no way to have it.
        """
        wanted = dict.fromkeys(tokens)
        missing = tuple(wanted)
        for _ in wanted:
            for token in missing:
                self._ensure_one(token, ask)
            # A journey that was replayed for one token may have invalidated another.
            missing = tuple(token for token in wanted if not self._is_recorded(token, ask.state))
            if not missing:
                return
        if missing:
            names = ", ".join(map(repr, wanted))
            raise HarnessError(f"{names} do not hold together: bringing one about destroys another")

    def _is_recorded(self, token: Token, state: State) -> bool:
        return self.presence.registry.holding(token, self.presence.place_of(token, state)) is not None

    def pass_gates(self, gates: Iterable[JourneyId], ask: Ask) -> None:
        """Raise DeferredError at the first closed gate; one that another shard runs is replayed here once."""
        for gate in gates:
            outcome, cause = self._outcome_of_gate(gate, ask)
            if outcome.closes_a_gate and not (cause is not None and cause.blocked):
                tier = self._graph.journeys[gate].tier
                because = f" ({cause})" if cause is not None and outcome is Outcome.DEFERRED else ""
                why = f"{reason_of(outcome)}{because}, and it gates what comes after tier '{tier}'"
                details = cause.details if cause is not None else ""
                raise DeferredError(Cause(who=gate, why=why, details=details))

    def _admit(self, journey: Journey, ask: Ask) -> None:
        self.pass_gates(self._gates_elsewhere.get(journey.id, ()), ask)

    def _outcome_of_gate(self, gate: JourneyId, ask: Ask) -> tuple[Outcome, Cause | None]:
        presence = self.presence
        verdict = self.journal.verdict(gate)
        if verdict is None:
            journey = presence.graph.journeys[gate]
            name = Token(f"gate-{sha256(gate.encode()).hexdigest()[:8]}")
            # The lock of those who bring about several tokens comes first: they may come to a gate, and it to tokens.
            with presence.machine.locked(SEVERAL), presence.registry.locked(name, MACHINE):
                verdict = self.journal.verdict(gate)
                if verdict is None:
                    state = presence.world.state_of(presence.graph, journey)
                    try:
                        self.replayer.replay(journey, state, ask)
                    except HarnessError as error:
                        cause = Cause(who=gate, why="could not be run by the harness", details=str(error))
                        self.journal.ended(gate, Why.REPLAY, state.name, Outcome.ERROR, cause)
                    verdict = self.journal.verdict(gate)
        if verdict is None:
            return Outcome.ERROR, None
        return verdict.outcome, verdict.cause

    def _ensure_one(self, token: Token, ask: Ask) -> None:
        if token in self._settings.blocked:
            raise DeferredError(Cause(who=token, why="is declared blocked (--dogfood-blocked)", blocked=True))
        with self.presence.locked(token, ask.state):
            holding = self._asked(token, ask)
            if holding is None and not self._may_wait_for_others(token):
                holding = self._provide(token, ask)
        if holding is None:
            with self.presence.machine.locked(SEVERAL), self.presence.locked(token, ask.state):
                holding = self._asked(token, ask) or self._provide(token, ask)
        ask.proofs[token] = holding.proof

    def _asked(self, token: Token, ask: Ask) -> Holding | None:
        """Ask for a token; the word of a journey that did not end well after all counts for nothing."""
        self._share_fixture(token, ask)
        holding = self.presence.ask(token, ask.state)
        if holding is None or holding.proof is not Proof.JOURNEY:
            return holding
        end = self.journal.verdict(JourneyId(holding.by))
        if end is None or end.against() is None or holding.place not in {MACHINE, end.state}:
            return holding
        self.presence.forget(token, ask.state)
        return None

    def _share_fixture(self, token: Token, ask: Ask) -> None:
        """Let the item use the fixture by which the token holds, as a test does that names it.

        Where other parameters count for the item, of a fixture that this one rests on, pytest sets both up anew:
        that is to happen now, and not once the item has been told that its token is there.
        """
        place = self.presence.place_of(token, ask.state)
        if ask.fixture is not None and place in self._by_fixtures.get(token, ()):
            with suppress(LookupError):  # set up for others, and not to be seen from here
                ask.fixture(self._graph.fixtures[token])

    def _may_wait_for_others(self, token: Token) -> bool:
        """Whether bringing a machine-wide token about may take the locks of other such tokens.

        Who does so holds one more lock first: two that need the same tokens in different orders would wait
        for each other for ever.
        """
        alone = self._graph.has_own_provider(token) and not self._graph.needs_of_provider(token)
        return self._graph.scope_of(token) is Scope.MACHINE and not alone

    def _provide(self, token: Token, ask: Ask) -> Holding:
        independent = self._graph.has_independent_provider(token)
        if not independent:
            self._refuse_if_unestablished(token)
        if self._settings.provision is Provision.NEVER:
            raise HarnessError(
                f"{token!r} is not present, and --dogfood-provision never forbids to bring it about"
            )
        if not independent:
            return self.replayer.bring_about(token, ask)
        registry = self.presence.registry
        place = self.presence.place_of(token, ask.state)
        for earlier in registry.attempts(token):
            _refuse_another(earlier, place, ask)
        attempt = Attempt(token=token, place=place, asked_by=ask.journey)
        registry.begin(attempt)
        give_up = self._claim(token)
        try:
            holding = self._provide_now(token, ask)
        except HarnessError as error:
            registry.fail(attempt, str(error))
            give_up()
            raise
        except BaseException:  # a fixture may skip or fail as it likes, and that is no verdict on the token
            registry.succeed(attempt)
            raise
        registry.succeed(attempt)
        return holding

    def _claim(self, token: Token) -> Callable[[], object]:
        """Say beforehand that what a provider leaves if it is interrupted is ours to release, be it by a later run.

        Call what this gives if the provider has failed: whoever brings the token about then, it is not we.
        """
        machine = self.presence.machine
        if not (self.presence.outlives_runs(token) and self._graph.has_own_provider(token)):
            return lambda: None
        known = machine.record_of(token) is not None
        machine.take(token, ours=True, values={})
        return partial(machine.give_back if known else machine.forget, token)

    def _provide_now(self, token: Token, ask: Ask) -> Holding:
        capability = self._graph.capability(token)
        if token in self._graph.fixtures and ask.fixture is not None:
            try:
                return self._by_fixture(token, self._graph.fixtures[token], ask, ask.fixture)
            except LookupError as error:
                if not (self._graph.has_own_provider(token) or self._graph.establishers.get(token)):
                    raise HarnessError(
                        f"{token!r} is provided by fixture {self._graph.fixtures[token]!r}, "
                        f"which {ask.journey!r} cannot see: {error}"
                    ) from error
        if capability is not None and self._graph.has_own_provider(token):
            try:
                self.ensure(self._graph.needs_of_provider(token), ask)
            except DeferredError:
                if not self._graph.establishers.get(token):
                    raise
                return self.replayer.bring_about(token, ask)  # as in a run where its journey comes first
            with ask.noting(token) as note:
                if capability.service is not None:
                    holding = start_service(self.presence, token, capability, ask.state)
                else:
                    holding = self._by_steps(token, capability, ask)
                how = (
                    "by starting its service" if capability.service is not None else "by its provision steps"
                )
                note(how, holding.place)
            return holding
        return self.replayer.bring_about(token, ask)

    def _by_fixture(self, token: Token, fixture: str, ask: Ask, value_of: FixtureValue) -> Holding:
        with ask.noting(token) as note:
            value = value_of(fixture)
            values = {
                str(name): str(one)
                for name, one in (value.items() if isinstance(value, Mapping) else ())
                if isinstance(one, str | int | float)
            }
            holding = self._presented(token, ask.state, values, by=f"fixture {fixture}")
            self._by_fixtures.setdefault(token, set()).add(holding.place)
            note(f"by fixture {fixture}", holding.place)
        return holding

    def fixture_is_gone(self, token: Token) -> None:
        """Forget a token whose fixture has been torn down."""
        for place in self._by_fixtures.pop(token, ()):
            self.presence.registry.forget(token, place)

    def _by_steps(self, token: Token, capability: Capability, ask: Ask) -> Holding:
        bench = self.presence.bench_for(token, capability, ask.state, {})
        with self.presence.world.interruption.doing(f"provision of {token}"):
            done = perform(capability.provision, bench)
        if done.failure is not None:
            text = failure_text(done, bench, what=f"provision of {token}, step")
            raise HarnessError(f"{token!r} could not be provisioned\n{text}")
        return self._presented(token, ask.state, done.values, secret=done.secret, by="provision")

    def _presented(
        self,
        token: Token,
        state: State,
        values: Mapping[str, str],
        *,
        by: str,
        secret: Iterable[str] = (),
    ) -> Holding:
        """Record what a provider has just brought about, if the probe agrees; else raise HarnessError."""
        probed = self.presence.probe(token, state, values)
        if probed is not None and not probed.present:
            said = what_the_probe_said(token, probed)
            raise HarnessError(f"{token!r} is still not present after {by}: its probe says no\n{said}")
        return self.presence.record(
            Holding(
                token=token,
                place=self.presence.place_of(token, state),
                by=by,
                proof=Proof.PROVIDER if probed is None else Proof.PROBE,
                values=values,
                secret=tuple(secret),
            )
        )

    def _refuse_if_unestablished(self, token: Token) -> None:
        """Raise DeferredError if every journey that could establish the token has been seen not to."""
        causes = [self._cause_against(one.members) for one in self._graph.establishers.get(token, ())]
        if causes and all(causes):
            raise DeferredError(next(cause for cause in causes if cause is not None))

    def _cause_against(self, members: Iterable[JourneyId]) -> Cause | None:
        for member in members:
            verdict = self.journal.verdict(member)
            cause = None if verdict is None else verdict.against()
            if cause is not None:
                return cause
        return None


def _refuse_another(earlier: Attempt, place: str, ask: Ask) -> None:
    """Raise HarnessError if the token was tried before in vain; a rerun of the one that asked may try again.

    The caller holds the token's lock in `place`. Whoever began there and did not end it has lost the lock by dying,
    and may still be seen for a moment: the system takes locks away before it takes the process away.
    """
    words = f"{earlier.token!r} could not be provisioned for {earlier.asked_by!r}"
    if earlier.died() or (not earlier.message and earlier.place == place):
        raise HarnessError(f"{words}: that took the worker down")
    if earlier.message and earlier.place == place and earlier.asked_by != ask.journey:
        raise HarnessError(f"{words}: {earlier.message}")
