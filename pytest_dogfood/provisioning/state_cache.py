"""A cache of states on disk: a directory for each, under its key, with copies of its files and what is known of it.

Whoever can write here decides what passes, so the directory must be writable by its owner only. Every entry is written
under another name and renamed, and renamed again before it is removed: what a killed process has left half-made or
half-removed is never used, and the next process removes it.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.usage import UserFinder
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.files import private_directory, read_as, write_whole
from pytest_dogfood.storage.locks import LockTable
from pytest_dogfood.storage.path_replacement import PathReplacement
from pytest_dogfood.storage.run_directory import project_name, remove_tree
from pytest_dogfood.storage.state_copy import CopiedState, NotCopyableError, copy_state

ENTRY = "entry.json"
STATE = "state"
NEW, GONE = "new-", "gone-"
"""Beginnings of the names of entries that are being written and removed."""

_NAME = "dogfood-state-of-the-cache-"


class CachedToken(Struct, frozen=True, kw_only=True):
    """A token that is present in a cached state, as it was recorded when it was made; `by` names its maker."""

    token: Token
    by: str
    proof: Proof
    values: Mapping[str, str]


class Entry(Struct, frozen=True, kw_only=True):
    """A cached state: its tokens in the order in which they were made, and what it took.

    It was `made` at a time (seconds since the epoch), and provisioning took `seconds`; it has so many files and bytes.
    """

    key: str
    tokens: tuple[CachedToken, ...]
    made: float
    seconds: float
    files: int
    bytes: int


class DamagedEntryError(NotCopyableError):
    """A cached state is not as it was stored."""


class UnusableCacheError(HarnessError):
    """The directory of the cache cannot be used as one; the text says why, and what to do."""


def cache_directory(settings: Settings, rootdir: Path, environment: Mapping[str, str]) -> Path:
    """Return the directory of a project's cache, which may not have been made yet; raises UnusableCacheError."""
    if settings.cache_dir is not None:
        base = rootdir / Path(settings.cache_dir).expanduser()
    else:
        try:
            home = Path.home()
        except RuntimeError as error:
            raise UnusableCacheError(f"{error}: set dogfood_cache_dir") from error
        usual = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
        given = Path(environment.get("XDG_CACHE_HOME", ""))
        base = (given if given.is_absolute() else usual) / "pytest-dogfood"
    return base / project_name(rootdir)


def _checked(directory: Path) -> Path:
    """Make the directory of a cache; raises UnusableCacheError if others could write there."""
    for path in (directory, directory.parent):
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_uid not in {os.getuid(), 0} or stat.S_IMODE(found.st_mode) & 0o022:
                raise UnusableCacheError(
                    f"{path} can be written to by others, who could decide what passes: "
                    f"remove it and take their access away, or set dogfood_cache_dir to a private directory"
                )
    for path in directory.parent.parents:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise UnusableCacheError(
                    f"others can replace directories in {path}: set dogfood_cache_dir to a private directory"
                )
    try:
        if not directory.parent.exists():
            private_directory(directory.parent)
        return private_directory(directory)
    except HarnessError as error:
        raise UnusableCacheError(f"{error}: set dogfood_cache_dir to a private directory") from error


def placeholder(path: str) -> str:
    """Return a path of the same form, with names of the same lengths, that stands for a state's in the cache."""
    letters = itertools.cycle(_NAME)
    return "".join("/" if letter == "/" else next(letters) for letter in path)


