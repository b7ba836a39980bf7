"""The record of a run, for reports: what ran where and when, step by step; its format, and how it is read.

`run.json` says what was run, with what, and how it ended. `records/graph.json` is the graph, `records/activities` has a
line for each activity. Outputs stay in files of their own; a step names those that it has written.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Step, Token
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.storage.files import SharedLog, read_as
from pytest_dogfood.storage.run_directory import RESULTS, RUN, RunDirectory
from pytest_dogfood.walks import reachable

T = TypeVar("T")

VERSION = 1
"""Version of the record. 1: the first."""


class Kind(StrEnum):
    """What an activity is. TEST: a test outside of the graph that did not pass; those that pass leave no line.

    COLLECTION: a file of tests that could not be collected.
    """

    JOURNEY = "journey"
    REPLAY = "replay"
    PROVISION = "provision"
    PROBE = "probe"
    RELEASE = "release"
    CLEANUP = "clean-up"
    ACTION = "action"
    TEST = "test"
    COLLECTION = "collection"


class WrongRecord(Struct, frozen=True, omit_defaults=True):
    """One expectation that was not met: what was compared, what was expected and what came; `diff` line by line."""

    what: str
    expected: str
    actual: str
    diff: tuple[str, ...] = ()


class StepRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that has ended: number `number` of `of`, at `place` (`file:line:column`).

    `started` is seconds since the epoch, `seconds` how long it took, all `tries` together. `out` and `err` are files,
    relative to the run's directory; empty if nothing was printed or nothing may be shown. `ended_at` is the command of
    several that failed, or was running when the time was over, where that is known. `saved` has the values by name,
    None for secret ones.
    """

    place: str
    number: int
    of: int
    started: float = 0.0
    seconds: float = 0.0
    intent: str = ""
    command: str = ""
    cwd: str = ""
    shell: str = ""
    exit: int | None = None
    timed_out: bool = False
    tries: int = 1
    ended_at: str = ""
    out: str = ""
    err: str = ""
    wrong: tuple[WrongRecord, ...] = ()
    saved: Mapping[str, str | None] = field(default_factory=dict)


