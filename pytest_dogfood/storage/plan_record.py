"""What became of a run that followed a plan file: the order in which it really ran, and what was seen in between."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId, StateId, Token
from pytest_dogfood.scheduling.pinned_plan import Entry
from pytest_dogfood.storage.files import read_as, write_whole
from pytest_dogfood.storage.run_directory import RunDirectory

VERSION = 1

OBSERVATIONS = "observations"
"""File among the records of a run: what was seen between the entries of its lines, as it was seen."""

PLAN = "plan.json"
"""File among the records of a run: its whole plan record."""

IDLE = "idle"
"""The name of an entry that leaves a state alone; no journey is meant."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of a token's probe; `present` is None if it was not asked or could not be run, and `why` says why.

    `seconds` is how long it took, `text` describes an answer that is not yes, with the outputs. It was `repeated` from
    before, without asking, if the probe is slow and no file of the state has changed.
    """

    token: Token
    present: bool | None = None
    seconds: float = 0.0
    exit: int | None = None
    repeated: bool = False
    why: str = ""
    text: str = ""


class Observation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen in the directory `place` of a state after an entry of its line, at its beginning, or after it.

    `position` counts the entries before, `entry` is the last of them, empty at the beginning. `written` and `removed`
    are files that changed since the observation before, relative to the state. `at` is in seconds since the epoch. A
    state that begins as a copy is `part_of` another one: of what that is `behind` a journey, or at its beginning.
    Within the next entry, behind its step number `step`, only tokens that it establishes are asked for.
    """

    state: StateId
    place: str
    position: int
    at: float
    entry: str = ""
    answers: tuple[Answer, ...] = ()
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    part_of: StateId = StateId("")
    behind: JourneyId = JourneyId("")
    step: int = 0


class LineRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the plan, the items in the order in which they really began, and in which directories.

    `replayed` are the journeys that were replayed there for others. `void` says why the line does not count; it is
    empty if the plan was followed.
    """

    state: StateId
    entries: tuple[Entry, ...]
    ran: tuple[JourneyId, ...] = ()
    places: tuple[str, ...] = ()
    replayed: tuple[JourneyId, ...] = ()
    void: str = ""
    observations: tuple[Observation, ...] = ()


class PlanRecord(Struct, frozen=True, kw_only=True):
    """The outcome of a run with a plan file: its directory `run`, and its lines.

    `void` is that of the first line which does not count.
    """

    run: str
    exit_status: int
    void: str = ""
    lines: tuple[LineRecord, ...] = ()
    version: int = VERSION


def read_plan_record(path: Path) -> PlanRecord:
    """Read what a run has written; raises HarnessError if there is no such file, or it cannot be read."""
    found = read_as(path, PlanRecord)
    if found is None:
        raise HarnessError(f"there is no {path}: the run has not come to its end")
    return found


def write_plan_record(record: PlanRecord, run: RunDirectory, result: str) -> None:
    """Write the record among those of the run, and to the file `result` if one was asked for; raises HarnessError."""
    content = msgspec.json.encode(record) + b"\n"
    write_whole(run.records / PLAN, content)
    if result:
        write_whole(Path(result), content)
