"""Draws a picture as SVG, without any other program; the same picture always gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap
from types import MappingProxyType

from msgspec import Struct

from pytest_dogfood.drawing.layout import Place, Point, lay_out
from pytest_dogfood.drawing.picture import JourneyNode, LinkKind, Picture, ProviderNode
from pytest_dogfood.drawing.style import STYLE, colour_class
from pytest_dogfood.drawing.texts import (
    BADGE_WIDTH,
    ID_SIZE,
    LINE_HEIGHT,
    LONGEST_NAME,
    TOKEN_SIZE,
    Label,
    boxes_of,
    chain_labels,
    detail_line,
    drawn_tiers,
    headline,
    journey_title,
    label_title,
    labels_of,
    provider_line,
    provider_title,
    shortened,
    size_of,
    summary,
)
from pytest_dogfood.journey import Scope, Tier, is_named_by

MOST_JOURNEYS = 80
"""The most journeys that can be distinguished in one drawing."""

_MARGIN = 20.0
_INDENT = 18.0
_HEAD = 58.0
_LEGEND_SIZE = 11.5
_LEAST_WIDTH = 620.0
_LEAST_WIDTH_IN_A_PAGE = 320.0

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class TooManyJourneysError(ValueError):
    """A picture is too large to be drawn."""


class NodeMark(Struct, frozen=True, kw_only=True):
    """What a page adds to a node: a class for its box, the same as a sign and in a word, and where a click leads."""

    style: str
    sign: str
    word: str
    link: str = ""


def svg_of(picture: Picture) -> str:
    """Return a drawing of a picture. Raises TooManyJourneysError, and ValueError for a dependency cycle."""
    _require_few(picture)
    return _Drawing(picture).svg()


def svg_in_page(picture: Picture, marks: Mapping[str, NodeMark], *, name: str, prefix: str) -> str:
    """Draw a picture as an element of an HTML page, with marks by the keys of nodes; raises as `svg_of` does.

    Its ids begin with `name`, its classes with `prefix`, since both count for the whole page; `page_style` has what
    belongs to them, once for all drawings.
    """
    _require_few(picture)
    svg = _Drawing(picture, marks).svg_in_page(name)
    # No text of a project looks like an attribute: quotes are escaped everywhere.
    return re.sub(
        ' class="([^"]*)"', lambda found: f' class="{prefix}{found[1].replace(" ", f" {prefix}")}"', svg
    )


def _require_few(picture: Picture) -> None:
    if len(picture.journeys) > MOST_JOURNEYS:
        raise TooManyJourneysError(
            f"{len(picture.journeys)} journeys are too many for one drawing (at most {MOST_JOURNEYS}); "
            "use --focus ID to draw what one journey needs and enables, or another format than svg"
        )


class _Drawing:
    def __init__(self, picture: Picture, marks: Mapping[str, NodeMark] = MappingProxyType({})) -> None:
        self._picture = picture
        self._marks = marks
        self._labels = labels_of(picture)
        self._layout = lay_out(boxes_of(picture), self._labels)
        self._tiers = drawn_tiers(picture)
        self._badges = chain_labels(picture)
        nodes: tuple[JourneyNode | ProviderNode, ...] = (*picture.journeys, *picture.providers)
        self._colours: dict[str, str] = {
            node.key: colour_class(self._badges.get(node.chain, "")) for node in nodes
        }
        self._providers = {node.key for node in picture.providers}

    def svg(self) -> str:
        inner = max(self._layout.width + 2 * _INDENT, _LEAST_WIDTH)
        lines = wrap(summary(self._picture), int(inner / 6.6), break_on_hyphens=False)
        head = [
            _text(_MARGIN, 26, headline(self._picture), 16, "ink strong"),
            *(_text(_MARGIN, 45 + 16 * index, line, 12, "soft") for index, line in enumerate(lines)),
        ]
        style = [_element("style", STYLE)]
        below = _HEAD + 16 * len(lines[1:])
        return self._document(style, head, width=inner, below=below, name="dogfood", role="img") + "\n"

    def svg_in_page(self, name: str) -> str:
        """Draw without style and head; as a group, because screen readers skip the links in an image."""
        inner = max(self._layout.width + 2 * _INDENT, _LEAST_WIDTH_IN_A_PAGE)
        return self._document([], [], width=inner, below=_MARGIN, name=name, role="group")

    def _document(
        self, style: list[str], head: list[str], *, width: float, below: float, name: str, role: str
    ) -> str:
        bottom = below + self._layout.height + 16
        entries = [*self._marks_in_legend(), *_legend_entries(self._picture)]
        legend, legend_height = _legend(entries, y=bottom, width=width)
        full, height = width + 2 * _MARGIN, bottom + legend_height + _MARGIN
        shift = f"translate({_number(_MARGIN + _INDENT)},{_number(below)})"
        parts = [
            _element("title", escaped(headline(self._picture)), id=f"{name}-title"),
            _element("desc", escaped(summary(self._picture)), id=f"{name}-summary"),
            *style,
            _element("rect", width=full, height=height, class_="paper"),
            *head,
            _element("g", "\n".join(["", *self._bands(width), *self._shapes(), ""]), transform=shift),
            legend,
        ]
        return _element(
            "svg",
            "\n".join(["", *parts, ""]),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_number(full)} {_number(height)}",
            width=full,
            height=height,
            role=role,
            aria_labelledby=f"{name}-title {name}-summary",
        )

    def _marks_in_legend(self) -> Iterator[tuple[str, str]]:
        kinds = {mark.style: mark for mark in self._marks.values()}
        for style, mark in kinds.items():
            sample = _element("rect", x=2, y=-8, width=26, height=16, class_=f"box {style}")
            yield sample + _text(15, 4, mark.sign, 11, "ink", middle=True), mark.word

    def _marked(self, key: str, place: Place, group: str) -> str:
        """Add what a page says of a node."""
        mark = self._marks.get(key)
        if mark is None:
            return group
        x, y = place.x + place.width + 3, place.y - 1
        sign = _element("circle", cx=x, cy=y, r=8.5, class_=f"sign {mark.style}")
        both = group + sign + _text(x, y + 4, mark.sign, 11, "sign ink", middle=True)
        label = f"{key}, {mark.word}"
        return _element("a", both, href=mark.link, aria_label=label) if mark.link else both

    def _bands(self, width: float) -> Iterator[str]:
        for band, (top, bottom) in sorted(self._layout.bands.items()):
            yield _element("rect", x=-_INDENT, y=top, width=width, height=bottom - top, rx=6, class_="band")
            yield _text(-_INDENT + 10, top + 18, str(Tier(band)), 12.5, "soft strong")

    def _shapes(self) -> Iterator[str]:
        lines = [line for label in self._labels for line in self._lines(label)]
        for _, line in sorted(lines, key=lambda one: one[0]):  # critical lines lie on top
            yield line
        places = self._layout.places
        yield from (self._pill(label, places[label.key]) for label in self._labels if label.lines)
        yield from (self._provider(node, places[node.key]) for node in self._picture.providers)
        yield from (self._journey(node, places[node.key]) for node in self._picture.journeys)

    def _lines(self, label: Label) -> Iterator[tuple[bool, str]]:
        """Yield the lines to a label and those from it, each with whether it is critical."""
        critical = {
            (link.source, link.target)
            for link in self._picture.links
            if link.critical and link.kind is label.kind and link.scope is label.scope
        }
        colour = colour_class("") if label.scope.is_shared else self._colours[label.targets[0]]
        dotted = "dotted" if label.kind is LinkKind.INVALIDATES else ""
        for source in label.sources:
            heavy = any((source, target) in critical for target in label.targets)
            style = dotted or ("dashed" if source in self._providers else "")
            yield heavy, self._line(source, label.key, colour, style, heavy=heavy)
        style = dotted or ("dashed" if self._providers.issuperset(label.sources) else "")
        for target in label.targets:
            heavy = any((source, target) in critical for source in label.sources)
            yield heavy, self._line(label.key, target, colour, style, heavy=heavy, head=True)

    def _line(self, start: str, end: str, colour: str, style: str, *, heavy: bool, head: bool = False) -> str:
        route = self._layout.routes[start, end]
        classes = " ".join(filter(None, ["line", colour, style, "heavy" if heavy else ""]))
        if not head:
            return _element("path", d=path_data(route), class_=classes)
        size = 11.0 if heavy else 8.0
        _, (x, y) = route[-1]
        tip = f"M{_number(x)},{_number(y)}l{_number(-size / 2)},{_number(-size)}h{_number(size)}Z"
        line = _element("path", d=path_data(route, short_of_end=size - 1), class_=classes)
        return line + _element("path", d=tip, class_=f"head {colour}")

    def _pill(self, label: Label, place: Place) -> str:
        shared = label.scope.is_shared
        frame = [_rectangle(place, 1 if shared else 9, "pill shared" if shared else "pill")]
        if label.scope is Scope.FLEET:  # a second frame around the first
            frame.insert(0, _rectangle(place.grown(2.5), 1, "pill shared"))
        words = [
            _text(place.centre, place.y + 13 + LINE_HEIGHT * index, line, TOKEN_SIZE, "code ink", middle=True)
            for index, line in enumerate(label.lines)
        ]
        return _group("token", label_title(label), *frame, *words)

    def _provider(self, node: ProviderNode, place: Place) -> str:
        style = "box heavy dashed" if node.critical else "box wide dashed"
        name = shortened(node.token, LONGEST_NAME)
        mark = self._marks.get(node.key)
        group = _group(
            "provider",
            provider_title(self._picture, node),
            _rectangle(place, place.height / 2, f"{style} {mark.style}" if mark else style),
            _text(place.centre, place.y + 16, name, ID_SIZE, "code ink", middle=True),
            _text(place.centre, place.y + 30, provider_line(node), 10.5, "soft", middle=True),
        )
        return self._marked(node.key, place, group)

    def _journey(self, node: JourneyNode, place: Place) -> str:
        x, y, width, height = place.x, place.y, place.width, place.height
        cut = 9.0 if node.gating else 0.0
        shape = _outline(x, y, width, height, left=cut, right=cut)
        middle = x + BADGE_WIDTH + (width - BADGE_WIDTH) / 2
        name, detail = shortened(node.key, LONGEST_NAME), detail_line(node, self._tiers[node.key])
        mark = self._marks.get(node.key)
        style = f" {mark.style}" if mark else ""
        frame = ("box heavy" if node.critical else "box") + style
        parts = [
            _element("path", d=shape, class_=f"box{style}"),
            *self._badge(node, place, cut),
            _element("path", d=shape, class_=frame, fill_opacity="0"),
            _text(middle, y + (16 if detail else 23), name, ID_SIZE, "code ink", middle=True),
        ]
        if detail:
            parts.append(_text(middle, y + 30, detail, 10.5, "soft", middle=True))
        if is_named_by(self._picture.focus, node.key, node.nodeid):
            ring = _outline(x - 5, y - 5, width + 10, height + 10, left=cut, right=cut)
            parts.append(_element("path", d=ring, class_="aim"))
        return self._marked(node.key, place, _group("journey", journey_title(self._picture, node), *parts))

    def _badge(self, node: JourneyNode, place: Place, cut: float) -> Iterator[str]:
        badge, colour = self._badges.get(node.chain, ""), self._colours[node.key]
        shape = _outline(place.x, place.y, BADGE_WIDTH, place.height, left=cut)
        yield _element("path", d=shape, class_=f"strip {colour}" if badge else "single")
        if badge:
            middle, y = place.x + BADGE_WIDTH / 2, place.y + place.height / 2 + 4
            yield _text(middle, y, badge, 12 if len(badge) < 3 else 9, f"badge {colour}", middle=True)


def _legend(entries: Sequence[tuple[str, str]], *, y: float, width: float) -> tuple[str, float]:
    """Return the markup and the height of the legend, with as many columns as the width allows."""
    sample_width, row_height, width_of_character = 34.0, 24.0, 6.9
    column = max((sample_width + width_of_character * len(text) + 18 for _, text in entries), default=1.0)
    rows = -(-len(entries) // max(1, int(width // column)))
    parts = []
    for index, (sample, text) in enumerate(entries):
        across, down = divmod(index, rows)
        left, middle = _MARGIN + across * column, y + (down + 0.5) * row_height
        words = _text(sample_width, 4, text, _LEGEND_SIZE, "soft")
        parts.append(_element("g", sample + words, transform=f"translate({_number(left)},{_number(middle)})"))
    return "\n".join(parts), rows * row_height


def _legend_entries(picture: Picture) -> Iterator[tuple[str, str]]:
    """Yield a small sample, drawn around the height 0, of everything that occurs in a picture, and its meaning."""
    for chain in picture.chains:
        if chain.label:
            colour = colour_class(chain.label)
            strip = _element("rect", x=5, y=-9, width=BADGE_WIDTH, height=18, rx=3, class_=f"strip {colour}")
            badge = _text(5 + BADGE_WIDTH / 2, 4, chain.label, _LEGEND_SIZE, f"badge {colour}", middle=True)
            yield strip + badge, f"chain of {shortened(chain.id, 26)}, {size_of(chain)}"
    scopes = {link.scope for link in picture.links}
    if any(node.gating for node in picture.journeys):
        gate = _element("path", d=_outline(2, -8, 26, 16, left=5.3, right=5.3), class_="box")
        yield gate, "gate: if it fails, later tiers wait"
    if picture.providers:
        provider = _element("rect", x=2, y=-8, width=26, height=16, rx=8, class_="box wide dashed")
        yield provider, "provider, and what it provides"
    shared = _element("rect", x=2, y=-7, width=26, height=14, class_="pill shared")
    if Scope.FLEET in scopes:
        around = _element("rect", x=-0.5, y=-9.5, width=31, height=19, class_="pill shared")
        yield around + shared, "token of all machines"
    if Scope.MACHINE in scopes:
        yield shared, "token of the whole machine"
    if Scope.CHAIN in scopes:
        yield _element("rect", x=2, y=-7, width=26, height=14, rx=7, class_="pill"), "token of one chain"
    if any(link.kind is LinkKind.INVALIDATES for link in picture.links):
        yield _element("path", d="M1,0H29", class_="line wide dotted"), "only after it: the token ends there"
    if any(node.critical for node in picture.journeys):
        yield _element("path", d="M1,0H29", class_="line wide heavy"), "critical path"


def _outline(
    x: float, y: float, width: float, height: float, *, left: float = 0.0, right: float = 0.0
) -> str:
    """Return a rectangle as path data, with corners cut by `left` on its left and by `right` on its right."""
    end, bottom = x + width, y + height
    if not (left or right):
        return f"M{_number(x)},{_number(y)}H{_number(end)}V{_number(bottom)}H{_number(x)}Z"
    corners = [
        (x + left, y),
        (end - right, y),
        (end, y + right),
        (end, bottom - right),
        (end - right, bottom),
        (x + left, bottom),
        (x, bottom - left),
        (x, y + left),
    ]
    points = dict.fromkeys(f"{_number(across)},{_number(down)}" for across, down in corners)
    return f"M{'L'.join(points)}Z"


def path_data(uprights: Sequence[tuple[Point, Point]], *, short_of_end: float = 0.0) -> str:
    """Return a route as SVG path data; `short_of_end` leaves room for the head of an arrow."""
    (x, y), _ = uprights[0]
    last = uprights[-1][1][1] - short_of_end
    parts = [f"M{_number(x)},{_number(y)}"]
    for index, ((next_x, top), (_, bottom)) in enumerate(uprights):
        end = min(top, last)
        if index and _number(x) == _number(next_x):
            parts.append(f"V{_number(end)}")
        elif index:
            half, to = _number((y + end) / 2), _number(next_x)
            parts.append(f"C{_number(x)},{half} {to},{half} {to},{_number(end)}")
        if _number(bottom) != _number(top) and top < last:
            parts.append(f"V{_number(min(bottom, last))}")
        x, y = next_x, bottom
    return "".join(parts)


def escaped(text: str) -> str:
    """Return text that is safe in elements and attributes; characters that XML forbids are replaced."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """Return an element. Attribute values are escaped, content is markup already; `_` in names means `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(it) if isinstance(it, str) else _number(it)}"'
        for key, it in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _group(kind: str, title: str, *parts: str) -> str:
    return _element("g", _element("title", escaped(title)) + "".join(parts), class_=kind)


def _rectangle(place: Place, radius: float, style: str) -> str:
    size = {"width": place.width, "height": place.height}
    return _element("rect", x=place.x, y=place.y, **size, rx=radius, class_=style)


def _text(x: float, y: float, text: str, size: float, style: str, *, middle: bool = False) -> str:
    anchor = {"text_anchor": "middle"} if middle else {}
    return _element("text", escaped(text), x=x, y=y, font_size=size, class_=style, **anchor)


def _number(value: float) -> str:
    """Return a coordinate as text, to a tenth of a pixel and without needless zeros."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
