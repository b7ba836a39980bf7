"""A capability graph as a picture: nodes, links, chains, the critical path."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import count, pairwise
from string import ascii_uppercase
from typing import NewType

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.check.report import Report
from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, Scope, Tier, Token, base_of, is_named_by, is_of_a_test
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.walks import inverted, reachable

NodeKey = NewType("NodeKey", str)
"""Name of a node, unique in its picture: a journey's id, or `service:TOKEN` and the like."""


class ProviderKind(StrEnum):
    """The provider of a token other than a journey. ELSEWHERE: none is known here; its probe may find it."""

    FIXTURE = "fixture"
    PROVISION = "provision"
    SERVICE = "service"
    ELSEWHERE = "elsewhere"


class LinkKind(StrEnum):
    """Why the target comes after the source: it requires a token of the source, or destroys one that it needs."""

    REQUIRES = "requires"
    INVALIDATES = "invalidates"


class JourneyNode(Struct, frozen=True, kw_only=True):
    """A journey as a node. `seconds` is its duration in `dogfood check`; it is `guessed` if none is known."""

    key: NodeKey
    nodeid: str
    place: str
    tier: Tier
    gating: bool
    python: bool
    chain: ChainId
    seconds: float
    guessed: bool
    critical: bool = False
    establishes: tuple[Token, ...] = ()
    locks: Mapping[str, int] = field(default_factory=dict)


class ProviderNode(Struct, frozen=True, kw_only=True):
    """A provider of a token. `chain` is empty if its token is of the machine or the fleet."""

    key: NodeKey
    token: Token
    kind: ProviderKind
    scope: Scope
    chain: str = ""
    critical: bool = False
    locks: Mapping[str, int] = field(default_factory=dict)


class Link(Struct, frozen=True, kw_only=True):
    """The tokens of one scope that go from `source` to `target`. Links never form a cycle in a valid project."""

    source: NodeKey
    target: NodeKey
    tokens: tuple[Token, ...]
    scope: Scope
    kind: LinkKind = LinkKind.REQUIRES
    critical: bool = False


class Chain(Struct, frozen=True, kw_only=True):
    """Journeys that share one state, or the `states` of a chain that is split.

    `label` is short, and empty for a chain of a single journey.
    """

    id: ChainId
    label: str
    journeys: int
    states: int = 1


class Lock(Struct, frozen=True, kw_only=True):
    """A lock that nodes hold while they run. `units` names those of its pool; without one there is a single holder."""

    name: str
    units: tuple[str, ...] = ()


class Picture(Struct, frozen=True, kw_only=True):
    """Nodes and links in the order of the project.

    `critical_path` is that of the plan for the whole project, also in a focus: the longest path, or the heaviest chain,
    whose members need not be linked. Its members are marked `critical`, unless it is a single journey.
    """

    journeys: tuple[JourneyNode, ...]
    providers: tuple[ProviderNode, ...] = ()
    links: tuple[Link, ...] = ()
    chains: tuple[Chain, ...] = ()
    locks: tuple[Lock, ...] = ()
    critical_path: tuple[NodeKey, ...] = ()
    critical_seconds: float = 0.0
    focus: str = ""


class UnknownNameError(LookupError):
    """A picture has no journey and no token with this name."""


def focus(picture: Picture, name: str) -> Picture:
    """Keep a journey with all that it needs and enables, or a token with its providers, users and destroyers.

    A name may also mean the journeys of a matrix, a class or a file. Raises UnknownNameError, a LookupError.
    """
    before: dict[NodeKey, list[NodeKey]] = defaultdict(list)
    for link in picture.links:
        if link.kind is LinkKind.REQUIRES:
            before[link.target].append(link.source)
    after = inverted(before)
    named = [node.key for node in picture.journeys if is_named_by(name, node.key, node.nodeid)]
    users = named
    others: list[NodeKey] = []
    if not named:
        named, users, others = _around_token(picture, name)
    kept = {*reachable(named, before.__getitem__), *reachable(users, after.__getitem__), *others}
    return replace(restricted(picture, kept), focus=name)


