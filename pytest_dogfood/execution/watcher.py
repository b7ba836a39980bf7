"""Ends the processes that a run leaves behind, even if the run itself was killed.

Run as a script (`python -I -S watcher.py CONTROLLER_PID NAME[=VALUE]`) it waits for its controller's end and then
sweeps. It uses the standard library only, so that it starts quickly and works even if the environment is broken; the
run itself uses the same sweep.

A process is found by its environment (`/proc/PID/environ`), by its process group or session, or because a
process found that way started it. A process that overwrites its environment (some daemons do, to change
their title) is found by the other two only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import NamedTuple

HAS_PROC = os.path.exists("/proc/self/stat")  # noqa: PTH110 - pathlib would double the time this script needs to start
SECONDS_BEFORE_KILL = 2.0
"""Seconds between SIGTERM and SIGKILL."""
SWEEP_TIMEOUT = 15.0
"""Seconds after which a sweep gives up, for instance on a process that hangs in the kernel."""
_SECONDS_BETWEEN_SWEEPS = 0.1
_MILLISECONDS_TO_EXEC = 200  # the longest wait for a process that is executing another program
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD: such a thread never has an environment


class Process(NamedTuple):
    """One line of the process table; a tuple, because importing dataclasses takes longer than a sweep."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: str
    flags: int

    @property
    def ended(self) -> bool:
        """Whether it is a zombie: only its exit status is left."""
        return self.state in "ZXx"

    @property
    def has_environment(self) -> bool:
        return not (self.ended or self.flags & _KERNEL_THREAD)


def read_process(pid: int) -> Process | None:
    """Return a process's entry in the process table; None if there is no such process or no /proc."""
    try:
        line = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may itself hold blanks and parentheses.
    fields = line[line.rfind(b")") + 2 :].split()
    state, parent, group, session = fields[:4]
    started, flags = fields[19], fields[6]
    return Process(pid, state.decode(), int(parent), int(group), int(session), started.decode(), int(flags))


def start_time(pid: int) -> str | None:
    """Return a process's start time, which a later process with its id does not share; None if it cannot be read."""
    seen = read_process(pid)
    return None if seen is None else seen.started


def alive(pid: int, start_time: str | None) -> bool:
    """Return whether the process started at `start_time` still runs; a zombie does not."""
    if pid <= 0:
        return False
    if HAS_PROC:
        seen = read_process(pid)
        return seen is not None and not seen.ended and start_time in (None, seen.started)
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - see HAS_PROC


def survey(variable: str) -> tuple[dict[int, Process], set[int]]:
    """Return every process that has not ended, and the ids of those that carry `variable`.

    Reading takes time: a process may fork and end before it is read, and its child is not on the list. So the list is
    read again until it shows nothing new; then every live process has been read.
    """
    processes: dict[int, Process] = {}
    carrying: set[int] = set()
    known: set[int] = set()
    while not carrying and (new := pids() - known):
        known |= new
        for pid in new:
            seen = read_process(pid)
            if seen is not None and not seen.ended:
                processes[pid] = seen
                if variable and seen.has_environment and carries(pid, variable):
                    carrying.add(pid)
    return processes, carrying


def carries(pid: int, variable: str) -> bool:
    """Return whether a process was started with `variable`: a name, or an exact `NAME=value`."""
    wanted = os.fsencode(f"\0{variable}\0" if "=" in variable else f"\0{variable}=")
    return wanted in environment_of(pid)


def environment_of(pid: int) -> bytes:
    """Return the variables that a process was started with, each between two NULs; none if we may not read them."""
    try:
        for _ in range(_MILLISECONDS_TO_EXEC):
            environment = _read(f"/proc/{pid}/environ")
            # Neither environment nor arguments: it is just executing another program.
            if environment or _read(f"/proc/{pid}/cmdline"):
                break
            time.sleep(0.001)
        # With arguments only, it has no environment, unless it has just got both.
        environment = environment or _read(f"/proc/{pid}/environ")
    except OSError:  # it has ended, or it is another user's
        return b""
    return b"\0" + environment + b"\0"


