"""Brings a missing token about: by a fixture, by its own steps or service, or by replaying a journey."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.failure_text import failure_text
from pytest_dogfood.execution.runner import run_steps
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Token
from pytest_dogfood.outcomes import Cause, Proof
from pytest_dogfood.provisioning.establishers import EstablishingOutcomes
from pytest_dogfood.provisioning.gates import Gates
from pytest_dogfood.provisioning.presence import WAS_THERE, Presence, what_the_probe_said
from pytest_dogfood.provisioning.replay import (
    DeferredError,
    FixtureValue,
    NotReplayableError,
    Replayer,
    Request,
    forget_invalidated,
)
from pytest_dogfood.provisioning.service import start_service
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.locks import NamedLocks
from pytest_dogfood.storage.token_registry import SEVERAL, Attempt, Holding

ROUNDS = 3
"""How often missing tokens are provisioned for an item at most, before they count as not holding together."""


WAIT = 0.05
"""Seconds between two looks at whether a journey has ended in another process."""


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
        self._settings = presence.workspace.settings
        self._gates_elsewhere = gates_elsewhere
        self.gates = Gates(presence, journal, gates_elsewhere, self._replay)
        self.replayer = Replayer(presence, journal, ensure=self.ensure, admit=self.gates.admit)
        self._establishers = EstablishingOutcomes(presence.graph, journal)
        self._by_fixtures: dict[Token, set[str]] = {}

    def _replay(self, journey: Journey, state: ChainState, request: Request) -> object:
        return self.replayer.replay(journey, state, request)

    def acquire(
        self,
        tokens: Iterable[Token],
        request: Request,
        locks: NamedLocks,
        own: Iterable[str] = (),
        *,
        rounds: int = ROUNDS,
    ) -> int:
        """Ensure tokens under the asking item's `own` named locks, which are held in the end; return the rounds left.

        What may have to be done for missing tokens needs further locks. They are taken together with the own ones,
        since two holders that take one after the other can wait for each other, and only if something is missing: many
        items whose token is there must not wait for one another. No code takes a named lock while it holds a token's.
        """
        wanted = tuple(dict.fromkeys(tokens))
        held = frozenset(own)
        locks.take(held)
        further = self._graph.locks_to_provision(wanted, self._gates_elsewhere) - held
        if not further:
            return self.ensure(wanted, request, rounds=rounds)
        self.presence.restore_directories(request.state)
        if not all(self._is_present(token, request) for token in wanted) and locks.take(held | further):
            self.presence.workspace.changes.note("its locks were given back, to take others with them")
        try:
            return self.ensure(wanted, request, rounds=rounds)
        finally:
            locks.keep(held)

    def ensure(self, tokens: Iterable[Token], request: Request, *, rounds: int = ROUNDS) -> int:
        """Make sure that all of `tokens` are present at once, where `ask` needs them; return the rounds left.

        The caller holds every named lock that this may need. Raises DeferredError if what would establish one did not
        pass, HarnessError if there is no way to have it, or if they do not hold together in that many rounds.
        """
        wanted = tuple(dict.fromkeys(tokens))
        lost: Mapping[Token, str] = {}
        while rounds > 0:
            self.presence.restore_directories(request.state)
            for token in wanted:
                self._ensure_one(token, request)
            rounds -= 1
            lost = self.lost(wanted, request)
            if not lost:
                return rounds
        raise do_not_hold_together(wanted, lost)

    def lost(self, tokens: Iterable[Token], request: Request) -> Mapping[Token, str]:
        """Return which of the tokens that were present are no more, and after what; nothing is written.

        Only what may have changed since its last yes is asked again.
        """
        found: dict[Token, str] = {}
        for token in tokens:
            since = request.seen_at.get(token, 0)
            now = self.presence.workspace.changes.count
            if not self.presence.look(token, request.state):
                found[token] = ", ".join(self.presence.workspace.changes.since(since))
            else:
                request.seen_at[token] = now
        return found

    def acquire_at_run_time(self, token: Token, request: Request) -> None:
        """Ensure a token that a running test asks for, though no plan has put the test behind what establishes it.

        A journey that is just about to establish it for the whole machine is waited for: to run it again beside itself
        would disturb both. Raises as `ensure` does, and HarnessError where only Python tests establish it: those cannot
        be replayed, so the outcome would depend on which test happens to run first.
        """
        tests = [one for one in self._graph.establishing(token) if self._graph.journeys[one].python]
        if tests and len(tests) == len(self._graph.establishing(token)):
            before = self._graph.all_before(request.journey)
            if not self._graph.has_independent_provider(token) and before.isdisjoint(tests):
                raise HarnessError(
                    f"{token!r} is established only by the Python test {tests[0]}, which need not have run before this "
                    f"one: mark this test with @pytest.mark.requires({token!r}), or give the capability a 'provision:'"
                )
        if self._graph.scope_of(token) is Scope.MACHINE:
            while any(self.journal.runs_elsewhere(one) for one in self._graph.establishing(token)):
                time.sleep(WAIT)
        locks = self.presence.workspace.named_locks()
        try:
            self.acquire((token,), request, locks)
        finally:
            locks.give_back()

    def _is_present(self, token: Token, request: Request) -> bool:
        if token in self._settings.blocked:
            return True  # nothing is provisioned for it: it defers the item
        with self.presence.locked(token, request.state):
            return self._asked(token, request) is not None

    def _ensure_one(self, token: Token, request: Request) -> None:
        if token in self._settings.blocked:
            raise DeferredError(Cause(who=token, why="is declared blocked (--dogfood-blocked)", blocked=True))
        with self.presence.locked(token, request.state):
            holding = self._asked(token, request)
            if holding is None and not self._may_wait_for_others(token):
                holding = self._provide(token, request)
        if holding is None:
            with self.presence.machine.locked(SEVERAL), self.presence.locked(token, request.state):
                holding = self._asked(token, request) or self._provide(token, request)
        request.proofs[token] = holding.proof
        request.seen_at[token] = self.presence.workspace.changes.count

    def _asked(self, token: Token, request: Request) -> Holding | None:
        """Ask for a token; where what should have established it did not pass, what it left does not count."""
        self._share_fixture(token, request)
        if self._may_be_spoilt(token, request):
            self.presence.forget(token, request.state)
            return None
        refuted = self._establishers.refuted_at(token, request.state.name)
        if refuted is not None:
            place = self.presence.place_of(token, request.state)
            holding = self.presence.registry.holding(token, place)
            by_another = holding is not None and holding.by not in {
                WAS_THERE,
                *self._graph.establishing(token),
            }
            if holding is None or holding.since < refuted or not by_another:
                self.presence.forget(token, request.state)
                return None
        if self.presence.is_fresh(token, request.state):
            known = self.presence.registry.holding(token, self.presence.place_of(token, request.state))
            if known is not None:
                return known
        return self.presence.request(token, request.state)

    def _may_be_spoilt(self, token: Token, request: Request) -> bool:
        """Return whether a journey that establishes the token too has failed since another one established it.

        It may have put a thing of its own in the place of the other's, whose values are then wrong. So a token with
        values is provisioned again, unless that is impossible: what a Python test established is taken as it is.
        """
        makers = self._graph.establishers.get(token, ())
        place = self.presence.place_of(token, request.state)
        holding = self.presence.registry.holding(token, place) if len(makers) > 1 else None
        if holding is None or not holding.values or holding.by not in self._graph.establishing(token):
            return False
        failed_at = self._establishers.failed_at(token, place)
        if failed_at is None or holding.since > failed_at or self._settings.provision is Provision.NEVER:
            return False
        maker = self._graph.journeys[JourneyId(holding.by)]
        return self._graph.has_independent_provider(token) or not (maker.python or maker.use)

    def _share_fixture(self, token: Token, request: Request) -> None:
        """Let the item use the fixture by which the token holds, as a test does that names it.

        Where other parameters count for the item, of a fixture that this one rests on, pytest sets both up anew:
        that is to happen now, and not once the item has been told that its token is there.
        """
        place = self.presence.place_of(token, request.state)
        if request.fixture is not None and place in self._by_fixtures.get(token, ()):
            with suppress(LookupError):  # set up for others, and not to be seen from here
                request.fixture(self._graph.fixtures[token])

    def _may_wait_for_others(self, token: Token) -> bool:
        """Return whether bringing a machine-wide token about may take the locks of other such tokens.

        Who does so holds one more lock first: two that need the same tokens in different orders would wait
        for each other for ever.
        """
        alone = self._graph.has_own_provider(token) and not self._graph.needs_of_provider(token)
        return self._graph.scope_of(token) is Scope.MACHINE and not alone

    def _provide(self, token: Token, request: Request) -> Holding:
        independent = self._graph.has_independent_provider(token)
        if not independent:
            cause = self._establishers.cause_against(token, request.state.name)
            if cause is not None:
                raise DeferredError(cause)
        if self._settings.provision is Provision.NEVER:
            absent = self.presence.how_absent(token, request.state)
            why = f"{absent}, and `--dogfood-provision never` does not allow it to be set up"
            raise HarnessError(self._with_what_the_probe_said(why, token, request))
        if not independent:
            return self._replayed(token, request)
        registry = self.presence.registry
        place = self.presence.place_of(token, request.state)
        deaths = {one.place: one.deaths + _has_died(one, place) for one in registry.attempts(token)}
        for earlier in registry.attempts(token):
            _refuse_another(earlier, place, request, deaths=sum(deaths.values()))
        attempt = Attempt(token=token, place=place, asked_by=request.journey, deaths=deaths.get(place, 0))
        registry.begin(attempt)
        try:
            holding = self._provide_now(token, request)
        except HarnessError as error:
            registry.fail(attempt, str(error))
            raise
        except BaseException:  # a fixture may skip or fail as it likes, and that is no verdict on the token
            registry.succeed(attempt)
            raise
        registry.succeed(attempt)
        return holding

    def _replayed(self, token: Token, request: Request) -> Holding:
        try:
            return self.replayer.bring_about(token, request)
        except NotReplayableError as error:
            raise HarnessError(self._with_what_the_probe_said(str(error), token, request)) from None

    def _with_what_the_probe_said(self, text: str, token: Token, request: Request) -> str:
        """Add to why a token is missing what its probe said: the command, how it ended, and its output."""
        said = self.presence.denials.get((token, self.presence.place_of(token, request.state)))
        return text if said is None else f"{text}\n{what_the_probe_said(token, said)}"

    def _provide_now(self, token: Token, request: Request) -> Holding:
        capability = self._graph.capability(token)
        if token in self._graph.fixtures and request.fixture is not None:
            try:
                return self._by_fixture(token, self._graph.fixtures[token], request, request.fixture)
            except LookupError as error:
                if not (self._graph.has_own_provider(token) or self._graph.establishers.get(token)):
                    raise HarnessError(
                        f"{token!r} is provided by fixture {self._graph.fixtures[token]!r}, "
                        f"which {request.journey!r} cannot see: {error}"
                    ) from error
        if capability is None or not self._graph.has_own_provider(token):
            return self._replayed(token, request)
        try:
            self.ensure(self._graph.needs_of_provider(token), request)
        except DeferredError:
            if not self._graph.establishers.get(token):
                raise
            return self._replayed(token, request)  # as in a run where its journey comes first
        with request.noting(token) as note:
            forget_invalidated(self.presence, capability.invalidates, request.state)
            self.presence.claim(token, request.state)
            if capability.service is not None:
                holding = start_service(self.presence, token, capability, request.state)
            else:
                holding = self._by_steps(token, capability, request)
            how = "by starting its service" if capability.service is not None else "by its provision steps"
            note(how, holding.place)
        return holding

    def _by_fixture(self, token: Token, fixture: str, request: Request, value_of: FixtureValue) -> Holding:
        with request.noting(token) as note:
            self.presence.claim(token, request.state)
            value = value_of(fixture)
            values = {
                str(name): str(one)
                for name, one in (value.items() if isinstance(value, Mapping) else ())
                if isinstance(one, str | int | float)
            }
            holding = self._presented(token, request.state, values, by=f"fixture {fixture}")
            self._by_fixtures.setdefault(token, set()).add(holding.place)
            note(f"by fixture {fixture}", holding.place)
        return holding

    def is_by_fixture(self, token: Token, state: ChainState) -> bool:
        """Return whether a token was provided by a fixture in this process."""
        return self.presence.place_of(token, state) in self._by_fixtures.get(token, ())

    def fixture_is_gone(self, token: Token) -> None:
        """Forget a token whose fixture has been torn down."""
        for place in self._by_fixtures.pop(token, ()):
            self.presence.registry.forget(token, place)

    def _by_steps(self, token: Token, capability: Capability, request: Request) -> Holding:
        runner = self.presence.runner_for(token, capability, request.state, {})
        done = self.presence.saving_for((token,), request.state)
        with self.presence.workspace.interruption.doing(f"provision of {token}"):
            run_steps(capability.provision, runner, done=done)
        if done.failure is not None:
            text = failure_text(done, runner, what=f"provision of {token}, step")
            raise HarnessError(f"{token!r} could not be provisioned\n{text}")
        return self._presented(token, request.state, done.values, secret=done.secret, by="provision")

    def _presented(
        self,
        token: Token,
        state: ChainState,
        values: Mapping[str, str],
        *,
        by: str,
        secret: Iterable[str] = (),
    ) -> Holding:
        """Record what a provider has just made, if the probe agrees; else raise HarnessError."""
        self.presence.workspace.changes.note(f"{token!r} was provisioned")
        probed = self.presence.probe(token, state, values)
        if probed is not None and not probed.present:
            said = what_the_probe_said(token, probed)
            if probed.why_not_run:
                why = f"because its probe cannot be run: {probed.why_not_run}"
                raise HarnessError(f"it is not known whether {token!r} is present after {by}, {why}\n{said}")
            raise HarnessError(f"{token!r} is still not present after {by}: its probe says no\n{said}")
        return self.presence.record(
            Holding(
                token=token,
                place=self.presence.place_of(token, state),
                by=by,
                proof=Proof.PROVIDER if probed is None else Proof.PROBE,
                values=values,
                secret=tuple(secret),
                home=state.name,
            )
        )


def do_not_hold_together(tokens: Iterable[Token], lost: Mapping[Token, str]) -> HarnessError:
    """Return the error of tokens that were never all present; `lost` says which was lost, and after what."""
    names = ", ".join(map(repr, tokens))
    told = "; ".join(f"{token!r} was lost after {events or 'its set-up'}" for token, events in lost.items())
    return HarnessError(
        f"{names} do not hold together: {told}. Say `invalidates:` where one destroys another, `lock:` where two need "
        "the same thing, and require them in different journeys"
    )


def _has_died(attempt: Attempt, place: str) -> bool:
    """Return whether an attempt took its worker down; the caller holds the token's lock in `place`.

    What began there and did not end has lost the lock by dying, and may still be seen for a moment: the system takes
    locks away before it takes the process away.
    """
    return attempt.died() or (not attempt.message and attempt.place == place)


def _refuse_another(earlier: Attempt, place: str, request: Request, *, deaths: int) -> None:
    """Raise HarnessError if the token was tried before in vain; a rerun of the item that asked may try again."""
    words = f"{earlier.token!r} could not be provisioned for {earlier.asked_by!r}"
    if deaths > 1:
        raise HarnessError(f"{words}: that took {deaths} workers down")
    if earlier.message and earlier.place == place and earlier.asked_by != request.journey:
        raise HarnessError(f"{words}: {earlier.message}")
