"""A picture as SVG, drawn without any other program; the same picture always gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from pytest_dogfood.drawing.layout import Layout, Place, lay_out
from pytest_dogfood.drawing.legend import legend_of, outline
from pytest_dogfood.drawing.markup import (
    STYLE,
    colour_class,
    element,
    escaped,
    number,
    path_data,
    text_element,
)
from pytest_dogfood.drawing.picture import JourneyNode, LinkKind, Picture, ProviderNode
from pytest_dogfood.drawing.texts import (
    BADGE_WIDTH,
    ID_SIZE,
    LINE_HEIGHT,
    TOKEN_SIZE,
    Label,
    boxes_of,
    carried,
    chain_labels,
    detail_line,
    drawn_tiers,
    headline,
    id_line,
    joints_of,
    journey_title,
    label_title,
    labels_of,
    provider_line,
    provider_title,
    summary,
    token_line,
)
from pytest_dogfood.journey import Scope, Tier

MOST_JOURNEYS = 80
"""So many journeys can still be told apart in one drawing."""

_MARGIN = 20.0
_INDENT = 18.0
_HEAD = 58.0
_LEAST_WIDTH = 620.0


class TooManyJourneysError(ValueError):
    """A picture is too large to be drawn; `journeys` says how many it holds."""

    def __init__(self, journeys: int) -> None:
        self.journeys = journeys
        super().__init__(journeys)

    def __str__(self) -> str:
        return (
            f"{self.journeys} journeys are too many for one drawing (at most {MOST_JOURNEYS}); "
            "use --focus ID to draw what one journey needs and enables, or another format than svg"
        )


def svg_of(picture: Picture) -> str:
    """Draw a picture. Raises TooManyJourneysError, and ValueError if journeys wait for each other in a circle."""
    if len(picture.journeys) > MOST_JOURNEYS:
        raise TooManyJourneysError(len(picture.journeys))
    labels = labels_of(picture)
    return _Drawing(picture, labels, lay_out(boxes_of(picture), joints_of(labels))).svg()


class _Drawing:
    def __init__(self, picture: Picture, labels: tuple[Label, ...], layout: Layout) -> None:
        self._picture = picture
        self._labels = labels
        self._layout = layout
        self._badges = chain_labels(picture)
        self._tiers = drawn_tiers(picture)
        self._chains = {node.key: str(node.chain) for node in picture.journeys}
        self._chains |= {node.key: node.chain for node in picture.providers}
        self._providers = {node.key for node in picture.providers}

    def svg(self) -> str:
        inner = max(self._layout.width + 2 * _INDENT, _LEAST_WIDTH)
        lines = wrap(summary(self._picture), int(inner / 6.6), break_on_hyphens=False)
        head = _HEAD + 16 * len(lines[1:])
        below = head + self._layout.height + 16
        legend, legend_height = legend_of(self._picture, x=_MARGIN, y=below, width=inner)
        width, height = inner + 2 * _MARGIN, below + legend_height + _MARGIN
        shift = f"translate({number(_MARGIN + _INDENT)},{number(head)})"
        parts = [
            element("title", escaped(headline(self._picture)), id="dogfood-title"),
            element("desc", escaped(summary(self._picture)), id="dogfood-summary"),
            element("style", STYLE),
            element("rect", width=width, height=height, class_="paper"),
            text_element(_MARGIN, 26, headline(self._picture), 16, "ink strong"),
            *(text_element(_MARGIN, 45 + 16 * index, line, 12, "soft") for index, line in enumerate(lines)),
            element("g", "\n".join(["", *self._bands(inner), *self._things(), ""]), transform=shift),
            legend,
        ]
        return (
            element(
                "svg",
                "\n".join(["", *parts, ""]),
                xmlns="http://www.w3.org/2000/svg",
                viewBox=f"0 0 {number(width)} {number(height)}",
                width=width,
                height=height,
                role="img",
                aria_labelledby="dogfood-title dogfood-summary",
            )
            + "\n"
        )

    def _bands(self, width: float) -> Iterator[str]:
        for band, (top, bottom) in sorted(self._layout.bands.items()):
            yield element("rect", x=-_INDENT, y=top, width=width, height=bottom - top, rx=6, class_="band")
            yield text_element(-_INDENT + 10, top + 18, str(Tier(band)), 12.5, "soft strong")

    def _things(self) -> Iterator[str]:
        lines = [line for label in self._labels for line in self._lines(label)]
        for _, line in sorted(lines, key=lambda one: one[0]):  # what is critical lies on top
            yield line
        for label in self._labels:
            if label.lines:
                yield self._pill(label, self._layout.places[label.key])
        for provider in self._picture.providers:
            yield self._provider(provider, self._layout.places[provider.key])
        for journey in self._picture.journeys:
            yield self._journey(journey, self._layout.places[journey.key])

    def _lines(self, label: Label) -> Iterator[tuple[bool, str]]:
        critical = [link for link in carried(label, self._picture.links) if link.critical]
        colour = self._colour_of(label)
        for source in label.sources:
            heavy = any(link.source == source for link in critical)
            style = self._style(label, dashed=source in self._providers)
            yield heavy, self._line(source, label.key, colour, style, heavy=heavy)
        style = self._style(label, dashed=self._providers.issuperset(label.sources))
        for target in label.targets:
            heavy = any(link.target == target for link in critical)
            yield heavy, self._line(label.key, target, colour, style, heavy=heavy, head=True)

    def _colour_of(self, label: Label) -> str:
        if label.scope is Scope.MACHINE:
            return colour_class("")
        return colour_class(self._badges.get(self._chains[label.targets[0]], ""))

    @staticmethod
    def _style(label: Label, *, dashed: bool) -> str:
        if label.kind is LinkKind.INVALIDATES:
            return "dotted"
        return "dashed" if dashed else ""

    def _line(self, start: str, end: str, colour: str, style: str, *, heavy: bool, head: bool = False) -> str:
        route = self._layout.routes[start, end]
        size = (11.0 if heavy else 8.0) if head else 0.0
        classes = " ".join(filter(None, ["line", colour, style, "heavy" if heavy else ""]))
        way = path_data(route, short_of_end=size - 1 if head else 0.0)
        line = element("path", d=way, class_=classes)
        if not head:
            return line
        _, (x, y) = route[-1]
        tip = f"M{number(x)},{number(y)}l{number(-size / 2)},{number(-size)}h{number(size)}Z"
        return line + element("path", d=tip, class_=f"head {colour}")

    def _pill(self, label: Label, place: Place) -> str:
        machine = label.scope is Scope.MACHINE
        frame = element(
            "rect",
            x=place.x,
            y=place.y,
            width=place.width,
            height=place.height,
            rx=1 if machine else 9,
            class_="pill machine" if machine else "pill",
        )
        words = [
            text_element(
                place.centre, place.y + 13 + LINE_HEIGHT * index, line, TOKEN_SIZE, "code ink", middle=True
            )
            for index, line in enumerate(label.lines)
        ]
        return _group("token", label_title(label), frame, *words)

    def _provider(self, node: ProviderNode, place: Place) -> str:
        colour = "heavy" if node.critical else "wide"
        frame = element(
            "rect",
            x=place.x,
            y=place.y,
            width=place.width,
            height=place.height,
            rx=place.height / 2,
            class_=f"box {colour} dashed",
        )
        words = [
            text_element(place.centre, place.y + 16, token_line(node), ID_SIZE, "code ink", middle=True),
            text_element(place.centre, place.y + 30, provider_line(node), 10.5, "soft", middle=True),
        ]
        return _group("provider", provider_title(self._picture, node), frame, *words)

    def _journey(self, node: JourneyNode, place: Place) -> str:
        shape = outline(place.x, place.y, place.width, place.height, gating=node.gating)
        left = place.x + BADGE_WIDTH + (place.width - BADGE_WIDTH) / 2
        detail = detail_line(node, self._tiers[node.key])
        parts = [
            element("path", d=shape, class_="box"),
            *self._badge(node, place),
            element("path", d=shape, class_="box heavy" if node.critical else "box", fill_opacity="0"),
            text_element(
                left, place.y + (16 if detail else 23), id_line(node), ID_SIZE, "code ink", middle=True
            ),
        ]
        if detail:
            parts.append(text_element(left, place.y + 30, detail, 10.5, "soft", middle=True))
        if node.key == self._picture.focus:
            ring = outline(place.x - 5, place.y - 5, place.width + 10, place.height + 10, gating=node.gating)
            parts.append(element("path", d=ring, class_="aim"))
        return _group("journey", journey_title(self._picture, node), *parts)

    def _badge(self, node: JourneyNode, place: Place) -> Iterator[str]:
        badge = self._badges.get(node.chain, "")
        colour = colour_class(badge)
        shape = outline(place.x, place.y, BADGE_WIDTH, place.height, gating=False)
        if node.gating:
            cut, right = 9.0, place.x + BADGE_WIDTH
            shape = (
                f"M{number(place.x + cut)},{number(place.y)}H{number(right)}V{number(place.bottom)}"
                f"H{number(place.x + cut)}L{number(place.x)},{number(place.bottom - cut)}"
                f"V{number(place.y + cut)}Z"
            )
        yield element("path", d=shape, class_=f"strip {colour}" if badge else "single")
        if badge:
            middle, y = place.x + BADGE_WIDTH / 2, place.y + place.height / 2 + 4
            yield text_element(middle, y, badge, 12 if len(badge) < 3 else 9, f"badge {colour}", middle=True)


def _group(kind: str, title: str, *parts: str) -> str:
    return element("g", element("title", escaped(title)) + "".join(parts), class_=kind)
