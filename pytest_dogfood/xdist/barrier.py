"""The hidden item on each worker that lets xdist start one item at a time.

xdist's worker starts an item only when it knows the next one, so an item sent alone would wait for ever. Each dispatch
therefore ends with the barrier: the last real item starts at once, and the barrier stays parked until more arrives.

The barrier means "the next item is not known yet". It gets the parent of the item before it, so that module and class
fixtures outlive it; those that the real next item does not need are torn down when the barrier itself is run.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pytest_dogfood.collection.exceptions import OUTCOMES, tear_down_to

LATE_ERROR = "dogfood_late_error"
"""Key in the worker's output for an error at the worker's very end."""


class Barrier(pytest.Item):
    """An item that does nothing and is never reported; `previous` is the real item before it."""

    previous: pytest.Item | None = None

    @property
    def nodeid(self) -> str:
        # xdist asserts that a report belongs to the item it is running, and ours belong to the item before.
        return self.previous.nodeid if self.previous else super().nodeid

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name

    def runtest(self) -> None:
        """Do nothing."""


class BarrierPlugin:
    """Puts the barrier after the collected items of an xdist worker and runs it without a report."""

    def __init__(self) -> None:
        self._barrier: Barrier | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        # The ids went to the controller when collection finished, so this item is not counted.
        self._barrier = Barrier.from_parent(session, name="dogfood-barrier")
        session.items.append(self._barrier)
        manager = session.config.pluginmanager
        manager.register(_BarrierShield(), "dogfood-barrier-turn-back")
        # The hook of the last registered plugin is called first.
        manager.register(_BarrierCaller(manager, self), "dogfood-barrier-aside")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if isinstance(item, Barrier):
            if item.previous is not None:
                self._tear_down_late(item.previous, nextitem)
            return True
        if isinstance(nextitem, Barrier):
            nextitem.previous, nextitem.parent = item, item.parent
        return None

    def _tear_down_late(self, previous: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Tear down the fixtures that `nextitem` does not need, and report an error as one of the item before."""
        out, err = io.StringIO(), io.StringIO()
        ending = (pytest.exit.Exception, KeyboardInterrupt)
        # Between items pytest captures nothing, and output would end up between the controller's lines.
        with redirect_stdout(out), redirect_stderr(err):
            call = pytest.CallInfo.from_call(
                lambda: tear_down_to(previous.session, nextitem), when="teardown", reraise=ending
            )
        if call.excinfo is not None:
            previous.add_report_section("teardown", "stdout", out.getvalue())
            previous.add_report_section("teardown", "stderr", err.getvalue())
            report = previous.ihook.pytest_runtest_makereport(item=previous, call=call)
            previous.ihook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        # xdist loses an exception raised here, such as one from the teardown of session fixtures after `-x`.
        try:
            yield
        except (Exception, *OUTCOMES) as error:
            session.config.workeroutput[LATE_ERROR] = f"{type(error).__name__}: {error}"  # type: ignore[attr-defined] # xdist documents it
            raise


class _BarrierReached(Exception):  # noqa: N818 - it ends a hook call, and is not an error
    """The item is the barrier."""


class _BarrierShield:
    """Hides the barrier from most plugins: some report every item that they see, as Allure's does."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if isinstance(item, Barrier):
            raise _BarrierReached
        return (yield)


class _BarrierCaller:
    """Runs the barrier with `runner`, pytest's own plugins (warnings), and pytest-timeout, as a teardown may hang."""

    def __init__(self, manager: pytest.PytestPluginManager, runner: BarrierPlugin) -> None:
        others: list[object] = [self]
        for plugin in manager.get_plugins():
            name = getattr(plugin, "__name__", None)
            module = name if isinstance(name, str) else type(plugin).__module__
            if plugin is not runner and not module.startswith("_pytest.") and module != "pytest_timeout":
                others.append(plugin)
        self._protocol = manager.subset_hook_caller("pytest_runtest_protocol", others)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        try:
            return (yield)
        except _BarrierReached:
            return self._protocol(item=item, nextitem=nextitem)
