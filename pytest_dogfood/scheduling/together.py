"""Tells which items must run on one machine: a test cannot be replayed, so what it leaves is on its machine alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.scheduling.plan import replayable_anywhere
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.walks import DisjointSets, inverted, reachable


class _Source(Struct, frozen=True):
    """What provides a token: items that cannot be replayed, and the tokens that a provider or a replay needs."""

    items: tuple[JourneyId, ...] = ()
    needs: tuple[Token, ...] = ()


def groups_on_one_machine(
    graph: CapabilityGraph, items: Collection[JourneyId]
) -> tuple[tuple[JourneyId, ...], ...]:
    """Return the groups of items that must run on one machine, but for those that share a state anyway.

    An item is in one group with each Python test, and each journey with fixtures, that establishes what it needs,
    directly or through providers and replays, unless something else provides that. Tokens of scope fleet hold on every
    machine.
    """
    bound = _bound_tokens(graph, items)
    if not bound:
        return ()
    names = [*(f"token {token}" for token in bound), *(f"item {one}" for one in items)]
    groups = DisjointSets(names)
    for token, source in bound.items():
        for name in (*(f"item {one}" for one in source.items), *(f"token {need}" for need in source.needs)):
            groups.join(f"token {token}", name)
    for item in items:
        for token in filter(bound.__contains__, graph.needed_by(graph.journeys[item])):
            groups.join(f"token {token}", f"item {item}")
    members: dict[str, list[JourneyId]] = defaultdict(list)
    for item in items:
        members[groups.head(f"item {item}")].append(item)
    states = split(graph).state_of
    return tuple(
        tuple(sorted(several)) for several in members.values() if len({states[one] for one in several}) > 1
    )


def _bound_tokens(graph: CapabilityGraph, items: Collection[JourneyId]) -> Mapping[Token, _Source]:
    """Return the tokens that some item alone can establish, and those that rest on these, with what binds them."""
    not_replayable = set(items) - replayable_anywhere(graph)
    sources = {token: _source_of(graph, token, not_replayable) for token in graph.tokens}
    above = inverted({token: source.needs for token, source in sources.items()})
    found = reachable((token for token, source in sources.items() if source.items), above.__getitem__)
    return {
        token: _Source(sources[token].items, tuple(filter(found.__contains__, sources[token].needs)))
        for token in found
    }


def _source_of(graph: CapabilityGraph, token: Token, not_replayable: Collection[JourneyId]) -> _Source:
    if graph.scope_of(token) is Scope.FLEET or token in graph.fixtures:
        return _Source()
    if graph.has_own_provider(token):
        return _Source(needs=graph.needs_of_provider(token))
    makers = graph.establishing(token)
    needs = (need for one in makers for need in graph.needed_by(graph.journeys[one]))
    return _Source(tuple(one for one in makers if one in not_replayable), tuple(needs))
