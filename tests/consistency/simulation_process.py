"""A process that runs histories one after another: one start for all tests of a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC
from tests.consistency.simulation import Outcome

HISTORIES = int(os.environ.get("DOGFOOD_TEST_HISTORIES", "18"))
"""How many histories the tests run together: a third of them on PostgreSQL."""

Tell: TypeAlias = Callable[[int], Outcome]


@contextmanager
def simulation(*options: str) -> Iterator[Tell]:
    """Start the process, and give what has it tell the history of a seed."""
    if not HAS_PROC:
        pytest.skip("what a process has open, and whether git has ended, is read from /proc")
    # Of its own, because it forks: a worker of pytest-xdist has threads, and threads do not survive that.
    command = [sys.executable, "-m", "tests.consistency.simulation", "-", *options]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asking, answering = process.stdin, process.stdout
        assert asking is not None
        assert answering is not None

        def tell(seed: int) -> Outcome:
            asking.write(f"{seed}\n")
            asking.flush()
            line = answering.readline()
            assert line, "the simulation has ended; its standard error says why"
            return Outcome.from_json(line)

        yield tell