class StateCache:
    """The cache of one project. Its methods raise HarnessError where the file system refuses.

    `limit` is in bytes: what was not used for the longest time is removed beyond that. No process holds the lock of an
    entry for longer than it takes to copy one.
    """

    def __init__(self, directory: Path, *, limit: int) -> None:
        self.directory = _checked(directory)
        self._limit = limit
        self._locks = LockTable(self.directory / "locks")

    def entry(self, key: str) -> Entry | None:
        """Return what is known of a state; None if it is not in the cache, or cannot be read."""
        try:
            found = read_as(self.directory / key / ENTRY, Entry)
        except HarnessError:
            return None
        return found if found is not None and found.key == key else None

    def entries(self) -> list[tuple[Entry, float]]:
        """Return all entries, each with the time at which it was last used, the latest first."""
        found: list[tuple[Entry, float]] = []
        for key in self._keys():
            if (entry := self.entry(key)) is not None:
                with suppress(FileNotFoundError):
                    found.append((entry, (self.directory / key / ENTRY).stat().st_mtime))
        return sorted(found, key=lambda one: (-one[1], one[0].key))

    def restore(self, entry: Entry, target: Path) -> CopiedState:
        """Copy a state to an empty directory; raises NotCopyableError, also if the entry is not as it was stored."""
        with self._locks.holding(entry.key):
            source = self.directory / entry.key / STATE
            if not source.is_dir():
                raise NotCopyableError("", "it was removed from the cache")
            name, real = os.fspath(target), os.path.realpath(target)
            paths = PathReplacement.between(Path(placeholder(name)), target, real=(placeholder(real), real))
            copied = copy_state(source, target, limit=2**62, paths=paths)
            if (copied.files, copied.bytes) != (entry.files, entry.bytes):
                remove_tree(target)
                raise DamagedEntryError("", "it is not as it was stored")
            with suppress(OSError):
                os.utime(self.directory / entry.key / ENTRY)
        return copied

    def store(self, source: Path, entry: Entry, *, limit: int, users: UserFinder | None) -> Entry:
        """Add a state of at most `limit` bytes, unless it is there; raises NotCopyableError. Return its entry.

        No process that `users` finds may use it meanwhile.
        """
        with self._locks.holding(entry.key):
            known = self.entry(entry.key)
            if known is not None:
                return known
            new = self.directory / f"{NEW}{entry.key}"
            remove_tree(new)
            try:
                private_directory(new)
                name, real = os.fspath(source), os.path.realpath(source)
                paths = PathReplacement.between(
                    source, Path(placeholder(name)), real=(real, placeholder(real))
                )
                copied = copy_state(
                    source, new / STATE, limit=min(limit, self._limit), users=users, paths=paths
                )
                entry = msgspec.structs.replace(entry, files=copied.files, bytes=copied.bytes)
                write_whole(new / ENTRY, msgspec.json.encode(entry))
                self._remove(self.directory / entry.key)  # what could not be read
                with to_harness_error(f"write {new}"):
                    new.rename(self.directory / entry.key)
            finally:
                remove_tree(new)
        self._make_room(entry)
        return entry

    def drop(self, key: str, *, wait: bool = True) -> bool:
        """Remove an entry; return False if another process uses it and this one does not `wait`."""
        try:
            with self._locks.holding(key, wait=wait):
                self._remove(self.directory / key)
        except BlockingIOError:
            return False
        return True

    def clear(self) -> int:
        """Remove all entries, and what killed processes have left; return their number."""
        keys = self._keys()
        for key in keys:
            self.drop(key)
        self._sweep()
        return len(keys)

    def _keys(self) -> list[str]:
        return [
            path.name
            for path in self.directory.iterdir()
            if path.is_dir() and not path.name.startswith((NEW, GONE))
        ]

    def _make_room(self, stored: Entry) -> None:
        """Remove what was not used for the longest time, down to the limit, and what killed processes have left."""
        self._sweep()
        entries = [one for one, _ in self.entries() if one.key != stored.key]
        total = stored.bytes + sum(one.bytes for one in entries)
        while entries and total > self._limit:
            if self.drop((oldest := entries.pop()).key, wait=False):
                total -= oldest.bytes

    def _sweep(self) -> None:
        for path in self.directory.iterdir():
            if path.name.startswith(GONE):
                remove_tree(path)
            elif path.name.startswith(NEW):
                # Who writes it holds its lock.
                with suppress(BlockingIOError), self._locks.holding(path.name.removeprefix(NEW), wait=False):
                    remove_tree(path)

    def _remove(self, path: Path) -> None:
        gone = path.with_name(f"{GONE}{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        if path.exists():
            with to_harness_error(f"remove {path}"):
                path.rename(gone)
            remove_tree(gone)


def used_ago(seconds: float) -> str:
    """Return how long ago something was: `12 s ago`, `3 min ago`, `2 h ago`, `5 days ago`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and unit != "days"):
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
