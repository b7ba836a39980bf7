"""Writes a shard's manifest when the run is over, however it ended."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.collection.stash import SETTINGS
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Outcome, badness
from pytest_dogfood.report.manifest import ItemRecord, Manifest, manifest_name
from pytest_dogfood.session.leader import Leader
from pytest_dogfood.session.test_reports import result_in
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.files import write_for_others
from pytest_dogfood.storage.journal import Journal, Why


class ManifestWriter:
    """The plugin that keeps every item's last word; for the process that leads a sharded run."""

    def __init__(self, config: pytest.Config, leader: Leader, shard: Shard, path: str | None) -> None:
        self._config = config
        self._leader = leader
        self._shard = shard
        self._path = config.rootpath / (path or manifest_name(shard))
        self._items: dict[str, ItemRecord] = {}
        self._uncollected: dict[str, str] = {}
        self._problem = ""
        self._written = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Remove the manifest of an earlier run, so that it is not taken for the one of this run."""
        if self._leader.executes:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise pytest.UsageError(f"cannot replace {self._path}: {error.strerror}") from error

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._uncollected[report.nodeid] = _clean(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        fresh = ItemRecord(nodeid=report.nodeid, outcome=Outcome.PASSED)
        known = self._items.get(report.nodeid, fresh)
        # An item that is run again counts as its last attempt, as it does for pytest's exit status.
        before = fresh if report.when == "setup" else known
        text = before.text
        if report.failed or report.skipped:
            said = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext
            text = "\n\n".join(filter(None, [before.text, _clean(said)]))
        properties = tuple((_clean(str(name)), _clean(str(value))) for name, value in report.user_properties)
        self._items[report.nodeid] = ItemRecord(
            nodeid=report.nodeid,
            outcome=_outcome(report, before.outcome),
            seconds=before.seconds + max(report.duration, 0.0),
            text=text,
            message=before.message or _clean(_message(report)),
            properties=properties or known.properties,
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        expected, records = self._leader.expected, self._leader.records
        if expected is None or records is None:
            return
        replayed: dict[JourneyId, Outcome] = {}
        for entry in Journal(records).ends(Why.REPLAY):
            # What a declared blocker kept from running has come to nothing: as a gate it is open, here as elsewhere.
            if entry.outcome is not None and not (entry.cause is not None and entry.cause.blocked):
                worst = max(entry.outcome, replayed.get(entry.journey, entry.outcome), key=badness)
                replayed[entry.journey] = worst
        prerequisites = set(self._leader.prerequisites())
        manifest = Manifest(
            shard=self._shard,
            expected=expected,
            items=tuple(
                replace(one, prerequisite=one.nodeid in prerequisites) for one in self._items.values()
            ),
            results=tuple(self._leader.tally.results.values()),
            replayed=replayed,
            gates=self._leader.tally.gates,
            uncollected=self._uncollected,
            exit_status=int(session.exitstatus),
            min_measured=self._config.stash[SETTINGS].min_measured,
        )
        try:
            write_for_others(self._path, manifest.to_json())
            self._written = True
        except HarnessError as error:
            self._problem = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._problem:
            terminalreporter.write_line(f"dogfood: no manifest for this shard: {self._problem}", red=True)
        elif self._written:
            terminalreporter.write_line(f"dogfood: wrote {self._path}")


def _outcome(report: pytest.TestReport, before: Outcome) -> Outcome:
    """Fold one more report into an item's outcome; what our own items say of themselves has the last word."""
    result = result_in(report)
    if result is not None:
        return result.outcome
    if report.failed:
        return Outcome.FAILED if report.when == "call" or before is Outcome.FAILED else Outcome.ERROR
    if before.is_bad or not (report.skipped or report.when == "call"):
        return before
    if report.skipped:
        return Outcome.XFAILED if hasattr(report, "wasxfail") else Outcome.SKIPPED
    # Whatever a subtest has said before: this is the test itself.
    return Outcome.XPASSED if hasattr(report, "wasxfail") else Outcome.PASSED


def _message(report: pytest.TestReport) -> str:
    """Return what a report says against an item in short, as pytest writes it to JUnit."""
    if not (report.failed or report.skipped):
        return ""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail.removeprefix("reason: "))
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = crash.message if crash is not None else report.longreprtext
    if report.when == "call":
        return str(reason)
    return f'failed on {"teardown" if report.when == "teardown" else "setup"} with "{reason}"'


def _clean(text: str) -> str:
    """Write lone surrogates, as in names that are no UTF-8, in a way that JSON can hold."""
    return text.encode(errors="backslashreplace").decode()
