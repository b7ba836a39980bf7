"""Starts commands, waits for them, and ends what must not go on: the only module that starts processes.

Output goes to files, not through pipes: a command may leave a daemon that goes on writing, it may write more
than memory holds, and nobody has to read while it runs. The files are opened for appending, so that
`> /dev/stdout` in a command's own redirections leaves no hole behind it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import ceil
from pathlib import Path
from select import POLLIN, poll
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import watcher
from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.execution.watcher import alive, end_everything_marked, start_time

__all__ = [
    "Command",
    "Ended",
    "Lifeline",
    "alive",
    "end_everything_marked",
    "end_group",
    "open_private",
    "run",
    "spawn",
    "start_time",
]

# Bound now: a test that puts something else in their places means its own product, not the harness.
_Popen = subprocess.Popen
_killpg = os.killpg

GRACE = watcher.GRACE
"""Seconds between the request to end and the signal that cannot be ignored."""

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 2**31 - 1  # milliseconds that poll(2) takes
_GLANCE = 0.25  # seconds after which a command that is waited for is asked whether its time was cut meanwhile


class Output(Protocol):
    """A file that finds itself when it is needed."""

    def open(self) -> int:
        """Return a descriptor for a command to write to; who asks closes it."""


class Command(Struct, frozen=True, kw_only=True):
    """What to start and where its output goes.

    `marker` names an environment variable, set in `env`, that whatever the command starts inherits: when the
    command has to be ended, every process that carries the same value ends with it. `grace` is the time it has
    between being asked to end and being made to.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""
    timeout: float | None = None
    stdout: Path | Output
    stderr: Path | Output
    marker: str = ""
    grace: float = GRACE


class Ended(Struct, frozen=True, kw_only=True):
    """How a command ended: its exit status, or -N for signal N; `cut` if it had less time because of a signal."""

    status: int
    timed_out: bool
    seconds: float
    cut: bool = False


class Lifeline:
    """Remembers who our parent is, to notice that it has died."""

    def __init__(self) -> None:
        self._own = os.getpid()
        self._parent = os.getppid()

    def broken(self) -> bool:
        """Return whether the parent has died.

        A process that was forked since has another one, and nothing to say of ours.
        """
        return os.getpid() == self._own and os.getppid() != self._parent


def run(
    command: Command, *, lifeline: Lifeline | None = None, interruption: Interruption | None = None
) -> Ended:
    """Run a command in a session of its own until it ends or its time is over, which an interruption may cut.

    Processes it leaves in the background after a normal end are left alone; after a time limit and after an
    exception (Ctrl-C) nothing of it is left. Raises HarnessError if it could not be started, or if the parent
    has died: then nobody wants the result, and the sweep that follows a death may already be over.
    """
    process: subprocess.Popen[bytes] | None = None
    started = time.monotonic()
    try:
        _require(lifeline)
        process = _launch(command)
        _require(lifeline)
        clock = _Clock(command.timeout, started, interruption)
        timed_out = not _ends_within(clock, process)
        if timed_out:
            _end(process, command)
        status = process.wait()
    except BaseException:
        # Also without a process: the exception may have come between its start and our knowing of it.
        abandoned = interruption is not None and interruption.abandoned
        _end(process, replace(command, grace=0) if abandoned else command)
        raise
    seconds = time.monotonic() - started
    return Ended(status=status, timed_out=timed_out, seconds=seconds, cut=timed_out and clock.is_cut())


