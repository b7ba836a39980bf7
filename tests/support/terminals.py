"""A program on a terminal of its own, typed to and read as by a person."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_SECONDS = 30


class TerminalSession:
    """A session with `master` for its terminal; `seen` is all that was shown so far."""

    def __init__(self, *program: str, cwd: Path, env: Mapping[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(24, 200)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *program],
            cwd=cwd,
            env=env,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )
        self.seen = ""
        self._read_until = 0

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def look_back(self) -> None:
        """Wait from now on for what was shown from the beginning on."""
        self._read_until = 0

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until something that matches is shown after what was waited for before."""
        deadline = time.monotonic() + _SECONDS
        while (found := re.compile(pattern).search(self.seen, self._read_until)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} was not shown, but {self.seen!r}"
            self._read(0.1)
        self._read_until = found.end()
        return found

    def _read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            with suppress(OSError):  # nothing has the other end any more
                self.seen += os.read(self.master, 65536).decode(errors="replace").replace("\r\n", "\n")

    def ends(self) -> int:
        """Wait for the end of the program; return its exit status."""
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended: {self.seen!r}"
            self._read(0.1)
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the terminal, as its window does."""
        for descriptor in (self.master, self.slave):
            with suppress(OSError):
                os.close(descriptor)


@contextmanager
def terminal_session(*program: str, cwd: Path, env: Mapping[str, str]) -> Iterator[TerminalSession]:
    session = TerminalSession(*program, cwd=cwd, env=env)
    try:
        yield session
    finally:
        session.hang_up()
        with suppress(subprocess.TimeoutExpired):
            session.process.wait(10)
        if session.process.returncode is None:
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()
