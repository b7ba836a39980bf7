"""What is said about the parts of a picture, in full: for people who point at them, or who cannot see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.drawing.picture import (
    JourneyNode,
    Link,
    LinkKind,
    NodeKey,
    Picture,
    ProviderKind,
    ProviderNode,
)
from pytest_dogfood.drawing.texts import Label, seconds_in_words
from pytest_dogfood.journey import Scope

_BY_KIND: Mapping[ProviderKind, str] = {
    ProviderKind.FIXTURE: "by its fixture",
    ProviderKind.PROVISION: "by its provision steps",
    ProviderKind.SERVICE: "by its service",
    ProviderKind.ELSEWHERE: "from outside: no journey and no provider brings it",
}


def headline(picture: Picture) -> str:
    """Name the subject in a few words."""
    if picture.focus:
        return f"What {picture.focus} needs and enables"
    return f"The capability graph: {counted(len(picture.journeys), 'journey')}"


def summary(picture: Picture) -> str:
    """Say what the picture amounts to, in a sentence or two."""
    shared = [chain for chain in picture.chains if chain.label]
    parts = [counted(len(picture.journeys), "journey"), counted(len(shared), "shared chain")]
    if picture.providers:
        parts.append(counted(len(picture.providers), "provider"))
    text = ", ".join(parts) + "."
    journeys = {node.key for node in picture.journeys}
    path = [key for key in picture.critical_path if key in journeys]
    if path:
        whose = "On the critical path of the project" if picture.focus else "Critical path"
        text += f" {whose}, {picture.critical_seconds:.1f} s: {' → '.join(path)}."
    return text


def journey_title(picture: Picture, node: JourneyNode) -> str:
    """Say all about a journey, one fact a line."""
    return "\n".join([node.key, *_facts(picture, node), *needs_and_gives(picture.links, node.key)])


def _facts(picture: Picture, node: JourneyNode) -> Iterator[str]:
    yield f"{node.nodeid} ({node.place})"
    yield f"tier {node.tier}" + (", gating" if node.gating else "") + (", Python test" if node.python else "")
    label = chain_labels(picture).get(node.chain)
    if label:
        yield f"chain {label}: {node.chain}"
    seconds = seconds_in_words(node.seconds)
    yield seconds if node.estimated else f"counted as {seconds}, without an estimate"
    if node.critical:
        yield "on the critical path"


def links_by_node(picture: Picture) -> Mapping[NodeKey, list[Link]]:
    """Give the links that begin or end at each node."""
    found: dict[NodeKey, list[Link]] = defaultdict(list)
    for link in picture.links:
        found[link.source].append(link)
        found[link.target].append(link)
    return found


def needs_and_gives(links: Iterable[Link], key: NodeKey) -> Iterator[str]:
    """Say what a node has from whom and what it gives to whom, as far as these links tell."""
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


def provider_title(picture: Picture, node: ProviderNode) -> str:
    """Say all about a provider, one fact a line."""
    where = "once for the machine" if node.scope is Scope.MACHINE else "in the state of one chain"
    first = f"{node.token} {_BY_KIND[node.kind]}, {where}"
    return "\n".join([first, *needs_and_gives(picture.links, node.key)])


def label_title(label: Label) -> str:
    """Say which tokens go from whom to whom."""
    word = "is needed until then" if label.kind is LinkKind.INVALIDATES else f"{label.scope} scope"
    return (
        f"{', '.join(label.tokens)} ({word})\nfrom {', '.join(label.sources)}\nto {', '.join(label.targets)}"
    )


def chain_labels(picture: Picture) -> dict[str, str]:
    """Map each chain that several journeys share to its label."""
    return {chain.id: chain.label for chain in picture.chains if chain.label}
