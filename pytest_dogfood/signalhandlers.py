"""The handlers of the signals that end a run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_USUAL = (signal.SIG_DFL, signal.default_int_handler)
_OURS = str(Path(__file__).parent)


class SignalHandlers:
    """Lets a function answer SIGINT, SIGTERM and SIGHUP from `install` to `restore`.

    A signal that is ignored, as under nohup, or that another handler answers, is left alone. So are all of them where
    pytest does not run in the main thread, because Python runs handlers there only.
    """

    def __init__(self, answer: Callable[[int, FrameType | None], None]) -> None:
        self._answer = answer
        self._before: dict[int, Any] = {}

    def install(self, *, leave: tuple[int, ...] = ()) -> None:
        """Answer the signals from now on, except those in `leave`."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in NUMBERS:
            before = signal.getsignal(number)
            if number not in leave and before in _USUAL:
                self._before[number] = before
                signal.signal(number, self._answer)

    def restore(self) -> None:
        """Give the signals back to what answered them before."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)


def die_of(number: int) -> None:
    """End this process by a signal, at once, as if nothing had ever handled it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def place_in_project(frame: FrameType | None, rootdir: Path) -> Iterator[str]:
    """Yield a line that names the innermost line of the project's own Python code that is running, if there is one."""
    below = f"{rootdir}{os.sep}"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(below) and not name.startswith(_OURS) and "site-packages" not in name:
            yield f"  at:       {name.removeprefix(below)}:{frame.f_lineno}, in {frame.f_code.co_name}"
            return
        frame = frame.f_back
