"""Locks by name: for tokens, and for what `lock:` names. They end with their process."""

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
"""How many bytes of a file, which need not exist, can be locked each by itself."""

_PAUSE = 0.02
"""Seconds between two looks for a free unit of a pool."""


class LockTable:
    """Locks that one process at a time may hold, several times over; the system lets go for a process that dies.

    Of the threads of a process one at a time may hold any: tables whose locks are taken together share `threads`.

    A name stands for one byte of the file, locked as POSIX has it (fcntl(2), advisory record locks): to lock costs no
    file, what waits wakes up as soon as the holder lets go, and what would wait in a circle gets an error.
    Such locks belong to the process: children do not inherit them, and a process that closes any descriptor of the file
    gives them up. So a table keeps its file open as long as it lives, and a process holds locks by one table at a time.

    `waiting` is called with the name of each lock that is not free at once, and what it gives lasts until it is.
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
        """Keep others away while the block runs; raises HarnessError if the lock cannot be taken at all.

        If another process has it and this one does not `wait`, raises BlockingIOError.
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
        """Lock or unlock a name; return False where another process holds it and we are not to wait."""
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
    """Return a name's byte; two names share one about as often as hash functions break."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _BYTES


def lock_of_unit(pool: str, unit: str) -> str:
    """Name the lock of one unit of a pool."""
    return f"{pool}: {unit}"


class NamedLocks:
    """Locks of one holder, taken all at once and in one order, so that two holders never wait for each other.

    A name in `pools` has those units, each with one holder on the machine; any other name has one holder itself.
    To take a further lock, release all and take all of them again.
    """

    def __init__(self, table: Callable[[], LockTable], pools: Mapping[str, Sequence[str]]) -> None:
        self._table = table
        self._pools = pools
        self._held: dict[str, dict[str, AbstractContextManager[None]]] = {}

    def acquire(self, wanted: Mapping[str, int]) -> bool:
        """Hold so many units of each lock; return whether some were released, so that others may have held them."""
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
        """Take any units of a pool, first those that this process has by another holder.

        One holder at a time chooses: otherwise those that want few could keep one that wants many waiting for ever.
        """
        table = self._table()
        with table.holding(pool):
            by_others = table.held() - {pool}.union(*self._held.values())
            units = sorted(self._locks_of(pool), key=lambda unit: unit not in by_others)
            if self._take_free(units, count, taken):
                return
            if by_others:  # to wait for more while it holds some could be to wait in a circle
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
        """Take units that are free, up to so many in all; return whether there are so many now."""
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
        """Give back all but so many units of each lock, the first ones."""
        for name, taken in list(self._held.items()):
            in_order = [lock for lock in self._locks_of(name) if lock in taken]
            for lock in in_order[wanted.get(name, 0) :]:
                taken.pop(lock).__exit__(None, None, None)
            if not taken:
                del self._held[name]

    def release(self) -> None:
        self.release_except({})
