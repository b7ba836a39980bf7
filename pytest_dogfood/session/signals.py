"""The signals that end a run, as the leading process and the workers handle them."""

from __future__ import annotations

import _thread
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from msgspec import Struct, field

from pytest_dogfood.collection.exceptions import (
    INTERRUPTION_MARK,
    ending_of,
    interruption_of,
    reason_of_interruption,
)
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.interruption import (
    CLEANUP_SECONDS,
    Abandoned,
    Interrupted,
    Interruption,
    SignalHandlers,
    ToDebugger,
    place_in_project,
)
from pytest_dogfood.execution.watcher import end_processes
from pytest_dogfood.outcomes import INTERRUPTED, Cause, JourneyResult, Outcome, listed
from pytest_dogfood.provisioning.workspace import run_marker
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.session.test_reports import (
    IN_CALL,
    PHASES,
    REASON,
    carry_result,
    count_as_error,
    make_report,
)
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.run_directory import RunDirectory, WorkerProcesses, WorkerSignalFiles


class InterruptedItems:
    """Ends a running item with an error when a signal comes, so that pytest tears it down and reports it.

    Set-up and call can be interrupted at any point. A tear-down goes on, and after it nothing is run.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        def stop() -> None:
            session.shouldstop = f"interrupted by {self._interruption.name}"

        self._interruption.callbacks.append(stop)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Skip items that had not begun before the signal: xdist's worker checks `shouldstop` only after an item."""
        return True if self._interruption.signalled else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        interruption = self._interruption
        try:
            interruption.item = item.nodeid
            with interruption.operation(item.name), interruption.interruptible():
                return (yield)
        except Interrupted:
            interruption.handled = True
            report = interruption.report or f"interrupted by {interruption.name}: {item.name}: not begun"
        raise interruption_of(report)

    pytest_runtest_call = pytest_runtest_setup  # pytest registers each name as a hook of its own

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        with self._interruption.operation(item.name):
            return (yield)

    # pytest registers only functions whose names begin with `pytest_` as hooks.
    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_setup")
    def pytest_refuse_setup(self) -> None:
        """Set nothing up after a signal. Wrappers of other plugins have run by now, as their tear-down expects."""
        self._interruption.check()

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_call")
    def pytest_refuse_call(self) -> None:
        self._interruption.check()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report an interrupted item as an error, whatever its marks expect."""
        report = yield
        ending = ending_of(call.excinfo and call.excinfo.value)
        if call.excinfo is not None and ending.by_signal:
            report.outcome, report.longrepr = "failed", str(call.excinfo.value)
            count_as_error(report)
            report.__dict__.pop("wasxfail", None)
            report.__dict__ |= {INTERRUPTION_MARK: True, REASON: ending.reason}
        return report

    def pytest_enter_pdb(self) -> None:
        """Leave Ctrl-C at the debugger's prompt to the debugger."""
        self._interruption.debugging = True

    def pytest_leave_pdb(self) -> None:
        self._interruption.debugging = False


@contextmanager
def at_the_keyboard(config: pytest.Config, interruption: Interruption) -> Iterator[None]:
    """Let all plugins know that a person is at work, as in the debugger, so that no time limit ends that.

    Ctrl-C does not come here, because it goes to what is in the foreground. Other signals are meant for the run.
    """
    config.hook.pytest_enter_pdb(config=config, pdb=None)
    interruption.debugging = False
    try:
        yield
    finally:
        config.hook.pytest_leave_pdb(config=config, pdb=None)


class WorkerSignals:
    """Handles signals in an xdist worker, and writes what they interrupted to files for the controller."""

    def __init__(self, config: pytest.Config, interruption: Interruption, run: RunDirectory) -> None:
        self._rootdir = config.rootpath
        self._interruption = interruption
        worker: str = config.workerinput["workerid"]  # type: ignore[attr-defined] # xdist documents it
        self._files = WorkerSignalFiles(run.interrupted, worker)
        self._handlers = SignalHandlers(self._answer)
        interruption.callbacks.append(self._write_down)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        self._handlers.install()
        self._files.begin()
        try:
            return (yield)
        finally:
            # The handlers stay: a second or late signal must not end the clean-up after the loop.
            self._files.end()
            if self._interruption.cut:
                with suppress(HarnessError):
                    self._files.write_cut(self._interruption.cut)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        if self._interruption.signalled:
            self._files.end()
        return (yield)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self._interruption.note_signal(number, place_in_project(frame, self._rootdir))

    def _write_down(self) -> None:
        """Write down what was running, in case this process is killed before it can report that itself."""
        if self._interruption.report:
            with suppress(HarnessError):
                self._files.write_interrupted(self._interruption.item, self._interruption.report)


