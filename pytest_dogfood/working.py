"""The process that collects and runs items: an xdist worker, or the only process there is."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import InvalidProjectError
from pytest_dogfood.planning import Plan
from pytest_dogfood.registry import Lease
from pytest_dogfood.rundir import RunDirectory
from pytest_dogfood.selection import Published
from pytest_dogfood.selection import Settled
from pytest_dogfood.selection import publish
from pytest_dogfood.selection import settle
from pytest_dogfood.stash import PROJECT
from pytest_dogfood.stash import SETTINGS
from pytest_dogfood.timekeeping import committed_durations
from pytest_dogfood.timekeeping import seen_durations


class Working:
    """Settles what runs once collection is over, and brings the hooks into play that run it."""

    def __init__(self, config: pytest.Config, *, worker: str) -> None:
        self._config = config
        self._worker = worker
        self._run: RunDirectory | None = None
        self._lease: Lease | None = None
        self._collected: list[pytest.Item] = []
        self._found: list[pytest.Item] = []
        self.settled: Settled | None = None

    def begin(self, run: RunDirectory, lease: Lease) -> None:
        """Take part in a run; without it items are collected and planned, and none is run."""
        self._run = run
        self._lease = lease

    @property
    def plan(self) -> Plan:
        return self.settled.plan if self.settled is not None else Plan()

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._collected.append(item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note all tests of a file, also those that a node id or --lf leaves out before they count as collected."""
        report = yield
        self._found.extend(node for node in report.result if isinstance(node, pytest.Item))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        settings = self._config.stash[SETTINGS]
        settled = settle(
            self._config,
            self._config.stash[PROJECT],
            collected=list(dict.fromkeys([*self._collected, *self._found])),
            selected=items,
            shard=settings.shard,
            seen=seen_durations(self._config),
            committed=committed_durations(self._config),
        )
        self.settled = settled
        items[:] = settled.items
        if settled.elsewhere:
            self._config.hook.pytest_deselected(items=list(settled.elsewhere))
        if hasattr(self._config, "workerinput"):
            self._publish(settled)
        elif settled.diagnostics and not settings.check:
            raise pytest.UsageError(f"\n{InvalidProjectError(settled.diagnostics)}")
        if self._run is not None and not settled.diagnostics:
            self._bring_into_play(settled, self._run)

    def _publish(self, settled: Settled) -> None:
        if self._run is not None:
            published = Published(
                plan=settled.plan,
                diagnostics=settled.diagnostics,
                empty_shard=not settled.items and bool(settled.elsewhere),
                expected=settled.expected,
            )
            publish(self._run.plans, self._worker, published)

    def _bring_into_play(self, settled: Settled, run: RunDirectory) -> None:
        if self._lease is not None and settled.plan.journeys:
            from pytest_dogfood.engaging import engage  # a suite of plain tests needs nothing of it

            running = engage(self._config, settled, run, worker=self._worker, lease=self._lease)
            self._config.pluginmanager.register(running, "dogfood-running")


def run_of_worker(workerinput: dict[str, str]) -> RunDirectory:
    """Find the run's directory from what the controller has handed to a worker."""
    return RunDirectory(Path(workerinput["dogfood_run"]))
