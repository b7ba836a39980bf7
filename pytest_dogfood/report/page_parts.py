"""The parts of the HTML page that need more than the view of a run says: fragments, tiles, chains, bars, drawings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.drawing.picture import ProviderKind
from pytest_dogfood.drawing.svg import NodeMark
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.run_view import (
    WORDS,
    BarView,
    JourneyView,
    LaneView,
    RunView,
)
from pytest_dogfood.storage.record import Kind, Reference

KINDS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.ERROR: "error",
    Outcome.CRASHED: "failed",
    Outcome.DEFERRED: "deferred",
}
"""The classes of outcomes that have a colour of their own; the others share one."""

SIGNS = {"passed": "✓", "failed": "✗", "error": "!", "deferred": "\N{EN DASH}", "other": "○"}

_FILTERS = {
    "failed": "Failed",
    "error": "Not judged",
    "deferred": "Deferred",
    "other": "Other",
    "passed": "Passed",
}

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

CARDS = 10
"""So many root causes are cards; the others are rows that open."""

OPENING_CAUSES = 200
"""Root causes after these are lines that lead to their journeys."""

MANY_TOKENS = 40
"""So many present tokens are shown without a fold."""

MOST_ROWS = 500
"""So many root causes are listed at most, and so many rows stand in the table of what went wrong."""

_LONGEST_SLUG = 60

_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Seconds between two marks of the timeline."""

_MOST_TICKS = 8

_NARROW = 4.0
"""Per cent of the timeline in which no name can be read."""


def kind_of(outcome: Outcome | None) -> str:
    return "other" if outcome is None else KINDS.get(outcome, "other")


def word_of(outcome: Outcome | None) -> str:
    return "not run" if outcome is None else WORDS[outcome]


def took(seconds: float) -> str:
    """Write a time so that it can be read at a glance."""
    if seconds < 99.5:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(started: float, offset: int) -> str:
    """Write when something began, in the local time of the run, the same on every machine that shows it."""
    local = datetime.fromtimestamp(started, UTC) + timedelta(seconds=offset)
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset) // 60, 60)
    zone = f"UTC{sign}{hours:02}:{minutes:02}" if offset else "UTC"
    return f"{day(started, offset)}, {local:%H:%M} {zone}"


def day(started: float, offset: int = 0) -> str:
    local = datetime.fromtimestamp(started, UTC) + timedelta(seconds=offset)
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


class Fragments:
    """The ids of the page, one for each thing that a link can lead to, whatever that is called.

    Each asks for the fragment of something, `#` included; it is empty where nothing of that name is on the page.
    """

    def __init__(self, view: RunView) -> None:
        self._taken: Counter[str] = Counter()
        self._of: dict[tuple[str, str], str] = {}
        journeys = dict.fromkeys(one.id for one in view.journeys)
        self._add("j", journeys)
        self._add("o", (one.id for one in view.others if one.id not in journeys))
        causes = view.causes[:MOST_ROWS]
        self._add("c", (one.id for one in causes))
        # One test can be two causes: it failed, and so did what tears it down.
        seen = Counter[str]()
        self.of_causes = []
        for cause in causes:
            seen[cause.id] += 1
            first = self._of["c", cause.id]
            self.of_causes.append(first if seen[cause.id] == 1 else f"{first}--again-{seen[cause.id]}")
        self._add("t", (one.token for one in view.tokens))

    def _add(self, letter: str, names: Iterable[str]) -> None:
        for name in names:
            if (letter, name) in self._of:
                continue
            slug = re.sub("[^a-z0-9]+", "-", name.lower()[: 2 * _LONGEST_SLUG]).strip("-")[:_LONGEST_SLUG]
            # Two hyphens: no slug has those, so no other name can come to the same.
            plain = f"{letter}-{slug}" if slug else f"{letter}-"
            self._taken[plain] += 1
            number = self._taken[plain]
            self._of[letter, name] = plain if number == 1 and slug else f"{plain}--{number}"

    def row(self, name: str) -> str:
        """Return the fragment of a journey, or of a test outside of the graph."""
        found = self._of.get(("j", name)) or self._of.get(("o", name))
        return f"#{found}" if found else ""

    def cause(self, name: str) -> str:
        found = self._of.get(("c", name))
        return f"#{found}" if found else ""

    def token(self, name: str) -> str:
        found = self._of.get(("t", name))
        return f"#{found}" if found else ""

    def because(self, name: str) -> str:
        """Return where a root cause is explained best."""
        return self.cause(name) or self.row(name) or self.token(name)