class Activity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a process of the run did, written when it ended; of some also a line when it began.

    `id` is a journey's id, a token, or the node id of a test outside of the graph; `for_` the journey that it was done
    for. `place` is the state's name, or `machine`; `lane` the worker, under the name of the one that it has replaced.
    `started` is seconds since the epoch. `attempt` counts reruns of an item from 1. `how` completes "provisioned …".
    `text` is what a person reads of what went wrong, `again` the command that does it again. `variables` are those
    that this plugin set for the steps. A line of something that has `begun` says CRASHED, which counts if no other
    follows, and in `outputs` how the names of its outputs begin, relative to the run's directory.
    """

    id: str
    kind: Kind
    lane: str
    started: float
    seconds: float
    outcome: Outcome
    for_: str = field(default="", name="for")
    place: str = ""
    attempt: int = 1
    how: str = ""
    steps: tuple[StepRecord, ...] = ()
    text: str = ""
    again: str = ""
    workdir: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    outputs: str = ""
    begun: bool = False

    @property
    def key(self) -> tuple[str, Kind, str, str, int]:
        """What the line of its beginning and that of its end have in common."""
        return self.lane, self.kind, self.id, self.for_, self.attempt

    @property
    def end(self) -> float:
        return self.started + self.seconds


class Versions(Struct, frozen=True, kw_only=True):
    """What a run was made with."""

    dogfood: str = ""
    pytest: str = ""
    python: str = ""
    platform: str = ""


class RunRecord(Struct, frozen=True, kw_only=True):
    """The frame of a run: `exit_status` is None until it has ended, `seconds` and what follows are known only then.

    `started` is seconds since the epoch, `offset` how many seconds the local time was ahead of UTC. `whole` tells that
    nothing of the project was left out. `others` counts the tests outside of the graph by outcome.
    """

    id: str
    project: str
    root: str
    started: float
    offset: int = 0
    argv: tuple[str, ...] = ()
    workers: int = 1
    shard: str = ""
    whole: bool = False
    versions: Versions = field(default_factory=Versions)
    commit: str = ""
    dirty: bool = False
    ci: str = ""
    exit_status: int | None = None
    seconds: float = 0.0
    closing_line: str = ""
    others: Mapping[str, int] = field(default_factory=dict)
    version: int = VERSION


class GraphRecord(Struct, frozen=True, kw_only=True):
    """What a run was about: its journeys and those that they may rest on, without their steps, and what was planned.

    `digests` change with what a journey says is to be done. `after` has what each journey of the run comes after.
    """

    journeys: tuple[Journey, ...]
    capabilities: tuple[Capability, ...]
    fixtures: Mapping[Token, str]
    digests: Mapping[JourneyId, str]
    after: Mapping[JourneyId, tuple[JourneyId, ...]]
    version: int = VERSION

    def graph(self) -> CapabilityGraph:
        return CapabilityGraph(self.journeys, self.capabilities, self.fixtures)


def graph_record(graph: CapabilityGraph, plan: Plan) -> GraphRecord:
    """Return what is kept of a graph for a run of this plan."""
    after = {planned.id: planned.after for planned in plan.journeys}
    kept = reachable(after, graph.prerequisites.__getitem__)
    journeys = [journey for journey in graph.journeys.values() if journey.id in kept]
    return GraphRecord(
        journeys=tuple(
            replace(one, steps=(), cleanup=(), seed_files={}, env={}, own_env={}, marks=())
            for one in journeys
        ),
        capabilities=tuple(
            replace(
                one,
                probe=None if one.probe is None else _without_commands(one.probe),
                provision=tuple(map(_without_commands, one.provision)),
                service=None if one.service is None else replace(one.service, run="", env={}, own_env={}),
                release=tuple(map(_without_commands, one.release)),
            )
            for one in graph.capabilities.values()
        ),
        fixtures=graph.fixtures,
        digests={one.id: _digest_of(one) for one in journeys},
        after=after,
    )


def write_graph(run: RunDirectory, graph: GraphRecord) -> None:
    """Keep the graph of a run, unless another process has. Where it cannot be written, the run goes on without."""
    try:
        with run.graph.open("xb") as file:
            file.write(msgspec.json.encode(graph))
    except FileExistsError:
        pass
    except OSError:
        run.graph.unlink(missing_ok=True)


def _without_commands(step: Step) -> Step:
    return Step(location=step.location, intent=step.intent)


def _digest_of(journey: Journey) -> str:
    """Return twelve hexadecimal digits that do not change when a journey only moves within its file."""
    nowhere = Location("")
    steps = [
        [replace(step, location=nowhere, own_env={}) for step in several]
        for several in (journey.steps, journey.cleanup)
    ]
    said = [
        journey.id,
        [*journey.requires],
        [*journey.establishes],
        dict(journey.env),
        journey.timeout,
        steps,
    ]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:12]


class ReferenceJourney(Struct, frozen=True):
    """A journey of an earlier run."""

    outcome: Outcome
    seconds: float
    digest: str


class Reference(Struct, frozen=True, kw_only=True):
    """An earlier run to compare with: the last green one, or one that was named."""

    run: str
    started: float
    commit: str = ""
    journeys: Mapping[JourneyId, ReferenceJourney] = field(default_factory=dict)
    version: int = VERSION


class RecordedRun(Struct, frozen=True, kw_only=True):
    """All that a run has left behind in `directory`; `activities` in the order in which they ended.

    `results` has the last word on each journey. A run that was killed has no results, and may have no graph. What never
    ended comes last, with the outcome CRASHED, and with the outputs of its steps as far as they had been written.
    `last_green` is the last green run of the whole project before it, if one was known. `texts` are outputs by the
    names that steps give them, where they are in no files.
    """

    directory: Path
    run: RunRecord
    graph: GraphRecord | None
    activities: tuple[Activity, ...]
    results: Mapping[JourneyId, JourneyResult]
    last_green: Reference | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def read_run(directory: Path) -> RecordedRun:
    """Read a run's record, also of one that was killed; raises HarnessError with words for the user."""
    run = _read(directory / RUN, RunRecord)
    if run is None:
        raise HarnessError(f"{directory} contains no run: there is no {RUN} in it")
    layout = RunDirectory(directory)
    results = _read(directory / RESULTS, tuple[JourneyResult, ...]) or ()
    lines = SharedLog(layout.activities, Activity).unread()
    ended = {one.key for one in lines if not one.begun}
    cut = [one for one in lines if one.begun and one.key not in ended]
    return RecordedRun(
        directory=directory,
        run=run,
        graph=_read(layout.graph, GraphRecord),
        last_green=_read(layout.last_green, Reference),
        activities=(
            *(one for one in lines if not one.begun),
            *(_cut_short(directory, one) for one in cut),
        ),
        results={result.id: result for result in results},
    )


def reference_of(recorded: RecordedRun) -> Reference:
    """Return what later runs can be compared with."""
    digests = recorded.graph.digests if recorded.graph is not None else {}
    seconds = {one.id: one.seconds for one in recorded.activities if one.kind is Kind.JOURNEY}
    return Reference(
        run=recorded.run.id,
        started=recorded.run.started,
        commit=recorded.run.commit,
        journeys={
            result.id: ReferenceJourney(
                result.outcome, result.own_seconds(seconds.get(result.id, 0.0)), digests.get(result.id, "")
            )
            for result in recorded.results.values()
        },
    )


def _cut_short(directory: Path, begun: Activity) -> Activity:
    """Return what has begun and never ended as one that was killed, with what its steps had written."""
    steps: dict[int, dict[str, str]] = {}
    last = begun.started
    for path in sorted(directory.glob(f"{glob.escape(begun.outputs)}*")) if begun.outputs else ():
        found = _OUTPUT.search(path.name)
        if found is not None and not path.is_symlink():
            steps.setdefault(int(found[1]), {})[found[2]] = path.relative_to(directory).as_posix()
            last = max(last, path.stat().st_mtime)
    return replace(
        begun,
        begun=False,
        seconds=round(last - begun.started, 3),
        steps=tuple(
            StepRecord(place="", number=number, of=0, out=names.get("out", ""), err=names.get("err", ""))
            for number, names in sorted(steps.items())
        ),
    )


_OUTPUT = re.compile(r"(\d+)\.(out|err)(?:\.raw)?\Z")
"""The end of the name of an output: the number of its step, and which output it is."""


def _read(path: Path, kind: type[T]) -> T | None:
    """Read a file of the record; None where there is none. Raises HarnessError if a newer version has written it."""
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content)
        if (
            isinstance(version, dict)
            and isinstance(version.get("version"), int)
            and version["version"] > VERSION
        ):
            raise HarnessError(f"{path} was written by a newer version of pytest-dogfood: update here")
    except (OSError, ValueError, RecursionError):
        pass  # the reader itself says so
    return read_as(path, kind)
