"""Lets pytest collect journey files; what they are made of is imported once there is one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_dogfood.collection.discovery import (
    can_be_named,
    declares_journeys,
    is_journey_file,
    named_on_command_line,
)
from pytest_dogfood.pausing import collector_paused
from pytest_dogfood.stash import SETTINGS


class JourneyCollector:
    """The plugin that collects journey files.

    From the first of them to the end of the collection the garbage collector is paused: it would look at every node
    and item again and again, which takes longer than making them. What Python files leave behind, it is to clear.
    """

    def __init__(self) -> None:
        self._pause = ExitStack()
        self._named: frozenset[Path] | None = None
        self.has_collected = False
        """Whether there is a journey file, be it one without a single journey."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._pause.close()

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        self._pause.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Take what is ours, from whoever else would collect it too, and leave the rest to others."""
        others = yield
        if is_journey_file(file_path, parent.config.stash[SETTINGS].files):
            return [self._file(file_path, parent)]
        if self._is_named(file_path, parent.config) and (not others or declares_journeys(file_path)):
            return [self._file(file_path, parent)]
        return others

    def _is_named(self, path: Path, config: pytest.Config) -> bool:
        """Whether the user has named a file, be it beside a directory that holds it: that is all that pytest sees."""
        if not can_be_named(path):
            return False
        if self._named is None:
            self._named = frozenset(named_on_command_line(config.args, config.invocation_params.dir))
        return path in self._named

    def _file(self, path: Path, parent: pytest.Collector) -> pytest.Collector:
        from pytest_dogfood.collection.collector import (
            JourneyFile,  # a suite of plain tests needs nothing of the graph
        )

        if not self.has_collected:
            self.has_collected = True
            self._pause.enter_context(collector_paused())
        file: JourneyFile = JourneyFile.from_parent(parent, path=path)
        return file
