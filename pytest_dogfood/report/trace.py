"""A run as Chrome trace events, for Perfetto: a thread for each worker, flows from what provides to what depends.

The format is that of the "Trace Event Format" document: `ts` and `dur` are microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec

from pytest_dogfood.journey import Token
from pytest_dogfood.report.run_view import ActivityView, JourneyView, RunView
from pytest_dogfood.storage.record import Kind

_PROCESS = 1


def to_trace(view: RunView) -> str:
    """Return the events of a run as JSON."""
    threads = {lane.name: number for number, lane in enumerate(view.lanes, start=1)}
    name = f"{view.run.project}: {view.verdict}"
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": _PROCESS, "tid": 0, "args": {"name": name}}
    ]
    for lane, number in threads.items():
        events.append(
            {"name": "thread_name", "ph": "M", "pid": _PROCESS, "tid": number, "args": {"name": lane}}
        )
    for journey in view.journeys:
        for activity in (*journey.tries, *journey.done_for_it):
            events += _slices(activity, threads[activity.lane])
    for activity in view.others:
        events += _slices(activity, threads[activity.lane])
    events += _flows(view, threads)
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms"}).decode() + "\n"


def _slices(activity: ActivityView, thread: int) -> Iterator[dict[str, Any]]:
    name = activity.id if activity.kind in {Kind.JOURNEY, Kind.TEST} else f"{activity.kind} of {activity.id}"
    about = {"outcome": activity.outcome, "how": activity.how, "attempt": activity.attempt}
    yield _slice(name, activity.kind, activity.start, activity.seconds, thread, about)
    for step in activity.steps:
        if step.seconds:
            said = f": {step.intent}" if step.intent else ""
            args = {"command": step.command, "exit": step.exit, "place": step.place}
            yield _slice(f"step {step.number}{said}", "step", step.start, step.seconds, thread, args)


def _slice(
    name: str, category: str, start: float, seconds: float, thread: int, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "cat": str(category),
        "ph": "X",
        "ts": round(max(start, 0.0) * 1e6),
        "dur": max(round(seconds * 1e6), 1),
        "pid": _PROCESS,
        "tid": thread,
        "args": {key: value for key, value in args.items() if value not in {"", None}},
    }


def _flows(view: RunView, threads: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield an arrow for each token of a journey that ran, from the journey or the provision it came from."""
    made = _made(view)
    numbers = count(1)
    for journey in view.journeys:
        for token in journey.requires if journey.tries else ():
            source, target = _source(journey, made[token]), journey.tries[-1]
            if source is None:
                continue
            number = next(numbers)
            for phase, activity in (("s", source), ("f", target)):
                moment = round(max(activity.start + activity.seconds, 0.0) * 1e6) - 1
                where = {"ts": moment, "pid": _PROCESS, "tid": threads[activity.lane]}
                binding = {"bp": "e"} if phase == "f" else {}
                yield {"name": token, "cat": "token", "ph": phase, "id": number, **where, **binding}


def _made(view: RunView) -> Mapping[Token, list[ActivityView]]:
    """Return what gave each token."""
    made: dict[Token, list[ActivityView]] = defaultdict(list)
    for journey in view.journeys:
        for activity in (one for one in journey.tries if one.outcome.establishes):
            for token in journey.establishes:
                made[token].append(activity)
        for activity in journey.done_for_it:
            if activity.kind is Kind.PROVISION and activity.outcome.establishes:
                made[Token(activity.id)].append(activity)
    return made


def _source(journey: JourneyView, made: Iterable[ActivityView]) -> ActivityView | None:
    """Return what last gave a token before a journey ended; in another lane only if it was not given in its own."""
    end = journey.tries[-1].start + journey.tries[-1].seconds
    earlier = [one for one in made if one.start + one.seconds <= end]
    own = [one for one in earlier if one.lane == journey.lane]
    return max(own or earlier, key=lambda one: one.start, default=None)