def command_of(pid: int) -> list[str]:
    """Return the words of a process's command line; none if it has ended."""
    try:
        line = _read(f"/proc/{pid}/cmdline")
    except OSError:
        return []
    return line.rstrip(b"\0").decode("utf-8", errors="replace").split("\0") if line else []


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - see HAS_PROC
        return file.read()


def find_processes(variable: str, group: int) -> list[Process]:
    """Find processes that carry `variable` or belong to `group`, and their descendants; never us and our ancestors.

    The oldest come first: a shell with an exit trap must get the signal before the command that it waits for fails.
    """
    processes, carrying = survey(variable)
    spared = {0, 1, os.getpid()}
    ancestor = os.getpid()
    while ancestor in processes:
        ancestor = processes[ancestor].parent
        spared.add(ancestor)
    found = {
        pid: None
        for pid, process in processes.items()
        if pid not in spared and (pid in carrying or (group and group in (process.group, process.session)))
    }
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    queue = list(found)
    for pid in queue:
        new = [child for child in children.get(pid, ()) if child not in spared and child not in found]
        found.update(dict.fromkeys(new))
        queue.extend(new)
    return sorted((processes[pid] for pid in queue), key=lambda one: (int(one.started), one.pid))


def end_processes(
    variable: str = "", *, group: int = 0, grace: float = SECONDS_BEFORE_KILL
) -> tuple[int, ...]:
    """End every process started with `variable` (a name, or an exact `NAME=value`), and every process of `group`.

    Their descendants end with them, but never the caller, its ancestors and process 1. All get SIGTERM, and after
    `grace` seconds SIGKILL, until none is left. During the grace time, processes that they start to clean up are left
    alone. Return the ids of the processes that were signalled; none without /proc.
    """
    ended: dict[int, None] = {}
    refused: set[int] = set()
    began = time.monotonic()
    pause = 0.005
    while HAS_PROC and (variable or group):
        found = [one for one in find_processes(variable, group) if one.pid not in refused]
        here = {one.pid for one in found}
        elapsed = time.monotonic() - began
        if not found or elapsed > SWEEP_TIMEOUT + grace:
            break
        asked_before = bool(ended)
        for one in found:
            if elapsed >= grace:
                number = signal.SIGKILL
            elif one.pid in ended or (asked_before and one.parent in here):
                continue
            else:
                number = signal.SIGTERM
            try:
                os.kill(one.pid, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                refused.add(one.pid)
            else:
                ended[one.pid] = None
        # The remaining processes fork faster than they get signals: do not pause.
        pause = min(pause * 2, 0.05) if elapsed < grace else 0.001
        time.sleep(pause)
    return tuple(ended)


def wait_for_the_end_of(controller: int) -> bool:
    """Wait until the controller writes to the pipe, as it does at a normal end, or dies; return whether it wrote.

    The pipe alone is not enough: a process that the controller forks without exec holds a copy of its end.
    """
    stdin = sys.stdin.fileno()
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel before 5.3, or the controller is gone already
            poll.register(os.pidfd_open(controller), select.POLLIN)
    if os.getppid() != controller:
        return False
    return any(fd == stdin and os.read(stdin, 1) for fd, _ in poll.poll())


def main(controller: str, variable: str) -> None:
    """Wait, sweep until two sweeps in a row find nothing, and print the ids of ended processes, one a line."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    pause = 0.0 if wait_for_the_end_of(int(controller)) else _SECONDS_BETWEEN_SWEEPS
    ended: dict[int, None] = {}
    deadline = time.monotonic() + SWEEP_TIMEOUT
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        found = end_processes(variable)
        ended.update(dict.fromkeys(found))
        quiet = 0 if found else quiet + 1
        if quiet < 2:
            time.sleep(pause)
    with suppress(OSError):  # nothing is left to read it
        os.write(sys.stdout.fileno(), "".join(f"{pid}\n" for pid in ended).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
