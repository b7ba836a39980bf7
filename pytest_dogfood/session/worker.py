"""The process that collects and runs items: an xdist worker, or the only one. It is light until there are items."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.collection.discovery import (
    can_be_named,
    declares_journeys,
    is_journey_file,
    named_on_command_line,
)
from pytest_dogfood.collection.stash import ADDED, PINNED, SETTINGS, any_graph_item
from pytest_dogfood.walks import collector_paused

if TYPE_CHECKING:
    from pytest_dogfood.collection.selection import Selection


class JourneyCollector:
    """The plugin that collects journey files.

    From the first journey file to the end of the collection the garbage collector is paused: it would scan every node
    and item again and again, which takes longer than making them. Before that it clears what Python files leave.
    """

    def __init__(self) -> None:
        self._pause = ExitStack()
        self._named: frozenset[Path] | None = None
        self.has_collected = False
        """Whether there is a journey file, even one without a single journey."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._pause.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Collect journey files, even if another plugin would collect them too, and leave other files alone."""
        others = yield
        config = parent.config
        is_ours = is_journey_file(file_path, config.stash[SETTINGS].files)
        if not is_ours and can_be_named(file_path):
            if self._named is None:
                self._named = frozenset(named_on_command_line(config.args, config.invocation_params.dir))
            # It may also lie in a directory that is collected: pytest does not say which paths were named.
            is_ours = file_path in self._named and (not others or declares_journeys(file_path))
        if not is_ours:
            return others
        from pytest_dogfood.collection.collector import JourneyFile  # plain tests need nothing of the graph

        if not self.has_collected:
            self.has_collected = True
            self._pause.enter_context(collector_paused())
        return [JourneyFile.from_parent(parent, path=file_path)]


NO_SELECTION = b'{"plan":{}}'
"""What a worker publishes if it has found no items of the graph."""


class ItemSelector:
    """Selects and orders the items after collection, unless they are all plain tests, whose order is pytest's.

    An xdist worker publishes its plan in a file.
    """

    def __init__(self, config: pytest.Config, collector: JourneyCollector) -> None:
        self._config = config
        self._collector = collector
        self._file: Path | None = None
        self.run: Path | None = None
        """Directory of the run; without it items are collected and planned, and none is run."""
        self.collected: list[pytest.Item] = []
        self._found: list[pytest.Item] = []
        self._branches: dict[pytest.Collector, bool] = {}
        """Collectors, each with whether it was collected: a node id may leave out classes of a file."""
        self.selection: Selection | None = None
        workerinput = getattr(config, "workerinput", None)
        if workerinput is not None:
            self._file = Path(workerinput["dogfood_plans"]) / f"{workerinput['workerid']}.json"
            self.run = Path(workerinput["dogfood_run"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self.collected.append(item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note all tests of a file, also those that a node id or --lf leaves out before they count as collected."""
        report = yield
        self._branches[collector] = True
        for node in report.result:
            if isinstance(node, pytest.Item):
                self._found.append(node)
            elif isinstance(node, pytest.Class):
                self._branches.setdefault(node, False)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Select after all other plugins: --lf and --ff, too, leave tests out or reorder them late.

        Before all others, take out the items that were collected only because something may need them: -k would select
        them, and --sw count them. For --sw, which skips up to the last failure, put the items in the order of a run.
        """
        added = self._config.stash.get(ADDED, None)
        not_asked_for = added.take_out(items) if added is not None else []
        stepwise = self._config.getoption("stepwise", False) and PINNED not in self._config.stash
        if stepwise and self._may_concern_us(self._everything()):
            from pytest_dogfood.collection.selection import put_in_order
            from pytest_dogfood.session.durations import known_durations

            put_in_order(self._config, self._everything(), items, known_durations(self._config))
        result = yield
        # If a node id names one of several classes, collect the tests of the others too.
        for node in [node for node, collected in self._branches.items() if not collected]:
            from pytest_dogfood.collection.added_files import tests_in

            self._found.extend(tests_in(node))
        self._select(items)
        here = set(items)
        left_out = [item for item in not_asked_for if item not in here]
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Publish why pytest refuses to collect, before xdist reports the end of collection and loses the error."""
        error = sys.exc_info()[
            1
        ]  # pytest calls this hook, as its last act, for a collection that has failed too
        if self._file is not None and isinstance(error, pytest.UsageError):
            refused = [str(argument) for argument in error.args]
            self._publish(json.dumps({"plan": {}, "refused": refused}).encode())

    def _publish(self, content: bytes) -> None:
        """Write a result without a selection for the controller, in an xdist worker only."""
        if self._file is not None:
            try:
                self._file.write_bytes(content)
            except OSError:
                # On a full disk it may exist and be empty. The controller reports the missing plan.
                self._file.unlink(missing_ok=True)

    def _everything(self) -> list[pytest.Item]:
        return list(dict.fromkeys([*self.collected, *self._found]))

    def _may_concern_us(self, collected: list[pytest.Item]) -> bool:
        settings = self._config.stash[SETTINGS]
        asked = settings.check or settings.shard is not None or settings.dependency_markers
        # A file without a single journey is a mistake to report.
        return asked or self._collector.has_collected or any_graph_item(collected)

    def _select(self, items: list[pytest.Item]) -> None:
        collected = self._everything()
        if not self._may_concern_us(collected):
            self._publish(NO_SELECTION)
            return
        from pytest_dogfood.collection.selection import select_here
        from pytest_dogfood.diagnostics import HarnessError
        from pytest_dogfood.session.durations import known_durations

        try:
            durations = known_durations(self._config)
            self.selection = select_here(self._config, collected, items, self._file, durations)
            if self.run is not None and not self.selection.diagnostics and self.selection.plan.journeys:
                from pytest_dogfood.session.composition import register_item_plugins

                register_item_plugins(self._config, self.selection, self.run)
        except HarnessError as error:
            if self._file is None:
                raise pytest.UsageError(str(error)) from error
            # The controller reports the missing plan. Nothing may run here without the plugins that ensure tokens.
            self._file.unlink(missing_ok=True)
            items.clear()
