"""What becomes of the graph's items, heard in the leading process; deferred ones stay among the last failed."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome, Tally, reason_of
from pytest_dogfood.provisioning.release import MachineRelease
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.session.test_reports import PHASES, last_word_after, late_error, properties_of
from pytest_dogfood.storage.run_directory import RunDirectory

if TYPE_CHECKING:
    from pytest_dogfood.session.leader import Leader


class Listener:
    """The plugin that takes results from reports, says which item has finished, and reports those that crashed.

    `keep` holds the paths that somebody will want to look at, `last_report` what was last said of each item.
    """

    def __init__(
        self, config: pytest.Config, plan: Plan, run: RunDirectory, *, tally: Tally, release: MachineRelease
    ) -> None:
        self._config = config
        self._planned = plan.by_nodeid()
        self._run = run
        self._tally = tally
        self._release = release
        self.last_report: dict[str, pytest.TestReport] = {}
        self.keep: set[Path] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        self._note(report)
        yield
        if report.when not in PHASES and report.user_properties:
            self._config.hook.pytest_runtest_logreport(report=last_word_after(report))

    def _note(self, report: pytest.TestReport) -> None:
        carried = getattr(report, "dogfood", None)
        if carried is not None:
            result = JourneyResult.from_json(carried)
            self._tally.add(result)
            self.keep.update(Path(path) for path in result.kept.split(":") if path)
            self.last_report[report.nodeid] = report
        elif report.when not in PHASES:
            self._note_crash(report)

    def _note_crash(self, report: pytest.TestReport) -> None:
        planned = self._planned.get(report.nodeid)
        if planned is None or not report.failed:
            return
        worker = getattr(getattr(getattr(report, "node", None), "gateway", None), "id", "")
        cause = Cause(who=planned.id, why=reason_of(Outcome.CRASHED))
        result = JourneyResult(
            id=planned.id, outcome=Outcome.CRASHED, chain=planned.chain, worker=worker, cause=cause
        )
        self._tally.add(result)
        report.__dict__["dogfood"] = result.to_json()
        report.user_properties = [*report.user_properties, *properties_of(planned, result)]
        self.keep.add(self._run.state_path(planned.number, worker))
        self.finished(report.nodeid)

    def finished(self, nodeid: str) -> None:
        """Count an item as finished, however it ended, and stop the services that nothing needs any more."""
        try:
            self._release.finished(nodeid)
        except HarnessError as error:
            late = late_error(nodeid, f"harness: {error}", self.last_report.get(nodeid))
            self._config.hook.pytest_runtest_logreport(report=late)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count an item of this process as finished after its last rerun: pytest's own hook ends with each attempt."""
        result = yield
        self.finished(item.nodeid)
        return result


KEY = "cache/lastfailed"
"""Where pytest's cache holds the node ids of what has failed."""


class LastFailed:
    """The plugin of the leading process that completes what pytest writes there at the end of a run."""

    def __init__(self, config: pytest.Config, leader: Leader) -> None:
        self._config = config
        self._leader = leader
        self._before: dict[str, bool] = {}

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        self._before = self._read()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Add what was deferred. A declared blocker adds nothing: its dependents stay if they were there before."""
        kept = [
            nodeid
            for nodeid, cause in self._leader.deferred().items()
            if not cause.blocked or nodeid in self._before
        ]
        kept += [nodeid for nodeid in self._leader.uncollected() if nodeid in self._before]
        failed = self._read()
        more = {nodeid: True for nodeid in kept if nodeid not in failed}
        if more and self._cache is not None:
            self._cache.set(KEY, {**failed, **more})

    def _read(self) -> dict[str, bool]:
        found = self._cache.get(KEY, {}) if self._cache is not None else {}
        return found if isinstance(found, dict) else {}

    @property
    def _cache(self) -> pytest.Cache | None:
        return getattr(self._config, "cache", None)  # -p no:cacheprovider leaves it out
