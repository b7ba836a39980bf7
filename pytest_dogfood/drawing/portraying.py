"""From a capability graph to its picture: nodes, links, chains and the critical path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from itertools import pairwise
from string import ascii_uppercase

from msgspec.structs import replace

from pytest_dogfood.drawing.picture import Chain
from pytest_dogfood.drawing.picture import JourneyNode
from pytest_dogfood.drawing.picture import Link
from pytest_dogfood.drawing.picture import LinkKind
from pytest_dogfood.drawing.picture import NodeKey
from pytest_dogfood.drawing.picture import Picture
from pytest_dogfood.drawing.picture import ProviderKind
from pytest_dogfood.drawing.picture import ProviderNode
from pytest_dogfood.drawing.picture import reachable
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Token
from pytest_dogfood.planning import UNKNOWN_DURATION


def picture_of(graph: CapabilityGraph) -> Picture:
    """Show a whole graph. The critical path counts what the journeys estimate, else one second each."""
    providers = tuple(_providers(graph))
    chains = tuple(_chains(graph))
    journeys = tuple(_node(graph, journey) for journey in graph.journeys.values())
    links = tuple(_links(graph, providers))
    seconds = {node.key: node.seconds for node in journeys} | {node.key: 0.0 for node in providers}
    path, total = _critical_path(seconds, links)
    names = {node.key for node in journeys}
    marked = path if sum(key in names for key in path) > 1 else ()
    on_path, steps = frozenset(marked), frozenset(pairwise(marked))
    return Picture(
        journeys=tuple(replace(node, critical=node.key in on_path) for node in journeys),
        providers=tuple(replace(node, critical=node.key in on_path) for node in providers),
        links=tuple(replace(link, critical=(link.source, link.target) in steps) for link in links),
        chains=chains,
        critical_path=path,
        critical_seconds=total,
    )


def _node(graph: CapabilityGraph, journey: Journey) -> JourneyNode:
    return JourneyNode(
        key=NodeKey(journey.id),
        nodeid=journey.nodeid,
        place=str(journey.location),
        tier=journey.tier,
        gating=journey.gating,
        python=journey.python,
        chain=graph.chains[journey.id],
        seconds=UNKNOWN_DURATION if journey.estimate is None else journey.estimate,
        estimated=journey.estimate is not None,
    )


def _chains(graph: CapabilityGraph) -> Iterator[Chain]:
    sizes: dict[ChainId, int] = defaultdict(int)
    for chain in graph.chains.values():
        sizes[chain] += 1
    number = 0
    for chain, size in sizes.items():
        yield Chain(id=chain, label=_letters(number) if size > 1 else "", journeys=size)
        number += size > 1


def _letters(number: int) -> str:
    """Count as columns are counted: A to Z, then AA, AB."""
    before, last = divmod(number, len(ascii_uppercase))
    return (_letters(before - 1) if before else "") + ascii_uppercase[last]


def _providers(graph: CapabilityGraph) -> Iterator[ProviderNode]:
    chain_of: dict[Token, ChainId] = {}
    for journey in graph.journeys.values():
        for token in graph.tying(journey):
            chain_of.setdefault(token, graph.chains[journey.id])
    needed = (token for journey in graph.journeys.values() for token in graph.needed_by(journey))
    for token in dict.fromkeys(needed):
        kind = _provider_kind(graph, token)
        if kind is not None:
            key = NodeKey(f"{kind}:{token}")
            scope = graph.scope_of(token)
            yield ProviderNode(key=key, token=token, kind=kind, scope=scope, chain=chain_of.get(token, ""))


def _provider_kind(graph: CapabilityGraph, token: Token) -> ProviderKind | None:
    if token in graph.fixtures:
        return ProviderKind.FIXTURE
    capability = graph.capability(token)
    if capability is not None and graph.has_own_provider(token):
        return ProviderKind.SERVICE if capability.service else ProviderKind.PROVISION
    return None if graph.establishing(token) else ProviderKind.ELSEWHERE


def _links(graph: CapabilityGraph, providers: Iterable[ProviderNode]) -> Iterator[Link]:
    provided = {provider.token: provider.key for provider in providers}
    for journey in graph.journeys.values():
        key = NodeKey(journey.id)
        yield from _requirements(graph, provided, key, graph.required_by(journey))
        yield from _destructions(graph, journey)
    for token, key in provided.items():
        yield from _requirements(graph, provided, key, graph.needs_of_provider(token))


def _requirements(
    graph: CapabilityGraph, provided: Mapping[Token, NodeKey], user: NodeKey, tokens: Iterable[Token]
) -> Iterator[Link]:
    passed: dict[tuple[NodeKey, Scope], list[Token]] = defaultdict(list)
    waiting = list(reversed(tuple(tokens)))
    seen: set[Token] = set()
    while waiting:
        token = waiting.pop()
        if token in seen:
            continue
        seen.add(token)
        sources = [NodeKey(journey) for journey in graph.establishing(token)]
        if token in provided:
            sources.append(provided[token])
        else:  # where no provider is drawn that could wait for them, the user waits for its needs itself
            waiting.extend(reversed(graph.needs_of_provider(token)))
        for source in sources:
            if source != user:
                passed[source, graph.scope_of(token)].append(token)
    for (source, scope), names in passed.items():
        yield Link(source=source, target=user, tokens=tuple(names), scope=scope)


def _destructions(graph: CapabilityGraph, journey: Journey) -> Iterator[Link]:
    if not journey.invalidates:
        return
    others = graph.prerequisites[journey.id]
    implied = {
        earlier for other in others for earlier in reachable(other, graph.prerequisites) if earlier != other
    }
    required = {member for token in graph.needed_by(journey) for member in graph.establishing(token)}
    for other in others:
        if other in implied or other in required:
            continue
        by_scope: dict[Scope, list[Token]] = defaultdict(list)
        for token in _spared_for(graph, journey, graph.journeys[other]):
            by_scope[graph.scope_of(token)].append(token)
        for scope, names in by_scope.items():
            yield Link(
                source=NodeKey(other),
                target=NodeKey(journey.id),
                tokens=tuple(names),
                scope=scope,
                kind=LinkKind.INVALIDATES,
            )


def _spared_for(graph: CapabilityGraph, destroyer: Journey, other: Journey) -> tuple[Token, ...]:
    """Give what the destroyer leaves alone until the other one is through."""
    dealt_with = {*graph.needed_by(other), *other.establishes}
    direct = tuple(token for token in destroyer.invalidates if token in dealt_with)
    # Who does not deal with it may still come behind somebody who does, and who may have to be replayed for it.
    machine = tuple(token for token in destroyer.invalidates if graph.scope_of(token) is Scope.MACHINE)
    return direct or machine or tuple(destroyer.invalidates)


def _critical_path(
    seconds: Mapping[NodeKey, float], links: Iterable[Link]
) -> tuple[tuple[NodeKey, ...], float]:
    """Give the way through the links that takes longest; what is in a cycle is left out."""
    after: dict[NodeKey, dict[NodeKey, None]] = defaultdict(dict)
    for link in links:
        after[link.source][link.target] = None
    waiting_for = dict.fromkeys(seconds, 0)
    for targets in after.values():
        for target in targets:
            waiting_for[target] += 1
    begun: dict[NodeKey, float] = dict.fromkeys(seconds, 0.0)
    via: dict[NodeKey, NodeKey] = {}
    finished: dict[NodeKey, float] = {}
    ready = [key for key in seconds if not waiting_for[key]]
    for key in ready:  # grows while it is read
        finished[key] = begun[key] + seconds[key]
        for target in after[key]:
            if finished[key] > begun[target] or target not in via:
                begun[target] = finished[key]
                via[target] = key
            waiting_for[target] -= 1
            if not waiting_for[target]:
                ready.append(target)
    if not finished:
        return (), 0.0
    key = max(finished, key=finished.__getitem__)
    path = [key]
    while path[-1] in via:
        path.append(via[path[-1]])
    return tuple(reversed(path)), finished[key]