def restricted(picture: Picture, kept: Collection[str]) -> Picture:
    """Keep these nodes, the links between them, and their chains and locks."""
    journeys = tuple(node for node in picture.journeys if node.key in kept)
    providers = tuple(node for node in picture.providers if node.key in kept)
    chains = {node.chain for node in journeys}
    locks = {lock for node in journeys for lock in node.locks}
    locks.update(lock for node in providers for lock in node.locks)
    return replace(
        picture,
        journeys=journeys,
        providers=providers,
        links=tuple(link for link in picture.links if link.source in kept and link.target in kept),
        chains=tuple(chain for chain in picture.chains if chain.id in chains),
        locks=tuple(lock for lock in picture.locks if lock.name in locks),
    )


def _around_token(picture: Picture, name: str) -> tuple[list[NodeKey], list[NodeKey], list[NodeKey]]:
    """Return the providers of a token, or of its instances, its users, and its destroyers."""

    def is_meant(token: Token) -> bool:
        return name in {token, base_of(token)}

    makers = [node.key for node in picture.journeys if any(map(is_meant, node.establishes))]
    makers += [node.key for node in picture.providers if is_meant(node.token)]
    if not makers:
        tokens = [token for node in picture.journeys for token in node.establishes]
        tokens += [node.token for node in picture.providers]
        hint = did_you_mean(name, [*(node.key for node in picture.journeys), *dict.fromkeys(tokens)])
        raise UnknownNameError(f"no journey or token is called {name!r}" + (f"; {hint}" if hint else ""))
    ends: dict[LinkKind, list[NodeKey]] = {kind: [] for kind in LinkKind}
    for link in picture.links:
        if any(map(is_meant, link.tokens)):
            ends[link.kind].append(link.target)
    return makers, ends[LinkKind.REQUIRES], ends[LinkKind.INVALIDATES]


def picture_of(graph: CapabilityGraph, report: Report) -> Picture:
    """Return the picture of a whole graph, with the critical path and durations of the report on it."""
    path = tuple(map(NodeKey, report.critical_path))
    providers = _providers(graph)
    links = tuple(_links(graph, {provider.token: provider.key for provider in providers}))
    steps = _steps_of(path, providers, links)
    critical = {key for step in steps for key in step} | (set(path) if len(path) > 1 else set())
    journeys = tuple(
        JourneyNode(
            key=NodeKey(journey.id),
            nodeid=journey.nodeid,
            place=str(journey.location),
            tier=journey.tier,
            gating=journey.gating,
            python=journey.python,
            chain=graph.chains[journey.id],
            seconds=report.seconds[journey.id],
            guessed=journey.id in report.guessed,
            critical=NodeKey(journey.id) in critical,
            establishes=tuple(token for token in journey.establishes if not is_of_a_test(token)),
            locks=journey.locks,
        )
        for journey in graph.journeys.values()
    )
    numbers = count()
    tree = split(graph)
    states = Counter(tree.chain_of[state] for state, members in tree.members.items() if members)
    chains = tuple(
        Chain(
            id=chain,
            label=_letters(next(numbers)) if size > 1 else "",
            journeys=size,
            states=states[chain],
        )
        for chain, size in Counter(graph.chains.values()).items()
    )
    return Picture(
        journeys=journeys,
        providers=tuple(replace(node, critical=node.key in critical) for node in providers),
        links=tuple(replace(link, critical=(link.source, link.target) in steps) for link in links),
        chains=chains,
        locks=_locks(graph),
        critical_path=path,
        critical_seconds=report.forecast.critical_seconds,
    )


def _locks(graph: CapabilityGraph) -> tuple[Lock, ...]:
    """Return the pools, and the other locks that journeys and providers hold, by their names."""
    names = set(graph.pools)
    names.update(lock for one in graph.journeys.values() for lock in one.locks)
    names.update(lock for one in graph.capabilities.values() for lock in one.locks)
    return tuple(
        Lock(name=name, units=graph.pools[name].units if name in graph.pools else ())
        for name in sorted(names)
    )


