"""Established means: the journey has passed, and the probe agrees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from pytest_dogfood.execution.failure_text import what_the_probe_said
from pytest_dogfood.journey import Journey, JourneyId, Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import State
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.token_registry import Holding


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
    state: State,
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
    """Whether the tests that only together establish a token have all passed, `last` being the one that just did."""
    for one in presence.graph.establishers[token]:
        if last in one.members:
            verdicts = [journal.verdict(other) for other in one.members if other != last]
            return all(found is not None and found.outcome.establishes for found in verdicts)
    return True
