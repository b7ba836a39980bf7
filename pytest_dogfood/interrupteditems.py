"""The hooks around an item that a signal may interrupt, in the process that runs it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from types import FrameType

import pytest

from pytest_dogfood.collection.exceptions import INTERRUPTION_MARK, interruption_of, is_interruption
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.interruption import Interrupted, Interruption, SignalHandlers, place_in_project
from pytest_dogfood.storage.run_directory import RunDirectory
from pytest_dogfood.storage.signal_files import Met, Reachable, write_cut, write_met


class InterruptedItems:
    """Ends a running item for a signal, as an item that has an error, so that pytest tears it down and reports it.

    Set-up and call can be interrupted, whatever runs in them. A tear-down goes on, and after it nothing is run.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        def stop() -> None:
            session.shouldstop = f"interrupted by {self._interruption.name}"

        self._interruption.met.append(stop)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Leave out what was not begun before the signal: xdist's worker looks at `shouldstop` after an item only."""
        return True if self._interruption.begun else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        return (yield from self._interruptible(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        return (yield from self._interruptible(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        with self._interruption.doing(item.name):
            return (yield)

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_setup")
    def pytest_runtest_setup_not(self) -> None:
        """Set nothing up after a signal. The wrappers of other plugins have begun by now, as a tear-down expects."""
        self._interruption.check()

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_call")
    def pytest_runtest_call_not(self) -> None:
        self._interruption.check()

    def _interruptible(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        interruption = self._interruption
        try:
            interruption.item = item.nodeid
            with interruption.doing(item.name), interruption.interruptible():
                return (yield)
        except Interrupted:
            interruption.taken = True
            report = interruption.report or f"interrupted by {interruption.name}: {item.name}: not begun"
        raise interruption_of(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report what was interrupted as an error, whatever its marks expect."""
        report = yield
        if call.excinfo is not None and is_interruption(call.excinfo.value):
            report.outcome, report.longrepr = "failed", str(call.excinfo.value)
            report.when = "setup" if report.when == "call" else report.when
            report.__dict__.pop("wasxfail", None)
            report.__dict__[INTERRUPTION_MARK] = True
        return report

    @pytest.hookimpl
    def pytest_enter_pdb(self) -> None:
        """Let Ctrl-C at the debugger's prompt be an affair of the debugger's."""
        self._interruption.debugging = True

    @pytest.hookimpl
    def pytest_leave_pdb(self) -> None:
        self._interruption.debugging = False


class WorkerSignals:
    """Answers signals in an xdist worker, and leaves what they have interrupted where the controller finds it."""

    def __init__(
        self, config: pytest.Config, interruption: Interruption, run: RunDirectory, worker: str
    ) -> None:
        self._rootdir = config.rootpath
        self._interruption = interruption
        self._directory = run.interrupted
        self._worker = worker
        self._reachable = Reachable(run.interrupted, worker)
        self._handlers = SignalHandlers(self._answer)
        interruption.met.append(self._keep)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        self._handlers.install()
        self._reachable.begin()
        try:
            return (yield)
        finally:
            # The handlers stay: a signal that comes twice, or late, must not end what is cleaned up after the loop.
            self._reachable.end()
            if self._interruption.cut:
                with suppress(HarnessError):
                    write_cut(self._directory, self._worker, self._interruption.cut)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        if self._interruption.begun:
            self._reachable.end()
        return (yield)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self._interruption.meet(number, place_in_project(frame, self._rootdir))

    def _keep(self) -> None:
        """Write down what was running, in case this process is killed before it can report that itself."""
        told = self._interruption
        if told.report:
            with suppress(HarnessError):
                write_met(self._directory, self._worker, Met(item=told.item, report=told.report))
