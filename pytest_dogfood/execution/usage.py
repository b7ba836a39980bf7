"""Processes of a run that use a directory: as their working directory, or by a file that they have open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pytest_dogfood.execution import watcher

_SECONDS_TO_EXEC = 1.0
"""The age in seconds below which a process may not have executed its program yet: then it has another environment."""


class UserFinder:
    """Finds processes of a run that use a directory.

    Only processes that carry `marker` (`NAME=value`, or `NAME` with any value) count, and their descendants, but
    neither this process nor its ancestors; nor does one whose files we may not see, such as one of another user or in
    a browser's sandbox.

    Each search lists /proc, and reads only processes that earlier ones could not tell apart. It misses a process whose
    id belonged to one of no run then, which takes a wrap-around of the ids in between. What runs already is read at
    once: when the first state is copied, others wait for it.
    """

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._of_the_run: dict[int, watcher.Process] = {}
        self._others: set[int] = set()
        if watcher.HAS_PROC:
            self._processes()

    def find(self, directory: Path) -> Iterator[tuple[str, str]]:
        """Yield what is used in a directory, as a path below it, and the process that uses it, as `sleep (12345)`."""
        real = os.path.realpath(directory)
        for process in self._processes() if watcher.HAS_PROC else ():
            try:
                used = next(
                    (path for path in _used_by(process.pid) if f"{path}/".startswith(f"{real}/")), None
                )
            except OSError:  # it has ended meanwhile, or we may not look
                continue
            if used is not None:
                # The rest of its command line may contain a secret.
                words = watcher.command_of(process.pid) or ["a process"]
                yield used[len(real) + 1 :], f"{os.path.basename(words[0])} ({process.pid})"  # noqa: PTH119 - a word

    def may_be_used_later(self, state: Path) -> bool:
        """Return whether a process of the run may use a state although nothing is started in it any more.

        One that was started in another state does not know the path of this one.
        """
        where = b"\0DOGFOOD_STATE="
        for process in self._processes() if watcher.HAS_PROC else ():
            _, is_in_a_state, after = watcher.environment_of(process.pid).partition(where)
            if not is_in_a_state or after.partition(b"\0")[0] == os.fsencode(state):
                return True
        return False

    def _processes(self) -> list[watcher.Process]:
        """Return the processes of the run, the oldest first.

        A process may start another one and end before it is read, and that is not on the list: then it is listed again.
        """
        new: dict[int, watcher.Process] = {}
        read: set[int] = set()
        some_ended = True
        while some_ended:
            here = watcher.pids()
            some_ended = False
            for pid in here - self._others - self._of_the_run.keys() - read:
                read.add(pid)
                process = watcher.read_process(pid)
                if process is None:
                    some_ended = True
                else:
                    new[pid] = process
        found = {pid: one for pid, one in self._of_the_run.items() if pid in here}
        spared = self._ancestors() if new else set()
        found.update((pid, one) for pid, one in new.items() if pid not in spared and self._is_marked(one))
        children = [one for one in new.values() if one.pid not in found and one.pid not in spared]
        while descendants := [one for one in children if one.parent in found]:
            found.update((one.pid, one) for one in descendants)
            children = [one for one in children if one.pid not in found]
        self._of_the_run = found
        self._others = (self._others & here) | {
            pid for pid, one in new.items() if _is_settled(one)
        } - found.keys()
        return sorted(found.values(), key=lambda one: (int(one.started), one.pid))

    def _is_marked(self, process: watcher.Process) -> bool:
        return process.has_environment and watcher.carries(process.pid, self._marker)

    @staticmethod
    def _ancestors() -> set[int]:
        """Return the ids of this process, its ancestors, and the first process."""
        found, pid = {0, 1}, os.getpid()
        while pid not in found:
            found.add(pid)
            process = watcher.read_process(pid)
            pid = 0 if process is None else process.parent
        return found


def _is_settled(process: watcher.Process) -> bool:
    """Return whether a process keeps the environment that it has: it is old enough, or never has one."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(process.started) / os.sysconf("SC_CLK_TCK")
    return age > _SECONDS_TO_EXEC or not process.has_environment


def _used_by(pid: int) -> Iterator[str]:
    """Yield the paths that a process uses; raises OSError if it has ended or is not ours."""
    for name in ("cwd", "root"):
        yield os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 - a Path takes longer than the call
    for file in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - likewise
        with suppress(FileNotFoundError):  # closed since it was listed
            yield os.readlink(f"/proc/{pid}/fd/{file}")  # noqa: PTH115 - likewise
    for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) > 5:
            yield os.fsdecode(fields[5])
