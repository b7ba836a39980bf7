"""The signals that end a run: their handlers, the operations they interrupt, and the time left for clean-up.

A first signal interrupts the current operation; clean-up and release follow, with little time for each of their steps.
A second one skips even that. Each process has one `Interruption`, whether signals reach it or not.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEFAULT_HANDLERS = (signal.SIG_DFL, signal.default_int_handler)
_OUR_CODE = str(Path(__file__).parents[1])


class SignalHandlers:
    """Lets a function handle SIGINT, SIGTERM and SIGHUP from `install` to `restore`.

    A signal that is ignored, as under nohup, or that has another handler, is left alone. So are all of them if pytest
    does not run in the main thread, because Python runs handlers only there.
    """

    def __init__(self, answer: Callable[[int, FrameType | None], None]) -> None:
        self._answer = answer
        self._before: dict[int, Any] = {}

    def install(self, *, leave: tuple[int, ...] = ()) -> None:
        """Handle the signals from now on, except those in `leave`."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if number not in leave and before in _DEFAULT_HANDLERS:
                self._before[number] = before
                signal.signal(number, self._answer)

    def install_again(self, number: int) -> None:
        """Handle a signal again after something else has replaced its handler since `install`."""
        if number in self._before:
            signal.signal(number, self._answer)

    def restore(self) -> None:
        """Restore the previous handlers."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)


def place_in_project(frame: FrameType | None, rootdir: Path) -> Iterator[str]:
    """Yield a line that names the innermost line of the project's own Python code that is running, if there is one."""
    below = f"{rootdir}{os.sep}"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(below) and not name.startswith(_OUR_CODE) and "site-packages" not in name:
            yield f"  at:       {name.removeprefix(below)}:{frame.f_lineno}, in {frame.f_code.co_name}"
            return
        frame = frame.f_back


CLEANUP_SECONDS = 5.0
"""Seconds that a step of a clean-up or a release may take once the run has been interrupted."""

_SECONDS_UNTIL_RAISED_AGAIN = 10.0
"""Seconds after which an exception that still propagates is raised once more."""


class Interrupted(KeyboardInterrupt):
    """Ends the current operation. Clean-up follows."""


class Abandoned(KeyboardInterrupt):
    """Ends everything. Only the reports are still written."""


class ToDebugger(KeyboardInterrupt):
    """Ends the current operation, under --pdb; its text names the operation."""


class Operation(NamedTuple):
    """An operation in progress, since `began` (monotonic).

    `details` describes it for a report. `new_output` returns the whole lines that it has printed since the last call,
    and with True also the rest of a line; it is None if there is no output that may be shown.
    """

    what: str
    began: float
    details: Callable[[], Iterable[str]] = tuple
    new_output: Callable[[bool], str] | None = None


class Interruption:
    """Knows whether a signal has come, and the operation that it interrupted in this process.

    `report` describes that operation once a signal has come; it is empty if there was none. `item` is the node id of
    its item. `callbacks` are called when a signal comes. `on_change` is called with all current operations, outermost
    first, when one begins or ends. `abandoned` gives up clean-up and release. `handled` means that the interrupted
    operation has ended. `cut` names the steps that had too little time. While `debugging`, Ctrl-C is not meant for the
    run.
    """

    def __init__(self) -> None:
        self.number = 0
        self.abandoned = False
        self.handled = False
        self.report = ""
        self.item = ""
        self.debugging = False
        self.callbacks: list[Callable[[], None]] = []
        self.cut: list[str] = []
        self._at = 0.0
        self.on_change: Callable[[Sequence[Operation]], None] | None = None
        self._operations: list[Operation] = []
        self._interruptible = False
        self._noting = False
        self._raised: weakref.ref[Interrupted] | None = None
        self._raised_at = 0.0

    @property
    def signalled(self) -> bool:
        """Whether a signal has come."""
        return bool(self.number)

    @property
    def name(self) -> str:
        """The signal that has come, such as SIGINT."""
        return signal.Signals(self.number).name

    @contextmanager
    def operation(
        self,
        what: str,
        details: Callable[[], Iterable[str]] = tuple,
        new_output: Callable[[bool], str] | None = None,
    ) -> Iterator[None]:
        """Note an operation, so that it can be shown, and named if a signal comes during it."""
        self._operations.append(Operation(what, time.monotonic(), details, new_output))
        self._tell_change()
        try:
            yield
        finally:
            self._operations.pop()
            self._tell_change()

    @contextmanager
    def interruptible(self, *, by_first: bool = True) -> Iterator[None]:
        """Let a signal raise Interrupted inside the block; if not `by_first`, only a second one ends it."""
        before, self._interruptible = self._interruptible, by_first
        try:
            yield
        finally:
            self._interruptible = before

    def note_signal(self, number: int, frame_lines: Iterable[str] = ()) -> None:
        """Note a signal, and end the current operation if it can be interrupted; may be called for each signal."""
        if self._noting:  # a handler interrupts a handler: the first must finish its text
            return
        if not self.signalled:
            self._noting = True
            try:
                self._at = time.monotonic()
                self.number = number
                self.report = self.describe(number, self._at, frame_lines)
                for callback in self.callbacks:
                    callback()
            finally:
                self._noting = False
        if self.wants_to_raise:
            self._raise()

    @property
    def wants_to_raise(self) -> bool:
        """Whether an operation still runs that a signal should have ended."""
        # The exception raised before may still propagate, but some code swallows exceptions.
        alive = self._raised is not None and self._raised() is not None
        on_its_way = alive and time.monotonic() - self._raised_at < _SECONDS_UNTIL_RAISED_AGAIN
        return self.signalled and self._interruptible and not self.handled and not on_its_way

    def check(self) -> None:
        """Raise Interrupted if a signal has come at a moment when it could not be raised."""
        if self.signalled:
            self._raise()

    def seconds_left(self, began: float) -> float:
        """Return how long a command may still run that began at `began` (monotonic); infinity if nothing limits it."""
        if not self.signalled or self._interruptible:
            return math.inf
        return 0.0 if self.abandoned else max(began, self._at) + CLEANUP_SECONDS - time.monotonic()

    def _raise(self) -> None:
        error = Interrupted(f"by {self.name}")
        self._raised, self._raised_at = weakref.ref(error), time.monotonic()
        try:
            raise error
        finally:
            del error  # its own traceback would keep it alive, and hide that it was swallowed

    def _tell_change(self) -> None:
        if self.on_change is not None:
            self.on_change(tuple(self._operations))

    def describe(self, number: int, at: float, frame_lines: Iterable[str]) -> str:
        """Describe the current operations when a signal comes; empty if there are none."""
        if not self._operations:
            return ""
        item, *others = self._operations
        whats = ", ".join(one.what for one in others) or "running"
        name = signal.Signals(number).name
        lines = [f"interrupted by {name} after {at - item.began:.1f} s: {item.what}: {whats}"]
        with suppress(Exception):  # a failing description must not keep the signal from ending the run
            for one in others:
                lines.append(f"  {one.what}: running for {at - one.began:.1f} s")
                lines += one.details()
            lines += frame_lines
        return "\n".join(lines)
