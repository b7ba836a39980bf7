"""The controller's side of a distributed run: gives xdist our scheduler and corrects the exit status.

xdist exits with status 0 after some problems: items that were not run because too many workers died, a worker that
died between two items, an internal error of a worker at its end. Here they are reported, and the run fails.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from typing import Any, NoReturn

import pytest

from pytest_dogfood.collection.exceptions import was_stopped
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.execution.interruption import SignalHandlers
from pytest_dogfood.xdist.barrier import LATE_ERROR
from pytest_dogfood.xdist.scheduler import DogfoodScheduler, JobSource, Worker

MOST_LISTED = 20


def _interrupt(number: int, _: object) -> NoReturn:
    raise pytest.Session.Interrupted(f"by {signal.Signals(number).name}, before anything was run")


class ControllerPlugin:
    """A plugin for the controller of a run under xdist; register it in `pytest_configure`."""

    def __init__(self, config: pytest.Config, source: JobSource) -> None:
        self.scheduler = DogfoodScheduler(config, source, workers=0)
        self._session: pytest.Session | None = None
        self._internal_error = False
        self._problems: list[str] = []
        self._while_workers_collect = SignalHandlers(_interrupt)
        self._lanes: dict[str, str] = {}
        self._free_lanes: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """End the run on SIGTERM and SIGHUP as on Ctrl-C, so that the workers, which still collect, end with it."""
        self._while_workers_collect.install(leave=(signal.SIGINT,))
        try:
            return (yield)
        finally:
            self._while_workers_collect.restore()

    def end_collection(self) -> None:
        """Stop handling signals: items may run from now on."""
        self._while_workers_collect.restore()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        self.scheduler.workers = len(specs)

    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        """Let a worker that takes the place of one that died go on in its lane of the run's record."""
        lane = self._free_lanes.pop(0) if self._free_lanes else node.gateway.id
        node.workerinput["dogfood_lane"] = self._lanes[node.gateway.id] = lane

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self) -> DogfoodScheduler:
        return self.scheduler

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.scheduler.mark_started(nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Called three times for each item, so it looks closer only where something may be to do.
        if report.when != "setup" and not report.failed:
            return
        # Reports that some plugin makes on the controller carry no node.
        worker: Worker | None = getattr(report, "node", None)
        if worker is None:
            return
        if report.when == "setup":
            self.scheduler.check_order(report.nodeid, worker.gateway.id)
        # xdist does not count crashes towards -x and --maxfail, pytest's own session does.
        if self._session is not None and self._session.shouldfail:
            self.scheduler.abort()

    @pytest.hookimpl(tryfirst=True)
    def pytest_testnodedown(self, node: Worker, error: object | None) -> None:
        late_error = getattr(node, "workeroutput", {}).get(LATE_ERROR)
        if late_error:
            self._problems.append(f"worker {node.gateway.id} could not end properly: {late_error}")
        if error is not None:
            self._free_lanes.append(self._lanes.get(node.gateway.id, node.gateway.id))
        if error is not None and self.scheduler.is_between_items(node):
            self._problems.append(f"worker {node.gateway.id} died between two items: {error}")

    def pytest_internalerror(self) -> None:
        self._internal_error = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        looks_harmless = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        if self._internal_error and session.exitstatus in {*looks_harmless, pytest.ExitCode.TESTS_FAILED}:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif session.exitstatus in looks_harmless and (self._problems or self.scheduler.unfinished()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode
    ) -> None:
        # Of a project that was refused nothing was to run, and the error says so; pytest says why a run was stopped.
        is_expected = exitstatus == pytest.ExitCode.USAGE_ERROR
        is_expected = is_expected or (self._session is not None and was_stopped(self._session))
        unfinished = () if is_expected else self.scheduler.unfinished()
        if not unfinished and not self._problems:
            return
        listed = len(unfinished) if terminalreporter.config.get_verbosity() > 0 else MOST_LISTED
        lines = [*self._problems]
        if unfinished:
            lines.append(f"{counted(len(unfinished), 'item')} did not run to the end:")
            lines += [f"    {node_id}" for node_id in unfinished[:listed]]
        if len(unfinished) > listed:
            lines.append(f"    ... and {len(unfinished) - listed} more (-v lists them all)")
        terminalreporter.section("dogfood: the run is not complete")
        for line in lines:
            terminalreporter.write_line(line)
