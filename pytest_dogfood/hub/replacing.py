"""Replaces a file that belongs to somebody, whole and durably: it keeps its mode, and a crash leaves old or new."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_dogfood.git.tracked_file import read_regular

_PREFIX, _RANDOM, _SUFFIX = ".dogfood-writeback-", "[a-z0-9_]" * 8, "~"


class ChangedError(Exception):
    """The file does not hold what it should; it is left as it is."""


def replace(path: Path, *, old: bytes, new: bytes) -> None:
    """Put `new` into a file that holds exactly `old`.

    Raises ChangedError if it holds something else, OSError if it cannot be written; then it is as it was. Call it
    with the checkout locked: a temporary file that lies there was left by somebody who died.
    """
    _remove_leftovers(path.parent)
    with _beside(path, new) as beside:
        # As late as possible: an editor may have saved the file since it was read.
        if read_regular(path) != old:
            raise ChangedError
        beside.replace(path)
    _sync_directory(path.parent)


@contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """Make a temporary file next to another one, with its mode; at the end it is gone, if it is still there."""
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor is ours already
            file.write(content)
            file.flush()
            _liken(descriptor, path)
            os.fsync(descriptor)
        yield Path(name)
    finally:
        with suppress(OSError):
            Path(name).unlink()


def _remove_leftovers(directory: Path) -> None:
    with suppress(OSError):  # they are untidy, and do no harm
        for left in directory.glob(f"{_PREFIX}{_RANDOM}{_SUFFIX}"):
            left.unlink()


def _liken(descriptor: int, path: Path) -> None:
    like = path.lstat()
    mine = os.fstat(descriptor)
    if (like.st_uid, like.st_gid) != (mine.st_uid, mine.st_gid):
        with suppress(OSError):  # only root may give files away
            os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _sync_directory(path: Path) -> None:
    with suppress(OSError):  # some file systems cannot, and the file is replaced already
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
