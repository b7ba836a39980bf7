"""The legend of a drawing: only what occurs in it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.drawing.markup import colour_class, element, number, text_element
from pytest_dogfood.drawing.picture import LinkKind, Picture
from pytest_dogfood.drawing.texts import BADGE_WIDTH, shortened
from pytest_dogfood.journey import Scope

_SAMPLE_WIDTH = 34.0
_ROW_HEIGHT = 24.0
_PER_CHARACTER = 6.9
_SIZE = 11.5


class Entry(Struct, frozen=True, kw_only=True):
    """A small sample, drawn around the height 0, and what it means."""

    sample: str
    text: str


def legend_of(picture: Picture, *, x: float, y: float, width: float) -> tuple[str, float]:
    """Return the markup of the legend and the height it takes, its entries in columns as the width allows."""
    entries = [*_chains(picture), *_signs(picture)]
    column = max((_SAMPLE_WIDTH + _PER_CHARACTER * len(entry.text) + 18 for entry in entries), default=1.0)
    columns = max(1, int(width // column))
    rows = -(-len(entries) // columns)
    parts = []
    for index, entry in enumerate(entries):
        across, down = divmod(index, rows)
        left, middle = x + across * column, y + (down + 0.5) * _ROW_HEIGHT
        words = text_element(_SAMPLE_WIDTH, 4, entry.text, _SIZE, "soft")
        parts.append(
            element("g", entry.sample + words, transform=f"translate({number(left)},{number(middle)})")
        )
    return "\n".join(parts), rows * _ROW_HEIGHT


def _chains(picture: Picture) -> Iterator[Entry]:
    for chain in picture.chains:
        if not chain.label:
            continue
        colour = colour_class(chain.label)
        strip = element("rect", x=5, y=-9, width=BADGE_WIDTH, height=18, rx=3, class_=f"strip {colour}")
        badge = text_element(5 + BADGE_WIDTH / 2, 4, chain.label, _SIZE, f"badge {colour}", middle=True)
        text = f"chain of {shortened(chain.id, 26)}, {counted(chain.journeys, 'journey')}"
        yield Entry(sample=strip + badge, text=text)


def _signs(picture: Picture) -> Iterator[Entry]:
    kinds = {link.kind for link in picture.links}
    scopes = {link.scope for link in picture.links}
    if any(node.gating for node in picture.journeys):
        yield Entry(
            sample=element("path", d=outline(2, -8, 26, 16, gating=True), class_="box"),
            text="gate: where it fails, later tiers wait",
        )
    if picture.providers:
        sample = element("rect", x=2, y=-8, width=26, height=16, rx=8, class_="box wide dashed")
        yield Entry(sample=sample, text="provider, and what it brings")
    if Scope.MACHINE in scopes:
        sample = element("rect", x=2, y=-7, width=26, height=14, class_="pill machine")
        yield Entry(sample=sample, text="token of the whole machine")
    if len(scopes) == 2 or Scope.CHAIN in scopes:
        sample = element("rect", x=2, y=-7, width=26, height=14, rx=7, class_="pill")
        yield Entry(sample=sample, text="token of one chain")
    if LinkKind.INVALIDATES in kinds:
        yield Entry(sample=_line("dotted"), text="only after it: the token ends there")
    if any(node.critical for node in picture.journeys):
        yield Entry(sample=_line("heavy"), text="critical path")


def _line(style: str) -> str:
    return element("path", d="M1,0H29", class_=f"line wide {style}")


def outline(x: float, y: float, width: float, height: float, *, gating: bool) -> str:
    """Write the outline of a journey's box as path data; a gate has its corners cut off."""
    right, bottom = x + width, y + height
    if not gating:
        return f"M{number(x)},{number(y)}H{number(right)}V{number(bottom)}H{number(x)}Z"
    cut = min(9.0, height / 3)
    corners = [
        (x + cut, y),
        (right - cut, y),
        (right, y + cut),
        (right, bottom - cut),
        (right - cut, bottom),
        (x + cut, bottom),
        (x, bottom - cut),
        (x, y + cut),
    ]
    return "M" + "L".join(f"{number(left)},{number(top)}" for left, top in corners) + "Z"