def _steps_of(
    path: Sequence[NodeKey], providers: Iterable[ProviderNode], links: Iterable[Link]
) -> set[tuple[NodeKey, NodeKey]]:
    """Return the ends of the links that a path passes; two journeys of one chain need not be linked."""
    linked = {(link.source, link.target) for link in links}
    keys = sorted(provider.key for provider in providers)
    steps: set[tuple[NodeKey, NodeKey]] = set()
    for before, after in pairwise(path):
        ways = ([(before, after)], *([(before, key), (key, after)] for key in keys))
        steps.update(next((way for way in ways if linked.issuperset(way)), ()))
    return steps


def _letters(number: int) -> str:
    """Return a number as the letters of a spreadsheet column: A to Z, then AA, AB."""
    before, last = divmod(number, len(ascii_uppercase))
    return (_letters(before - 1) if before else "") + ascii_uppercase[last]


def _providers(graph: CapabilityGraph) -> tuple[ProviderNode, ...]:
    chain_of: dict[Token, ChainId] = {}
    needed: dict[Token, None] = {}
    for journey in graph.journeys.values():
        needed |= dict.fromkeys(graph.needed_by(journey))
        for token in graph.chain_tokens_of(journey):
            chain_of.setdefault(token, graph.chains[journey.id])
    providers: list[ProviderNode] = []
    for token in needed:
        capability = graph.capability(token)
        if token in graph.fixtures:
            kind = ProviderKind.FIXTURE
        elif capability is not None and graph.has_own_provider(token):
            kind = ProviderKind.SERVICE if capability.service else ProviderKind.PROVISION
        elif graph.establishing(token):
            continue
        else:
            kind = ProviderKind.ELSEWHERE
        providers.append(
            ProviderNode(
                key=NodeKey(f"{kind}:{token}"),
                token=token,
                kind=kind,
                scope=graph.scope_of(token),
                chain=chain_of.get(token, ""),
                locks=capability.locks if capability is not None else {},
            )
        )
    return tuple(providers)


def _links(graph: CapabilityGraph, provided: Mapping[Token, NodeKey]) -> Iterator[Link]:
    for journey in graph.journeys.values():
        yield from _requirements(graph, provided, NodeKey(journey.id), graph.required_by(journey))
        yield from _destructions(graph, journey)
    for token, key in provided.items():
        yield from _requirements(graph, provided, key, graph.needs_of_provider(token))


def _requirements(
    graph: CapabilityGraph, provided: Mapping[Token, NodeKey], user: NodeKey, tokens: Sequence[Token]
) -> Iterator[Link]:
    tokens_of: dict[tuple[NodeKey, Scope], list[Token]] = defaultdict(list)
    # If a provider is not drawn, its needs are drawn as those of the user.
    for token in reachable(tokens, lambda one: () if one in provided else graph.needs_of_provider(one)):
        sources = [NodeKey(journey) for journey in graph.establishing(token)]
        sources += [provided[token]] if token in provided else []
        for source in sources:
            if source != user:
                tokens_of[source, graph.scope_of(token)].append(token)
    for (source, scope), names in tokens_of.items():
        yield Link(source=source, target=user, tokens=tuple(names), scope=scope)


def _destructions(graph: CapabilityGraph, journey: Journey) -> Iterator[Link]:
    """Yield links from the journeys that must be finished before this one destroys its tokens."""
    if not journey.invalidates:
        return
    others = graph.prerequisites[journey.id]
    implied = {earlier for other in others for earlier in graph.all_before(other) if earlier != other}
    required = {member for token in graph.needed_by(journey) for member in graph.establishing(token)}
    shared = [token for token in journey.invalidates if graph.scope_of(token).is_shared]
    for other in others:
        if other in implied or other in required:
            continue
        dealt_with = {*graph.needed_by(graph.journeys[other]), *graph.journeys[other].establishes}
        # A journey that uses none of them may still follow one that does, and require its replay.
        direct = [token for token in journey.invalidates if token in dealt_with]
        by_scope: dict[Scope, list[Token]] = defaultdict(list)
        for token in direct or shared or journey.invalidates:
            by_scope[graph.scope_of(token)].append(token)
        for scope, names in by_scope.items():
            yield Link(
                source=NodeKey(other),
                target=NodeKey(journey.id),
                tokens=tuple(names),
                scope=scope,
                kind=LinkKind.INVALIDATES,
            )
