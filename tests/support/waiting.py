"""Waiting, with a deadline, for what other processes do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def until(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds, for at most 20 seconds; gives whether it does."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def pid_in(path: Path) -> int:
    """Return the process id that somebody writes into a file, once it is there."""
    assert until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())
