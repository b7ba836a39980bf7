"""Starts commands, waits for them, and ends them if they must stop: the only module that starts processes.

Output goes to files, not through pipes: a command may leave a daemon that goes on writing, it may write more
than memory holds, and nothing has to read while it runs. The files are opened for appending, so that
`> /dev/stdout` in a command's own redirections leaves no hole in them.
"""

from __future__ import annotations

import errno
import math
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from select import POLLIN, poll

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.execution.watcher import (
    HAS_PROC,
    SECONDS_BEFORE_KILL,
    command_of,
    end_processes,
    pids,
    read_process,
)

# Bound now: a test that patches them means to change its own product, not the harness.
_Popen = subprocess.Popen
_killpg = os.killpg

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_SECONDS_BETWEEN_LOOKS = 0.25
"""Seconds between checks of the time left, which an interruption may shorten while a command runs."""


class Command(Struct, frozen=True, kw_only=True):
    """A command to start, and the files for its output, or functions that open them.

    `marker` names an environment variable, set in `env`, that all processes of the command inherit: when the command
    must be ended, every process with the same value is ended too. `grace` is the time in seconds between the request
    to end and the kill.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""
    timeout: float | None = None
    stdout: Path | Callable[[], int]
    stderr: Path | Callable[[], int]
    marker: str = ""
    grace: float = SECONDS_BEFORE_KILL


class CommandEnd(Struct, frozen=True, kw_only=True):
    """How a command ended: its exit status, or -N for signal N; `cut` if it had less time because of a signal.

    `running` names the commands that it was running at the time limit, as `commands_within` does.
    """

    status: int
    timed_out: bool
    seconds: float
    cut: bool = False
    running: tuple[str, ...] = ()


class ParentProcess:
    """Remembers this process's parent, to notice that it has died."""

    def __init__(self) -> None:
        self._own = os.getpid()
        self._parent = os.getppid()

    def has_died(self) -> bool:
        """Return whether the parent has died; in a process that was forked since, this is always false."""
        return os.getpid() == self._own and os.getppid() != self._parent


def run(
    command: Command,
    *,
    parent: ParentProcess | None = None,
    interruption: Interruption | None = None,
    started_as: list[int] | None = None,
) -> CommandEnd:
    """Run a command in a session of its own until it ends or reaches its time limit, which an interruption may shorten.

    Its process id is added to `started_as`.

    After a normal end, processes that it leaves in the background are left alone. After a time limit or an exception
    (Ctrl-C), all of its processes are ended. Raises HarnessError if it could not be started, or if the parent has
    died: then nothing waits for the result, and the watcher's sweep may already be over.
    """
    interruption = interruption or Interruption()
    process: subprocess.Popen[bytes] | None = None
    started = time.monotonic()
    running: tuple[str, ...] = ()
    try:
        _require_alive(parent)
        process = _launch(command)
        if started_as is not None:
            started_as.append(process.pid)
        _require_alive(parent)
        deadline = math.inf if command.timeout is None else time.monotonic() + max(command.timeout, 0)

        def seconds_left() -> float:
            return min(deadline - time.monotonic(), interruption.seconds_left(started))

        timed_out = False
        while not timed_out and not _ends_within(process, min(seconds_left(), _SECONDS_BETWEEN_LOOKS)):
            timed_out = seconds_left() <= 0
        if timed_out:
            running = commands_within(process.pid, command.argv)
            _end(process, command, command.grace)
        status = process.wait()
        _require_alive(parent)  # else the watcher may have ended the command, and its status says nothing
    except BaseException:
        # Also without a process: the exception may have come after its start and before the assignment.
        _end(process, command, 0 if interruption.abandoned else command.grace)
        raise
    ended = time.monotonic()
    cut = timed_out and deadline > ended
    return CommandEnd(status=status, timed_out=timed_out, seconds=ended - started, cut=cut, running=running)


