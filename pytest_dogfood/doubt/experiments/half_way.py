"""Journeys that end before their last step: probes that say yes by then, where a journey that needs the token fails.

Each journey that establishes a token in the first run shows where that is. Only what lies below copyable tokens is
tried: there the state tree keeps apart what several such journeys leave, so that one run tries many of them, and what
they all rest on runs once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.doubt.experiments.known import Known
from pytest_dogfood.doubt.experiments.smallest import NotShown, Passes, Trial, ask, prove
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, HalfWay
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Scope, Token
from pytest_dogfood.walks import reachable


class HalfMade(Struct, frozen=True, kw_only=True):
    """A place before the end of a journey where its token is present, and the users that are tried there."""

    place: HalfWay
    users: tuple[JourneyId, ...]
    journeys: frozenset[JourneyId]
    """The users with all that they need."""


def can_be_tried(graph: CapabilityGraph, chain: ChainId) -> bool:
    """Return whether a chain has copyable tokens, so that journeys in it may be ended half-way."""
    return any(
        graph.is_copyable(token)
        for one in graph.journeys.values()
        if graph.chains[one.id] == chain
        for token in one.establishes
    )


def half_made(known: Known) -> Iterator[HalfMade]:
    """Yield what can be tried of that which the first run has shown."""
    steps = {(one.journey, one.token): one.step for one in known.first.half_way}
    for place in known.first.half_way:
        maker = place.journey
        if place.token in known.weak or known.graph.establishing(place.token) != (maker,):
            continue
        if not _rests_on_copies(known.graph, place.token, maker):
            continue
        missing = frozenset(
            token
            for token in known.graph.journeys[maker].establishes
            if steps.get((maker, token), place.step + 1) > place.step
        )
        users = tuple(
            one
            for one in known.orders.users_of(place.token)
            if one not in known.noisy
            and (known.orders.is_tested(one) or known.orders.is_tested(maker))
            and not known.graph.journeys[one].invalidates
            and not _needs_any(known, one, missing)
        )
        if users:
            yield HalfMade(place=place, users=users, journeys=known.orders.closure(users))


def _rests_on_copies(graph: CapabilityGraph, token: Token, maker: JourneyId) -> bool:
    tokens = reachable([token, *graph.needed_by(graph.journeys[maker])], graph.rests_on)
    return all(graph.is_copyable(one) for one in tokens if graph.scope_of(one) is Scope.CHAIN)


def _needs_any(known: Known, journey: JourneyId, missing: frozenset[Token]) -> bool:
    """Return whether a journey, or one that it needs, needs a token that is not there yet half-way."""
    graph = known.graph
    needed = [
        token for one in known.orders.closure([journey]) for token in graph.needed_by(graph.journeys[one])
    ]
    found = reachable(needed, graph.rests_on)
    return not missing.isdisjoint(found)


def together(known: Known, left: Sequence[HalfMade]) -> tuple[Experiment, tuple[HalfMade, ...]]:
    """Return an experiment that tries the first of those that are left, and as many others as do not meet it."""
    chosen: list[HalfMade] = []
    for one in left:
        if all(_are_apart(known, one, other) and _are_apart(known, other, one) for other in chosen):
            chosen.append(one)
    journeys = frozenset[JourneyId]().union(*(one.journeys for one in chosen))
    experiment = Experiment(
        chain=known.chain,
        order=known.orders.in_given_order(journeys),
        stops={one.place.journey: one.place.step for one in chosen},
    )
    return experiment, tuple(chosen)


def _are_apart(known: Known, one: HalfMade, other: HalfMade) -> bool:
    """Return whether nothing of the other finds what the journey of this one leaves half-way."""
    maker = one.place.journey
    before = known.orders.closure([maker]).difference([maker])
    return all(
        journey in before or (journey != maker and not known.in_same_state(maker, journey))
        for journey in other.journeys
    )


def probe_half_way(known: Known, tried: HalfMade, user: JourneyId) -> Trial[Finding | None]:
    """Prove that a journey fails where its token's probe says yes before the end of what establishes it."""
    maker = tried.place.journey
    passing = known.experiment(known.orders.closure([user]), user)
    failing = replace(passing, stops={maker: tried.place.step})
    proof = yield from prove(Passes(user), failing, passing)
    # A journey that ends half-way is quicker: what expires at the wrong moment is not the probe's fault.
    paused = yield from ask(Passes(user), replace(failing, pause=known.seconds_of(maker)))
    if paused.holds is not False:
        raise NotShown("it passed after a pause", proof.text)
    return Finding(
        code=Code.PROBE_TOO_EARLY,
        chain=known.chain,
        token=tried.place.token,
        journey=user,
        guilty=(maker,),
        proof=proof,
    )
