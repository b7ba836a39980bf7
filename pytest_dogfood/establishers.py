"""What the journeys that should establish a token came to in this run, as far as they have run."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.storage.journal import Journal, JourneyEnd
from pytest_dogfood.storage.token_registry import MACHINE


class Establishers:
    """Answers from the journal, before any probe is asked: what a failed journey left behind proves nothing."""

    def __init__(self, graph: CapabilityGraph, journal: Journal) -> None:
        self._graph = graph
        self._journal = journal

    def refuted_at(self, token: Token, state: str) -> float | None:
        """Return when the last of them did not pass (seconds since the epoch); None if one has passed, or none ended.

        What happened in `state` outweighs what happened elsewhere.
        """
        ends = self._ends(token, state)
        if any(end is not None and end.outcome.establishes for end in ends):
            return None
        return max((end.at for end in ends if end is not None), default=None)

    def failed_at(self, token: Token, place: str) -> float | None:
        """Return when the last of them failed that may have changed the token in `place` (seconds since the epoch).

        A token of the whole machine may have been changed from any state. None if none of them failed.
        """
        state = "" if place == MACHINE else place
        ends = self._ends(token, state)
        return max(
            (
                end.at
                for end in ends
                if end is not None and end.outcome.is_bad and (not state or end.state == state)
            ),
            default=None,
        )

    def cause_against(self, token: Token, state: str) -> Cause | None:
        """Return the first cause if all that could establish a token did not pass; else None."""
        causes = [None if end is None else end.against() for end in self._ends(token, state)]
        return causes[0] if causes and all(causes) else None

    def _ends(self, token: Token, state: str) -> list[JourneyEnd | None]:
        return [self._end_of(one.members, state) for one in self._graph.establishers.get(token, ())]

    def _end_of(self, members: Iterable[JourneyId], state: str) -> JourneyEnd | None:
        """Return how journeys that only together establish a token ended: one bad end decides, a good one does not."""
        verdicts = [self._journal.verdict(member, state=state) for member in members]
        for verdict in verdicts:
            if verdict is not None and not verdict.outcome.establishes:
                return verdict
        return None if None in verdicts else verdicts[-1]
