"""Writes a shard's manifest when the run is over."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.leading import Leading
from pytest_dogfood.manifest import ItemRecord
from pytest_dogfood.manifest import Manifest
from pytest_dogfood.manifest import manifest_name
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage import write_whole


class ManifestWriter:
    """The plugin that keeps every item's last word; for the process that leads a sharded run."""

    def __init__(self, config: pytest.Config, leading: Leading, shard: Shard, path: str | None) -> None:
        self._leading = leading
        self._shard = shard
        self._path = config.rootpath / (path or manifest_name(shard))
        self._items: dict[str, ItemRecord] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        known = self._items.get(report.nodeid)
        outcome = _outcome(report, known)
        failed = report.failed or report.skipped
        properties = [(str(name), str(value)) for name, value in report.user_properties]
        self._items[report.nodeid] = ItemRecord(
            nodeid=report.nodeid,
            outcome=outcome,
            seconds=self._seconds[report.nodeid],
            text=_text(report) if failed else (known.text if known else ""),
            properties=tuple(properties) or (known.properties if known else ()),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        expected = self._leading.expected
        if expected is None:
            return
        prerequisites = set(self._leading.prerequisites())
        manifest = Manifest(
            shard=self._shard,
            expected=expected,
            items=tuple(
                ItemRecord(
                    nodeid=item.nodeid,
                    outcome=item.outcome,
                    seconds=item.seconds,
                    text=item.text,
                    properties=item.properties,
                    prerequisite=item.nodeid in prerequisites,
                )
                for item in self._items.values()
            ),
            results=tuple(self._leading.tally.results.values()),
            replayed=self._leading.replayed(),
            gates=self._leading.tally.gates,
        )
        try:
            write_whole(self._path, manifest.to_json())
        except HarnessError as error:
            self._problem = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._problem:
            terminalreporter.write_line(f"dogfood: no manifest for this shard: {self._problem}", red=True)
        elif Path(self._path).exists():
            terminalreporter.write_line(f"dogfood: wrote {self._path}")


def _outcome(report: pytest.TestReport, known: ItemRecord | None) -> Outcome:
    """Fold one more report into an item's outcome; what our own items say of themselves has the last word."""
    carried = getattr(report, "dogfood", None)
    if carried is not None:
        return JourneyResult.from_json(carried).outcome
    if report.failed:
        return Outcome.FAILED if report.when == "call" else Outcome.ERROR
    if report.skipped:
        return Outcome.XFAILED if hasattr(report, "wasxfail") else Outcome.SKIPPED
    return known.outcome if known is not None else Outcome.PASSED


def _text(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return report.longreprtext
