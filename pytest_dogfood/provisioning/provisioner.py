"""Provisions a missing token: by a fixture, by its own steps or service, or by replaying a journey."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.runner import failure_text, run_steps
from pytest_dogfood.journey import Capability, JourneyId, Scope, Token, is_of_a_test
from pytest_dogfood.outcomes import Cause, Proof
from pytest_dogfood.provisioning.evidence import EstablisherEnds
from pytest_dogfood.provisioning.journey_runner import forget_invalidated
from pytest_dogfood.provisioning.presence import Presence, do_not_hold_together
from pytest_dogfood.provisioning.replay import DeferredError, FixtureValue, Replayer, Request
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.locks import NamedLocks
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.token_registry import BY_PROVISION, SEVERAL, Attempt, FleetLeases, TokenRecord

ROUNDS = 3
"""The most rounds in which missing tokens are provisioned for an item; then they count as never all present."""

ROUNDS_OF_FLEET = 10
"""How often a token may be made on other machines and lost again, before an item gives up."""

WAIT = 0.05
"""Seconds between two checks whether a journey has ended in another process."""


class Provisioner:
    """Ensures that tokens are present: probes them first, and provisions a missing one at most once.

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
        self.replayer = Replayer(presence, journal, gates_elsewhere, ensure=self.ensure)
        self._establishers = EstablisherEnds(presence, journal)
        self._by_fixtures: dict[Token, set[str]] = {}

    @property
    def gated(self) -> frozenset[JourneyId]:
        """The journeys that stand behind gates which other shards run."""
        return frozenset(one for one, gates in self._gates_elsewhere.items() if gates)

    def acquire(
        self,
        tokens: Iterable[Token],
        request: Request,
        locks: NamedLocks,
        own: Mapping[str, int] | None = None,
        *,
        rounds: int = ROUNDS,
    ) -> int:
        """Ensure tokens under the requesting item's `own` named locks, held at the end; return the rounds left.

        Provisioning missing tokens may need more locks. They are acquired together with the own ones, because holders
        that acquire locks one by one can deadlock, and only if a token is missing: items whose tokens are present must
        not wait for each other. No code acquires a named lock while it holds a token's.
        """
        wanted = tuple(dict.fromkeys(tokens))
        held = Counter(own)
        needed = held | self._graph.locks_needed(self._gates_elsewhere, tokens=wanted)
        if needed:
            self.refuse(wanted, request.state)  # before it waits for any lock
        locks.acquire(held)
        if needed == held:
            return self.ensure(wanted, request, rounds=rounds)
        self.presence.restore_directories(request.state)
        if not all(self._is_present(token, request) for token in wanted) and locks.acquire(needed):
            self.presence.workspace.changes.note("its locks were released, to take them together with others")
        try:
            return self.ensure(wanted, request, rounds=rounds)
        finally:
            locks.release_except(held)

    def ensure(self, tokens: Iterable[Token], request: Request, *, rounds: int = ROUNDS) -> int:
        """Ensure that all of `tokens` are present at once, in the places of `request`; return the rounds left.

        The caller holds every named lock that this may need. Raises DeferredError if no journey that establishes one of
        them has passed, HarnessError if nothing can provide it, or if they are never all present in that many rounds.

        Nothing is provisioned if a token is known to defer the item. In another selection that may be known only after
        an error of another token: a deferral takes precedence over that, so the outcome is the same.
        """
        wanted = tuple(dict.fromkeys(tokens))
        if len(wanted) > 1 or self._settings.blocked:  # else it is checked first anyway
            self.refuse(wanted, request.state)
        lost: Mapping[Token, str] = {}
        while rounds > 0:
            self.presence.restore_directories(request.state)
            problem: HarnessError | None = None
            for token in wanted:
                if problem is not None and self._graph.has_independent_provider(token):
                    continue
                try:
                    self._ensure_one(token, request)
                    for service in self.presence.services_missing_below(token, request.state):
                        self._ensure_one(service, request)
                except DeferredError as error:
                    error.token = None if is_of_a_test(token) else token
                    raise
                except HarnessError as error:
                    problem = problem or error
            if problem is not None:
                raise problem
            rounds -= 1
            lost = self.lost(wanted, request)
            if not lost:
                return rounds
        raise do_not_hold_together(wanted, lost)

    def lost(self, tokens: Iterable[Token], request: Request) -> Mapping[Token, str]:
        """Return the tokens that are no longer present, with the events after which they were lost; write nothing.

        Only tokens that may have changed since their last successful probe are probed again.
        """
        found: dict[Token, str] = {}
        for token in tokens:
            changes = self.presence.workspace.changes
            now = changes.count
            if self.presence.is_still_present(token, request.state):
                request.seen_at[token] = now
            else:
                found[token] = ", ".join(changes.since(request.seen_at.get(token, 0)))
        return found

    def acquire_at_run_time(self, token: Token, request: Request) -> None:
        """Ensure a token that a running test requests, although the plan does not put the test after its establishers.

        Wait for a running journey that is about to establish it for the whole machine: a second run of it would disturb
        both. Raises what `ensure` raises, and HarnessError if only Python tests establish the token: those cannot be
        replayed, so the outcome would depend on which test happens to run first.
        """
        makers = self._graph.establishing(token)
        only_tests = bool(makers) and all(self._graph.journeys[one].python for one in makers)
        provided = self._graph.has_independent_provider(token)
        if only_tests and not provided and self._graph.all_before(request.journey).isdisjoint(makers):
            raise HarnessError(
                f"{token!r} is established only by the Python test {makers[0]}, which need not have run before this "
                f"one: mark this test with @pytest.mark.requires({token!r}), "
                "or give the token a 'provision:' under 'capabilities:'"
            )
        below = self._graph.with_bases([token]) if self._settings.shard is not None else ()
        if any(self._graph.scope_of(one) is Scope.FLEET for one in below):
            raise HarnessError(
                f"{token!r} needs a token of scope 'fleet', but shards share nothing: use --dogfood-fleet"
            )
        if self._graph.scope_of(token).is_shared:
            while any(self.journal.runs_elsewhere(one) for one in makers):
                time.sleep(WAIT)
        locks = self.presence.workspace.named_locks()
        try:
            self.acquire((token,), request, locks)
        finally:
            locks.release()

    def _is_present(self, token: Token, request: Request) -> bool:
        if (fleet := self.presence.fleet_for(token)) is not None:
            fleet.use(token)
            return self.presence.look(token, request.state, fleet) is not None
        with self.presence.locked(token, request.state):
            is_there = self._ask(token, request) is not None
        return is_there and not self.presence.services_missing_below(token, request.state)

    def refuse(self, tokens: Iterable[Token], state: ChainState) -> None:
        """Raise DeferredError for the first token, if there is one, that is known to defer the item."""
        for token in tokens:
            independent = self._graph.has_independent_provider(token)
            cause = None if independent else self._establishers.cause_against(token, state)
            if token in self._settings.blocked:
                cause = Cause(who=token, why="is declared blocked (--dogfood-blocked)", blocked=True)
            if cause is not None:
                raise DeferredError(cause, None if is_of_a_test(token) else token)

    def _ensure_one(self, token: Token, request: Request) -> None:
        if (fleet := self.presence.fleet_for(token)) is not None:
            request.proofs[token] = self._ensure_in_fleet(token, request, fleet).proof
            request.seen_at[token] = self.presence.workspace.changes.count
            return
        alone = self._graph.has_own_provider(token) and not self._graph.needs_of_provider(token)
        with self.presence.locked(token, request.state):
            record = self._ask(token, request)
            if record is not None and self.presence.workspace.provisions_again(record):
                record = self._provision(token, request)
            if record is None and (alone or not self._graph.scope_of(token).is_shared):
                record = self._provision(token, request)
        if record is None:
            # Provisioning a shared token may take the locks of other such tokens. One more lock is acquired
            # first, because two processes that need the same tokens in different orders would deadlock.
            with self.presence.machine.locked(SEVERAL), self.presence.locked(token, request.state):
                record = self._ask(token, request) or self._provision(token, request)
        request.proofs[token] = record.proof
        request.seen_at[token] = self.presence.workspace.changes.count

    def _ensure_in_fleet(self, token: Token, request: Request, fleet: FleetLeases) -> TokenRecord:
        """Ensure a token that is true for every machine: all of them may ask, and one of them provides it.

        What it needs is provided before the token is held, so that no worker waits for one while it holds another.
        """
        fleet.use(token)
        for _ in range(ROUNDS_OF_FLEET):
            refuted = self._establishers.refute(token, request.state)
            if not refuted and (record := self.presence.look(token, request.state, fleet)) is not None:
                return record
            self.ensure(self._graph.needs_of_provider(token), request)
            if not fleet.try_to_hold(token):
                continue  # another has made it
            try:
                with self.presence.locked(token, request.state):
                    return self._ask(token, request) or self._provision(token, request)
            except HarnessError:
                if not fleet.is_tried_elsewhere(token):
                    raise
        raise HarnessError(f"{token!r} was made {ROUNDS_OF_FLEET} times by others, and never stayed")

    def _ask(self, token: Token, request: Request) -> TokenRecord | None:
        """Probe a token; one that a failed establishing journey has left behind does not count as present."""
        # The item uses the fixture that provides the token, as a test that names it does. If the item has other
        # parameters of a fixture below it, pytest sets both up again: that must happen now, and not after the token
        # was found present.
        if request.fixture is not None and self.is_by_fixture(token, request.state):
            with suppress(LookupError):  # set up for others, and not visible here
                request.fixture(self._graph.fixtures[token])
        if self._establishers.refute(token, request.state):
            self.presence.forget(token, request.state)
            return None
        is_fresh = self.presence.is_fresh(token, request.state)
        known = self.presence.record_of(token, request.state) if is_fresh else None
        return known or self.presence.ask(token, request.state)

    def _provision(self, token: Token, request: Request) -> TokenRecord:
        independent = self._graph.has_independent_provider(token)
        cause = None if independent else self._establishers.cause_against(token, request.state)
        if cause is not None:
            raise DeferredError(cause)
        if self._settings.provision is Provision.NEVER:
            why = ", and `--dogfood-provision never` forbids provisioning"
            raise HarnessError(self.presence.absence(token, request.state, why))
        if not independent:
            return self.replayer.provision(token, request)
        registry, fleet = self.presence.registry, self.presence.fleet_for(token)
        attempt = self._next_attempt(token, request)
        registry.begin(attempt)
        if fleet is not None:
            fleet.begin(token)
        try:
            record = self._provision_by_provider(token, request)
        except HarnessError as error:
            registry.fail(attempt, str(error))
            if fleet is not None:
                fleet.fail(token, str(error))
            raise
        except BaseException:  # a fixture may skip or fail, which says nothing about the token
            registry.succeed(attempt)
            raise
        registry.succeed(attempt)
        return record

    def _next_attempt(self, token: Token, request: Request) -> Attempt:
        """Raise HarnessError if the token was tried before and failed; a rerun of the item that asked may try again."""
        place = self.presence.place_of(token, request.state)
        earlier = self.presence.registry.attempts(token)
        # What began here and did not end has lost the token's lock by dying, and may still be seen for a moment: the
        # system takes locks away before it takes the process away.
        under_way_here = [one for one in earlier if one.place == place and not one.message]
        deaths = {one.place: one.deaths + (one.died() or one in under_way_here) for one in earlier}
        for one in earlier:
            words = f"{token!r} could not be provisioned for {one.asked_by!r}"
            if sum(deaths.values()) > 1:
                raise HarnessError(f"{words}: {sum(deaths.values())} workers have crashed while they tried")
            if one.message and one.place == place and one.asked_by != request.journey:
                raise HarnessError(f"{words}: {one.message}")
        return Attempt(token=token, place=place, asked_by=request.journey, deaths=deaths.get(place, 0))

    def _provision_by_provider(self, token: Token, request: Request) -> TokenRecord:
        graph, capability = self._graph, self._graph.capability(token)
        fixture = graph.fixtures.get(token)
        if fixture is not None and request.fixture is not None:
            try:
                return self._provision_by_fixture(token, fixture, request, request.fixture)
            except LookupError as error:
                if not (graph.has_own_provider(token) or graph.establishers.get(token)):
                    why = f"is provided by fixture {fixture!r}, which {request.journey!r} cannot see: {error}"
                    raise HarnessError(f"{token!r} {why}") from error
        if capability is None or not graph.has_own_provider(token):
            return self.replayer.provision(token, request)
        try:
            apart = self._apart(token, request)
            self.ensure(graph.needs_of_provider(token), apart)
        except DeferredError:
            if not graph.establishers.get(token):
                raise
            return self.replayer.provision(token, request)  # as in a run where its journey comes first
        request.rested_on.update(apart.proofs if apart is not request else {})
        request = apart
        started = request.now()
        forget_invalidated(self.presence, capability.invalidates, request.state)
        self.presence.claim(token, request.state)
        if capability.service is None:
            how, record = "by its provision steps", self._provision_by_steps(token, capability, request)
        else:
            from pytest_dogfood.provisioning.service import start_service

            how = "by starting its service"
            record = start_service(self.presence, token, capability, capability.service, request.state)
        request.note(token, how, record.place, since=started)
        return record

    def _apart(self, token: Token, request: Request) -> Request:
        """Return where to provision what the provider of a shared token needs of a chain, if that is not there yet.

        Which item asks for the token first is chance, and may not change what others find in its state.
        """
        graph, apart = self._graph, self.presence.workspace.state_apart(self._graph, request.state)
        needs = [one for one in graph.needs_of_provider(token) if not graph.scope_of(one).is_shared]
        if not graph.scope_of(token).is_shared or all(self._is_present(one, request) for one in needs):
            return request
        return replace(request, state=apart, proofs={}, seen_at={})

    def _provision_by_fixture(
        self, token: Token, fixture: str, request: Request, value_of: FixtureValue
    ) -> TokenRecord:
        started = request.now()
        self.presence.claim(token, request.state)
        place = self.presence.place_of(token, request.state)
        with self.presence.workspace.recorder.activity(Kind.PROVISION, token, place=place) as note:
            note.how = f"by fixture {fixture}"
            value = value_of(fixture)
        pairs = value.items() if isinstance(value, Mapping) else ()
        values = {str(name): str(one) for name, one in pairs if isinstance(one, str | int | float)}
        record = self._record_provided(token, request.state, values, by=f"fixture {fixture}")
        self._by_fixtures.setdefault(token, set()).add(record.place)
        request.note(token, f"by fixture {fixture}", record.place, since=started)
        return record

    def _provision_by_steps(self, token: Token, capability: Capability, request: Request) -> TokenRecord:
        workspace, place = self.presence.workspace, self.presence.place_of(token, request.state)
        for again in ("", ", a second time")[: 1 + (token in workspace.twice)]:
            runner = self.presence.runner_for(token, capability, request.state, {}, what="provision")
            done = self.presence.saving_for((token,), request.state)
            with workspace.activity(Kind.PROVISION, token, runner, done, place=place) as note:
                note.how = f"by its provision steps{again}"
                run_steps(capability.provision, runner, done=done)
            if done.failure is not None:
                text = failure_text(done, runner, what=f"provision of {token}, step")
                raise HarnessError(f"{token!r} could not be provisioned{again}\n{text}")
        return self._record_provided(token, request.state, done.values, secret=done.secret, by=BY_PROVISION)

    def is_by_fixture(self, token: Token, state: ChainState) -> bool:
        """Return whether a token was provided by a fixture in this process."""
        return self.presence.place_of(token, state) in self._by_fixtures.get(token, ())

    def fixture_is_gone(self, token: Token) -> None:
        """Forget a token whose fixture has been torn down."""
        for place in self._by_fixtures.pop(token, ()):
            self.presence.registry.forget(token, place)

    def _record_provided(
        self, token: Token, state: ChainState, values: Mapping[str, str], by: str, secret: Iterable[str] = ()
    ) -> TokenRecord:
        """Record what a provider has just made, if the probe agrees; else raise HarnessError."""
        self.presence.workspace.changes.note(f"{token!r} was provisioned")
        probed = self.presence.probe(token, state, values)
        if probed is not None and not probed.present:
            why = f"{token!r} is still not present after {by}: its probe {probed.denial}"
            if probed.why_not_run:
                unknown = f"it is not known whether {token!r} is present after {by}"
                why = f"{unknown}, because its probe cannot be run: {probed.why_not_run}"
            raise HarnessError(f"{why}\n{probed.text}")
        record = TokenRecord(
            token=token,
            place=self.presence.place_of(token, state),
            by=by,
            proof=Proof.PROVIDER if probed is None else Proof.PROBE,
            values=values,
            secret=tuple(secret),
            home=state.name,
        )
        return self.presence.record(record)
