"""Remembers in pytest's cache how long items took, for the next run's plan."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.session.durations import CACHE_KEY, read_committed, sane


class Timekeeper:
    """The plugin that tells workers how long items took; for the process that leads the run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._handed_over: bytes | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse a broken file of durations here: a worker that met it could only die of it."""
        committed_durations(self._config)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        """Give all workers the same durations: another run may write to the cache before the last of them starts."""
        if self._handed_over is None:
            self._handed_over = msgspec.json.encode(seen_durations(self._config))
        node.workerinput[CACHE_KEY] = self._handed_over


class Stopwatch:
    """The plugin that adds up set-up, call and tear-down of each item, where journeys are among them.

    What was not measured is not remembered: a deferred journey takes no time, and says nothing of the next run's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._spent: dict[str, float] = defaultdict(float)
        self._measured: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":  # the first time, or again: the last attempt counts
            self._spent[report.nodeid] = 0.0
            self._measured.discard(report.nodeid)
        self._spent[report.nodeid] += report.duration
        if report.when == "call" and not report.skipped:
            self._measured.add(report.nodeid)
        carried = getattr(report, "dogfood", None)
        if carried is not None:
            result = JourneyResult.from_json(carried)
            self._spent[report.nodeid] = result.own_seconds(self._spent[report.nodeid])
            if not result.outcome.measured:
                self._measured.discard(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self._config, "cache", None)
        seconds = {nodeid: spent for nodeid, spent in self._spent.items() if nodeid in self._measured}
        if cache is not None and seconds:
            cache.set(CACHE_KEY, {**seen_durations(self._config), **seconds})


def seen_durations(config: pytest.Config) -> dict[str, float]:
    """Give what the last runs on this machine have taken, by node id; empty without pytest's cache."""
    handed_over = getattr(config, "workerinput", {}).get(CACHE_KEY)
    if handed_over is not None:
        return msgspec.json.decode(handed_over, type=dict[str, float])
    cache = getattr(config, "cache", None)
    if cache is None:
        return {}
    try:
        return sane(cache.get(CACHE_KEY, {}))
    except RecursionError:  # pytest takes care of all other content that is no JSON
        return {}


def committed_durations(config: pytest.Config) -> dict[str, float]:
    """Give the durations that are committed with the project; raises pytest.UsageError for a broken file."""
    try:
        return read_committed(config.rootpath)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
