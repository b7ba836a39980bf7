"""A picture in the formats that people and tools read: text, mermaid, dot, JSON and SVG.

The JSON has version 1: `version`, `focus`, `journeys`, `providers`, `links`, `chains`, `locks`, `critical_path` and
`critical_seconds`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping

import msgspec

from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.drawing.picture import Chain, JourneyNode, Link, LinkKind, NodeKey, Picture, ProviderNode
from pytest_dogfood.drawing.svg import svg_of
from pytest_dogfood.drawing.texts import (
    chain_labels,
    detail_line,
    headline,
    links_by_node,
    needs_and_gives,
    provider_line,
    size_of,
    summary,
)
from pytest_dogfood.journey import Tier, units_in_words

VERSION = 1

_NOT_PLAIN = re.compile(r"[^\w ,.:/()·→-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def render(picture: Picture, format: str) -> str:  # noqa: A002 - the option is called --format
    """Return a picture in one of FORMATS. Raises ValueError for another format, and if svg cannot be drawn."""
    try:
        write = FORMATS[format]
    except KeyError:
        hint = did_you_mean(format, FORMATS)
        known = f"no format is called {format!r}, only {', '.join(FORMATS)}"
        raise ValueError(f"{known}; {hint}" if hint else known) from None
    return write(picture)


def to_json(picture: Picture) -> str:
    """Return a picture as JSON, in the order of the project; the same picture always gives the same text."""
    raw = msgspec.to_builtins(picture)
    for journey, node in zip(raw["journeys"], picture.journeys, strict=True):
        journey["tier"] = str(node.tier)
    return json.dumps({"version": VERSION, **raw}, indent=2, ensure_ascii=False) + "\n"


def to_text(picture: Picture) -> str:
    """List the journeys tier by tier, each with the tokens that it needs and gives."""
    lines = [headline(picture), summary(picture)]
    labels, links = chain_labels(picture), links_by_node(picture)
    for tier, journeys in _tiers(picture):
        lines += ["", str(tier)]
        for node in journeys:
            words = [f"chain {labels[node.chain]}" if node.chain in labels else "", detail_line(node)]
            notes = ", ".join(filter(None, [*words, "critical path" if node.critical else ""]))
            lines.append(f"  {node.key}  [{notes}]" if notes else f"  {node.key}")
            lines += [f"      {line}" for line in needs_and_gives(links[node.key], node.key)]
    if picture.providers:
        lines += ["", "providers"]
    for provider in picture.providers:
        lines.append(f"  {provider.key}  [{provider_line(provider)}]")
        lines += [f"      {line}" for line in needs_and_gives(links[provider.key], provider.key)]
    if picture.locks:
        lines += ["", "locks"]
    for lock in picture.locks:
        holders = [node.key for node in picture.journeys if lock.name in node.locks]
        holders += [node.key for node in picture.providers if lock.name in node.locks]
        lines.append(f"  {lock.name}  [{units_in_words(lock.units)}]")
        lines.append(f"      taken by {', '.join(holders) or 'nothing'}")
    if labels:
        lines += ["", "chains", *(_chain_line(chain) for chain in picture.chains if chain.label)]
    return "\n".join(map(_one_line, lines)) + "\n"


def _chain_line(chain: Chain) -> str:
    return f"  {chain.label}: {chain.id}" + (f", {size_of(chain)}" if chain.states > 1 else "")


def to_mermaid(picture: Picture) -> str:
    """Return a mermaid flowchart."""
    labels = chain_labels(picture)
    providers = {node.key: f"p{number}" for number, node in enumerate(picture.providers)}
    names = {node.key: f"j{number}" for number, node in enumerate(picture.journeys)} | providers
    lines = [
        "flowchart TB",
        f"  accTitle: {_plain(headline(picture))}",
        f"  accDescr: {_plain(summary(picture))}",
    ]
    for tier, journeys in _tiers(picture):
        lines.append(f'  subgraph {tier}_tier["{tier}"]')
        for node in journeys:
            left, right = ("{{", "}}") if node.gating else ("[", "]")
            lines.append(f'    {names[node.key]}{left}"{_entities(_caption(labels, node))}"{right}')
        lines.append("  end")
    for provider in picture.providers:
        caption = f"{provider.token}\n{provider_line(provider)}"
        lines.append(f'  {names[provider.key]}(["{_entities(caption)}"])')
    for link in picture.links:
        arrow = "==>" if link.critical else "-.->" if _is_dashed(link, providers) else "-->"
        lines.append(f'  {names[link.source]} {arrow}|"{_entities(_tokens(link))}"| {names[link.target]}')
    lines += ["  classDef provider stroke-dasharray:6 4", "  classDef critical stroke-width:4px"]
    if providers:
        lines.append(f"  class {','.join(providers.values())} provider")
    nodes: tuple[JourneyNode | ProviderNode, ...] = (*picture.journeys, *picture.providers)
    critical = [names[node.key] for node in nodes if node.critical]
    if critical:
        lines.append(f"  class {','.join(critical)} critical")
    return "\n".join(lines) + "\n"


def to_dot(picture: Picture) -> str:
    """Return a digraph in the language of Graphviz."""
    labels = chain_labels(picture)
    lines = [
        f"digraph {_quoted(headline(picture))} {{",
        '  rankdir=TB; node [shape=box, fontname="monospace"]; edge [fontname="monospace", fontsize=10];',
    ]
    for tier, journeys in _tiers(picture):
        lines += [f"  subgraph cluster_{tier} {{", f"    label={_quoted(str(tier))};"]
        for node in journeys:
            label, shape = _quoted(_caption(labels, node)), ", shape=octagon" if node.gating else ""
            lines.append(f"    {_quoted(node.key)} [label={label}{shape}{_width(node)}];")
        lines.append("  }")
    for provider in picture.providers:
        label = _quoted(f"{provider.token}\n{provider_line(provider)}")
        lines.append(f'  {_quoted(provider.key)} [label={label}, style="rounded,dashed"{_width(provider)}];')
    providers = {provider.key for provider in picture.providers}
    for link in picture.links:
        style = ", style=dashed" if _is_dashed(link, providers) else ""
        ends = f"{_quoted(link.source)} -> {_quoted(link.target)}"
        lines.append(f"  {ends} [label={_quoted(_tokens(link))}{style}{_width(link)}];")
    return "\n".join([*lines, "}"]) + "\n"


FORMATS: Mapping[str, Callable[[Picture], str]] = {
    "text": to_text,
    "mermaid": to_mermaid,
    "dot": to_dot,
    "json": to_json,
    "svg": svg_of,
}


def _tiers(picture: Picture) -> Iterator[tuple[Tier, list[JourneyNode]]]:
    for tier in Tier:
        journeys = [node for node in picture.journeys if node.tier is tier]
        if journeys:
            yield tier, journeys


def _caption(labels: Mapping[str, str], node: JourneyNode) -> str:
    chain = f"chain {labels[node.chain]}" if node.chain in labels else ""
    detail = " · ".join(filter(None, [chain, detail_line(node)]))
    name = _one_line(node.key)
    return f"{name}\n{detail}" if detail else name


def _tokens(link: Link) -> str:
    word = " ends" if link.kind is LinkKind.INVALIDATES else ""
    return "\n".join(f"{token}{word}" for token in link.tokens)


def _is_dashed(link: Link, providers: Collection[NodeKey]) -> bool:
    return link.source in providers or link.kind is LinkKind.INVALIDATES


def _width(thing: JourneyNode | ProviderNode | Link) -> str:
    return ", penwidth=3" if thing.critical else ""


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _entities(text: str) -> str:
    """Return text with mermaid's special characters as numbers; line breaks are kept."""
    lines = (_NOT_PLAIN.sub(lambda sign: f"#{ord(sign[0])};", _one_line(line)) for line in text.split("\n"))
    return "<br/>".join(lines)


def _plain(text: str) -> str:
    """Return text for places in which mermaid has no escapes."""
    return _NOT_PLAIN.sub(" ", _one_line(text))


def _quoted(text: str) -> str:
    """Return a string of the dot language; line breaks are kept."""
    lines = (_one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
