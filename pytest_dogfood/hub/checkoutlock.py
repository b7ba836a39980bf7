"""The lock that one fixer at a time holds on a checkout; the system frees it when the process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_dogfood.diagnostics import HarnessError

LOCK_NAME = "dogfood-consistency.lock"
DEFAULT_TIMEOUT = 30.0


class CheckoutLockedError(HarnessError):
    """Another fixer holds the lock, and went on holding it for as long as we were told to wait."""

    def __init__(self, path: Path, waited: float) -> None:
        super().__init__(path, waited)
        self.path = path
        self.waited = waited

    def __str__(self) -> str:
        return (
            f"another fixer holds {self.path}, for longer than {self.waited:g} s; "
            "run again once it is done, or wait longer: --lock-timeout SECONDS"
        )


@contextmanager
def checkout_lock(git_dir: Path, *, timeout: float = DEFAULT_TIMEOUT) -> Iterator[Path]:
    """Hold the lock of the work tree whose git directory this is, waiting for it up to `timeout` seconds.

    Raises CheckoutLockedError if somebody else kept it, HarnessError if it cannot be taken at all. Its file
    stays behind: removing it would take it away from who is just waiting for it.
    """
    path = git_dir / LOCK_NAME
    if not git_dir.is_dir():  # filelock would make it
        raise HarnessError(f"cannot lock {path}: there is no such directory")
    lock = FileLock(path, timeout=max(timeout, 0.0))
    try:
        lock.acquire()
    except Timeout:
        raise CheckoutLockedError(path, timeout) from None
    except (OSError, NotImplementedError) as error:
        raise HarnessError(f"cannot lock {path}: {error}; make the git directory writable") from error
    try:
        yield path
    finally:
        lock.release()
