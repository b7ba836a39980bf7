"""Writes a shard's manifest when the run is over, however it ended."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.collection.stash import SETTINGS
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.report.manifest import ItemRecord, Manifest, manifest_name
from pytest_dogfood.session.leader import Leader
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.files import write_for_others


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
        """Remove what an earlier run has left: nobody shall take it for the manifest of this one."""
        if self._leader.executes:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise pytest.UsageError(f"cannot replace {self._path}: {error.strerror}") from error

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._uncollected[report.nodeid] = _clean(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = self._items.get(report.nodeid)
        properties = tuple((_clean(str(name)), _clean(str(value))) for name, value in report.user_properties)
        # An item that is run again counts as its last attempt, as it does for pytest's exit status.
        before = known.seconds if known is not None and report.when != "setup" else 0.0
        self._items[report.nodeid] = ItemRecord(
            nodeid=report.nodeid,
            outcome=_outcome(report, known),
            seconds=before + max(report.duration, 0.0),
            text=_text(report, known),
            message=_message(report, known),
            properties=properties or (known.properties if known else ()),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        expected = self._leader.expected
        if expected is None or not self._leader.executes:
            return
        prerequisites = set(self._leader.prerequisites())
        manifest = Manifest(
            shard=self._shard,
            expected=expected,
            items=tuple(
                replace(item, prerequisite=item.nodeid in prerequisites) for item in self._items.values()
            ),
            results=tuple(self._leader.tally.results.values()),
            replayed=self._leader.replayed(),
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


def _outcome(report: pytest.TestReport, known: ItemRecord | None) -> Outcome:
    """Fold one more report into an item's outcome; what our own items say of themselves has the last word."""
    carried = getattr(report, "dogfood", None)
    if carried is not None:
        return JourneyResult.from_json(carried).outcome
    before = known.outcome if known is not None and report.when != "setup" else Outcome.PASSED
    if report.failed:
        return Outcome.FAILED if report.when == "call" or before is Outcome.FAILED else Outcome.ERROR
    if report.skipped:
        return before if before.is_bad else _skipped(report)
    if report.when == "call" and not before.is_bad:
        # Whatever a subtest has said before: this is the test itself.
        return Outcome.XPASSED if hasattr(report, "wasxfail") else Outcome.PASSED
    return before


def _skipped(report: pytest.TestReport) -> Outcome:
    return Outcome.XFAILED if hasattr(report, "wasxfail") else Outcome.SKIPPED


def _text(report: pytest.TestReport, known: ItemRecord | None) -> str:
    """Return everything that was said against an item, its call and its teardown."""
    before = known.text if known is not None and report.when != "setup" else ""
    if not (report.failed or report.skipped):
        return before
    said = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext
    return "\n\n".join(filter(None, [before, _clean(said)]))


def _message(report: pytest.TestReport, known: ItemRecord | None) -> str:
    """Return the first that was said against an item in short, as pytest writes it to JUnit."""
    before = known.message if known is not None and report.when != "setup" else ""
    if before or not (report.failed or report.skipped):
        return before
    if hasattr(report, "wasxfail"):
        return _clean(report.wasxfail.removeprefix("reason: "))
    if isinstance(report.longrepr, tuple):
        return _clean(report.longrepr[2].removeprefix("Skipped: "))
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = crash.message if crash is not None else report.longreprtext
    if report.when == "call":
        return _clean(reason)
    return _clean(f'failed on {"teardown" if report.when == "teardown" else "setup"} with "{reason}"')


def _clean(text: str) -> str:
    """Write lone surrogates, as in names that are no UTF-8, in a way that JSON can hold."""
    return text.encode(errors="backslashreplace").decode()
