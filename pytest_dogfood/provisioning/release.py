"""Releases each token once nothing needs it any more: a worker in its own states, the leader everywhere else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.runner import StepsResult, failure_text, run_steps
from pytest_dogfood.journey import JourneyId, StateId, Token
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.lifetimes import Lifetimes
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.token_registry import MACHINE, FleetLeases, TokenRecord

RELEASE_OF = "DOGFOOD_RELEASE_OF"
"""Variable that tells release steps whether the token was present when it was last probed, or is half-made."""


def has_release(presence: Presence, token: Token) -> bool:
    """Return whether a release of a token does anything: stops its service, or runs its steps."""
    capability = presence.graph.capability(token)
    return capability is not None and bool(capability.service or capability.release)


def _needs_release(presence: Presence, token: Token) -> bool:
    """Return whether there is anything to do for a token once nothing needs it any more."""
    return has_release(presence, token) or presence.leases_on(token) is not None


def _unreleased(presence: Presence, places: Iterable[str]) -> Iterator[tuple[Token, str, float]]:
    """Yield the present or half-made tokens of places, each with its place and its time (seconds)."""
    for place in places:
        for token in presence.registry.unreleased(place):
            known = presence.registry.claim_of(token, place) or presence.registry.record_of(token, place)
            if known is not None:
                yield token, place, known.since


def release(presence: Presence, token: Token, place: str, state: ChainState) -> str:
    """Release one token, once nothing needs it any more; return what went wrong, or nothing.

    What was present before the run is left alone, and so is what another live run counts on. Runs under the named locks
    of the capability, so the caller holds none.
    """
    capability = presence.graph.capability(token)
    if capability is None or not _needs_release(presence, token):
        return ""
    fleet = presence.fleet_for(token)
    if fleet is not None and not fleet.is_last:
        return ""  # the last machine of the run does it
    locks = presence.workspace.named_locks()
    try:
        locks.acquire(capability.locks)
        with presence.locked(token, state):
            record = presence.registry.record_of(token, place)
            claim = presence.registry.claim_of(token, place)
            made = record or claim
            if made is None:
                return ""  # another process was faster
            presence.registry.released(token, place)
            presence.stop_service(None if claim is None else claim.service)
            leases = presence.leases_on(token)
            is_last = claim is not None if leases is None else leases.drop_lease(token)
            if not is_last or not capability.release:
                return ""
            runner = presence.runner_for(token, capability, state, made.values, what="release")
            environment = {
                **runner.environment,
                RELEASE_OF: "incomplete" if record is None else "complete",
                **({} if claim is None else claim.values),
            }
            runner = replace(runner, environment=environment)
            done = StepsResult()
            with presence.workspace.activity(Kind.RELEASE, token, runner, done, place=place):
                run_steps(capability.release, runner, keep_going=True, done=done)
            if leases is not None and done.failure is None:
                leases.forget(token)  # not earlier: until then it is still ours to release
            return failure_text(done, runner, what=f"release of {token}, step")
    finally:
        locks.release()


class ChainRelease:
    """Releases the tokens of a chain's state with the last of the chain's items that keeps them alive.

    Not those that a token of the machine or the fleet may rest on: only the leading process knows when that dies.
    """

    def __init__(self, plan: Plan, presence: Presence, journal: Journal) -> None:
        self._presence = presence
        self._journal = journal
        self._members: dict[StateId, list[JourneyId]] = defaultdict(list)
        for one in plan.journeys:
            self._members[one.state].append(one.id)
        self._lifetimes = Lifetimes(plan)
        scope_of = presence.graph.scope_of
        shared = [token for token in plan.rests_on if scope_of(token).is_shared]
        candidates = plan.rests_on.keys() - self._lifetimes.below(shared)
        self._ours = {token for token in candidates if _needs_release(presence, token)}
        self._begun: set[StateId] = set()
        self._over: set[Token] = set()

    def finished(self, planned: PlannedJourney, state: ChainState) -> str:
        """Count an item as finished and release what nothing needs any more; return what went wrong, or nothing.

        That may be a token that was released before: a replay for another one has made it once more.
        """
        if not self._ours:
            return ""
        over = set(self._lifetimes.finish(planned.id))
        if planned.state not in self._begun:
            self._begun.add(planned.state)
            moved = self._presence.workspace.run.has_other_states(planned.number, state.path)
            # Do not wait for items that ended on another machine, or on a worker that died.
            for one in self._members[planned.state] if moved or self._presence.fleet is not None else ():
                if self._journal.has_ended(one) or (moved and self._journal.end_of(one) is not None):
                    over.update(self._lifetimes.finish(one))
        over &= self._ours
        self._over |= over
        unreleased = _unreleased(self._presence, [state.name]) if over else ()
        order = self._lifetimes.in_release_order(one for one in unreleased if one[0] in self._over)
        problems = [release(self._presence, token, state.name, state) for token, _, _ in order]
        return "\n".join(filter(None, problems))


class MachineRelease:
    """Keeps shared tokens while they are used; then services stop. The rest is released at the end of the run.

    If items may request tokens at run time, any of them may be the last user, and services stop with the run, too.
    """

    def __init__(self, plan: Plan, presence: Presence) -> None:
        self._presence = presence
        self._planned = plan.by_nodeid()
        self._others_may_ask = plan.asks_at_run_time
        self._lifetimes = Lifetimes(plan)
        self._last_user: dict[Token, str] = {}

    @property
    def fleet(self) -> FleetLeases | None:
        return self._presence.fleet

    def finished(self, nodeid: str) -> None:
        """Count an item as finished, however it ended, and stop the services that nothing needs any more.

        Raises HarnessError if the release of one fails.
        """
        planned = self._planned.get(nodeid)
        if planned is None:
            return
        over = self._lifetimes.finish(planned.id)
        self._last_user.update(dict.fromkeys((*planned.uses, *over), nodeid))
        if not (self._others_may_ask or self._presence.workspace.machine_stays):
            for token in over:
                self._stop_service(token)

    def _stop_service(self, token: Token) -> None:
        """Stop a machine-wide service, unless something rests on it that is released only at the end of the run."""
        presence = self._presence
        record = presence.registry.record_of(token, MACHINE)
        if record is None or record.service is None:
            return
        above = self._lifetimes.above(token)
        left = _unreleased(presence, presence.registry.places())
        if not any(one in above and has_release(presence, one) for one, _, _ in left):
            problem = release(presence, token, MACHINE, presence.workspace.state_at(MACHINE))
            if problem:
                raise HarnessError(problem)

    def release_everything_left(self) -> Iterable[tuple[str, str]]:
        """Release what is left anywhere in the run; yield the last user's node id with what went wrong."""
        presence = self._presence
        presence.learn_secrets()  # now, because released tokens are no longer recorded
        places = presence.registry.places()
        if presence.workspace.machine_stays:
            places = tuple(place for place in places if place != MACHINE)
        yield from self._release_in_order(_unreleased(presence, places))
        # Also those of services whose starter died before it could record them.
        presence.hide_secrets_in(*presence.workspace.run.logs())

    def release_for_all_machines(self, tokens: Sequence[TokenRecord]) -> Iterable[tuple[str, str]]:
        """Release tokens of the fleet, on the last machine of a run; what is half-made has no `by`.

        Yield what `release_everything_left` yields.
        """
        presence = self._presence
        for one in tokens:
            presence.registry.claim(one.token, one.place, one.values)
            if one.by:
                presence.registry.record(one)
            else:
                presence.registry.forget(one.token, one.place)
        yield from self._release_in_order([(one.token, one.place, one.since) for one in tokens])

    def _release_in_order(self, left: Iterable[tuple[Token, str, float]]) -> Iterable[tuple[str, str]]:
        for token, place, _ in self._lifetimes.in_release_order(left):
            problem = release(self._presence, token, place, self._presence.workspace.state_at(place))
            if problem:
                yield self._last_user.get(token, ""), problem
