"""The gates that items, and journeys of other shards that are replayed here, stand behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Journey, JourneyId, Token
from pytest_dogfood.outcomes import Cause, Outcome, reason_of
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.replay import DeferredError, Request
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.storage.journal import Journal, Why
from pytest_dogfood.storage.locks import NamedLocks
from pytest_dogfood.storage.token_registry import MACHINE, SEVERAL

Replay = Callable[[Journey, ChainState, Request], object]
"""Runs a journey in a state, for the item that asks."""


class Gates:
    """Knows which gates are open. `elsewhere` holds those of journeys that other shards run as items."""

    def __init__(
        self,
        presence: Presence,
        journal: Journal,
        elsewhere: Mapping[JourneyId, tuple[JourneyId, ...]],
        replay: Replay,
    ) -> None:
        self._presence = presence
        self._journal = journal
        self._elsewhere = elsewhere
        self._replay = replay

    def pass_all(self, gates: Iterable[JourneyId], request: Request, locks: NamedLocks | None = None) -> None:
        """Raise DeferredError at the first closed gate; one that another shard runs is replayed here once.

        `locks` is where to take the named locks that such a replay needs; without it the caller holds them all.
        """
        for gate in gates:
            outcome, cause = self._outcome_of_gate(gate, request, locks)
            if outcome.closes_a_gate and not (cause is not None and cause.blocked):
                tier = self._presence.graph.journeys[gate].tier
                because = f" ({cause})" if cause is not None and outcome is Outcome.DEFERRED else ""
                how = _how_it_ended(gate, outcome, cause)
                why = f"{how}{because}, and it gates what comes after tier '{tier}'"
                details = cause.details if cause is not None else ""
                raise DeferredError(Cause(who=gate, why=why, details=details))

    def admit(self, journey: Journey, request: Request) -> None:
        """Raise DeferredError if a gate is closed before a journey that other shards run as an item."""
        self.pass_all(self._elsewhere.get(journey.id, ()), request)

    def _outcome_of_gate(
        self, gate: JourneyId, request: Request, locks: NamedLocks | None
    ) -> tuple[Outcome, Cause | None]:
        presence = self._presence
        verdict = self._journal.verdict(gate)
        if verdict is None:
            if locks is not None:
                locks.take(self._presence.graph.locks_to_replay([gate], self._elsewhere))
            journey = presence.graph.journeys[gate]
            name = Token(f"gate-{sha256(gate.encode()).hexdigest()[:8]}")
            # The lock for several tokens comes first: what holds it may come to a gate, and a gate to tokens.
            with presence.machine.locked(SEVERAL), presence.registry.locked(name, MACHINE):
                verdict = self._journal.verdict(gate)
                if verdict is None:
                    state = presence.workspace.place_of(presence.graph, journey)
                    try:
                        self._replay(journey, state, request)
                    except HarnessError as error:
                        cause = Cause(who=gate, why=error.why or reason_of(Outcome.ERROR), details=str(error))
                        self._journal.ended(gate, Why.REPLAY, state.name, Outcome.ERROR, cause)
                    verdict = self._journal.verdict(gate)
            if locks is not None:
                locks.give_back()
        if verdict is None:
            return Outcome.ERROR, None
        return verdict.outcome, verdict.cause


def _how_it_ended(gate: JourneyId, outcome: Outcome, cause: Cause | None) -> str:
    if outcome is Outcome.ERROR and cause is not None and cause.who == gate:
        return cause.why
    return reason_of(outcome)
