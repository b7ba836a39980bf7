"""Files of a run: small ones, written whole, and a log that several processes append to.

Appending costs one write. A file per record would cost the creation of a file, which on many disks takes longer than
starting a shell. Records are never changed or removed: the newest ones hold.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import UnionType
from typing import Generic, TypeVar

import msgspec

from pytest_dogfood.diagnostics import HarnessError, to_harness_error

T = TypeVar("T")


def write_for_others(path: Path, content: bytes) -> None:
    """Replace a file that CI collects, with a mode by the user's umask; make its directories."""
    with to_harness_error(f"make the directory {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, mode=0o666)


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file so that readers see the whole old or the whole new content."""
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor carries mode and flags
            file.write(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def append_line(path: Path, line: bytes) -> None:
    """Add one line to a file that nothing else writes to; mode 0600."""
    with to_harness_error(f"write {path}"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor carries mode and flags
            file.write(line + b"\n")


def read_as(path: Path, kind: type[T]) -> T | None:
    """Read a JSON file as `kind`; return None if there is none; raises HarnessError if it is invalid."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read ({error}); remove it and run again") from error


def private_directory(path: Path) -> Path:
    """Make a directory that only its owner may enter; refuse one of another user, and a symbolic link."""
    with to_harness_error(f"make the directory {path}"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise HarnessError(
            f"{path} is not a directory of yours; remove it, or set dogfood_state_root to another place"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


_LONGEST_PATH = 1000
"""Characters of a path that are opened at once: the system accepts 4,096 bytes."""


@contextmanager
def opened_directory(path: str, *, below: int | None = None) -> Iterator[int]:
    """Open a directory for reading, no link, however long its path is; below an open one, which itself has no name."""
    opened, path = below, path or "."
    while path:
        cut = len(path) if len(path) <= _LONGEST_PATH else path.rindex("/", 0, _LONGEST_PATH)
        try:
            following = os.open(path[:cut], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
        finally:
            if opened is not None and opened != below:
                os.close(opened)
        opened, path = following, path[cut + 1 :]
    try:
        yield following
    finally:
        os.close(following)


class SharedLog(Generic[T]):
    """One JSON line per record, readable by its owner only; the first record creates the file.

    Every method raises HarnessError if the file cannot be used or has invalid content.
    """

    def __init__(self, path: Path, kind: type[T] | UnionType) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._descriptor = -1
        self._one_thread = Lock()
        self._position = 0

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def append(self, record: T) -> None:
        """Add a record: all of it, or nothing."""
        try:
            line = msgspec.json.encode(record) + b"\n"
        except UnicodeError as error:
            raise HarnessError(f"cannot write {self._path}: a value is not valid UTF-8: {error}") from error
        with to_harness_error(f"write {self._path}"):
            descriptor = self._opened(os.O_CREAT)
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            try:
                _write_line(descriptor, line)
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN)

    def unread(self) -> tuple[T, ...]:
        """Return the records that were added since the last call, oldest first."""
        with self._one_thread:
            try:
                descriptor = self._opened()
                more = os.fstat(descriptor).st_size - self._position
                added = os.pread(descriptor, more, self._position) if more > 0 else b""
            except FileNotFoundError:
                return ()
            except OSError as error:
                raise HarnessError(f"cannot read {self._path}: {error.strerror}") from error
            whole = added[: added.rfind(b"\n") + 1]  # the last line may still be being written
            self._position += len(whole)
            try:
                return tuple(self._decoder.decode(line) for line in whole.splitlines())
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise HarnessError(
                    f"{self._path} cannot be read ({error}); remove it and run again"
                ) from error

    def _opened(self, create: int = 0) -> int:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | create
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor


def _write_line(descriptor: int, line: bytes) -> None:
    """Write a line after the last whole one. The file is locked, so half a line there was never finished."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        size = os.pread(descriptor, size, 0).rfind(b"\n") + 1
        os.ftruncate(descriptor, size)
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except BaseException:
        # A whole line may have been read already: Ctrl-C may come after the last write.
        if os.fstat(descriptor).st_size < size + len(line):
            os.ftruncate(descriptor, size)
        raise
