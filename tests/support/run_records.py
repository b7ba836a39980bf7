"""Recorded runs for tests that need no run: what each of a few journeys came to, and what was done for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, StateId
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import RunView
from pytest_dogfood.storage.record import (
    Activity,
    GraphRecord,
    Kind,
    RecordedRun,
    RunRecord,
    StepRecord,
    WrongRecord,
)

BEGAN = 1_800_000_000.0
"""When these runs began, in seconds since the epoch."""

EXIT_3 = (WrongRecord("exit status", "0", "3"),)


def step(number: int = 1, of: int = 1, *, at: float = 0.0, seconds: float = 1.0, **fields: Any) -> StepRecord:
    """Return a step that began `at` seconds after the run."""
    place = f"made.journey.yaml:{number + 10}:9"
    known = {"place": place, "command": "do it", "exit": 0, **fields}
    return StepRecord(number=number, of=of, started=BEGAN + at, seconds=seconds, **known)


def failed_step(number: int = 1, of: int = 1, *, at: float = 0.0, seconds: float = 1.0) -> StepRecord:
    return step(number, of, at=at, seconds=seconds, exit=3, wrong=EXIT_3)


def done(
    name: str,
    outcome: Outcome = Outcome.PASSED,
    *,
    kind: Kind = Kind.JOURNEY,
    at: float = 0.0,
    seconds: float = 1.0,
    lane: str = "main",
    by: str = "",
    steps: Iterable[StepRecord] = (),
    **fields: Any,
) -> Activity:
    """Return what was done of a journey, or, with `by`, for it."""
    return Activity(
        id=name,
        kind=kind,
        lane=lane,
        started=BEGAN + at,
        seconds=seconds,
        outcome=outcome,
        for_=by,
        steps=tuple(steps),
        **fields,
    )


def result(name: str, outcome: Outcome, cause: Cause | None = None) -> JourneyResult:
    return JourneyResult(id=JourneyId(name), outcome=outcome, cause=cause)


def deferred(name: str, who: str, why: str = "failed", *, blocked: bool = False) -> JourneyResult:
    return result(name, Outcome.DEFERRED, Cause(who=who, why=why, blocked=blocked))


def recorded(
    journeys: Iterable[Journey],
    activities: Iterable[Activity] = (),
    results: Iterable[JourneyResult] | None = None,
    *,
    capabilities: Iterable[Capability] = (),
    digests: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    directory: Path = Path("/nowhere"),
    **frame: Any,
) -> RecordedRun:
    """Return a run of all these journeys; without `results` the last try of each says what it came to."""
    several, activities = tuple(journeys), tuple(activities)
    graph = CapabilityGraph(several, tuple(capabilities))
    if results is None:
        ended = {one.id: one.outcome for one in activities if one.kind is Kind.JOURNEY}
        results = [result(name, outcome) for name, outcome in ended.items()]
    run = RunRecord(
        id="f5a184", project="shop", root="/home/shop", started=BEGAN, exit_status=0, seconds=10.0
    )
    return RecordedRun(
        directory=directory,
        run=replace(run, **frame),
        graph=GraphRecord(
            journeys=several,
            capabilities=tuple(capabilities),
            fixtures={},
            digests={JourneyId(name): digest for name, digest in (digests or {}).items()},
            after={one.id: tuple(graph.prerequisites[one.id]) for one in several},
            states={JourneyId(name): StateId(state) for name, state in (states or {}).items()},
        ),
        activities=activities,
        results={one.id: one for one in results},
        texts=texts or {},
    )


def viewed(*arguments: Any, **settings: Any) -> RunView:
    """Return the view of a run that `recorded` makes."""
    return view_of(recorded(*arguments, **settings))
