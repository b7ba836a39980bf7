"""How long journeys take: as seen in the last run, as estimated, or as committed with the project."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.files import read_as, write_for_others

CACHE_KEY = "dogfood/durations"
COMMITTED = "dogfood-durations.json"
"""Name of the committed file, in the rootdir."""

VERSION = 1
"""Version of the committed file. 1: node ids and seconds."""

LONGEST = 7 * 24 * 3600.0
"""Seconds beyond which a number is no duration, and would drown all others in a sum."""


class _File(Struct):
    version: int
    durations: dict[str, float]


def read_committed(rootdir: Path) -> dict[str, float]:
    """Read the committed durations; empty if there are none. Raises HarnessError for a file that makes no sense."""
    return read_durations(rootdir / COMMITTED)


def read_durations(path: Path) -> dict[str, float]:
    """Read a durations file, whatever its name, as `read_committed` does."""
    file = read_as(path, _File)
    if file is None:
        return {}
    if file.version > VERSION:
        raise HarnessError(f"{path} has version {file.version}; this version reads up to {VERSION}")
    for nodeid, seconds in file.durations.items():
        if not _is_duration(seconds):
            raise HarnessError(f"{path}: {seconds:g} seconds for {nodeid} is no duration")
    return file.durations


def write_durations(path: Path, durations: Mapping[str, float], *, known: Collection[str] = ()) -> None:
    """Write a durations file to commit: one line per node id, in their order, so that changes are easy to read.

    What the file has said of `known` node ids stays where there is nothing new.
    """
    old = read_durations(path) if known else {}
    everything = {**{nodeid: old[nodeid] for nodeid in known if nodeid in old}, **durations}
    rounded = {nodeid: round(everything[nodeid], 3) for nodeid in sorted(everything)}
    content = {"version": VERSION, "durations": rounded}
    write_for_others(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def sane(cached: Any) -> dict[str, float]:  # noqa: ANN401 - whatever pytest's cache has kept
    """Take what pytest's cache holds, leaving out what cannot be a duration."""
    if not isinstance(cached, dict):
        return {}
    return {str(nodeid): float(seconds) for nodeid, seconds in cached.items() if _is_duration(seconds)}


def _is_duration(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST
