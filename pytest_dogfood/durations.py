"""How long journeys take: as seen in the last run, as estimated, or as committed with the project."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Journey
from pytest_dogfood.planning import UNKNOWN_DURATION
from pytest_dogfood.storage import read_as
from pytest_dogfood.storage import write_whole

CACHE_KEY = "dogfood/durations"
COMMITTED = "dogfood-durations.json"
"""Name of the committed file, in the rootdir."""

VERSION = 1
"""Version of the committed file. 1: node ids and seconds."""


class _File(msgspec.Struct):
    version: int
    durations: dict[str, float]


def weights(
    journeys: Iterable[Journey], *, seen: Mapping[str, float], committed: Mapping[str, float]
) -> dict[str, float]:
    """Give each node id a weight in seconds: seen, else estimated, else committed, else the median of the known.

    While nothing is known each weighs the same, so that the longest path is counted in hops.
    """
    found: dict[str, float] = {}
    unknown: list[str] = []
    for journey in journeys:
        known = seen.get(journey.nodeid, journey.estimate)
        known = committed.get(journey.nodeid) if known is None else known
        if known is None:
            unknown.append(journey.nodeid)
        else:
            found[journey.nodeid] = known
    usual = median(found.values()) if found else UNKNOWN_DURATION
    return {**found, **dict.fromkeys(unknown, usual)}


def read_committed(rootdir: Path) -> dict[str, float]:
    """Read the committed durations; empty if there are none. Raises HarnessError for a file that makes no sense."""
    file = read_as(rootdir / COMMITTED, _File)
    if file is None:
        return {}
    if file.version > VERSION:
        raise HarnessError(
            f"{rootdir / COMMITTED} has version {file.version}; this version reads up to {VERSION}"
        )
    return {nodeid: seconds for nodeid, seconds in file.durations.items() if 0 <= seconds < float("inf")}


def write_durations(path: Path, durations: Mapping[str, float]) -> None:
    """Write a durations file to commit: one line per node id, in their order, so that changes are easy to read."""
    content = {"version": VERSION, "durations": {key: round(durations[key], 3) for key in sorted(durations)}}
    write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def sane(cached: Any) -> dict[str, float]:  # noqa: ANN401 - whatever pytest's cache has kept
    """Take what pytest's cache holds, leaving out what cannot be a duration."""
    if not isinstance(cached, dict):
        return {}
    return {
        str(nodeid): float(seconds)
        for nodeid, seconds in cached.items()
        if isinstance(seconds, int | float) and 0 <= seconds < float("inf")
    }
