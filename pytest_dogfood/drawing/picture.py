"""What there is to see of a capability graph: its journeys, what provides, and what passes between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NewType, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.journey import ChainId, Scope, Tier, Token

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
    kept = reachable(start, before) | reachable(start, after)
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


def reachable(start: Name, following: Mapping[Name, Iterable[Name]]) -> set[Name]:
    """Give the start and everything that follows from it."""
    seen = {start}
    waiting = [start]
    while waiting:
        for key in following.get(waiting.pop(), ()):
            if key not in seen:
                seen.add(key)
                waiting.append(key)
    return seen
