"""Lets pytest collect journey files; what they are made of is imported once there is one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_dogfood.discovery import holds_journeys
from pytest_dogfood.pausing import collector_paused
from pytest_dogfood.stash import SETTINGS


class JourneyCollector:
    """The plugin that collects journey files.

    From the first of them to the end of the collection the garbage collector is paused: it would look at every node
    and item again and again, which takes longer than making them. What Python files leave behind, it is to clear.
    """

    def __init__(self) -> None:
        self._pause = ExitStack()
        self._is_paused = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._pause.close()

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        self._pause.close()

    @pytest.hookimpl
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        patterns = parent.config.stash[SETTINGS].files
        if holds_journeys(file_path, patterns, named=parent.session.isinitpath(file_path)):
            from pytest_dogfood.collection import (
                JourneyFile,  # a suite of plain tests needs nothing of the graph
            )

            if not self._is_paused:
                self._is_paused = True
                self._pause.enter_context(collector_paused())
            file: JourneyFile = JourneyFile.from_parent(parent, path=file_path)
            return file
        return None
