"""What one shard leaves behind for the others: what was expected of all of them, and what became of its part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.output import read_tail
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.scheduling.plan import Expected
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.record import Activity, GraphRecord, RecordedRun, Reference, RunRecord

VERSION = 1
"""Version of the manifest. 1: the first."""

LONGEST_TEXT = 4 * 1024
"""Bytes of an output that travel in a manifest, from its end."""

LARGEST = 256 * 2**20
"""Bytes of a manifest that are read: more than a million items, less than what takes a machine's memory."""


class ItemRecord(Struct, frozen=True, kw_only=True):
    """One item that ran: how it ended, in how many seconds, and what a report says of it: `message` in short.

    `prerequisite` marks a Python test that ran only because something else of the shard needs it.
    """

    nodeid: str
    outcome: Outcome
    seconds: float = 0.0
    text: str = ""
    message: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    prerequisite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < float("inf"):
            raise ValueError(f"{self.seconds:g} seconds for {self.nodeid}")


class ShardRecord(Struct, frozen=True, kw_only=True):
    """The record of a shard's run, for a report on all shards: whole for what did not pass, else one short line each.

    `texts` has the ends of outputs by the names that steps give them.
    """

    run: RunRecord
    graph: GraphRecord | None
    activities: tuple[Activity, ...]
    texts: Mapping[str, str]
    last_green: Reference | None = None


def shard_record(recorded: RecordedRun) -> ShardRecord:
    """Return what of a shard's record travels in its manifest."""
    texts: dict[str, str] = {}
    activities = []
    for one in recorded.activities:
        if one.outcome is Outcome.PASSED:
            activities.append(replace(one, steps=(), variables={}, workdir=""))
            continue
        activities.append(one)
        for name in (name for step in one.steps for name in (step.out, step.err) if name):
            with suppress(HarnessError):
                texts[name] = read_tail(recorded.directory / name, LONGEST_TEXT)
    return ShardRecord(
        run=recorded.run,
        graph=recorded.graph,
        activities=tuple(activities),
        texts=texts,
        last_green=recorded.last_green,
    )


def graph_of_all(graphs: Iterable[GraphRecord]) -> GraphRecord | None:
    """Return the graphs of several parts of a run as one; None if there are none."""
    several = list(graphs)
    if not several:
        return None
    return GraphRecord(
        journeys=tuple({one.id: one for graph in several for one in graph.journeys}.values()),
        capabilities=tuple({one.token: one for graph in several for one in graph.capabilities}.values()),
        fixtures={token: name for graph in several for token, name in graph.fixtures.items()},
        digests={name: digest for graph in several for name, digest in graph.digests.items()},
        after={name: before for graph in several for name, before in graph.after.items()},
        states={name: state for graph in several for name, state in graph.states.items()},
    )


class Manifest(Struct, frozen=True, kw_only=True):
    """What one shard knows of the whole, and what it ran.

    `replayed` holds what journeys came to that ran within the set-up of others, gates among them. `uncollected`
    says why, by node id, for what pytest could not collect. `exit_status` is that of pytest; `min_measured` the
    percentage of journeys that must have been measured. `record` is None where it could not be read.
    """

    shard: Shard
    expected: Expected
    items: tuple[ItemRecord, ...] = ()
    results: tuple[JourneyResult, ...] = ()
    replayed: Mapping[JourneyId, Outcome] = field(default_factory=dict)
    gates: tuple[JourneyId, ...] = ()
    uncollected: Mapping[str, str] = field(default_factory=dict)
    exit_status: int = 0
    min_measured: int = 0
    record: ShardRecord | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        strange = {number for number in self.expected.shards.values() if not 1 <= number <= self.shard.total}
        if strange:
            raise ValueError(f"it names shard {min(strange)} of {self.shard.total}")

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, the same on every shard of one run."""
        lines = [
            f"{self.shard.total} {self.expected.graph}",
            *(f"{shard} {nodeid}" for nodeid, shard in sorted(self.expected.shards.items())),
            *(f"{nodeid} {journey}" for nodeid, journey in sorted(self.expected.journeys.items())),
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    def to_json(self) -> bytes:
        content = {**msgspec.to_builtins(self), "digest": self.digest}
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest; raises ValueError with words for the user."""
        if len(content) > LARGEST:
            raise ValueError(f"it is no manifest of a shard: more than {LARGEST // 2**20} MiB")
        try:
            version = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("version")
            if version is not None and msgspec.json.decode(version, type=int) > VERSION:
                raise ValueError("it was written by a newer version of pytest-dogfood: update here")
            return msgspec.json.decode(content, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"it is no manifest of a shard: {error}") from error


def read_manifest(path: Path) -> Manifest:
    """Read a shard's file; raises OSError, or ValueError with words for the user."""
    with path.open("rb") as file:
        return Manifest.from_json(file.read(LARGEST + 1))


def manifest_name(shard: Shard) -> str:
    """Name the file a shard writes where nothing else is said."""
    return f"dogfood-shard-{shard.index}-of-{shard.total}.json"