SECONDS_TO_COALESCE = 0.5
"""Seconds within which signals count as one: a terminal, `timeout` and CI systems send one to several processes."""

SECONDS_UNTIL_REPEATED = 1.0
"""Seconds after which a signal is repeated to processes that have not handled it yet."""


class UnfinishedItem(Struct):
    """An item that has begun and not ended, and its reports so far."""

    location: tuple[str, int | None, str]
    at: float = field(default_factory=time.monotonic)
    reports: list[pytest.TestReport] = field(default_factory=list)

    @property
    def has_reported_failure(self) -> bool:
        """Whether its reports are complete and include a failure, so that an aborted release need not add one."""
        return any(one.failed for one in self.reports) and any(one.when == "teardown" for one in self.reports)


class LeaderSignals:
    """Handles signals: the first interrupts, the second gives up clean-up, the third ends the process at once.

    It does so as soon as it is created. Under --pdb Ctrl-C leads into the debugger, as in pytest. `distributed` means
    that xdist's workers run the items; else this process does.
    """

    def __init__(
        self,
        config: pytest.Config,
        plan: Plan,
        run: RunDirectory,
        interruption: Interruption,
        *,
        distributed: bool,
    ) -> None:
        self._config = config
        self._planned = plan.by_nodeid()
        self._run = run
        self._interruption = interruption
        self._distributed = distributed
        self._workers = WorkerProcesses(run.interrupted)
        self._handlers = SignalHandlers(self._answer)
        self._count = 0
        self._last = 0.0
        self._repeating = False
        self._over = False
        self._begun: dict[str, UnfinishedItem] = {}
        self._releasing: dict[str, UnfinishedItem] = {}
        self._crashed: set[str] = set()
        self._interrupted: dict[str, None] = {}
        self._handlers.install()

    def end(self, release: Callable[[], None]) -> None:
        """Release what the run holds, unless a second signal forbids it, and report what was interrupted.

        Raises pytest's Interrupted if a signal has come.
        """
        try:
            if not self._interruption.abandoned:
                release()
        except Abandoned:
            pass
        self._over = True
        # Not before the reports are written: a signal that comes meanwhile must not leave half of them.
        self._config.add_cleanup(self._handlers.restore)
        if not self._interruption.signalled:
            return
        if self._interruption.abandoned:
            self._workers.kill()
            end_processes(run_marker(self._run.id), grace=0)
        self._report_unended_items()
        raise pytest.Session.Interrupted(f"by {self._interruption.name}")

    def _answer(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if self._repeating:
            self._repeating = False
            self._interruption.note_signal(number)
            return
        if self._interruption.debugging:
            raise KeyboardInterrupt
        if number == signal.SIGINT and self._config.getoption("usepdb", False):
            where = place_in_project(frame, self._config.rootpath)
            raise ToDebugger(self._interruption.describe(number, time.monotonic(), where))
        if self._count and time.monotonic() - self._last <= SECONDS_TO_COALESCE:
            return
        self._count += 1
        self._last = time.monotonic()
        if self._over and not self._interruption.signalled and self._count < 3:
            return  # everything has run and is released: only the reports are left
        if self._count == 1:
            # Not by `threading`, which may hold one of its locks now; and not earlier, as a thread makes forks unsafe.
            _thread.start_new_thread(self._repeat, (number,))
            self._workers.signal(number)
            self._interruption.note_signal(number, place_in_project(frame, self._config.rootpath))
        elif self._count == 2:
            self._interruption.abandoned = True
            self._workers.kill()
            if not self._over:
                raise Abandoned
        else:  # end at once, as if the signal had no handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def pytest_leave_pdb(self) -> None:
        """Handle Ctrl-C again: after `continue` pdb handles it, and would open at any line, even in this package."""
        if self._config.getoption("usepdb", False):
            self._handlers.install_again(signal.SIGINT)

    def _repeat(self, number: int) -> None:
        """Send the signal again to whatever still runs: some code swallows exceptions."""
        while True:
            time.sleep(SECONDS_UNTIL_REPEATED)
            if self._over or self._interruption.abandoned:
                return
            if self._distributed:
                self._workers.signal(number)
            elif self._interruption.wants_to_raise:
                self._repeating = True
                os.kill(os.getpid(), number)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._begun[nodeid] = UnfinishedItem(location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in PHASES:
            self._begun.pop(report.nodeid, None)  # its worker has died, and xdist says so
            self._crashed.add(report.nodeid)
        elif report.nodeid in self._begun:
            self._begun[report.nodeid].reports.append(report)
        if hasattr(report, INTERRUPTION_MARK):
            self._interrupted[report.nodeid] = None

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        begun = self._begun.pop(nodeid, None)
        if begun is not None and nodeid in self._planned and not begun.has_reported_failure:
            # The tokens that only this item kept alive are released after this.
            self._releasing[nodeid] = UnfinishedItem(begun.location, begun.at, begun.reports[-1:])

    def _report_unended_items(self) -> None:
        """Report each item that has begun and never ended, because its process was killed."""
        interruption = self._interruption
        met = {interruption.item: interruption.report} if interruption.report else {}
        with suppress(HarnessError):
            interruption.cut += self._workers.cut_steps()
            met |= self._workers.interrupted()
        journal = Journal(self._run.records)
        unended = dict(self._begun)
        for nodeid, planned in self._planned.items():
            if nodeid not in unended and nodeid not in self._crashed and journal.is_under_way(planned.id):
                unknown = UnfinishedItem((nodeid.partition("::")[0], None, str(planned.id)))
                unended[nodeid] = self._releasing.get(nodeid, unknown)
        for nodeid, item in unended.items():
            if item.has_reported_failure:
                continue
            seconds = time.monotonic() - item.at
            said = met.get(nodeid) or f"interrupted by {interruption.name} after {seconds:.1f} s"
            reports = reports_of_interrupted(nodeid, item, said)
            if nodeid in self._planned:
                planned = self._planned[nodeid]
                failed = any(one.failed and one.when == "call" for one in item.reports)
                result = JourneyResult(
                    id=planned.id,
                    outcome=Outcome.FAILED if failed else Outcome.ERROR,
                    chain=planned.chain,
                    cause=None if failed else Cause(who=planned.id, why=INTERRUPTED),
                )
                carry_result(reports[-1], planned, result)
            for report in reports:
                self._config.hook.pytest_runtest_logreport(report=report)

    def summary(self) -> Iterator[str]:
        """Yield lines that describe how signals ended the run; none if no signal has come."""
        if not self._interruption.signalled:
            return
        names = listed(self._interrupted) or "nothing was running that could be interrupted"
        yield f"interrupted by {self._interruption.name}: {names}"
        for step in self._interruption.cut:
            yield f"cut after {CLEANUP_SECONDS:g} s: {step}"
        if self._interruption.abandoned:
            yield "a second signal came: steps were killed, and nothing more was cleaned up or released"


def reports_of_interrupted(nodeid: str, item: UnfinishedItem, said: str) -> list[pytest.TestReport]:
    """Return the missing reports of an item whose process was killed, to follow those that have come.

    If no error or failure was reported yet, one of them describes the interruption: the tear-down if the item was
    called already, else a set-up before the tear-down.
    """
    known: dict[str, Any] = {}
    if item.reports and hasattr(item.reports[-1], "node"):
        known["node"] = item.reports[-1].node  # by which JUnit tells items of one name from each other
    interrupted = {**known, INTERRUPTION_MARK: True, REASON: reason_of_interruption(said)}
    end = make_report(nodeid, item.location, **known)
    if any(one.failed for one in item.reports):
        return [end]
    if any(one.when in {"call", "teardown"} for one in item.reports):
        return [make_report(nodeid, item.location, said, **interrupted)]
    if item.reports:  # its set-up has passed
        interrupted[IN_CALL] = True
    return [make_report(nodeid, item.location, said, when="setup", **interrupted), end]