def commands_within(pid: int, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Name the commands that a shell, started as `argv`, is running, oldest first; none without /proc.

    A process with the same arguments is a subshell. A shell may have become its last command by exec.
    """
    processes = [seen for seen in map(read_process, pids()) if seen is not None] if HAS_PROC else []
    found: list[str] = []
    shells, others = [pid], [one for one in processes if not one.ended]
    while shells:
        shell = shells.pop()
        words = command_of(shell)
        if tuple(words[-len(argv) :]) == argv:  # a script follows its interpreter
            children = [(int(one.started), one.pid) for one in others if one.parent == shell]
            shells += [child for _, child in sorted(children, reverse=True)]
        elif words:
            found.append(shlex.join(words))
    return tuple(found)


def spawn(
    argv: tuple[str, ...],
    *,
    cwd: Path,
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    own_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with `streams` as Popen takes them; raises HarnessError if it cannot.

    Without its own session, it has a process group of its own in ours, which can be given our terminal.
    """
    stdin, stdout, stderr = streams
    try:
        return _Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=own_session,
            process_group=None if own_session else 0,
        )
    except (OSError, ValueError, IndexError) as error:
        raise HarnessError(_why_not_started(argv, cwd, error)) from error


def open_private(path: Path, *, fresh: bool) -> int:
    """Open a file for appending that no other user may read, emptied if `fresh`; a symbolic link is refused."""
    try:
        descriptor = os.open(path, _APPEND | os.O_TRUNC if fresh else _APPEND, 0o600)
        os.fchmod(descriptor, 0o600)  # it may have existed
    except OSError as error:
        raise HarnessError(
            f"cannot write output to {path}: {error.strerror}; make its directory writable, or free some space"
        ) from error
    return descriptor


def end_group(
    group: int, *, gone: Callable[[], bool], grace: float = SECONDS_BEFORE_KILL, variable: str = ""
) -> None:
    """End a process group or session, its descendants, and all processes that carry `variable`.

    Without /proc, `gone` tells whether the group's leader has ended, and only the group is ended.
    """
    if HAS_PROC:
        end_processes(variable, group=group, grace=grace)
        return
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while not gone() and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(group, signal.SIGKILL)


def _require_alive(parent: ParentProcess | None) -> None:
    if parent is not None and parent.has_died():
        raise HarnessError(
            "the process that controls this run has died, so nothing more is started or judged; run again"
        )


def _launch(command: Command) -> subprocess.Popen[bytes]:
    opened: list[int] = []
    try:
        for output in (command.stdout, command.stderr):
            if isinstance(output, Path):
                opened.append(open_private(output, fresh=True))
            else:
                opened.append(output())
        stdout, stderr = opened
        stdin = subprocess.DEVNULL
        if command.stdin:
            # Unlike a pipe, a file never waits for a reader.
            storing = f"store {len(command.stdin)} bytes of standard input"
            with to_harness_error(storing), tempfile.TemporaryFile() as file:
                file.write(command.stdin)
                file.seek(0)
                stdin = os.dup(file.fileno())
                opened.append(stdin)
        return spawn(command.argv, cwd=command.cwd, env=command.env, streams=(stdin, stdout, stderr))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait; if pidfd exists, do not reap the process, so that the group's id stays reserved."""
    seconds = max(seconds, 0)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel before 5.3, or no descriptor is left
            descriptor = os.pidfd_open(process.pid)
            try:
                waiting = poll()
                waiting.register(descriptor, POLLIN)
                return bool(waiting.poll(math.ceil(seconds * 1000)))
            finally:
                os.close(descriptor)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def _end(process: subprocess.Popen[bytes] | None, command: Command, grace: float) -> None:
    value = command.env.get(command.marker)
    variable = f"{command.marker}={value}" if command.marker and value else ""
    try:
        # Once it has been reaped, its id may belong to another process.
        if process is not None and process.returncode is None:
            end_group(process.pid, gone=lambda: process.poll() is not None, grace=grace, variable=variable)
        else:
            end_processes(variable, grace=grace)
    except BaseException:
        # A second Ctrl-C: do not wait any longer, but leave no process, even if its id is unknown.
        end_processes(variable, grace=0)
        raise
    finally:
        if process is not None and process.returncode is None:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    if group <= 1:  # to the system that means our own group, or all processes
        raise ValueError(f"{group} is not the process group of a command")
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
            "commands, write `run: |` and put the text below it"
        )
    if isinstance(error, FileNotFoundError) and (cwd / program).is_file():
        missing = "the file exists, but the interpreter that its first line names does not"
        return f"cannot start {program!r} in {cwd}: {missing}; install it, or correct the line"
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
    errno.ETXTBSY: "another process still has it open for writing: wait until it is closed",
}
