"""What the ends of journeys that establish a token say of it, whatever its probe says."""

from __future__ import annotations

from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.provisioning.presence import WAS_THERE, Presence
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.journal import End, Journal
from pytest_dogfood.storage.token_registry import MACHINE


class EstablisherEnds:
    """How the journeys that establish a token have ended in this run, as items or replays."""

    def __init__(self, presence: Presence, journal: Journal) -> None:
        self._presence = presence
        self._graph = presence.graph
        self._journal = journal

    def refute(self, token: Token, state: ChainState) -> bool:
        """Return whether a token does not count as present, even if its probe succeeds: an establishing journey failed.

        That is so if none of them passed, unless another provider has provisioned the token since. It is also so if
        one failed after another had established the token: the failed one may have replaced what the other had made,
        and then the recorded values are wrong. So a token with values is provisioned again, unless that is impossible:
        a token that a Python test established is kept.
        """
        record = self._presence.record_of(token, state)
        by_journey = record is not None and record.by in self._graph.establishing(token)
        ends = self._ends(token, state.name)
        if ends and not any(end.outcome.establishes for end in ends):
            by_provider = record is not None and record.by != WAS_THERE and not by_journey
            if record is None or not by_provider or record.since < max(end.at for end in ends):
                return True
        several = len(self._graph.establishers.get(token, ())) > 1
        never = self._presence.workspace.settings.provision is Provision.NEVER
        if record is None or not (several and record.values and by_journey) or never:
            return False
        # A token of the whole machine may have been changed from any state.
        anywhere = record.place == MACHINE
        ends = self._ends(token, "" if anywhere else state.name)
        failed = [end for end in ends if end.outcome.is_bad and (anywhere or end.state == state.name)]
        if all(end.at < record.since for end in failed):
            return False
        maker = self._graph.journeys[JourneyId(record.by)]
        return self._graph.has_independent_provider(token) or not (maker.python or maker.use)

    def cause_against(self, token: Token, state: ChainState) -> Cause | None:
        """Return the first cause if every establishing journey of a token ended without passing; else None."""
        ends = self._ends(token, state.name)
        causes = [cause for end in ends if (cause := end.blocking_cause()) is not None]
        return causes[0] if causes and len(causes) == len(self._graph.establishers[token]) else None

    def _ends(self, token: Token, state: str) -> list[End]:
        """Return the ends of those establishing journeys that have ended; an end in `state` counts before others.

        For journeys that only together establish the token, one failure decides, but one success does not.
        """
        found: list[End] = []
        for one in self._graph.establishers.get(token, ()):
            ends = [self._journal.end_of(member, state=state) for member in one]
            bad = (end for end in ends if end is not None and not end.outcome.establishes)
            end = next(bad, None if None in ends else ends[-1])
            if end is not None:
                found.append(end)
        return found
