"""The texts of a drawing, in boxes, on lines and in tooltips, and the sizes of boxes and labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from unicodedata import combining, east_asian_width

from pytest_dogfood.diagnostics import counted, seconds_in_words
from pytest_dogfood.drawing.layers import Box, EdgeLabel
from pytest_dogfood.drawing.picture import (
    Chain,
    JourneyNode,
    Link,
    LinkKind,
    NodeKey,
    Picture,
    ProviderKind,
    ProviderNode,
)
from pytest_dogfood.journey import Scope, Tier, Token, is_named_by, units_in_words
from pytest_dogfood.walks import in_order

ID_SIZE = 12.5
TOKEN_SIZE = 11.0
BADGE_WIDTH = 20.0
LINE_HEIGHT = 14.0
LONGEST_NAME = 28

_LONGEST_TOKEN = 34
_MOST_TOKENS = 4


class Label(EdgeLabel, frozen=True, kw_only=True):
    """Tokens that go from each of the sources to each of the targets. `lines` is empty if a source names them."""

    tokens: tuple[Token, ...]
    scope: Scope
    kind: LinkKind
    lines: tuple[str, ...] = ()


def labels_of(picture: Picture) -> tuple[Label, ...]:
    """Join links that carry the same tokens, so that these are written once and few lines are drawn."""
    targets: dict[tuple[NodeKey, LinkKind, Scope, tuple[Token, ...]], list[NodeKey]] = defaultdict(list)
    for link in picture.links:
        targets[link.source, link.kind, link.scope, link.tokens].append(link.target)
    sources: dict[tuple[tuple[NodeKey, ...], LinkKind, Scope, tuple[Token, ...]], list[NodeKey]]
    sources = defaultdict(list)
    for (source, kind, scope, tokens), found in targets.items():
        sources[tuple(found), kind, scope, tokens].append(source)
    providers = {provider.key for provider in picture.providers}
    labels: list[Label] = []
    for (users, kind, scope, tokens), origins in sources.items():
        lines = () if providers.issuperset(origins) else _label_lines(tokens, kind)
        labels.append(
            Label(
                key=f"\n{len(labels)}",  # no key of a node begins like this
                sources=tuple(origins),
                targets=users,
                width=max((text_width(line, TOKEN_SIZE) + 14 for line in lines), default=0.0),
                height=LINE_HEIGHT * len(lines) + (4 if lines else 0),
                style=f"{kind} {scope}",
                tokens=tokens,
                scope=scope,
                kind=kind,
                lines=lines,
            )
        )
    return tuple(labels)


def _label_lines(tokens: tuple[Token, ...], kind: LinkKind) -> tuple[str, ...]:
    word = " ends" if kind is LinkKind.INVALIDATES else ""
    shown = tokens if len(tokens) <= _MOST_TOKENS else tokens[: _MOST_TOKENS - 1]
    lines = [shortened(token, _LONGEST_TOKEN) + word for token in shown]
    if len(shown) < len(tokens):
        lines.append(f"and {len(tokens) - len(shown)} more")
    return tuple(lines)


def boxes_of(picture: Picture) -> tuple[Box, ...]:
    """Return the boxes of journeys and providers, sized for their texts."""
    tiers = drawn_tiers(picture)
    journeys = (
        _box(node.key, node.key, detail_line(node, tiers[node.key]), node.tier) for node in picture.journeys
    )
    providers = (
        _box(node.key, node.token, provider_line(node), Tier.SMOKE, floating=True)
        for node in picture.providers
    )
    return (*journeys, *providers)


def _box(key: NodeKey, name: str, detail: str, tier: Tier, *, floating: bool = False) -> Box:
    widest = max(text_width(shortened(name, LONGEST_NAME), ID_SIZE), text_width(detail, TOKEN_SIZE), 60.0)
    width = widest + 20 + (0 if floating else BADGE_WIDTH)
    return Box(key=key, width=width, height=38.0, band=int(tier), floating=floating)


def drawn_tiers(picture: Picture) -> dict[NodeKey, Tier]:
    """Return the tier in which each journey is drawn: its own, or a later one of its prerequisites."""
    tiers = {node.key: node.tier for node in picture.journeys}
    tiers |= {node.key: Tier.SMOKE for node in picture.providers}
    before: dict[NodeKey, list[NodeKey]] = {key: [] for key in tiers}
    for link in picture.links:
        before[link.target].append(link.source)
    for key in in_order(before):
        tiers[key] = max([tiers[key], *(tiers[one] for one in before[key])])
    return tiers


def detail_line(node: JourneyNode, drawn: Tier | None = None) -> str:
    """Return the special properties of a journey in a few words, or nothing. `drawn` is its tier in the drawing."""
    words = [
        "gate" if node.gating else "",
        "" if node.guessed else seconds_in_words(node.seconds),
        "python" if node.python else "",
        locks_in_words(node.locks),
        f"waits, though {node.tier}" if drawn not in {None, node.tier} else "",
    ]
    return " · ".join(filter(None, words))


def provider_line(node: ProviderNode) -> str:
    """Return the kind of a provider, and the scope of its token."""
    kind = "not from any journey" if node.kind is ProviderKind.ELSEWHERE else str(node.kind)
    words = [kind, str(node.scope) if node.scope.is_shared else "", locks_in_words(node.locks)]
    return " · ".join(filter(None, words))


def locks_in_words(locks: Mapping[str, int]) -> str:
    """Name the locks that are held, with the number of units if that is not one: `lock account, 2 of gpu`."""
    names = ", ".join(name if units == 1 else f"{units} of {name}" for name, units in locks.items())
    return f"lock {names}" if names else ""


def lock_facts(picture: Picture, held: Mapping[str, int]) -> Iterator[str]:
    """Yield for each lock that is held the number of its units."""
    for lock in picture.locks:
        if lock.name in held:
            yield f"locks {held[lock.name]} of {lock.name}: {units_in_words(lock.units)}"


def text_width(text: str, size: float) -> float:
    """Estimate the width of text in a monospaced font, whose characters are about 0.605 of their size wide."""
    cells = sum(0 if combining(sign) else 1 + (east_asian_width(sign) in "WF") for sign in text)
    return cells * size * 0.605


def shortened(text: str, most: int) -> str:
    """Leave out the middle of a long name; two ends distinguish names better than one."""
    plain = " ".join(text.split())
    if len(plain) <= most:
        return plain
    head = (most - 1) // 2
    return f"{plain[:head]}…{plain[head + 1 - most :]}"


_BY_KIND: Mapping[ProviderKind, str] = {
    ProviderKind.FIXTURE: "by its fixture",
    ProviderKind.PROVISION: "by its provision steps",
    ProviderKind.SERVICE: "by its service",
    ProviderKind.ELSEWHERE: "from outside: no journey and no provider sets it up",
}


def headline(picture: Picture) -> str:
    """Return the title of a picture."""
    if picture.focus:
        of_journeys = any(is_named_by(picture.focus, node.key, node.nodeid) for node in picture.journeys)
        verbs = "{} needs and enables" if of_journeys else "gives {}, and what needs it"
        return f"What {verbs.format(picture.focus)}"
    return f"The capability graph: {counted(len(picture.journeys), 'journey')}"


def summary(picture: Picture) -> str:
    """Return a summary of the picture in a sentence or two."""
    parts = [counted(len(picture.journeys), "journey"), counted(len(chain_labels(picture)), "shared chain")]
    if picture.providers:
        parts.append(counted(len(picture.providers), "provider"))
    text = ", ".join(parts) + "."
    journeys = {node.key for node in picture.journeys}
    path = [key for key in picture.critical_path if key in journeys]
    if path:
        where = "On the critical path of the project" if picture.focus else "Critical path"
        text += f" {where}, {picture.critical_seconds:.1f} s: {' → '.join(path)}."
    return text


def journey_title(picture: Picture, node: JourneyNode) -> str:
    """Return all facts on a journey, one on each line."""
    label = chain_labels(picture).get(node.chain)
    seconds = seconds_in_words(node.seconds)
    facts = [
        node.key,
        f"{node.nodeid} ({node.place})",
        f"tier {node.tier}" + (", gating" if node.gating else "") + (", Python test" if node.python else ""),
        f"chain {label}: {node.chain}" if label else "",
        f"counted as {seconds}, because no duration is known" if node.guessed else seconds,
        "on the critical path" if node.critical else "",
        *lock_facts(picture, node.locks),
        *needs_and_gives(picture.links, node.key),
    ]
    return "\n".join(filter(None, facts))


def provider_title(picture: Picture, node: ProviderNode) -> str:
    """Return all facts on a provider, one on each line."""
    where = f"once for the {node.scope}" if node.scope.is_shared else "in the state of one chain"
    first = f"{node.token} {_BY_KIND[node.kind]}, {where}"
    return "\n".join([first, *lock_facts(picture, node.locks), *needs_and_gives(picture.links, node.key)])


def label_title(label: Label) -> str:
    """Return the tokens of a label, their sources and their targets."""
    word = "is needed until then" if label.kind is LinkKind.INVALIDATES else f"{label.scope} scope"
    return (
        f"{', '.join(label.tokens)} ({word})\nfrom {', '.join(label.sources)}\nto {', '.join(label.targets)}"
    )


def links_by_node(picture: Picture) -> Mapping[NodeKey, list[Link]]:
    """Return the links that begin or end at each node."""
    found: dict[NodeKey, list[Link]] = defaultdict(list)
    for link in picture.links:
        found[link.source].append(link)
        found[link.target].append(link)
    return found


def needs_and_gives(links: Iterable[Link], key: NodeKey) -> Iterator[str]:
    """Yield the tokens that a node needs and gives, with the nodes at the other ends of these links."""
    needed: dict[str, list[str]] = {}
    given: dict[str, list[str]] = {}
    for link in links:
        for token in link.tokens:
            if link.target == key and link.kind is LinkKind.REQUIRES:
                needed.setdefault(f"needs {token} from", []).append(link.source)
            elif link.target == key:
                needed.setdefault(f"ends {token}, so it comes after", []).append(link.source)
            elif link.source == key and link.kind is LinkKind.REQUIRES:
                given.setdefault(f"gives {token} to", []).append(link.target)
    for words, names in (*needed.items(), *given.items()):
        yield f"{words} {', '.join(names)}"


def size_of(chain: Chain) -> str:
    """Return how many journeys a chain has, and into how many states it is split."""
    states = f" in {chain.states} states" if chain.states > 1 else ""
    return f"{counted(chain.journeys, 'journey')}{states}"


def chain_labels(picture: Picture) -> dict[str, str]:
    """Map each chain that several journeys share to its label."""
    return {chain.id: chain.label for chain in picture.chains if chain.label}
