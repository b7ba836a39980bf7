"""How long items took: kept in pytest's cache, and committed with the project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import pytest
from msgspec import Struct

from pytest_dogfood.collection.selection import Durations
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.session.test_reports import result_in
from pytest_dogfood.storage.files import read_as, write_for_others

CACHE_KEY = "dogfood/durations"
COPIES_KEY = "dogfood/copies"
COMMITTED = "dogfood-durations.json"
"""Name of the committed file, in the rootdir."""

VERSION = 1
"""Version of the committed file. 1: node ids and seconds."""

LONGEST = 7 * 24 * 3600.0
"""Seconds. A larger number is not taken for a duration: it would outweigh all others in a sum."""


class _File(Struct):
    version: int
    durations: dict[str, float]


def read_durations(path: Path) -> dict[str, float]:
    """Read a file of durations; empty if there is none. Raises HarnessError for an invalid file."""
    file = read_as(path, _File)
    if file is None:
        return {}
    if file.version > VERSION:
        raise HarnessError(f"{path} has version {file.version}; this version reads up to {VERSION}")
    for nodeid, seconds in file.durations.items():
        if not _is_duration(seconds):
            raise HarnessError(f"{path}: {seconds:g} seconds for {nodeid} is not a duration")
    return file.durations


def write_durations(path: Path, durations: Mapping[str, float], *, known: Collection[str] = ()) -> None:
    """Write a durations file to commit: one line per node id, in their order, so that changes are easy to read.

    The file's old durations of `known` node ids stay unless `durations` has new ones.
    """
    old = read_durations(path) if known else {}
    everything = {**{nodeid: old[nodeid] for nodeid in known if nodeid in old}, **durations}
    content = _File(VERSION, {nodeid: round(everything[nodeid], 3) for nodeid in sorted(everything)})
    write_for_others(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def valid_durations(cached: Any) -> dict[str, float]:  # noqa: ANN401 - whatever pytest's cache has kept
    """Return the durations in a value from pytest's cache, without those that cannot be durations."""
    if not isinstance(cached, dict):
        return {}
    return {str(nodeid): float(seconds) for nodeid, seconds in cached.items() if _is_duration(seconds)}


def _is_duration(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST


class DurationsRecorder:
    """The plugin that adds up set-up, call and tear-down of each item of a run with journeys.

    Only measured items are recorded: a deferred journey takes no time, and the next run may not defer it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._spent: dict[str, float] = defaultdict(float)
        self._measured: set[str] = set()
        self._copying: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":  # the first time, or again: the last attempt counts
            self._spent[report.nodeid] = 0.0
            self._measured.discard(report.nodeid)
        self._spent[report.nodeid] += report.duration
        if report.when == "call" and not report.skipped:
            self._measured.add(report.nodeid)
        result = result_in(report)
        if result is not None:
            self._spent[report.nodeid] = result.own_seconds(self._spent[report.nodeid])
            self._copying[report.nodeid] = sum(one.seconds for one in result.copies)
            if not result.outcome.measured:
                self._measured.discard(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self._config, "cache", None)
        seconds = {nodeid: spent for nodeid, spent in self._spent.items() if nodeid in self._measured}
        if cache is not None and seconds:
            cache.set(CACHE_KEY, {**seen_durations(self._config), **seconds})
            known = seen_copies(self._config)
            copies = {nodeid: spent for nodeid, spent in self._copying.items() if nodeid in self._measured}
            if known or any(copies.values()):
                cache.set(COPIES_KEY, {one: spent for one, spent in {**known, **copies}.items() if spent})


def seen_durations(config: pytest.Config) -> dict[str, float]:
    """Return how long items took in the last runs on this machine, by node id; empty without pytest's cache."""
    handed_over = getattr(config, "workerinput", {}).get(CACHE_KEY)
    if handed_over is not None:
        return msgspec.json.decode(handed_over, type=dict[str, float])
    return _cached(config, CACHE_KEY)


def seen_copies(config: pytest.Config) -> dict[str, float]:
    """Return how long it took in the last runs on this machine to copy the state that an item began with."""
    return _cached(config, COPIES_KEY)


def _cached(config: pytest.Config, key: str) -> dict[str, float]:
    cache = getattr(config, "cache", None)
    if cache is None:
        return {}
    try:
        return valid_durations(cache.get(key, {}))
    except RecursionError:  # pytest itself ignores all other content that is not JSON
        return {}


def known_durations(config: pytest.Config) -> Durations:
    """Return all durations known when a run is planned; raises pytest.UsageError for an invalid committed file."""
    try:
        committed = read_durations(config.rootpath / COMMITTED)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    return Durations(seen=seen_durations(config), committed=committed)
