"""The record of a run, for reports: its format, and the functions that read it.

`run.json` describes the run, its versions and its end. `records/graph.json` is the graph, `records/activities` has a
line for each activity. Outputs stay in files of their own; a step names those that it has written.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Mapping, Set as AbstractSet
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, StateId, Step, Token
from pytest_dogfood.no_doubt import NO_DOUBT
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.storage.files import SharedLog, read_as
from pytest_dogfood.storage.run_directory import OUTPUTS, RESULTS, RUN, RunDirectory
from pytest_dogfood.walks import reachable

T = TypeVar("T")

VERSION = 1
"""Version of the record. 1: the first."""


class Kind(StrEnum):
    """The kind of an activity. TEST: a test outside the graph that did not pass; those that pass leave no line.

    COLLECTION: a file of tests that could not be collected.
    """

    JOURNEY = "journey"
    REPLAY = "replay"
    PROVISION = "provision"
    PROBE = "probe"
    RELEASE = "release"
    CLEANUP = "clean-up"
    COPY = "copy"
    ACTION = "action"
    TEST = "test"
    COLLECTION = "collection"


class WrongRecord(Struct, frozen=True, omit_defaults=True):
    """One expectation that was not met: what was compared, the expected and actual value; `diff` line by line."""

    what: str
    expected: str
    actual: str
    diff: tuple[str, ...] = ()


class StepRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that has ended: number `number` of `of`, at `place` (`file:line:column`).

    `started` is in seconds since the epoch, `seconds` is the time of all `tries` together. `out` and `err` are files,
    relative to the run's directory; empty if nothing was printed or nothing may be shown. `ended_at` is the one of
    several commands that failed, or was running at the time limit, if that is known. `env` has the variables of this
    step alone. `saved` has the values by name, None for secret ones.
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
    env: Mapping[str, str] = field(default_factory=dict)
    saved: Mapping[str, str | None] = field(default_factory=dict)


class Activity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One activity of a process of the run, written at its end; long ones also have a line for their beginning.

    `id` is a journey's id, a token, or the node id of a test outside the graph; `for_` the journey for which it was
    done. `place` is the state's name, or `machine`; `lane` the worker, by the name of the one that it replaced.
    `started` is in seconds since the epoch. `attempt` counts reruns of an item from 1. `how` completes "provisioned …".
    `text` describes a failure or error, `again` is the command that reproduces it. `variables` are those that this
    plugin set for the steps. The line of a beginning (`begun`) has the outcome CRASHED, which counts if no other line
    follows, and in `outputs` the common beginning of the names of its outputs, relative to the run's directory.
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
        """The fields that the lines of its beginning and end have in common."""
        return self.lane, self.kind, self.id, self.for_, self.attempt

    @property
    def end(self) -> float:
        return self.started + self.seconds


class Versions(Struct, frozen=True, kw_only=True):
    """The versions that a run used."""

    dogfood: str = ""
    pytest: str = ""
    python: str = ""
    platform: str = ""


class RunRecord(Struct, frozen=True, kw_only=True):
    """The data of a whole run: `exit_status` is None until it has ended; `seconds` and later fields are set only then.

    `started` is in seconds since the epoch, `offset` how many seconds the local time was ahead of UTC. `whole` means
    that nothing of the project was left out. `others` counts the tests outside the graph by outcome.
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


class GraphRecord(Struct, frozen=True, kw_only=True, dict=True):
    """The graph of a run: its journeys and their prerequisites, without steps, and the planned order.

    `digests` change when the steps of a journey change. `after` has, for each journey of the run, those before it, and
    `states` the state of its chain in which it runs: that is decided from the whole project, which is not kept.
    """

    journeys: tuple[Journey, ...]
    capabilities: tuple[Capability, ...]
    fixtures: Mapping[Token, str]
    digests: Mapping[JourneyId, str]
    after: Mapping[JourneyId, tuple[JourneyId, ...]]
    states: Mapping[JourneyId, StateId] = field(default_factory=dict)
    version: int = VERSION

    @cached_property
    def graph(self) -> CapabilityGraph:
        """The graph itself, made once for all that look into it."""
        return CapabilityGraph(self.journeys, self.capabilities, self.fixtures)


def graph_record(graph: CapabilityGraph, plan: Plan) -> GraphRecord:
    """Return the part of a graph that is kept for a run of this plan."""
    after = {planned.id: planned.after for planned in plan.journeys}
    kept = reachable(after, graph.prerequisites.__getitem__)
    journeys = [journey for journey in graph.journeys.values() if journey.id in kept]
    return GraphRecord(
        journeys=tuple(
            replace(
                one,
                steps=(),
                cleanup=(),
                seed_files={},
                env={},
                own_env={},
                marks=tuple(mark for mark in one.marks if mark.name == NO_DOUBT),
            )
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
        digests={one.id: digest_of(one) for one in journeys},
        after=after,
        states={planned.id: planned.state for planned in plan.journeys},
    )


def write_graph(run: RunDirectory, graph: GraphRecord) -> None:
    """Write the graph of a run, unless another process has. If it cannot be written, the run goes on without it."""
    try:
        with run.graph.open("xb") as file:
            file.write(msgspec.json.encode(graph))
    except FileExistsError:
        pass
    except OSError:
        run.graph.unlink(missing_ok=True)


def _without_commands(step: Step) -> Step:
    return Step(location=step.location, intent=step.intent)


def digest_of(journey: Journey) -> str:
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


class LostMachine(Struct, frozen=True, kw_only=True):
    """A machine that was lost `at` so many seconds after the start of the run; `said` completes "NAME was"."""

    name: str
    at: float
    said: str


class RecordedRun(Struct, frozen=True, kw_only=True):
    """The whole record of a run in `directory`; `activities` in the order in which they ended.

    `results` has the final result of each journey. A run that was killed has no results, and may have no graph.
    Activities that never ended come last, with the outcome CRASHED and the outputs written so far. `last_green` is the
    last green run of the whole project before it, if one was known. `texts` are outputs by the names in their steps, if
    they are not in files. Of a pack, `home` is the directory that the run had, and `word` names the pack in a command.
    Of a run on several machines, `lost` are those that were lost, and `taken_over` says, by journey and node id, in the
    place of which of them others have run something.
    """

    directory: Path
    run: RunRecord
    graph: GraphRecord | None
    activities: tuple[Activity, ...]
    results: Mapping[JourneyId, JourneyResult]
    last_green: Reference | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    word: str = ""
    lost: tuple[LostMachine, ...] = ()
    taken_over: Mapping[str, str] = field(default_factory=dict)


def read_run(directory: Path) -> RecordedRun:
    """Read a run's record, even if the run was killed; raises HarnessError with a message for the user."""
    run = _read(directory / RUN, RunRecord)
    if run is None:
        raise HarnessError(f"{directory} contains no run: there is no {RUN} in it")
    layout = RunDirectory(directory)
    results = _read(directory / RESULTS, tuple[JourneyResult, ...]) or ()
    lines = SharedLog(layout.activities, Activity).unread()
    ended = {one.key for one in lines if not one.begun}
    cut = [one for one in lines if one.begun and one.key not in ended]
    told = {name for one in lines for step in one.steps for name in (step.out, step.err)}
    return RecordedRun(
        directory=directory,
        run=run,
        graph=_read(layout.graph, GraphRecord),
        last_green=_read(layout.last_green, Reference),
        activities=(
            *(one for one in lines if not one.begun),
            *(_cut_short(directory, one, told) for one in cut),
        ),
        results={result.id: result for result in results},
    )


def reference_of(recorded: RecordedRun) -> Reference:
    """Return the reference with which later runs can be compared."""
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


def _cut_short(directory: Path, begun: Activity, told: AbstractSet[str]) -> Activity:
    """Return an activity that never ended as one that was killed, with the outputs of its steps.

    The step that was running may write to a file of an earlier one, which had stayed empty: that is a file of the
    worker with something in it, and none of those that were `told`.
    """
    steps: dict[int, dict[str, str]] = {}
    others: dict[str, Path] = {}
    last = begun.started
    worker = begun.outputs.rstrip("-").rpartition("-")[2]
    for path in sorted(directory.glob(f"{OUTPUTS}/*-{glob.escape(worker)}-*")) if worker else ():
        name, found = path.relative_to(directory).as_posix(), _OUTPUT.search(path.name)
        if found is None or path.is_symlink() or name in told or not path.stat().st_size:
            continue
        if name.startswith(begun.outputs):
            steps.setdefault(int(found[1]), {})[found[2]] = name
        elif found[2] not in others or others[found[2]].stat().st_mtime < path.stat().st_mtime:
            others[found[2]] = path
        last = max(last, path.stat().st_mtime)
    for stream, path in others.items():
        steps.setdefault(max(steps, default=0) + 1, {})[stream] = path.relative_to(directory).as_posix()
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
"""The end of an output's file name: the number of its step, and which output it is."""


def _read(path: Path, kind: type[T]) -> T | None:
    """Read a file of the record; None if there is none. Raises HarnessError if a newer version has written it."""
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
        pass  # `read_as` reports it
    return read_as(path, kind)