class Tile(Struct, frozen=True):
    """A number at the head of the page, and where it leads."""

    kind: str
    number: str
    label: str
    note: str
    link: str


def tiles(view: RunView, fragments: Fragments) -> Iterator[Tile]:
    """Yield the numbers of the verdict: journeys and other tests together, as the verdict counts them."""
    counts = Counter(view.counts)
    for word, number in view.run.others.items():
        counts[Outcome(word)] += number
    every = view.planned + sum(view.run.others.values())
    by_kind: Counter[str] = Counter()
    for outcome, number in counts.items():
        by_kind[kind_of(outcome)] += number
    first = {kind_of(one.outcome): fragments.cause(one.id) for one in reversed(view.causes)}
    crashed = counts[Outcome.CRASHED]
    note = (
        "the product" if not crashed else f"{crashed} crashed" if crashed < by_kind["failed"] else "crashed"
    )
    yield Tile("failed", str(by_kind["failed"]), "failed", note, first.get("failed", "#journeys"))
    yield Tile(
        "error", str(by_kind["error"]), "not judged", "the test setup", first.get("error", "#journeys")
    )
    behind = sum(bool(one.deferred) for one in view.causes)
    note = f"behind {counted(behind, 'root cause')}" if behind else "none had to wait"
    yield Tile("deferred", str(by_kind["deferred"]), "deferred", note, "#journeys")
    if view.unaccounted:
        yield Tile("error", str(len(view.unaccounted)), "not run", "and nothing says why", "#journeys")
    rest = [f"{counts[one]} {WORDS[one]}" for one in Outcome if kind_of(one) == "other" and counts[one]]
    yield Tile("passed", str(by_kind["passed"]), "passed", ", ".join([f"of {every}", *rest]), "#journeys")
    best = f"best possible: {took(view.best)}" if view.best is not None else view.run.shard or "in all"
    workers = f"on {counted(view.run.workers, 'worker')}"
    yield Tile("time", took(view.seconds), workers, best, "#time" if view.lanes else "#journeys")


class Group(Struct, frozen=True, kw_only=True):
    """Journeys of one fold: a chain, or those that are on their own. `counts` is by kind."""

    name: str
    chain: bool
    journeys: tuple[JourneyView, ...]
    counts: Mapping[str, int]
    lanes: str
    seconds: float

    @property
    def is_open(self) -> bool:
        """Whether something in it is worth looking at."""
        return bool(self.counts.keys() - {"passed"})


def groups(journeys: Iterable[JourneyView]) -> tuple[Group, ...]:
    """Return the chains in the order of the project, and last what shares its state with nothing."""
    by_chain: dict[str, list[JourneyView]] = {}
    for one in journeys:
        by_chain.setdefault(one.chain, []).append(one)
    shared = {name: several for name, several in by_chain.items() if len(several) > 1 and name}
    single = [one for name, several in by_chain.items() if name not in shared for one in several]
    found = [_group(name, several, chain=True) for name, several in shared.items()]
    return (*found, *([_group("Journeys on their own", single, chain=False)] if single else ()))


def _group(name: str, journeys: list[JourneyView], *, chain: bool) -> Group:
    counts = Counter(kind_of(one.outcome) for one in journeys)
    lanes = list(dict.fromkeys(one.lane for one in journeys if one.lane))
    return Group(
        name=name,
        chain=chain,
        journeys=tuple(journeys),
        counts={kind: counts[kind] for kind in _FILTERS if counts[kind]},
        lanes=", ".join(lanes) if len(lanes) < 4 else counted(len(lanes), "worker"),
        seconds=sum(one.seconds for one in journeys),
    )


def filters(view: RunView) -> Iterator[tuple[str, str, int]]:
    """Yield the kinds of rows that can be shown alone, each with a label and how many there are."""
    others = {one.id: kind_of(one.outcome) for one in view.others}
    counts = Counter([*(kind_of(one.outcome) for one in view.journeys), *others.values()])
    total = sum(counts.values())
    yield "all", "All", total
    bad = total - counts["passed"]
    if bad and counts["passed"]:
        yield "bad", "Not passed", bad
    yield from ((kind, label, counts[kind]) for kind, label in _FILTERS.items() if counts[kind])


