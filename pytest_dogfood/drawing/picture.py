"""A capability graph as a picture: nodes, links, chains, the critical path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from string import ascii_uppercase
from typing import NewType, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.check.report import Report
from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, Scope, Tier, Token
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION
from pytest_dogfood.walks import reachable

Name = TypeVar("Name")

NodeKey = NewType("NodeKey", str)
"""Name of a node, unique in its picture: a journey's id, or `service:TOKEN` and the like."""


class ProviderKind(StrEnum):
    """What brings a token about without a journey. ELSEWHERE: nothing that is known here, its probe may find it."""

    FIXTURE = "fixture"
    PROVISION = "provision"
    SERVICE = "service"
    ELSEWHERE = "elsewhere"


class LinkKind(StrEnum):
    """Why the target comes after the source: it requires what the source brings, or destroys what it needs."""

    REQUIRES = "requires"
    INVALIDATES = "invalidates"


class JourneyNode(Struct, frozen=True, kw_only=True):
    """A journey as a node. `seconds` is what a plan counts: seen in an earlier run, estimated, or else a guess."""

    key: NodeKey
    nodeid: str
    place: str
    tier: Tier
    gating: bool
    python: bool
    chain: ChainId
    seconds: float
    estimated: bool
    critical: bool = False


class ProviderNode(Struct, frozen=True, kw_only=True):
    """Something that brings a token about on demand. `chain` is empty where it serves the whole machine."""

    key: NodeKey
    token: Token
    kind: ProviderKind
    scope: Scope
    chain: str = ""
    critical: bool = False


class Link(Struct, frozen=True, kw_only=True):
    """The tokens of one scope that go from `source` to `target`. Links never form a circle in a valid project."""

    source: NodeKey
    target: NodeKey
    tokens: tuple[Token, ...]
    scope: Scope
    kind: LinkKind = LinkKind.REQUIRES
    critical: bool = False


class Chain(Struct, frozen=True, kw_only=True):
    """Journeys that share one state. `label` is short, and empty for a journey that shares with nobody."""

    id: ChainId
    label: str
    journeys: int


class Picture(Struct, frozen=True, kw_only=True):
    """Nodes and links in the order of the project.

    `critical_path` is that of the plan for the whole project, also in a focus: the longest way, or the heaviest chain,
    whose members need not be linked. What is on it is marked `critical`, unless it is one journey all by itself.
    """

    journeys: tuple[JourneyNode, ...]
    providers: tuple[ProviderNode, ...] = ()
    links: tuple[Link, ...] = ()
    chains: tuple[Chain, ...] = ()
    critical_path: tuple[NodeKey, ...] = ()
    critical_seconds: float = 0.0
    focus: str = ""


class UnknownJourneyError(LookupError):
    """A picture holds no journey of this name; `hint` names the nearest, if one is near."""

    def __init__(self, journey_id: str, hint: str) -> None:
        self.journey_id = journey_id
        self.hint = hint
        super().__init__(journey_id, hint)

    def __str__(self) -> str:
        unknown = f"no journey is called {self.journey_id!r}"
        return f"{unknown}; {self.hint}" if self.hint else unknown


def focus(picture: Picture, journey_id: str) -> Picture:
    """Keep one journey with all it needs and all it enables; raises UnknownJourneyError, a LookupError."""
    names = [node.key for node in picture.journeys]
    if journey_id not in names:
        raise UnknownJourneyError(journey_id, did_you_mean(journey_id, names))
    before: dict[NodeKey, list[NodeKey]] = defaultdict(list)
    after: dict[NodeKey, list[NodeKey]] = defaultdict(list)
    for link in picture.links:
        if link.kind is LinkKind.REQUIRES:
            before[link.target].append(link.source)
            after[link.source].append(link.target)
    start = NodeKey(journey_id)
    kept = reachable([start], before.__getitem__) | reachable([start], after.__getitem__)
    journeys = tuple(node for node in picture.journeys if node.key in kept)
    chains = {node.chain for node in journeys}
    return replace(
        picture,
        journeys=journeys,
        providers=tuple(node for node in picture.providers if node.key in kept),
        links=tuple(link for link in picture.links if link.source in kept and link.target in kept),
        chains=tuple(chain for chain in picture.chains if chain.id in chains),
        focus=journey_id,
    )


def picture_of(graph: CapabilityGraph, report: Report) -> Picture:
    """Show a whole graph, with the critical path and the seconds that the report on it counts with."""
    weights = {planned.id: planned.weight for planned in report.plan.journeys}
    providers = tuple(_providers(graph))
    links = tuple(_links(graph, providers))
    path = tuple(map(NodeKey, report.critical_path))
    on_path, steps = _marked(path, providers, links) if len(path) > 1 else (frozenset(), frozenset())
    return Picture(
        journeys=tuple(
            _node(graph, journey, weights.get(journey.id), critical=NodeKey(journey.id) in on_path)
            for journey in graph.journeys.values()
        ),
        providers=tuple(replace(node, critical=node.key in on_path) for node in providers),
        links=tuple(replace(link, critical=(link.source, link.target) in steps) for link in links),
        chains=tuple(_chains(graph)),
        critical_path=path,
        critical_seconds=report.critical_seconds,
    )


def _marked(
    path: Sequence[NodeKey], providers: Iterable[ProviderNode], links: Iterable[Link]
) -> tuple[frozenset[NodeKey], frozenset[tuple[NodeKey, NodeKey]]]:
    """Return the nodes and the links that a path passes; two journeys of one chain need not be linked."""
    linked = {(link.source, link.target) for link in links}
    provided_by: dict[NodeKey, list[NodeKey]] = defaultdict(list)
    names = {node.key for node in providers}
    for source, target in linked:
        if source in names:
            provided_by[target].append(source)
    steps: set[tuple[NodeKey, NodeKey]] = set()
    for step in pairwise(path):
        before, after = step
        ways = [[step], *([(before, key), (key, after)] for key in sorted(provided_by[after]))]
        steps.update(next((way for way in ways if linked.issuperset(way)), ()))
    return frozenset((*path, *(key for step in steps for key in step))), frozenset(steps)


def _node(graph: CapabilityGraph, journey: Journey, seconds: float | None, *, critical: bool) -> JourneyNode:
    if seconds is None:  # this selection leaves it out
        seconds = UNKNOWN_DURATION if journey.estimate is None else journey.estimate
    return JourneyNode(
        key=NodeKey(journey.id),
        nodeid=journey.nodeid,
        place=str(journey.location),
        tier=journey.tier,
        gating=journey.gating,
        python=journey.python,
        chain=graph.chains[journey.id],
        seconds=seconds,
        estimated=journey.estimate is not None,
        critical=critical,
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
        for token in graph.chain_tokens_of(journey):
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
    implied = {earlier for other in others for earlier in graph.all_before(other) if earlier != other}
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
    """Return what the destroyer leaves alone until the other one is through."""
    dealt_with = {*graph.needed_by(other), *other.establishes}
    direct = tuple(token for token in destroyer.invalidates if token in dealt_with)
    # Who does not deal with it may still come behind somebody who does, and who may have to be replayed for it.
    machine = tuple(token for token in destroyer.invalidates if graph.scope_of(token) is Scope.MACHINE)
    return direct or machine or tuple(destroyer.invalidates)
