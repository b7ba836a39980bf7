"""What one shard leaves behind for the others: what was expected of all of them, and what became of its part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

import msgspec

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.settings import Shard

VERSION = 1
"""Version of the manifest. 1: the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """One item that ran: how it ended, in how many seconds, and what a report says of it.

    `prerequisite` marks a Python test that ran only because something else of the shard needs it.
    """

    nodeid: str
    outcome: Outcome
    seconds: float = 0.0
    text: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    prerequisite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What all shards together are to run: the shard of every selected item, and the journeys among the items."""

    shards: Mapping[str, int]
    journeys: Mapping[str, JourneyId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one shard knows of the whole, and what it ran.

    `replayed` holds what journeys came to that ran within the set-up of others, gates among them.
    """

    shard: Shard
    expected: Expected
    items: tuple[ItemRecord, ...] = ()
    results: tuple[JourneyResult, ...] = ()
    replayed: Mapping[JourneyId, Outcome] = field(default_factory=dict)
    gates: tuple[JourneyId, ...] = ()
    version: int = VERSION

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, the same on every shard of one run."""
        lines = [
            f"{self.shard.total}",
            *(f"{shard} {nodeid}" for nodeid, shard in sorted(self.expected.shards.items())),
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    def to_json(self) -> bytes:
        content = {**msgspec.to_builtins(self), "digest": self.digest}
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest; raises ValueError with words for the user."""
        try:
            version = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("version")
            if version is not None and msgspec.json.decode(version, type=int) > VERSION:
                raise ValueError("it was written by a newer version of pytest-dogfood: update here")
            return msgspec.json.decode(content, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"it is no manifest of a shard: {error}") from error


def manifest_name(shard: Shard) -> str:
    """Name the file a shard writes where nothing else is said."""
    return f"dogfood-shard-{shard.index}-of-{shard.total}.json"