class PlacedBar(Struct, frozen=True):
    """A bar of the timeline: where it stands, in per cent; `parts` of it are provisioning, in per cent of the bar."""

    kind: str
    link: str
    text: str
    left: str
    width: str
    narrow: bool
    late: bool
    taken: bool
    parts: tuple[tuple[str, str], ...]


class Timeline:
    """What the lanes of a run look like, at a scale on which all of it is seen."""

    def __init__(self, view: RunView, link: Callable[[BarView], str]) -> None:
        ends = [bar.start + bar.seconds for lane in view.lanes for bar in lane.bars]
        self.total = max([view.seconds, view.best or 0.0, *ends]) or 1.0
        self.best = None if view.best is None else _number(self._share(view.best))
        self.late = view.best is not None and self._share(view.best) > 80
        self.has_taken = any(bar.taken_from for lane in view.lanes for bar in lane.bars)
        self._link = link

    def _share(self, seconds: float) -> float:
        return max(0.0, seconds) / self.total * 100

    def bars(self, lane: LaneView) -> Iterator[PlacedBar]:
        for bar in lane.bars:
            name = f"release of {bar.id}" if bar.kind is Kind.RELEASE else bar.id
            share = self._share(bar.seconds)
            taken = f", taken over from {bar.taken_from}" if bar.taken_from else ""
            yield PlacedBar(
                kind="release" if bar.kind is Kind.RELEASE else kind_of(bar.outcome),
                link=self._link(bar),
                text=f"{name}, {word_of(bar.outcome)}, {took(bar.seconds)}{taken}",
                left=_number(min(self._share(bar.start), 100.0)),
                width=_number(share),
                narrow=share < _NARROW,
                late=self._share(bar.start) > 60,
                taken=bool(taken),
                parts=tuple(
                    (
                        _number((start - bar.start) / (bar.seconds or 1.0) * 100),
                        _number((end - start) / (bar.seconds or 1.0) * 100),
                    )
                    for start, end in _covered(bar)
                ),
            )

    def lost(self, lane: LaneView) -> str:
        """Return where the machine of a lane was lost, in per cent; empty if it was not."""
        return "" if lane.lost is None else _number(min(self._share(lane.lost), 100.0))

    def ticks(self) -> Iterator[tuple[str, str]]:
        """Yield some round times, where they stand and how they are written."""
        step = next((step for step in _TICKS if self.total / step <= _MOST_TICKS), self.total / _MOST_TICKS)
        for number in range(int(self.total / step * 0.97) + 1):
            at = number * step
            yield _number(self._share(at)), f"{at:g} s" if self.total < 120 else f"{at / 60:.3g} min"


def _covered(bar: BarView) -> Iterator[tuple[float, float]]:
    """Yield from when to when a bar was provisioning; parts of it overlap where something was replayed."""
    begun = covered = bar.start
    for start, seconds in sorted(bar.provisioning):
        end = min(start + seconds, bar.start + bar.seconds)
        if start > covered:
            if covered > begun:
                yield begun, covered
            begun = start
        covered = max(covered, end)
    if covered > begun:
        yield begun, covered


def _number(value: float) -> str:
    """Write per cents, short: there are thousands of them."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def marks(view: RunView, fragments: Fragments) -> dict[str, NodeMark]:
    """Return what a drawing says of each journey of the run, and of other journeys and providers that failed."""
    found = {}
    for one in view.journeys:
        kind = kind_of(one.outcome)
        word = word_of(one.outcome) if kind != "failed" else "failed"
        word = "skipped, xfailed or not run" if kind == "other" else word
        found[str(one.id)] = NodeMark(style=kind, sign=SIGNS[kind], word=word, link=fragments.row(one.id))
    for cause in view.causes:
        if cause.id not in found:  # a token that could not be provided, or a journey that was only replayed
            kind = kind_of(cause.outcome)
            mark = NodeMark(
                style=kind, sign=SIGNS[kind], word=word_of(cause.outcome), link=fragments.cause(cause.id)
            )
            found |= {cause.id: mark, **{f"{one}:{cause.id}": mark for one in ProviderKind}}
    return found


def in_trouble(view: RunView) -> tuple[JourneyView, ...]:
    """Return the journeys that went wrong, or waited for one that did."""
    return tuple(one for one in view.journeys if kind_of(one.outcome) in {"failed", "error", "deferred"})


def is_green(reference: Reference) -> bool:
    """Return whether nothing went wrong in an earlier run."""
    return not any(one.outcome.is_bad for one in reference.journeys.values())
