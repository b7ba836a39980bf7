"""Shows what a run does right now: line by line with -v or -s, and one status line per worker on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.interruption import Interruption, Operation
from pytest_dogfood.storage.files import SharedLog

SECONDS_BETWEEN_LOOKS = 0.2

SECONDS_UNTIL_SHOWN = 1.0
"""Seconds that an activity must last before a status line shows it: shorter ones would only flicker."""


class Activity(Struct, frozen=True):
    """The current activity of a worker, outermost first (item, provision, step), since a time (epoch seconds).

    `what` is empty while the worker does nothing.
    """

    worker: str
    what: tuple[str, ...]
    since: float


def activity_log(records: Path) -> SharedLog[Activity]:
    """Return the log to which workers write their activity, for the process that shows it."""
    return SharedLog(records / "activity", Activity)


def _activity(worker: str, operations: Sequence[Operation]) -> Activity:
    seconds = time.monotonic() - operations[-1].began if operations else 0.0
    return Activity(worker, tuple(one.what for one in operations), time.time() - seconds)


def share_activity(records: Path, worker: str, interruption: Interruption) -> None:
    """Log what this worker does, whenever that changes."""
    log = activity_log(records)

    def write(operations: Sequence[Operation]) -> None:
        try:
            log.append(_activity(worker, operations))
        except HarnessError:
            interruption.on_change = None  # a full disk is reported elsewhere; here only the display is lost

    interruption.on_change = write


def shows_progress(config: pytest.Config, *, has_workers: bool) -> bool:
    """Return whether any progress of a run is shown."""
    has_terminal = config.pluginmanager.hasplugin("terminalreporter")
    return has_terminal and (_prints_operations(config, has_workers=has_workers) or _has_status_lines(config))


def _prints_operations(config: pytest.Config, *, has_workers: bool) -> bool:
    """Return whether steps and provisions are reported as they begin: with -v, and with -s if not -q."""
    verbosity = config.get_verbosity()
    return verbosity > 0 or (verbosity == 0 and config.getoption("capture", "no") == "no" and not has_workers)


def _has_status_lines(config: pytest.Config) -> bool:
    """Return whether a line for each worker says what it does: on a terminal, unless -q, -s or CI forbids that."""
    if config.get_verbosity() < 0 or config.getoption("capture", "no") == "no" or os.environ.get("CI"):
        return False
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class ProgressDisplay:
    """The plugin that shows progress, from a thread of its own, because the main thread is busy while an item runs.

    `log` holds the activity of workers, if there are any; else `interruption` knows that of this process.
    """

    def __init__(
        self, config: pytest.Config, interruption: Interruption, log: SharedLog[Activity] | None
    ) -> None:
        self._interruption = interruption
        self._log = log
        self._activities: dict[str, Activity] = {}
        self._last: dict[str, Activity] = {}
        self._running: Operation | None = None
        self._prints_operations = _prints_operations(config, has_workers=log is not None)
        self._has_status = _has_status_lines(config)
        self._follows_output = log is None and config.getoption("capture", "no") == "no"
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._descriptor = os.dup(1)  # while an item runs, pytest's capture redirects 1 to a file
        self._lock = threading.RLock()
        self._is_drawn = False
        self._paused = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dogfood-progress", daemon=True)
        if log is None:
            interruption.on_change = self._note
        self._thread.start()

    def close(self) -> None:
        """End the display, and remove it from the terminal."""
        # A release after this would be written to a closed descriptor, or to one that now belongs to another file.
        self._interruption.on_change = None
        self._closed.set()
        self._thread.join()
        self._erase()
        os.close(self._descriptor)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """Show what a worker has done before pytest shows the result."""
        if self._prints_operations:
            with suppress(HarnessError):
                self._take_unread()
        self._erase()

    def pytest_enter_pdb(self) -> None:
        self._erase()
        self._paused = True

    def pytest_leave_pdb(self) -> None:
        self._paused = False

    def _note(self, operations: Sequence[Operation]) -> None:
        """Note what this process does now; called when something begins or ends."""
        with self._lock:
            self._print_output(at_the_end=True)
            self._running = operations[-1] if operations else None
            self._take(_activity("", operations))

    def _take(self, activity: Activity) -> None:
        """Note what a worker does, and show what has begun; another try of a step counts as the same activity."""
        before, last = self._activities.get(activity.worker), self._last.get(activity.worker)
        goes_on = last is not None and last.what == activity.what
        if last is not None and goes_on:
            activity = last
        self._activities[activity.worker] = activity
        only_ended = before is not None and before.what[: len(activity.what)] == activity.what
        if not (only_ended or goes_on):
            self._last[activity.worker] = activity
            if self._prints_operations:
                self._print(activity)

    def _watch(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            with self._lock:
                try:
                    self._take_unread()
                except HarnessError:
                    return
                if self._paused:
                    continue
                self._print_output()
                if self._has_status:
                    self._draw(list(self._status_lines()))

    def _take_unread(self) -> None:
        """Note everything that workers have logged since the last call."""
        with self._lock:
            for activity in () if self._log is None else self._log.unread():
                self._take(activity)

    def _print(self, activity: Activity) -> None:
        """Write what has begun within an item. pytest itself shows items, and there are too many probes to show."""
        item, *within = activity.what or ("",)
        if item.startswith("release of"):  # between two items
            item, within = "", list(activity.what)
        if not within or within[-1] == "clean-up" or any(one.startswith("probe of") for one in within):
            return
        if activity.worker:
            self._write_lines([": ".join([f"[{activity.worker}]" + (f" {item}" if item else ""), *within])])
        elif within[0] == "clean-up":
            self._write_lines([f"  {': '.join(within)}"])
        else:
            self._write_lines([f"{'  ' * len(within)}{within[-1]}"])

    def _print_output(self, *, at_the_end: bool = False) -> None:
        if self._follows_output and self._running is not None and self._running.new_output is not None:
            text = self._running.new_output(at_the_end)
            if text:
                self._write_lines([f"    {line}" for line in text.splitlines()])

    def _write_lines(self, lines: Sequence[str]) -> None:
        """Write each line by itself, and make pytest begin a new one for its next output."""
        self._erase()
        self._write("".join(f"\n{line}" for line in lines))
        # What pytest compares with the place of the next result, and what makes xdist's reports begin a new line.
        if self._reporter is not None:
            self._reporter.currentfspath = None if self._log is None else -2

    def _status_lines(self) -> Iterator[str]:
        now = time.time()
        for worker, activity in sorted(self._activities.items()):
            seconds = now - activity.since
            if activity.what and seconds >= SECONDS_UNTIL_SHOWN:
                yield f"{worker}  {': '.join(activity.what)}, {seconds:.0f} s".lstrip()

    def _draw(self, lines: Sequence[str]) -> None:
        """Draw lines below pytest's output, and leave the cursor where pytest continues.

        The sequences are those of ECMA-48 and the VT100: IND makes room without changing the column.
        """
        self._erase()
        if not lines:
            return
        width = shutil.get_terminal_size().columns - 1
        room = "\x1bD" * len(lines) + f"\x1b[{len(lines)}A"
        below = "".join(f"\r\n{line[:width]}" for line in lines)
        self._write(f"{room}\x1b7{below}\x1b8")
        self._is_drawn = True

    def _erase(self) -> None:
        """Remove what is drawn, before anything else is written."""
        with self._lock:
            if self._is_drawn:
                self._write("\x1b[J")
                self._is_drawn = False

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone
            os.write(self._descriptor, text.encode(errors="replace"))
