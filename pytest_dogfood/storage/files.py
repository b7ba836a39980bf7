"""Small files: written whole, private to their owner, read without surprises."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from pytest_dogfood.diagnostics import HarnessError

T = TypeVar("T")


def write_for_others(path: Path, content: bytes) -> None:
    """Replace a file that CI collects, with the mode the user's umask gives; makes the directories it is in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"cannot make the directory {path.parent}: {error.strerror}") from error
    write_whole(path, content, mode=0o666)


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file so that readers see the old or the new content and never a part."""
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
    """Add one line to a file that nobody else writes to; mode 0600."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor carries mode and flags
            file.write(line + b"\n")
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def read_as(path: Path, kind: type[T]) -> T | None:
    """Read a JSON file as `kind`; None where there is none, HarnessError where it cannot be understood."""
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


def is_full(directory: Path) -> bool:
    """Whether nothing more can be written to the disk of a directory; False where the system does not know."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    free = found.f_bavail if os.geteuid() else found.f_bfree  # some room is kept for root
    return bool(found.f_blocks and not free) or bool(found.f_files and not found.f_ffree)


def private_directory(path: Path) -> Path:
    """Make a directory only its owner may enter, and refuse one that is somebody else's or a link."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise HarnessError(f"cannot make the directory {path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise HarnessError(
            f"{path} is not a directory of yours; remove it or set dogfood_state_root to another place"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path
