"""One file copied: its content, in which the path of the state is replaced, its holes, owner and attributes."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from pytest_dogfood.diagnostics import printable
from pytest_dogfood.storage.path_replacement import CHUNK, FileSearch, PathReplacement, is_end_of_another

_SMALL = 64 * 1024
"""Bytes below which a file is read and written at once, which takes less time than sharing its blocks."""
_LONGEST_PATH = 4096
_FICLONE = 0x40049409  # fcntl.FICLONE, which is new in Python 3.12
_NO_CLONES = {errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EXDEV}
# Said of one file only: it has other flags than a new one, is a swap file, or was written a moment ago.
_NO_CLONE_OF_THIS = {errno.EINVAL, errno.EPERM, errno.ETXTBSY, errno.EAGAIN}
_NANOSECONDS_OF_DOUBT = 2_000_000_000
_WITHOUT_PATHS: set[tuple[object, ...]] = set()
"""Searches in vain: the paths, and the file as it was. One state is copied many times, and cloning takes no time."""
_NO_ATTRIBUTES = {errno.EOPNOTSUPP, errno.EPERM, errno.EACCES}
CHANGED = "it has changed while it was copied"
_BINARY = "it is a binary file that contains the path of the state"


class NotCopyableError(Exception):
    """A state that cannot be copied: `path` is the file that prevents it, relative to the state; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = _readable(path or ".")
        self.reason = _readable(reason)
        super().__init__(f"{self.path}: {self.reason}")


class FileCopier:
    """Copies the content of files, with paths replaced. It is for one source and one target file system."""

    def __init__(self, paths: PathReplacement) -> None:
        self._paths = paths
        self._clones = True

    @cached_property
    def _search(self) -> FileSearch:
        return FileSearch(self._paths)  # has a large buffer, and not every state has files

    def copy(self, path: str, seen: os.stat_result, reading: int, writing: int) -> None:
        """Copy the content of an open file into an empty one; `path` is its name in errors."""
        if seen.st_size < _SMALL and not has_holes(seen):
            self._copy_small(path, seen, reading, writing)
        else:
            self._copy_large(path, seen, reading, writing)

    def _copy_small(self, path: str, seen: os.stat_result, reading: int, writing: int) -> None:
        data = os.read(reading, seen.st_size + 1)
        if len(data) != seen.st_size:
            raise NotCopyableError(path, CHANGED)
        if not path.endswith(".pyc"):
            found = self._paths.find(data)
            if found:
                if b"\0" in data:
                    raise NotCopyableError(path, _BINARY)
                changed = bytearray(data)
                for at, new in self._replacements(path, found, lambda start, end: data[start:end]):
                    changed[at : at + len(new)] = new
                data = bytes(changed)
        _write_all(writing, data)

    def _copy_large(self, path: str, seen: os.stat_result, reading: int, writing: int) -> None:
        extents = list(_extents(reading, seen))
        found: dict[int, bytes] = {}
        if self._clone(reading, writing):
            if not path.endswith(".pyc"):
                found = self._occurrences(seen, reading, extents)
        else:
            for start, end in extents:
                os.lseek(writing, start, os.SEEK_SET)
                for chunk in self._search.chunks(reading, start, end, found):
                    _write_all(writing, chunk)
            os.ftruncate(writing, seen.st_size)  # there may be a hole at the end
            if path.endswith(".pyc"):
                found.clear()
        if found:
            if not self._search.is_text(reading, seen.st_size):
                raise NotCopyableError(path, _BINARY)
            for at, new in self._replacements(path, found, _Window(reading)):
                os.pwrite(writing, new, at)

    def _occurrences(
        self, seen: os.stat_result, reading: int, extents: Sequence[tuple[int, int]]
    ) -> dict[int, bytes]:
        """Return which paths occur in which places of a file; a search that found none is not repeated."""
        as_it_was = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        search = (*self._paths.names, *as_it_was)
        if search in _WITHOUT_PATHS:
            return {}
        found = self._search.occurrences(reading, extents)
        # A file that was written a moment ago may be written again before its time changes.
        if not found and time.time_ns() - seen.st_ctime_ns > _NANOSECONDS_OF_DOUBT:
            _WITHOUT_PATHS.add(search)
        return found

    def _clone(self, reading: int, writing: int) -> bool:
        """Let the copy share the blocks of the original until one of them changes; return whether it does."""
        if self._clones:
            try:
                fcntl.ioctl(writing, _FICLONE, reading)
            except OSError as error:
                if error.errno not in _NO_CLONES | _NO_CLONE_OF_THIS:
                    raise
                self._clones = error.errno in _NO_CLONE_OF_THIS
            else:
                return True
        return False

    def _replacements(
        self, path: str, found: Mapping[int, bytes], read: Callable[[int, int], bytes]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the places of the path in a text file, and what stands there in the copy."""
        for at, old, new in self._paths.replacements(found, read):
            if len(old) != len(new):
                raise NotCopyableError(
                    path, f"it contains {os.fsdecode(old)}, whose length differs in a copy"
                )
            before = read(max(0, at - _LONGEST_PATH), at)
            if is_end_of_another(before):
                raise NotCopyableError(
                    path,
                    f"it contains another path that ends with {os.fsdecode(old)}, which may be the same place",
                )
            yield at, new


class _Window:
    """Reads what is between two places of a file, near those that were read before."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._start = 0
        self._data = b""
        self._end = 0

    def __call__(self, start: int, end: int) -> bytes:
        if start < self._start or end > self._end:
            self._start, self._end = start, start + CHUNK
            self._data = os.pread(self._file, CHUNK, start)
        return self._data[start - self._start : end - self._start]


def _readable(text: str) -> str:
    return printable(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def has_holes(seen: os.stat_result) -> bool:
    return seen.st_blocks * 512 < seen.st_size


def _extents(file: int, seen: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield beginning and end of each part of a file that is not a hole."""
    if not has_holes(seen):
        yield 0, seen.st_size
        return
    end = 0
    while end < seen.st_size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # the rest is a hole
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _write_all(file: int, data: bytes | memoryview) -> None:
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


def set_owner_and_attributes(original: int, copy: int, seen: os.stat_result, owner: os.stat_result) -> None:
    """Give a copy the owner and the extended attributes of the original, as far as attributes can be set here."""
    # In this order: a new owner takes some attributes away.
    if (seen.st_uid, seen.st_gid) != (owner.st_uid, owner.st_gid):
        os.fchown(copy, seen.st_uid, seen.st_gid)
    if hasattr(os, "listxattr"):
        for name in _attributes(original):
            try:
                os.setxattr(copy, name, os.getxattr(original, name))
            except OSError as error:
                if error.errno not in _NO_ATTRIBUTES:
                    raise


def _attributes(file: int) -> list[str]:
    try:
        return os.listxattr(file)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return []
        raise
