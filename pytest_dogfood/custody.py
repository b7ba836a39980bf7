"""Counts who still needs a token, and gives it back after the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pytest_dogfood.journal import Journal
from pytest_dogfood.journey import ChainId
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Token
from pytest_dogfood.planning import Plan
from pytest_dogfood.planning import PlannedJourney
from pytest_dogfood.presence import Presence
from pytest_dogfood.registry import MACHINE
from pytest_dogfood.releasing import release
from pytest_dogfood.servicing import stop_service
from pytest_dogfood.world import State


def users_by_token(plan: Plan, presence: Presence, scope: Scope) -> dict[Token, set[JourneyId]]:
    """For each token of a scope that has to be given back, the items of this run that need or establish it."""
    users: dict[Token, set[JourneyId]] = defaultdict(set)
    for planned in plan.journeys:
        for token in planned.users_of:
            if presence.graph.scope_of(token) is scope and presence.is_given_back(token):
                users[token].add(planned.id)
    return dict(users)


class ChainCustody:
    """Releases the tokens of a chain's state with the last of the chain's items that needs them."""

    def __init__(self, plan: Plan, presence: Presence, journal: Journal) -> None:
        self._presence = presence
        self._journal = journal
        self._users = users_by_token(plan, presence, Scope.CHAIN)
        self._chain_of = {
            token: one.chain for one in plan.journeys for token in one.users_of if token in self._users
        }
        self._chains = set(self._chain_of.values())
        self._begun: set[ChainId] = set()

    def finished(self, planned: PlannedJourney, state: State) -> str:
        """Count an item as finished and release what nobody needs any more; gives what went wrong, or nothing."""
        if planned.chain not in self._chains:
            return ""
        if planned.chain not in self._begun:
            self._begun.add(planned.chain)
            self._discount_what_ended_elsewhere(planned, state)
        over: list[Token] = []
        for token in planned.users_of:
            users = self._users.get(token)
            if users is not None:
                users.discard(planned.id)
                if not users:
                    over.append(token)
        held = self._presence.registry.holdings(state.name) if over else ()
        # The youngest first: it may rest on an older one.
        problems = [release(self._presence, one, state) for one in reversed(held) if one.token in over]
        return "\n".join(filter(None, problems))

    def _discount_what_ended_elsewhere(self, planned: PlannedJourney, state: State) -> None:
        """Do not wait for items that ended on a worker that died, if the chain has moved here from there."""
        if not self._presence.world.run.has_other_states(planned.number, state.path):
            return
        for token, users in self._users.items():
            if self._chain_of[token] == planned.chain:
                for journey in tuple(users - {planned.id}):
                    verdict = self._journal.verdict(journey)
                    if verdict is not None:
                        users.discard(journey)


class MachineCustody:
    """Keeps machine-wide tokens until their last user is finished; services stop then, the rest with the run.

    Where items may ask for tokens at run time nobody knows the last user, and services stop with the run, too.
    """

    def __init__(self, plan: Plan, presence: Presence) -> None:
        self._presence = presence
        self._users = users_by_token(plan, presence, Scope.MACHINE)
        self._planned = plan.by_nodeid()
        self._others_may_ask = plan.asks_at_run_time
        self._last_user: dict[Token, str] = {}

    def finished(self, nodeid: str) -> None:
        """Count an item as finished, however it ended, and stop the services that nobody needs any more."""
        planned = self._planned.get(nodeid)
        for token in planned.users_of if planned is not None else ():
            self._last_user[token] = nodeid
            users = self._users.get(token)
            if users is not None and planned is not None:
                users.discard(planned.id)
                if not users and not self._others_may_ask:
                    self._stop_service(token)

    def _stop_service(self, token: Token) -> None:
        holding = self._presence.registry.holding(token, MACHINE)
        if holding is not None and holding.service is not None:
            stop_service(self._presence, holding)

    def release_everything_left(self) -> Iterable[tuple[str, str]]:
        """Release what still holds anywhere in the run; gives the last user's node id with what went wrong."""
        registry = self._presence.registry
        self._presence.learn_secrets()  # now, for what is given back is no longer recorded
        for place in registry.places():
            for holding in reversed(registry.holdings(place)):
                state = State(chain=ChainId(""), number=0, path=self._presence.world.run.path / place)
                problem = release(self._presence, holding, state)
                if problem:
                    yield self._last_user.get(holding.token, ""), problem
        # Also those of services whose starter died before it could say that they run.
        self._presence.hide_secrets_in(*self._presence.world.run.logs())
