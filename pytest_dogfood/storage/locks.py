"""Locks by name: for tokens, and for what `lock:` names. They end with their process."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from threading import RLock

from pytest_dogfood.diagnostics import HarnessError

_BYTES = 2**62
"""How many bytes of a file, which need not exist, can be locked each by itself."""


class LockTable:
    """Locks that one process at a time may hold, several times over; the system lets go for a process that dies.

    Of the threads of a process one at a time may hold any: tables whose locks are taken together share `threads`.

    A name stands for one byte of the file, locked as POSIX has it (fcntl(2), advisory record locks): to lock costs no
    file, what waits wakes up as soon as the holder lets go, and what would wait in a circle is told so.
    Such locks belong to the process: children do not inherit them, and a process that closes any descriptor of the file
    gives them up. So a table keeps its file open as long as it lives, and a process holds locks by one table at a time.

    `waited` is called with the name of each lock that was not free at once: what was true before may not be true now.
    """

    def __init__(
        self, path: Path, *, threads: RLock | None = None, waited: Callable[[str], object] | None = None
    ) -> None:
        self._path = path
        self._threads = threads or RLock()
        self._waited = waited
        self._descriptor = -1
        self._depths: dict[str, int] = {}

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Keep others away while the block runs; raises HarnessError if the lock cannot be had at all."""
        with self._threads:
            depth = self._depths.get(name, 0)
            if not depth and not self._ask(fcntl.LOCK_EX | fcntl.LOCK_NB, name):
                self._ask(fcntl.LOCK_EX, name)
                if self._waited is not None:
                    self._waited(name)
            self._depths[name] = depth + 1
            try:
                yield
            finally:
                if depth:
                    self._depths[name] = depth
                else:
                    del self._depths[name]
                    self._ask(fcntl.LOCK_UN, name)

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
            why = "whoever holds it waits for us" if error.errno == errno.EDEADLK else error.strerror
            raise HarnessError(f"cannot lock {name!r} in {self._path}: {why}") from error
        return True


def _byte_of(name: str) -> int:
    """Return a name's byte; two names share one about as often as hash functions break."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _BYTES


class NamedLocks:
    """Locks of one holder, taken all at once and in one order, so that two holders never wait for each other.

    One holder on the machine has a name at a time. What wants a further lock gives back all, and takes all anew.
    """

    def __init__(self, table: Callable[[], LockTable]) -> None:
        self._table = table
        self._held: dict[str, AbstractContextManager[None]] = {}

    def take(self, names: Iterable[str]) -> bool:
        """Hold all of `names`; return whether locks had to be given back for that, so that others may have had them."""
        wanted = sorted(set(names))
        if self._held.keys() >= set(wanted):
            return False
        gave_back = bool(self._held)
        self.give_back()
        with ExitStack() as on_error:
            on_error.callback(self.give_back)
            for name in wanted:
                lock = self._table().holding(name)
                lock.__enter__()
                self._held[name] = lock
            on_error.pop_all()
        return gave_back

    def keep(self, names: Iterable[str]) -> None:
        """Give back all but `names`."""
        kept = set(names)
        for name in [one for one in self._held if one not in kept]:
            self._held.pop(name).__exit__(None, None, None)

    def give_back(self) -> None:
        self.keep(())
