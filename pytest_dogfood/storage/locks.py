"""Locks by name: for tokens, and for the names under `lock:`. A process's locks end with it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import RLock

from pytest_dogfood.diagnostics import HarnessError

_BYTES = 2**62
"""The number of bytes of a file that can be locked separately; they need not exist."""

_PAUSE = 0.02
"""Seconds between two searches for a free unit of a pool."""


class LockTable:
    """Locks that one process at a time may hold, reentrantly; the system releases those of a process that dies.

    Only one thread of a process at a time may hold any: tables whose locks are acquired together share `threads`.

    A name stands for one byte of the file, locked with a POSIX record lock (fcntl(2)): a lock needs no file of its own,
    a waiting process wakes up as soon as the holder releases the lock, and a deadlock raises an error.
    Such locks belong to the process: children do not inherit them, and a process that closes any descriptor of the file
    loses them. So a table keeps its file open as long as it lives, and a process holds locks by one table at a time.

    `waiting` is called with the name of each lock that is not free at once; its context lasts until the lock is free.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: RLock | None = None,
        waiting: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._path = path
        self._threads = threads or RLock()
        self.waiting = waiting
        self._descriptor = -1
        self._depths: dict[str, int] = {}

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @contextmanager
    def holding(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a lock while the block runs; raises HarnessError if it cannot be acquired at all.

        Raises BlockingIOError if another process holds it and this one does not `wait`.
        """
        with self._threads:
            depth = self._depths.get(name, 0)
            if not depth and not self._ask(fcntl.LOCK_EX | fcntl.LOCK_NB, name):
                if not wait:
                    raise BlockingIOError(errno.EAGAIN, "another process holds the lock", name)
                with self.waiting(name):
                    self._ask(fcntl.LOCK_EX, name)
            self._depths[name] = depth + 1
            try:
                yield
            finally:
                if depth:
                    self._depths[name] = depth
                else:
                    del self._depths[name]
                    self._ask(fcntl.LOCK_UN, name)

    def held(self) -> frozenset[str]:
        """Return the names that this process holds."""
        return frozenset(self._depths)

    def _ask(self, what: int, name: str) -> bool:
        """Lock or unlock a name; return False if another process holds it and we must not wait."""
        try:
            if self._descriptor < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            fcntl.lockf(self._descriptor, what, 1, _byte_of(name))
        except OSError as error:
            if what & fcntl.LOCK_NB and error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            why = "its holder waits for this process" if error.errno == errno.EDEADLK else error.strerror
            raise HarnessError(f"cannot lock {name!r} in {self._path}: {why}") from error
        return True


def _byte_of(name: str) -> int:
    """Return a name's byte; two names practically never share one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _BYTES


def lock_of_unit(pool: str, unit: str) -> str:
    """Name the lock of one unit of a pool."""
    return f"{pool}: {unit}"


class NamedLocks:
    """Locks of one holder, acquired all at once and in one order, so that two holders never wait for each other.

    A name in `pools` has those units, each with one holder on the machine; any other name has one holder itself.
    To acquire another lock, release all and acquire them all again.
    """

    def __init__(self, table: Callable[[], LockTable], pools: Mapping[str, Sequence[str]]) -> None:
        self._table = table
        self._pools = pools
        self._held: dict[str, dict[str, AbstractContextManager[None]]] = {}

    def acquire(self, wanted: Mapping[str, int]) -> bool:
        """Acquire the wanted units of each lock; return whether locks were released meanwhile."""
        if all(len(self._held.get(name, ())) >= count for name, count in wanted.items()):
            return False
        released = bool(self._held)
        self.release()
        with ExitStack() as on_error:
            on_error.callback(self.release)
            for name in sorted(wanted):
                taken = self._held[name] = {}
                if name in self._pools:
                    self._take_units(name, wanted[name], taken)
                else:
                    lock = self._table().holding(name)
                    lock.__enter__()
                    taken[name] = lock
            on_error.pop_all()
        return released

    def _take_units(self, pool: str, count: int, taken: dict[str, AbstractContextManager[None]]) -> None:
        """Acquire any units of a pool, first those that another holder of this process has.

        One holder at a time chooses: otherwise holders that want few units could starve one that wants many.
        """
        table = self._table()
        with table.holding(pool):
            by_others = table.held() - {pool}.union(*self._held.values())
            units = sorted(self._locks_of(pool), key=lambda unit: unit not in by_others)
            if self._take_free(units, count, taken):
                return
            if by_others:  # waiting for more units while holding some could be a deadlock
                names = ", ".join(sorted(by_others))
                raise HarnessError(
                    f"cannot lock {count} of the pool {pool!r}, because this journey already holds {names}; "
                    "add the token that needs the pool to its 'requires:'"
                )
            with table.waiting(pool):
                while not self._take_free(units, count, taken):
                    time.sleep(_PAUSE)

    def _take_free(
        self, units: Sequence[str], count: int, taken: dict[str, AbstractContextManager[None]]
    ) -> bool:
        """Acquire free units, up to `count` in all; return whether there are that many now."""
        for unit in units:
            if unit not in taken and len(taken) < count:
                lock = self._table().holding(unit, wait=False)
                with suppress(BlockingIOError):
                    lock.__enter__()
                    taken[unit] = lock
        return len(taken) == count

    def _locks_of(self, name: str) -> list[str]:
        return [lock_of_unit(name, unit) for unit in self._pools[name]] if name in self._pools else [name]

    def release_except(self, wanted: Mapping[str, int]) -> None:
        """Release all but the wanted number of units of each lock."""
        for name, taken in list(self._held.items()):
            in_order = [lock for lock in self._locks_of(name) if lock in taken]
            for lock in in_order[wanted.get(name, 0) :]:
                taken.pop(lock).__exit__(None, None, None)
            if not taken:
                del self._held[name]

    def release(self) -> None:
        self.release_except({})
