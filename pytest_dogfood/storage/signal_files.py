"""The files by which the leading process reaches its workers with a signal, and learns what it met there."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.execution.watcher import alive, start_time
from pytest_dogfood.storage.files import read_as, write_whole


class InterruptedWork(Struct, frozen=True, kw_only=True):
    """What a signal met in a worker: an item, by its node id, and what of it was running."""

    item: str
    report: str


def write_interrupted(directory: Path, worker: str, met: InterruptedWork) -> None:
    """Write it down at once; raises HarnessError where that cannot be done."""
    write_whole(directory / f"{worker}.met", msgspec.json.encode(met))


def write_cut(directory: Path, worker: str, steps: Sequence[str]) -> None:
    """Name the steps of clean-up and release that were cut; raises HarnessError where that cannot be done."""
    write_whole(directory / f"{worker}.cut", msgspec.json.encode(list(steps)))


def read_interrupted(directory: Path) -> dict[str, str]:
    """Return what signals met in the workers, by node id; raises HarnessError for a file that cannot be read."""
    found = [read_as(path, InterruptedWork) for path in sorted(directory.glob("*.met"))]
    return {one.item: one.report for one in found if one is not None}


def read_cut(directory: Path) -> list[str]:
    """Return the steps that were cut in the workers; raises HarnessError for a file that cannot be read."""
    found = [read_as(path, list[str]) for path in sorted(directory.glob("*.cut"))]
    return [step for steps in found for step in steps or ()]


class WorkerProcesses:
    """The workers of a run that answer signals, each known by a file in `directory` that it writes itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[int, str | None] = {}

    def signal(self, number: int) -> bool:
        """Send a signal to each worker that still wants to be told; return whether there was one."""
        sent = False
        for path in self._directory.glob("*.pid"):
            with suppress(OSError, ValueError):
                pid, _, born = path.read_text().partition(" ")
                self._seen[int(pid)] = born or None
                if alive(int(pid), born or None):
                    os.kill(int(pid), number)
                    sent = True
        return sent

    def kill(self) -> None:
        """Kill every worker, also those that no longer want to be told."""
        self.signal(signal.SIGKILL)
        for pid, born in self._seen.items():
            with suppress(OSError):
                if alive(pid, born):
                    os.kill(pid, signal.SIGKILL)


class Reachable:
    """Tells the leading process where signals are to go, until they have been taken."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._path = directory / f"{worker}.pid"

    def begin(self) -> None:
        """Say that this process answers signals."""
        pid = os.getpid()
        with suppress(OSError):  # on a full disk it runs all the same, and ends when xdist closes its channel
            self._path.write_text(f"{pid} {start_time(pid) or ''}")

    def end(self) -> None:
        """Say that it has taken one, and wants no more."""
        self._path.unlink(missing_ok=True)
