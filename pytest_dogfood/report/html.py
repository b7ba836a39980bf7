"""A recorded run as one HTML page: no script, nothing loaded, and no element that the templates do not write.

What the run printed is foreign text. It gets into the page through Jinja's autoescape only, with control characters
shown as pictures, and the page forbids itself to load or run anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from pytest_dogfood.check.report import Report
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.drawing.picture import NodeKey, Picture, picture_of, restricted
from pytest_dogfood.drawing.style import page_style
from pytest_dogfood.drawing.svg import MOST_JOURNEYS, svg_in_page
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.outcomes import Outcome, Proof
from pytest_dogfood.report import page_parts as parts
from pytest_dogfood.report.page_parts import Fragments, Timeline
from pytest_dogfood.report.page_size import by_presence, views_to_try
from pytest_dogfood.report.run_view import HIDDEN, ActivityView, BarView, RunView, shown
from pytest_dogfood.storage.record import GraphRecord, Kind
from pytest_dogfood.walks import collector_paused, reachable

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_PAGE = 8_000_000
"""Bytes from which on things are left out: browsers, and those who pass a page on, get slow with more."""

PREFIX = "g-"
"""Begins the classes of drawings."""

_TEMPLATES = Path(__file__).parent / "templates"

_LINE = re.compile(r":(\d+(?::\d+)?)$")

_PROOFS = {
    Proof.PROBE: "its probe",
    Proof.JOURNEY: "no probe: its journey passed",
    Proof.PROVIDER: "no probe: its provider succeeded",
}


def to_html(view: RunView, graph: GraphRecord | None) -> str:
    """Write the page of a run; the same run gives the same bytes.

    A page that would be too large is written without what matters least, and says so.
    """
    text = ""
    with collector_paused():
        for smaller in views_to_try(view, LONGEST_PAGE):
            text = _Page(smaller, graph, whole=view).render()
            if len(text.encode()) <= LONGEST_PAGE:
                break
    return text


class _Page:
    """Fills the templates in."""

    def __init__(self, view: RunView, graph: GraphRecord | None, *, whole: RunView) -> None:
        self._view = view
        self._tokens = tuple(map(len, by_presence(whole.tokens)))
        self._fragments = Fragments(view)
        self._environment = _environment()
        self._drawings = dict(self._draw(view, graph.graph)) if graph is not None else {}

    def render(self) -> str:
        view, fragments = self._view, self._fragments
        return self._environment.get_template("page.html").render(
            view=view,
            run=view.run,
            fragments=fragments,
            sign="✓" if view.green else "✗",
            command=join(["pytest", *view.run.argv]),
            moment=parts.moment(view.run.started, view.run.offset),
            day=parts.day(view.run.started, view.run.offset),
            tiles=list(parts.tiles(view, fragments)),
            groups=parts.groups(view.journeys),
            filters=list(parts.filters(view)),
            timeline=Timeline(view, self._link_of_bar),
            drawings=self._drawings,
            tokens=self._tokens,
            trouble=parts.in_trouble(view),
            others=self._others(view),
            causes={cause.id: cause for cause in view.causes},
            journeys={one.id: one for one in view.journeys},
        )

    def _others(self, view: RunView) -> dict[str, list[ActivityView]]:
        """Return what tests outside of the graph did, by test: one may fail, and fail again when it is torn down."""
        found: dict[str, list[ActivityView]] = {}
        for one in view.others:
            found.setdefault(one.id, []).append(one)
        return found

    def _link_of_bar(self, bar: BarView) -> str:
        if bar.kind is Kind.RELEASE:
            return self._fragments.token(bar.id)
        return self._fragments.row(bar.id)

    def _draw(self, view: RunView, graph: CapabilityGraph) -> Iterator[tuple[str, str]]:
        """Yield the drawings that are small enough: what went wrong with its surroundings, and the whole graph."""
        trouble = {NodeKey(one.id) for one in parts.in_trouble(view)}
        if len(graph.journeys) > MOST_JOURNEYS < len(trouble & graph.journeys.keys()):
            return
        known = {one.id: one for one in view.journeys}
        seconds = {name: known[name].seconds if name in known else 0.0 for name in graph.journeys}
        guessed = frozenset(name for name in graph.journeys if name not in known or not known[name].tries)
        picture = picture_of(graph, Report(findings=(), seconds=seconds, guessed=guessed))
        marks = parts.marks(view, self._fragments)
        around = _surroundings(picture, trouble | {NodeKey(key) for key in marks if key not in known})
        if around is not None:
            yield "around", svg_in_page(around, marks, name="around", prefix=PREFIX)
        if 0 < len(picture.journeys) <= MOST_JOURNEYS:
            yield "number", counted(len(picture.journeys), "journey")
            yield "whole", svg_in_page(picture, marks, name="whole", prefix=PREFIX)


def _surroundings(picture: Picture, trouble: set[NodeKey]) -> Picture | None:
    """Return the largest of three surroundings of what went wrong that can still be drawn."""
    before: dict[NodeKey, list[NodeKey]] = {}
    after: dict[NodeKey, list[NodeKey]] = {}
    for link in picture.links:
        before.setdefault(link.target, []).append(link.source)
        after.setdefault(link.source, []).append(link.target)
    start = [node.key for node in picture.journeys if node.key in trouble]
    start += [node.key for node in picture.providers if node.key in trouble]
    near = {key for one in start for key in (*before.get(one, ()), *after.get(one, ()))}
    everything = reachable(start, lambda key: before.get(key, ())) | reachable(
        start, lambda key: after.get(key, ())
    )
    for kept in (set(everything), {*start, *near}, set(start)):
        found = restricted(picture, kept)
        if 0 < len(found.journeys) <= MOST_JOURNEYS:
            return found
    return None


@cache
def _environment() -> Environment:
    """Return the environment of the templates, which are compiled once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def harmless(value: Any) -> Any:  # noqa: ANN401 - whatever an expression of a template comes to
        return shown(value) if type(value) is str else value  # Markup is none: it has been through here

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # All that a template asks for is an attribute, and this is asked hundreds of thousands of times. Jinja's own method
    # tries items as well; its type does not allow a plain function in its place.
    environment.getattr = getattr  # type: ignore[assignment, method-assign]
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup(page_style(PREFIX) + "\n" + style),  # noqa: S704 - our own text
        "kind_of": parts.kind_of,
        "word_of": parts.word_of,
        "took": parts.took,
        "day_of": parts.day,
        "is_green": parts.is_green,
        "counted": counted,
        "SIGNS": parts.SIGNS,
        "PROOFS": _PROOFS,
        "Outcome": Outcome,
        "CARDS": parts.CARDS,
        "OPENING_CAUSES": parts.OPENING_CAUSES,
        "MANY_TOKENS": parts.MANY_TOKENS,
        "MOST_ROWS": parts.MOST_ROWS,
    }
    environment.filters |= {
        # Markup already: what takes the place of a hidden character must be no markup.
        "drawing": lambda svg: Markup(HIDDEN.sub("\N{REPLACEMENT CHARACTER}", svg)),  # noqa: S704 - svg escapes texts
        "kind": parts.kind_of,
        "tail": _tail,
        "line_of": _line_of,
        "first_line": _first_line,
        "web_address": _is_web_address,
    }
    return environment


def _tail(text: str, lines: int) -> str:
    """Return the end of a text: so many lines, and not much of each."""
    return "\n".join(text.rstrip().splitlines()[-lines:])[-80 * lines :]


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 120 else f"{line[:119]}…"


def _line_of(place: str) -> str:
    """Return the line, and the column if there is one, of `file:line:column`."""
    found = _LINE.search(place)
    return found[1] if found is not None else ""


def _is_web_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))
