"""Writes what became of a run that followed a plan file, in the process that leads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId, StateId
from pytest_dogfood.scheduling.pinned_plan import Entry, PinnedPlan, journeys_in, lines_of
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.storage.files import SharedLog
from pytest_dogfood.storage.journal import End, Journal, Start, Why
from pytest_dogfood.storage.plan_record import (
    OBSERVATIONS,
    LineRecord,
    Observation,
    PlanRecord,
    write_plan_record,
)
from pytest_dogfood.storage.record import Activity, Kind
from pytest_dogfood.storage.run_directory import RunDirectory


class Leading(Protocol):
    """What the leading process knows of its run."""

    @property
    def run(self) -> RunDirectory | None: ...

    plan: Plan | None


class PlanRecorder:
    """The plugin that compares what has run with the plan file, at the end of the run."""

    def __init__(self, pinned: PinnedPlan, leader: Leading) -> None:
        self._pinned = pinned
        self._leader = leader
        self._problem = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the record. A run that has left its plan does not end with exit status 0."""
        run, plan = self._leader.run, self._leader.plan
        if run is None or plan is None:
            return
        try:
            lines = tuple(line_records(self._pinned, plan, run))
            void = next((line.void for line in lines if line.void), "")
            if void:
                self._problem = f"this run has left its plan: {void}"
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED
            record = PlanRecord(
                run=str(run.path), exit_status=int(session.exitstatus), void=void, lines=lines
            )
            write_plan_record(record, run, self._pinned.result)
        except HarnessError as error:
            self._problem = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._problem:
            terminalreporter.write_line(f"dogfood: {self._problem}", red=True)


def line_records(pinned: PinnedPlan, plan: Plan, run: RunDirectory) -> Iterator[LineRecord]:
    """Yield the record of each line; raises HarnessError if what the run has written cannot be read."""
    entries = Journal(run.records).in_order()
    observed = SharedLog(run.records / OBSERVATIONS, Observation).unread()
    activities = SharedLog(run.activities, Activity).unread()
    repeated = {one.id for one in activities if one.kind is Kind.JOURNEY and one.attempt > 1}
    for state, line in lines_of(pinned, plan).items():
        yield _line_record(state, line, entries, repeated, [one for one in observed if one.state == state])


def _line_record(
    state: StateId,
    line: Sequence[Entry],
    entries: Sequence[Start | End],
    repeated: set[str],
    observed: Sequence[Observation],
) -> LineRecord:
    planned = journeys_in(line)
    here = [one for one in entries if one.why is Why.ITEM and one.journey in planned]
    begun = [one for one in here if not isinstance(one, End)]
    ran = tuple(one.journey for one in begun)
    places = tuple(dict.fromkeys(one.state for one in begun))
    ended = {one.journey for one in here if isinstance(one, End)}
    return LineRecord(
        state=state,
        entries=tuple(line),
        ran=ran,
        places=places,
        replayed=tuple(
            dict.fromkeys(one.journey for one in entries if one.why is Why.REPLAY and one.state in places)
        ),
        void=_why_void(planned, ran, places, ended, repeated),
        observations=tuple(observed),
    )


def _why_void(
    planned: Sequence[JourneyId],
    ran: Sequence[JourneyId],
    places: Sequence[str],
    ended: set[JourneyId],
    repeated: set[str],
) -> str:
    for number, (wanted, found) in enumerate(zip(planned, ran, strict=False), 1):
        if wanted != found:
            return f"{found!r} ran as number {number} of its line, where {wanted!r} stands"
    problems = [
        *(f"{one!r} did not run" for one in planned[len(ran) :]),
        *(f"{one!r} ran once more" for one in ran[len(planned) :]),
        *(f"{one!r} did not come to its end" for one in planned if one not in ended),
        *(f"the state of {planned[0]!r} was begun again on another worker" for _ in places[1:]),
        *(f"{one!r} was run more than once" for one in planned if one in repeated),
    ]
    return next(iter(problems), "")
