"""What becomes of the journeys that establish a token: each has passed and the probe agrees, or why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, JourneyId, Token
from pytest_dogfood.outcomes import Cause, Proof
from pytest_dogfood.provisioning.presence import Presence, what_the_probe_said
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.storage.journal import Journal, JourneyEnd
from pytest_dogfood.storage.token_registry import MACHINE, Holding


class EstablishingOutcomes:
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
        causes = [None if end is None else end.blocking_cause() for end in self._ends(token, state)]
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


class Established(Struct, frozen=True, kw_only=True):
    """What a passed journey has established: a proof per token, and what the probes said that say no.

    `unanswered` holds the probes that could not be run, which say nothing of the product.
    """

    proofs: Mapping[Token, Proof]
    denied: Mapping[Token, str] = field(default_factory=dict)
    unanswered: Mapping[Token, str] = field(default_factory=dict)


def establish(
    presence: Presence,
    journal: Journal,
    journey: Journey,
    state: ChainState,
    values: Mapping[str, str],
    secret: Iterable[str] = (),
) -> Established:
    """Ask the probes of what a journey that has just passed establishes, and record what holds."""
    proofs: dict[Token, Proof] = {}
    denied: dict[Token, str] = {}
    unanswered: dict[Token, str] = {}
    for token in journey.establishes:
        with presence.locked(token, state):
            place = presence.place_of(token, state)
            earlier = presence.registry.holding(token, place)
            known = {
                **(earlier.values if earlier else {}),
                **presence.registry.kept_values(token, place),
                **values,
            }
            if not _all_have_passed(presence, journal, token, journey.id):
                presence.registry.keep_values(token, place, known)
                continue
            probed = presence.probe(token, state, known)
            if probed is not None and not probed.present:
                presence.forget(token, state)
                (unanswered if probed.why_not_run else denied)[token] = what_the_probe_said(token, probed)
                continue
            proofs[token] = Proof.JOURNEY if probed is None else Proof.PROBE
            holding = Holding(
                token=token,
                place=place,
                by=journey.id,
                proof=proofs[token],
                values=known,
                secret=tuple(secret),
                home=state.name,
            )
            presence.record(holding)
    return Established(proofs=proofs, denied=denied, unanswered=unanswered)


def _all_have_passed(presence: Presence, journal: Journal, token: Token, last: JourneyId) -> bool:
    """Return whether all tests that establish a token together have passed; `last` just did."""
    for one in presence.graph.establishers[token]:
        if last in one.members:
            verdicts = [journal.verdict(other) for other in one.members if other != last]
            return all(found is not None and found.outcome.establishes for found in verdicts)
    return True
