"""Services and their ports, processes that steps leave running, and the watcher that outlives even the run."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import watcher
from pytest_dogfood.execution.output import terminal_text
from pytest_dogfood.execution.process import end_group, open_private, spawn
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.execution.watcher import alive, start_time

_SECONDS_TO_END = 0.5
"""Seconds in which a process that a step leaves may end by itself, as the last command of a broken pipe does."""

_LONGEST_COMMAND = 60


class BackgroundProcess(Struct, frozen=True, kw_only=True):
    """A service: the leader of its process group. `start_time` tells it from a later process with the same id."""

    pid: int
    start_time: str | None
    log: str
    ports: Mapping[str, int] = field(default_factory=dict)


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Choose a free loopback TCP port for each name, no two the same; nothing keeps them free afterwards."""
    ports: dict[str, int] = {}
    with ExitStack() as held:
        for name in names:
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            ports[name] = listener.getsockname()[1]
    return ports


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    ports: Mapping[str, int] | None = None,
) -> BackgroundProcess:
    """Start a service that outlives the caller, its output appended to `log`; raises HarnessError if it cannot."""
    descriptor = open_private(log, fresh=False)
    try:
        process = spawn(tuple(argv), cwd=cwd, env=env, streams=(subprocess.DEVNULL, descriptor, descriptor))
    finally:
        os.close(descriptor)
    # Nothing waits for it here; without a status its finalizer would warn of a process that still runs.
    process.returncode = 0
    return BackgroundProcess(
        pid=process.pid, start_time=start_time(process.pid), log=str(log), ports=dict(ports or {})
    )


def is_alive(running: BackgroundProcess) -> bool:
    """Return whether the service's own process still runs; a later process with its id does not count."""
    return alive(running.pid, running.start_time)


def stop(running: BackgroundProcess, *, grace: float = 5.0) -> None:
    """End the service and its process group, from any process; once it has ended, this does nothing.

    If the leader has ended, the rest of its group is ended: the system gives no new process an id that a group still
    has. If the id belongs to another process, nothing is left to end.
    """

    def gone() -> bool:
        with suppress(ChildProcessError):  # another process has started it, or it was reaped before
            os.waitpid(running.pid, os.WNOHANG)
        return not is_alive(running)

    if start_time(running.pid) in (None, running.start_time):
        end_group(running.pid, gone=gone, grace=grace)
        gone()


class LeakFinder:
    """Finds processes that steps left running.

    Each search lists /proc once, and reads only the processes that are new since the last one. It misses a process
    whose id belonged to another process at that time, which takes a wrap-around of the ids in between.
    """

    def __init__(self) -> None:
        self._others = watcher.pids() if watcher.HAS_PROC else set()

    def find(self, marker: str, mask: Callable[[str], str]) -> tuple[str, ...]:
        """Describe the processes that carry `marker` and the number of a step, such as `sleep 30 (step 1)`, masked.

        Processes that are about to end by themselves get a moment to do so.
        """
        marked = b"\0" + os.fsencode(marker)
        deadline = time.monotonic() + _SECONDS_TO_END
        while (found := self._look(marked)) and time.monotonic() < deadline:
            time.sleep(0.02)
        here = {one.pid for one in found}
        oldest_first = sorted(found, key=lambda one: (int(one.started), one.pid))
        roots = [one for one in oldest_first if one.parent not in here]
        counts = Counter(f"{command} ({found[one]})" for one in roots if (command := _command(one.pid, mask)))
        return tuple(f"{number} x {text}" if number > 1 else text for text, number in counts.items())

    def _look(self, marked: bytes) -> dict[watcher.Process, str]:
        """Return the marked processes, each with the step that started it."""
        here = watcher.pids() if watcher.HAS_PROC else set()
        found: dict[watcher.Process, str] = {}
        for pid in here - self._others:
            process = watcher.read_process(pid)
            if process is not None and process.has_environment:
                _, _, after = watcher.environment_of(pid).partition(marked)
                if (mark := _STEP.match(after)) is not None:
                    found[process] = f"{_KINDS[mark[1]]} {mark[2].decode()}"
        self._others = here - {process.pid for process in found}
        return found


_STEP = re.compile(rb"([a-z-]+)-(\d+)\0")
_KINDS = {b"step": "step", b"cleanup-step": "clean-up step", b"action": "action"}


def _command(pid: int, mask: Callable[[str], str]) -> str:
    """Return a process's command on one short line; for a shell that runs the text of a step, that text."""
    words = watcher.command_of(pid)
    is_step = bool(words) and tuple(words) == shell_argv(words[-1], None)
    # Masked before it is cut: half a secret could not be found.
    line = " ".join(mask(words[-1] if is_step else shlex.join(words)).split())
    return line if len(line) <= _LONGEST_COMMAND else f"{line[: _LONGEST_COMMAND - 1]}…"


class Watcher:
    """Makes sure that nothing with `marker` in its environment outlives this process, however it ends.

    The marker is the name of an environment variable, or an exact `NAME=value`. The watching process is in a session
    of its own, so that Ctrl-C does not reach it.
    """

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._ended: tuple[int, ...] | None = None
        # Not inheritable, as all descriptors of Python: no child holds a copy that would keep the pipe open.
        reading, writing = os.pipe()
        self._pipe = os.fdopen(writing, "wb", buffering=0)
        try:
            self._process = spawn(
                (sys.executable, "-I", "-S", watcher.__file__, str(os.getpid()), marker),
                cwd=Path("/"),
                env=os.environ,
                streams=(reading, subprocess.PIPE, subprocess.STDOUT),
            )
        except BaseException:
            self._pipe.close()
            raise
        finally:
            os.close(reading)
        self.pid = self._process.pid

    def close(self) -> tuple[int, ...]:
        """End all marked processes and stop watching; return the ids of the processes that were ended.

        Raises HarnessError if the watcher itself failed, after a sweep without it.
        """
        if self._ended is not None:
            return self._ended
        if not self._pipe.closed:  # else an earlier call was interrupted while it waited
            with suppress(BrokenPipeError):  # it was killed: we sweep below
                self._pipe.write(b"\n")
            self._pipe.close()
        try:
            printed, _ = self._process.communicate(timeout=2 * watcher.SWEEP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            printed, _ = self._process.communicate()
        status = self._process.returncode
        swept = tuple(map(int, printed.split())) if status == 0 else watcher.end_processes(self._marker)
        self._ended = swept
        if status > 0:
            text = terminal_text(printed)
            raise HarnessError(f"the watcher of this run failed with status {status}:\n{text}")
        return swept
