"""The named locks that an item holds while its tokens are provisioned and its steps run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack

from pytest_dogfood.storage.locks import LockTable


class NamedLocks:
    """Locks of one holder, taken all at once and in one order, so that two holders never wait for each other.

    One holder on the machine has a name at a time. Who wants a further lock gives back all, and takes all anew.
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
