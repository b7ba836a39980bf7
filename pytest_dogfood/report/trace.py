"""A run as Chrome trace events, for Perfetto: a thread for each worker, flows from what provides to what depends.

The format is that of the "Trace Event Format" document: `ts` and `dur` are microseconds. Slices of a thread must nest:
times of the record are rounded, so each slice is kept within the one around it, and behind the one before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct, field

from pytest_dogfood.journey import Token
from pytest_dogfood.report.run_view import ActivityView, JourneyView, RunView, StepView
from pytest_dogfood.storage.record import Kind

_PROCESS = 1


class _Slice(Struct):
    """A slice from `start` to `end`, in microseconds, with those within it."""

    name: str
    category: str
    start: int
    end: int
    args: Mapping[str, Any]
    within: list[_Slice] = field(default_factory=list)


def to_trace(view: RunView) -> str:
    """Return the events of a run as JSON."""
    threads = {lane.name: number for number, lane in enumerate(view.lanes, start=1)}
    slices = {id(one): _slice_of(one) for one in _activities(view)}
    by_thread: dict[int, list[_Slice]] = defaultdict(list)
    groups = [(*one.tries, *one.done_for_it) for one in view.journeys]
    for group in (*groups, *((one,) for one in (*view.others, *view.for_no_journey))):
        for activity in group:
            around = _around(activity, group)
            found = by_thread[threads[activity.lane]] if around is None else slices[id(around)].within
            found.append(slices[id(activity)])
    name = f"{view.run.project}: {view.verdict}"
    events: list[dict[str, Any]] = [_named("process_name", 0, name)]
    events += (_named("thread_name", number, lane) for lane, number in threads.items())
    for number, several in by_thread.items():
        events += (_event(one, number) for one in _laid_out(_nested(several), 0, None))
    events += _flows(view, slices, threads)
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms"}).decode() + "\n"


def _activities(view: RunView) -> Iterator[ActivityView]:
    for journey in view.journeys:
        yield from journey.tries
        yield from journey.done_for_it
    yield from view.others
    yield from view.for_no_journey


def _slice_of(activity: ActivityView) -> _Slice:
    name = f"{activity.kind} of {activity.id}"
    if activity.kind in {Kind.JOURNEY, Kind.TEST}:
        name = activity.id
    args = {"outcome": activity.outcome, "how": activity.how, "attempt": activity.attempt}
    steps = [_slice_of_step(step) for step in activity.steps if step.seconds]
    start = _microseconds(activity.start)
    end = _microseconds(activity.start + activity.seconds)
    return _Slice(name, str(activity.kind), start, end, args, steps)


def _slice_of_step(step: StepView) -> _Slice:
    said = f": {step.intent}" if step.intent else ""
    args = {"command": step.command, "exit": step.exit, "place": step.place}
    start, end = _microseconds(step.start), _microseconds(step.start + step.seconds)
    return _Slice(f"step {step.number}{said}", "step", start, end, args)


def _microseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1e6)


def _around(activity: ActivityView, group: Iterable[ActivityView]) -> ActivityView | None:
    """Return the shortest of a journey's activities in whose time, on the same worker, another one was done."""
    middle = activity.start + activity.seconds / 2
    longer = (
        one
        for one in group
        if one is not activity
        and (one.lane, one.seconds > activity.seconds) == (activity.lane, True)
        and one.start <= middle <= one.start + one.seconds
    )
    return min(longer, key=lambda one: one.seconds, default=None)


def _nested(slices: Iterable[_Slice]) -> list[_Slice]:
    """Put a slice that was done in the middle of another one within it, such as a release before a next journey."""
    outermost: list[_Slice] = []
    for one in sorted(slices, key=lambda one: (one.start, -one.end)):
        last = outermost[-1] if outermost else None
        if (
            last is not None
            and one.end - one.start < last.end - last.start
            and one.start + one.end < 2 * last.end
        ):
            last.within.append(one)
        else:
            outermost.append(one)
    return outermost


def _laid_out(slices: Iterable[_Slice], earliest: int, latest: int | None) -> Iterator[_Slice]:
    """Yield slices, and those within them, put so that none ends outside of what is around it or within another."""
    for one in sorted(slices, key=lambda one: (one.start, one.end)):
        one.start = max(one.start, earliest)
        one.end = max(one.end, one.start + 1)
        if latest is not None:
            one.end = min(one.end, latest)
            one.start = min(one.start, one.end)
        earliest = one.end
        yield one
        yield from _laid_out(one.within, one.start, one.end)


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": _PROCESS, "tid": thread, "args": {"name": name}}


def _event(one: _Slice, thread: int) -> dict[str, Any]:
    return {
        "name": one.name,
        "cat": one.category,
        "ph": "X",
        "ts": one.start,
        "dur": one.end - one.start,
        "pid": _PROCESS,
        "tid": thread,
        "args": {key: value for key, value in one.args.items() if value not in {"", None}},
    }


def _flows(
    view: RunView, slices: Mapping[int, _Slice], threads: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield an arrow for each token of a journey that ran, from the journey or the provision that it came from."""
    made = _made(view)
    numbers = count(1)
    for journey in view.journeys:
        for token in journey.requires if journey.tries else ():
            source, target = _source(journey, made.get(token, {})), journey.tries[-1]
            if source is None:
                continue
            number, begin, end = next(numbers), slices[id(source)], slices[id(target)]
            leaves = max(begin.end - 1, begin.start)
            arrives = min(max(leaves, end.start), end.end)
            for phase, moment, lane in (("s", leaves, source.lane), ("f", arrives, target.lane)):
                where = {"ts": moment, "pid": _PROCESS, "tid": threads[lane]}
                binding = {"bp": "e"} if phase == "f" else {}
                yield {"name": token, "cat": "token", "ph": phase, "id": number, **where, **binding}


def _made(view: RunView) -> Mapping[Token, Mapping[str, list[ActivityView]]]:
    """Return what gave each token, by lane and under "" on all of them, in the order in which it ended."""
    made: dict[Token, dict[str, list[ActivityView]]] = defaultdict(lambda: defaultdict(list))
    for journey in view.journeys:
        given = [
            (token, one) for one in journey.tries if one.outcome.establishes for token in journey.establishes
        ]
        given += [(Token(one.id), one) for one in journey.done_for_it if one.kind is Kind.PROVISION]
        for token, activity in given:
            if activity.outcome.establishes:
                made[token][activity.lane].append(activity)
                made[token][""].append(activity)
    for by_lane in made.values():
        for several in by_lane.values():
            several.sort(key=_end)
    return made


def _source(journey: JourneyView, made: Mapping[str, list[ActivityView]]) -> ActivityView | None:
    """Return what last gave a token before a journey ended; in another lane only if it was not given in its own."""
    for lane in (journey.lane, ""):
        several = made.get(lane, [])
        earlier = bisect_right(several, _end(journey.tries[-1]), key=_end)
        if earlier:
            return several[earlier - 1]
    return None


def _end(activity: ActivityView) -> float:
    return activity.start + activity.seconds
