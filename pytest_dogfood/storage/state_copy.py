"""Copies of a state directory that work without the original.

A copy is refused rather than made of something that would differ from it, or that would go on using the original. Every
file is searched for the path of the state, however large it is: a binary file that contains it, such as a database or
a program with a search path for its libraries, would use the original unnoticed.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from pytest_dogfood.execution.usage import UserFinder
from pytest_dogfood.storage.file_copy import (
    CHANGED,
    FileCopier,
    NotCopyableError,
    has_holes,
    set_owner_and_attributes,
)
from pytest_dogfood.storage.files import opened_directory
from pytest_dogfood.storage.path_replacement import PathReplacement, replace_path, replace_paths_in_tree
from pytest_dogfood.storage.run_directory import remove_tree

__all__ = ["PART", "CopiedState", "NotCopyableError", "copy_state", "replace_path", "replace_paths_in_tree"]

PART = ".part"
"""The end of the name of a copy that is being made, or was when its process was killed."""

_KINDS = {
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFIFO: "it is a FIFO",
    stat.S_IFBLK: "it is a device",
    stat.S_IFCHR: "it is a device",
}


class CopiedState(Struct, frozen=True, kw_only=True):
    """What was copied: the number of files (links count, directories do not), their bytes, and the seconds it took."""

    files: int
    bytes: int
    seconds: float


class _Folder(NamedTuple):
    """A directory as it was before it was copied, and its files."""

    path: str
    seen: os.stat_result
    files: list[tuple[str, os.stat_result]]
    folders: list[str]


def copy_state(
    source: Path,
    target: Path,
    *,
    limit: int,
    users: UserFinder | None = None,
    copies: int = 1,
    paths: PathReplacement | None = None,
) -> CopiedState:
    """Copy a state directory so that the copy works without the original.

    The copy is written beside the target, under its name and `PART`, and renamed; an error leaves nothing of it. What a
    killed process has left there is removed first: two processes must not copy to the same target at the same time.
    An empty directory may be at the target, nothing else. The state is at most `limit` bytes, and the disk must have
    room for `copies` of it. It must not be in use by a process that `users` finds; None leaves that out. Its path and
    the target's have the same length, or ValueError is raised; `paths` says what is replaced where that is something
    else. Raises NotCopyableError for all else, also for what the system refuses.
    """
    began = time.monotonic()
    source, target = Path(os.path.abspath(source)), Path(os.path.abspath(target))  # noqa: PTH100 - links stay
    if paths is None and len(os.fsencode(source)) != len(os.fsencode(target)):
        raise ValueError(f"{target} and {source} must have the same length")
    part = target.with_name(target.name + PART)
    real = os.path.realpath(source)
    beside = os.path.join(os.path.realpath(target.parent), target.name)  # noqa: PTH118 - as above
    paths = paths or PathReplacement.between(source, target, real=(real, beside))
    copy = _Copy(source, real, target, limit, paths)
    try:
        remove_tree(part)
        _refuse_mount_points(real)
        if users is not None:
            _refuse_users(source, users)
        copy.survey()
        copy.refuse_full_disk(copies)
        part.mkdir(mode=0o700)
        copy.write(part)
        copy.compare()
        part.rename(target)
    except BaseException as error:
        remove_tree(part)
        if isinstance(error, OSError):
            raise NotCopyableError(copy.at, error.strerror or str(error)) from error
        raise
    return CopiedState(files=copy.files, bytes=copy.bytes, seconds=time.monotonic() - began)


class _Copy:
    """One copy while it is being made; `at` is the file that is looked at."""

    def __init__(self, source: Path, real: str, target: Path, limit: int, paths: PathReplacement) -> None:
        self._source = source
        self._real = real
        self._target = target
        self._limit = limit
        self._paths = paths
        self._copier = FileCopier(self._paths)
        self._folders: list[_Folder] = []
        self._first: dict[
            tuple[int, int], str
        ] = {}  # by device and inode, where the first of several names of a file is
        self._allocated = 0
        self.at = ""
        self.files = 0
        self.bytes = 0

    def survey(self) -> None:
        """List the state; refuse what cannot be copied, and what is too large."""
        with opened_directory(self._real) as base:
            device = os.fstat(base).st_dev
            pending = [""]
            counted: set[tuple[int, int]] = set()
            while pending:
                self.at = path = pending.pop()
                with opened_directory(path, below=base) as folder, os.scandir(folder) as entries:
                    listed = _Folder(path, os.fstat(folder), [], [])
                    for entry in sorted(entries, key=lambda one: one.name):
                        self.at = _join(path, entry.name)
                        seen = entry.stat(follow_symlinks=False)
                        self._admit(seen, device)
                        if stat.S_ISDIR(seen.st_mode):
                            listed.folders.append(entry.name)
                            pending.append(self.at)
                            continue
                        listed.files.append((entry.name, seen))
                        if seen.st_nlink == 1 or (seen.st_dev, seen.st_ino) not in counted:
                            self._count(seen)
                            counted.add((seen.st_dev, seen.st_ino))
                self._folders.append(listed)
        self.at = ""

    def _admit(self, seen: os.stat_result, device: int) -> None:
        kind = _KINDS.get(stat.S_IFMT(seen.st_mode))
        if kind is not None:
            raise NotCopyableError(self.at, kind)
        # In an overlay, files are on other devices than their directories.
        if stat.S_ISDIR(seen.st_mode) and seen.st_dev != device:
            raise NotCopyableError(self.at, "it is on another file system")

    def _count(self, seen: os.stat_result) -> None:
        allocated = seen.st_blocks * 512
        self._allocated += allocated
        is_sparse = stat.S_ISREG(seen.st_mode) and has_holes(seen)
        self.bytes += allocated if is_sparse else seen.st_size
        if self.bytes > self._limit:
            raise NotCopyableError("", f"it has more than {self._limit:,} bytes")

    def refuse_full_disk(self, copies: int) -> None:
        """Refuse to begin where the disk has no room for so many copies."""
        disk = os.statvfs(self._target.parent)
        names = sum(len(folder.files) + 1 for folder in self._folders)
        free = disk.f_bavail * disk.f_frsize
        # A file system that has no such limit says 0.
        if disk.f_blocks and free < copies * self._allocated:
            raise NotCopyableError(
                "", f"{copies} x {self._allocated:,} bytes are needed, and {free:,} are free"
            )
        if disk.f_files and disk.f_favail < copies * names:
            raise NotCopyableError(
                "", f"{copies} x {names:,} files are needed, and {disk.f_favail:,} are free"
            )

    def write(self, part: Path) -> None:
        """Write the copy into an empty directory."""
        closed: list[_Folder] = []
        with opened_directory(self._real) as base, opened_directory(os.path.realpath(part)) as copied:
            owner = os.fstat(copied)
            for folder in self._folders:
                self.at, seen = folder.path, folder.seen
                with (
                    opened_directory(folder.path, below=base) as here,
                    opened_directory(folder.path, below=copied) as there,
                ):
                    for name, before in folder.files:
                        self.at = _join(folder.path, name)
                        self._write_entry(name, before, here, there, copied, owner)
                    for name in folder.folders:
                        os.mkdir(name, 0o700, dir_fd=there)
                    self.at = folder.path
                    set_owner_and_attributes(here, there, seen, owner)
                    os.utime(there, ns=(seen.st_atime_ns, seen.st_mtime_ns))
                    if seen.st_mode & stat.S_IRWXU == stat.S_IRWXU:
                        os.fchmod(there, stat.S_IMODE(seen.st_mode))
                    else:  # what it contains could not be written
                        closed.append(folder)
            for folder in reversed(closed):
                self.at = folder.path
                with opened_directory(folder.path, below=copied) as there:
                    os.fchmod(there, stat.S_IMODE(folder.seen.st_mode))

    def _write_entry(
        self, name: str, seen: os.stat_result, here: int, there: int, copied: int, owner: os.stat_result
    ) -> None:
        self.files += 1
        if seen.st_nlink > 1:
            first = self._first.setdefault((seen.st_dev, seen.st_ino), self.at)
            if first != self.at:
                os.link(first, name, src_dir_fd=copied, dst_dir_fd=there, follow_symlinks=False)
                return
        if stat.S_ISLNK(seen.st_mode):
            os.symlink(self._link_target(os.readlink(name, dir_fd=here)), name, dir_fd=there)
            if (seen.st_uid, seen.st_gid) != (owner.st_uid, owner.st_gid):
                os.chown(name, seen.st_uid, seen.st_gid, dir_fd=there, follow_symlinks=False)
            os.utime(name, ns=(seen.st_atime_ns, seen.st_mtime_ns), dir_fd=there, follow_symlinks=False)
            return
        # What was a file a moment ago may be a FIFO now, which would wait for a writer.
        reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
        try:
            writing = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=there)
            try:
                self._refuse_change(seen, os.fstat(reading))
                self._copier.copy(self.at, seen, reading, writing)
                set_owner_and_attributes(reading, writing, seen, owner)
                os.fchmod(writing, stat.S_IMODE(seen.st_mode))
                os.utime(writing, ns=(seen.st_atime_ns, seen.st_mtime_ns))
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _link_target(self, target: str) -> str:
        """Return where a link of the copy leads: to the same place, or to that place in the copy."""
        replaced = os.fsdecode(self._paths.link_target(os.fsencode(target)))
        if len(os.fsencode(replaced)) != len(os.fsencode(target)):
            raise NotCopyableError(self.at, f"it leads to {target}, and that path cannot be replaced")
        if replaced == target:
            place = self.at.rpartition("/")[0]
            plain = os.path.normpath(os.path.join(place, target))  # noqa: PTH118 - a Path has no such form
            if plain == ".." or plain.startswith(("/", "../")):
                real = os.path.realpath(self._source / place / target)
                if f"{real}/".startswith(f"{self._real}/"):
                    raise NotCopyableError(self.at, f"it leads back into the original by {target}")
        return replaced

    def compare(self) -> None:
        """Refuse a copy of what has changed since it was listed: parts of it would be older than others."""
        with opened_directory(self._real) as base:
            for listed in self._folders:
                self.at = listed.path
                with opened_directory(listed.path, below=base) as folder:
                    self._refuse_change(listed.seen, os.fstat(folder))
                    for name, seen in listed.files:
                        self.at = _join(listed.path, name)
                        self._refuse_change(seen, os.stat(name, dir_fd=folder, follow_symlinks=False))
        self.at = ""

    def _refuse_change(self, before: os.stat_result, now: os.stat_result) -> None:
        if (before.st_mtime_ns, before.st_ctime_ns, before.st_size, before.st_ino) != (
            now.st_mtime_ns,
            now.st_ctime_ns,
            now.st_size,
            now.st_ino,
        ):
            raise NotCopyableError(self.at, CHANGED)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _refuse_users(source: Path, users: UserFinder) -> None:
    for name, process in users.find(source):
        raise NotCopyableError(name, f"it is in use by {process}")


def _refuse_mount_points(real: str) -> None:
    """Refuse a state, by its real path, with a mount point, also of a part of its own file system."""
    inside = os.fsencode(real) + b"/"
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except FileNotFoundError:
        return
    for line in mounts.splitlines():
        point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), line.split()[4])
        if point.startswith(inside):
            raise NotCopyableError(os.fsdecode(point[len(inside) :]), "it is a mount point")
