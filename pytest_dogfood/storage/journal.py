"""The journal: the starts and ends of journeys, for every process of the run to read."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from enum import StrEnum
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import asdict

from pytest_dogfood.execution.watcher import alive, start_time
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Cause, Outcome, reason_of
from pytest_dogfood.storage.files import SharedLog
from pytest_dogfood.storage.run_directory import JOURNAL


class Why(StrEnum):
    """Why a journey ran: as an item of the run, or as a replay for a journey that needs its tokens."""

    ITEM = "item"
    REPLAY = "replay"


_HAS_RUN = frozenset({Outcome.PASSED, Outcome.XPASSED, Outcome.FAILED, Outcome.XFAILED, Outcome.CRASHED})
"""Outcomes of journeys that ran steps; after an error that is unknown."""


class Start(Struct, frozen=True, kw_only=True, tag=True):
    """A journey has begun in a state, `at` a time (seconds since the epoch); `pid` and `born` identify the process."""

    journey: JourneyId
    why: Why
    pid: int
    born: str | None
    state: str
    at: float = field(default_factory=time.time)


class End(Start, frozen=True, kw_only=True, tag=True):
    """A journey has ended, with the cause if it did not pass."""

    outcome: Outcome
    cause: Cause | None = None

    def blocking_cause(self) -> Cause | None:
        """Return the root cause for dependents of the journey; None if it has established its tokens."""
        if self.outcome.establishes:
            return None
        return self.cause or Cause(who=self.journey, why=reason_of(self.outcome))


class Journal:
    """The journeys that the processes of a run have started and ended, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._log: SharedLog[Start | End] = SharedLog(directory / JOURNAL, Start | End)
        self._pid = os.getpid()
        self._born = start_time(self._pid)
        self._entries: dict[JourneyId, list[Start | End]] = defaultdict(list)

    def started(self, journey: JourneyId, why: Why, state: str) -> None:
        """Record the start of a journey before its first step, so that a crash is noticed."""
        self._log.append(Start(journey=journey, why=why, pid=self._pid, born=self._born, state=state))

    def ended(
        self, journey: JourneyId, why: Why, state: str, outcome: Outcome, cause: Cause | None = None
    ) -> None:
        begun = Start(journey=journey, why=why, pid=self._pid, born=self._born, state=state)
        self._log.append(End(**asdict(begun), outcome=outcome, cause=cause))

    def entries(self, journey: JourneyId) -> tuple[Start | End, ...]:
        """Return all entries of a journey, oldest first."""
        self._read_on()
        return tuple(self._entries.get(journey, ()))

    def ends(self, *kinds: Why) -> tuple[End, ...]:
        """Return every end of the given kinds, of all journeys, oldest first."""
        self._read_on()
        entries = (entry for several in self._entries.values() for entry in several)
        found = (entry for entry in entries if entry.why in kinds and isinstance(entry, End))
        return tuple(sorted(found, key=lambda entry: entry.at))

    def in_order(self) -> tuple[Start | End, ...]:
        """Return all entries, of all journeys, oldest first."""
        self._read_on()
        entries = (entry for several in self._entries.values() for entry in several)
        return tuple(sorted(entries, key=lambda entry: entry.at))

    def run_since(self, at: float, *, state: str = "") -> tuple[JourneyId, ...]:
        """Return the journeys that have run steps since a time, in `state` if one is given, oldest first."""
        ends = (end for end in self.ends(*Why) if end.at > at and state in {"", end.state})
        return tuple(dict.fromkeys(end.journey for end in ends if end.outcome in _HAS_RUN))

    def is_under_way(self, journey: JourneyId) -> bool:
        """Return whether the journey has begun as an item and not ended, whether its process is alive or not."""
        entries = [entry for entry in self.entries(journey) if entry.why is Why.ITEM]
        return bool(entries) and not isinstance(entries[-1], End)

    def has_ended(self, journey: JourneyId) -> bool:
        """Return whether the journey has ended as an item, also by the death of its process."""
        entries = [one for one in self.entries(journey) if one.why is Why.ITEM]
        return any(isinstance(one, End) for one in entries) or (
            bool(entries) and not any(alive(one.pid, one.born) for one in entries)
        )

    def end_of(self, journey: JourneyId, *, state: str = "") -> End | None:
        """Return how the journey ended last, as item or replay; None if it never began, or is under way.

        If it has ended in `state`, only those ends count. If its process died, it counts as CRASHED, except for the
        first death in a replay: then the next dependent tries once more.
        """
        last: End | None = None
        begun: dict[tuple[int, str | None], Start] = {}
        entries = self.entries(journey)
        if state and any(entry.state == state and isinstance(entry, End) for entry in entries):
            entries = tuple(entry for entry in entries if entry.state == state)
        for entry in entries:
            if isinstance(entry, End):
                last = entry
                begun.pop((entry.pid, entry.born), None)
            else:
                begun[entry.pid, entry.born] = entry
        died = [entry for entry in begun.values() if not alive(entry.pid, entry.born)]
        if len(died) == 1 and died[0].why is Why.REPLAY:
            died = []
        for start in died:
            if last is None or start.at >= last.at:
                cause = Cause(who=journey, why="crashed its worker")
                last = End(**asdict(start), outcome=Outcome.CRASHED, cause=cause)
        return last

    def runs_elsewhere(self, journey: JourneyId) -> bool:
        """Return whether a journey runs as an item in another process that lives."""
        begun: dict[int, str | None] = {}
        for entry in self.entries(journey):
            if entry.why is Why.ITEM:
                begun[entry.pid] = entry.born
                if isinstance(entry, End):
                    del begun[entry.pid]
        return any(pid != self._pid and alive(pid, born) for pid, born in begun.items())

    def _read_on(self) -> None:
        for entry in self._log.unread():
            self._entries[entry.journey].append(entry)