def spawn(
    argv: tuple[str, ...], *, cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; `streams` are what Popen takes for stdin, stdout and stderr.

    Raises HarnessError saying what could not be started, why, and what to do.
    """
    stdin, stdout, stderr = streams
    try:
        return _Popen(
            argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
    except (OSError, ValueError, IndexError) as error:
        raise HarnessError(_why_not_started(argv, cwd, error)) from error


def open_private(path: Path, *, fresh: bool) -> int:
    """Open a file for appending that nobody else may read, emptied if `fresh`; a symbolic link is refused."""
    try:
        descriptor = os.open(path, _APPEND | os.O_TRUNC if fresh else _APPEND, 0o600)
        os.fchmod(descriptor, 0o600)  # it may have existed
    except OSError as error:
        raise HarnessError(
            f"cannot write output to {path}: {error.strerror}; make its directory writable, or free some space"
        ) from error
    return descriptor


def end_group(
    group: int, *, gone: Callable[[], bool], grace: float = GRACE, variable: str = ""
) -> tuple[int, ...]:
    """End a process group or session, its descendants and what carries `variable`.

    Gives the ids of the processes it ended, where there is a /proc; elsewhere `gone` tells whether the group's leader
    has ended.
    """
    if watcher.HAS_PROC:
        return watcher.end(group=group, variable=variable, grace=grace)
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while not gone() and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(group, signal.SIGKILL)
    return ()


def _require(lifeline: Lifeline | None) -> None:
    if lifeline is not None and lifeline.broken():
        raise HarnessError("the process that controls this run has died; nothing more is started, run again")


def _launch(command: Command) -> subprocess.Popen[bytes]:
    opened: list[int] = []
    try:
        opened.append(_opened(command.stdout))
        opened.append(_opened(command.stderr))
        if command.stdin:
            opened.append(_holding(command.stdin))
        stdout, stderr, *stdin = opened
        streams = (stdin[0] if stdin else subprocess.DEVNULL, stdout, stderr)
        return spawn(command.argv, cwd=command.cwd, env=command.env, streams=streams)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _opened(output: Path | Output) -> int:
    return open_private(output, fresh=True) if isinstance(output, Path) else output.open()


def _holding(data: bytes) -> int:
    """Open a nameless file that holds `data`: unlike a pipe it never waits for a reader."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            return os.dup(file.fileno())
    except OSError as error:
        raise HarnessError(f"cannot store {len(data)} bytes of standard input: {error.strerror}") from error


class _Clock:
    """The time that a command has left, which gets less once the run is interrupted."""

    def __init__(self, timeout: float | None, started: float, interruption: Interruption | None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + max(timeout, 0)
        self._started = started
        self._interruption = interruption

    def left(self) -> float | None:
        """Return the seconds until the command is to be ended; None if it may run for ever."""
        own = None if self._deadline is None else self._deadline - time.monotonic()
        cut = None if self._interruption is None else self._interruption.seconds_left(self._started)
        return min((one for one in (own, cut) if one is not None), default=None)

    def is_cut(self) -> bool:
        """Return whether it is the interruption that left the command no more time."""
        return self._deadline is None or self._deadline > time.monotonic()

    def waits(self) -> Iterator[float | None]:
        """Yield the seconds to wait for, again and again, until the time is over."""
        left = self.left()
        while True:
            yield left if self._interruption is None else min(_GLANCE if left is None else left, _GLANCE)
            left = self.left()
            if left is not None and left <= 0:
                return


def _ends_within(clock: _Clock, process: subprocess.Popen[bytes]) -> bool:
    """Wait and, where pidfd exists, do not reap: until then the group's id is still ours."""
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel before 5.3, or no descriptor is left
            descriptor = os.pidfd_open(process.pid)
            try:
                waiting = poll()
                waiting.register(descriptor, POLLIN)
                return any(waiting.poll(_milliseconds(seconds)) for seconds in clock.waits())
            finally:
                os.close(descriptor)
    for seconds in clock.waits():
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return True
    return False


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else ceil(min(max(seconds, 0) * 1000, _LONGEST))


def _end(process: subprocess.Popen[bytes] | None, command: Command) -> None:
    value = command.env.get(command.marker)
    variable = f"{command.marker}={value}" if command.marker and value else ""
    # Once it has been reaped its number may belong to somebody else.
    group = process.pid if process is not None and process.returncode is None else 0
    try:
        if process is not None and group:
            end_group(group, gone=lambda: process.poll() is not None, grace=command.grace, variable=variable)
        else:
            end_everything_marked(variable, grace=command.grace)
    except BaseException:
        # A second Ctrl-C: nobody waits any longer, and still nothing may be left, known to us by its id or not.
        if variable:
            end_everything_marked(variable, grace=0)
        raise
    finally:
        if process is not None and process.returncode is None:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    if group <= 1:  # the system would take that for our own group, or for everybody
        raise ValueError(f"{group} is no group of a command's")
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
        _killpg(group, number)


def _why_not_started(argv: tuple[str, ...], cwd: Path, error: Exception) -> str:
    program = argv[0] if argv else ""
    if not program:
        return f"cannot start an empty command in {cwd}; name a program"
    if not cwd.is_dir():
        return f"cannot start {program!r}: its directory {cwd} does not exist; create it, or correct `cwd:`"
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError) and len(program.split()) > 1:
        return (
            f"cannot start {program!r} in {cwd}: a list is one command, word by word; for shell text, or several "
            "commands, write `run: |` and the text below it"
        )
    if isinstance(error, FileNotFoundError) and (cwd / program).is_file():
        missing = "it is there, but the interpreter that its first line names is not"
        return f"cannot start {program!r} in {cwd}: {missing}; install that, or correct the line"
    advice = _ADVICE.get(getattr(error, "errno", None) or 0, "correct its arguments or its environment")
    return f"cannot start {program!r} in {cwd}: {reason}; {advice}"


_ADVICE: Mapping[int, str] = {
    errno.ENOENT: "install it, put its directory on PATH, or correct its name",
    errno.EACCES: "make it executable (chmod +x), and its directory accessible",
    errno.ENOEXEC: "give it a first line such as `#!/bin/sh`, or build it for this machine",
    errno.E2BIG: "shorten its arguments or its environment; pass long texts in a file or as `stdin:`",
    errno.ENOMEM: "free some memory, or run with fewer workers",
    errno.EAGAIN: "too many processes: run with fewer workers, or raise the limit (ulimit -u)",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    errno.ETXTBSY: "somebody is still writing it: wait for that",
}
