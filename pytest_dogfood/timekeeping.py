"""Remembers in pytest's cache how long items took, for the next run's plan."""

from __future__ import annotations

from collections import defaultdict

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.durations import CACHE_KEY
from pytest_dogfood.durations import read_committed
from pytest_dogfood.durations import sane


class Timekeeper:
    """The plugin that adds up set-up, call and tear-down of each item; for the process that leads the run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self._config, "cache", None)
        if cache is not None and self.seconds:
            cache.set(CACHE_KEY, {**seen_durations(self._config), **self.seconds})


def seen_durations(config: pytest.Config) -> dict[str, float]:
    """Give what the last runs on this machine have taken, by node id; empty without pytest's cache."""
    cache = getattr(config, "cache", None)
    return sane(cache.get(CACHE_KEY, {})) if cache is not None else {}


def committed_durations(config: pytest.Config) -> dict[str, float]:
    """Give the durations that are committed with the project; raises pytest.UsageError for a broken file."""
    try:
        return read_committed(config.rootpath)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
