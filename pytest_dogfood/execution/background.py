"""Services: their free ports, processes that outlive a step, and the watcher that outlives even the run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct, field
from msgspec.structs import asdict

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import process, watcher
from pytest_dogfood.execution.output import printable


class BackgroundProcess(Struct, frozen=True, kw_only=True):
    """A service: the leader of its process group. `start_time` tells it from a later process with the same id."""

    pid: int
    start_time: str | None
    log: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ports": dict(self.ports)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            pid=value["pid"], start_time=value["start_time"], log=value["log"], ports=dict(value["ports"])
        )


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Choose a free loopback TCP port for each name, no two the same.

    Nothing keeps them free afterwards; whoever is asked for a port by number has that problem.
    """
    with ExitStack() as held:
        sockets = {
            name: held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            for name in dict.fromkeys(names)
        }
        for listener in sockets.values():
            listener.bind(("127.0.0.1", 0))
        return {name: listener.getsockname()[1] for name, listener in sockets.items()}


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    ports: Mapping[str, int] | None = None,
) -> BackgroundProcess:
    """Start a service in a session of its own, its output appended to `log`.

    It lives on when the caller ends. Raises HarnessError saying what could not be started.
    """
    descriptor = process.open_private(log, fresh=False)
    try:
        started = process.spawn(
            tuple(argv), cwd=cwd, env=env, streams=(subprocess.DEVNULL, descriptor, descriptor)
        )
    finally:
        os.close(descriptor)
    # Nobody waits for it here; without a status its finalizer would warn of a process that still runs.
    started.returncode = 0
    return BackgroundProcess(
        pid=started.pid,
        start_time=process.start_time(started.pid),
        log=str(log),
        ports=dict(ports or {}),
    )


def is_alive(running: BackgroundProcess) -> bool:
    """Return whether the service's own process still runs; a later process with its id does not count."""
    return process.alive(running.pid, running.start_time)


def stop(running: BackgroundProcess, *, grace: float = 5.0) -> None:
    """End the service with all of its group, from whichever process; once it has ended this does nothing.

    Where its leader is gone, what is left of its group ends: the system gives a number to no new process as
    long as a group goes by it. Where the number belongs to another process, there is nothing left to end.
    """
    if process.start_time(running.pid) in (None, running.start_time):
        process.end_group(running.pid, gone=lambda: _gone(running), grace=grace)
        _reap(running.pid)


def _gone(running: BackgroundProcess) -> bool:
    _reap(running.pid)
    return not is_alive(running)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # somebody else's child, or reaped before
        os.waitpid(pid, os.WNOHANG)


class Watcher:
    """Sees to it that nothing carrying `marker` in its environment outlives this process, however it ends.

    The marker is the name of an environment variable, or an exact `NAME=value`. Processes in `spare` are left
    alone. The watching process is in a session of its own, so that Ctrl-C does not reach it.
    """

    def __init__(self, marker: str, *, spare: Collection[int] = ()) -> None:
        self._marker = marker
        self._spare = tuple(spare)
        self._ended: tuple[int, ...] | None = None
        # Not inheritable, as all descriptors of Python: no child holds a copy that would keep the pipe open.
        self._reading, writing = os.pipe()
        self._pipe = os.fdopen(writing, "wb", buffering=0)
        try:
            self._watching = self._start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            os.close(self._reading)

    @property
    def pid(self) -> int:
        """The watching process, which an enclosing sweep may want to spare."""
        return self._watching.pid

    def close(self) -> tuple[int, ...]:
        """End everything marked now and stop watching; gives the ids of what had to be ended.

        Raises HarnessError if the watcher itself was broken, after having swept without it.
        """
        if self._ended is None:
            self._ended = self._dismiss()
        return self._ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        script = (sys.executable, "-I", "-S", watcher.__file__)
        return process.spawn(
            (*script, str(os.getpid()), self._marker, *map(str, self._spare)),
            cwd=Path("/"),
            env=os.environ,
            streams=(self._reading, subprocess.PIPE, subprocess.STDOUT),
        )

    def _dismiss(self) -> tuple[int, ...]:
        if not self._pipe.closed:  # else an earlier call was interrupted while it waited
            with suppress(BrokenPipeError):  # it was killed: we sweep below
                self._pipe.write(b"\n")
            self._pipe.close()
        try:
            printed, _ = self._watching.communicate(timeout=2 * watcher.LIMIT)
        except subprocess.TimeoutExpired:
            self._watching.send_signal(signal.SIGKILL)
            printed, _ = self._watching.communicate()
        status = self._watching.returncode
        if status == 0:
            return tuple(int(line) for line in printed.split())
        self._ended = process.end_everything_marked(self._marker, spare=self._spare)
        if status > 0:
            text = printable(printed)
            raise HarnessError(f"the watcher of this run broke down with status {status}:\n{text}")
        return self._ended
