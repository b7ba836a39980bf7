"""Unpacks packs. A pack may come from anywhere: what is not as `pack` writes it is refused whole."""

from __future__ import annotations

import gzip
import io
import math
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

import msgspec

from pytest_dogfood.diagnostics import HarnessError, printable
from pytest_dogfood.kept_runs.pack import (
    DEFAULT_LIMIT,
    INDEX,
    NOT_PACKED,
    PER_MEMBER,
    VERSION,
    PackIndex,
    in_megabytes,
    leads_out,
    open_tar,
)

_LONGEST_HEADER = 64 * 1024
"""Bytes that the headers of one member may take, long names included."""

_LARGEST_INDEX = 16 * 1024 * 1024
_BLOCK = 64 * 1024
_LATEST = 2.0**33
"""Seconds since the epoch after which nothing has been changed yet."""


class _RefusedError(Exception):
    """Why a pack is not unpacked, as the end of a sentence about it."""


class _Stream(io.RawIOBase):
    """What a compressed file unpacks to, read from its beginning to its end; no read goes beyond `allowed` bytes."""

    def __init__(self, source: gzip.GzipFile) -> None:
        self._source = source
        self._at = 0
        self.allowed = 0

    def allow(self, more: int) -> None:
        """Allow to read so many bytes from here."""
        self.allowed = self._at + more

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence or offset < self._at:
            raise _RefusedError("goes back to what was read before")
        while self._at < offset and self.read(min(_BLOCK, offset - self._at)):
            pass
        return self._at

    def read(self, size: int = -1) -> bytes:
        if size < 0 or self._at + size > self.allowed:
            raise _RefusedError("has headers that are longer than any name")
        data = self._source.read(size)
        self._at += len(data)
        return data


class _Unpacking:
    """The state of unpacking into `directory`: what is there by now, by path, and how many bytes it counts."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._kinds: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        self._directories: list[tuple[Path, tarfile.TarInfo]] = []
        self._bytes = 0

    @property
    def members(self) -> int:
        return len(self._kinds)

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, stream: _Stream) -> None:
        """Unpack one member; raises _RefusedError for one that must not be."""
        shown = printable(member.name)
        self._check_place(member.name, shown)
        self._check_facts(member, shown)
        self._kinds[member.name] = member.type
        path = self._directory / member.name
        if member.issym():
            # Made last, so that nothing is ever written by way of a link.
            self._links[member.name] = member.linkname
        elif member.islnk():
            if self._kinds.get(member.linkname) != tarfile.REGTYPE:
                raise _RefusedError(f"has a hard link to what is no file before it, {shown}")
            os.link(self._directory / member.linkname, path, follow_symlinks=False)
        elif member.isdir():
            path.mkdir(mode=0o700)
            self._directories.append((path, member))
        else:
            stream.allow(member.size + tarfile.BLOCKSIZE)
            self._write(path, tar, member)

    def _write(self, path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write a file that does not exist yet, without the modes that would give it to others."""
        if hasattr(
            tarfile, "data_filter"
        ):  # from Python 3.11.4 on: a second opinion on what was checked here
            tarfile.data_filter(member, str(self._directory))
        source = cast("IO[bytes]", tar.extractfile(member))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as target:  # noqa: PTH123 - the descriptor carries mode and flags
            shutil.copyfileobj(source, target, _BLOCK)
        path.chmod(member.mode & 0o755 | 0o600)
        os.utime(path, (member.mtime, member.mtime))

    def _check_place(self, name: str, shown: str) -> None:
        parts = name.split("/")
        if name.startswith("/"):
            raise _RefusedError(f"has a member with an absolute path, {shown}")
        if ".." in parts:
            raise _RefusedError(f"has a member that leaves its directory, {shown}")
        if not all(parts) or "." in parts or "\0" in name:
            raise _RefusedError(f"has a member with an unusual path, {shown}")
        if parts[0] in NOT_PACKED:
            raise _RefusedError(f"has a member that no pack has, {shown}")
        if name in self._kinds:
            raise _RefusedError(f"has two members of one path, {shown}")
        parent = name.rpartition("/")[0]
        if parent and self._kinds.get(parent) != tarfile.DIRTYPE:
            raise _RefusedError(f"has a member that is in no directory of it, {shown}")

    def _check_facts(self, member: tarfile.TarInfo, shown: str) -> None:
        known = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
        if member.type not in known or member.issparse():
            raise _RefusedError(f"has a member that is no file, directory or link, {shown}")
        is_time = math.isfinite(member.mtime) and 0 <= member.mtime < _LATEST
        if not is_time or not 0 <= member.mode <= 0o7777 or member.size < 0:
            raise _RefusedError(f"has a member with impossible values, {shown}")
        if member.size and not member.isreg():
            raise _RefusedError(f"has a member with impossible values, {shown}")
        self._bytes += member.size + PER_MEMBER
        if self._bytes > self._limit:
            raise _RefusedError(
                f"holds more than {in_megabytes(self._limit)}: if you trust it, add --limit, such as --limit 2GB"
            )

    def finish(self, home: str) -> None:
        """Make the links, and set modes and times of directories; raises _RefusedError for a link that leads out."""
        for name, target in self._links.items():
            if "\0" in target or leads_out(name, self._links, home):
                raise _RefusedError(f"has a link that leads out of it, {printable(f'{name} to {target}')}")
        for name, target in self._links.items():
            if target.startswith("/"):
                target = f"{self._directory}{target[len(home) :]}"  # noqa: PLW2901 - where it leads here
            (self._directory / name).symlink_to(target)
        for path, member in reversed(self._directories):
            path.chmod(member.mode & 0o755 | 0o700)
            os.utime(path, (member.mtime, member.mtime))


def unpack(path: Path, directory: Path, *, limit: int = DEFAULT_LIMIT) -> PackIndex:
    """Unpack a pack into an empty directory of ours, and return its index.

    Absolute links into the directory that the run had lead into the new one then. Raises HarnessError for what is no
    pack, is damaged or hostile, or holds more than `limit` bytes; the caller removes what was unpacked by then.
    """
    try:
        with path.open("rb") as file:
            _refuse_others(file)
            with gzip.GzipFile(fileobj=file, mode="rb") as source:
                return _unpack(source, directory, limit)
    except _RefusedError as error:
        raise HarnessError(f"{path} {error}; nothing of it was unpacked") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise HarnessError(f"{path} is damaged: {printable(str(error))}; fetch it again") from error
    except OSError as error:
        raise HarnessError(f"cannot unpack {path}: {error.strerror or error}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise HarnessError(f"{path} is damaged: {printable(str(error))}") from error


def _refuse_others(file: BinaryIO) -> None:
    """Raise _RefusedError for a file that is not compressed as packs are."""
    start = file.read(2)
    file.seek(0)
    if start == b"PK":
        raise _RefusedError(
            "is a ZIP archive, as CI systems make of artefacts: unzip it, and name the pack in it"
        )
    if start != b"\x1f\x8b":
        raise _RefusedError("is not a pack, as dogfood pack writes it")


def _unpack(source: gzip.GzipFile, directory: Path, limit: int) -> PackIndex:
    stream = _Stream(source)
    stream.allow(_LONGEST_HEADER)
    try:
        tar = open_tar(cast("IO[bytes]", stream), "r")
    except tarfile.ReadError as error:
        raise _RefusedError("is not a pack, as dogfood pack writes it") from error
    with tar:
        index = _read_index(tar, tar.next(), stream)
        unpacking = _Unpacking(directory, limit)
        while True:
            stream.allow(_LONGEST_HEADER)
            member = tar.next()
            if member is None:
                break
            unpacking.take(tar, member, stream)
        stream.allow(_LONGEST_HEADER)
        if stream.read(_LONGEST_HEADER - 1).strip(b"\0") or stream.read(1):
            raise _RefusedError("is damaged: something else comes after its last member")
        if unpacking.members != index.members:
            raise _RefusedError(f"is damaged: it has {unpacking.members} of {index.members} members")
        unpacking.finish(index.directory)
        return index


def _read_index(tar: tarfile.TarFile, member: tarfile.TarInfo | None, stream: _Stream) -> PackIndex:
    if member is None or member.name != INDEX or not member.isreg() or not 0 <= member.size < _LARGEST_INDEX:
        raise _RefusedError("is not a pack, as dogfood pack writes it")
    stream.allow(member.size + tarfile.BLOCKSIZE)
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    try:
        found = msgspec.json.decode(content)
        version = found.get("version") if isinstance(found, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise _RefusedError(
                f"was written by a newer version of pytest-dogfood, in format {version}: update here"
            )
        index = msgspec.convert(found, PackIndex)
    except msgspec.MsgspecError as error:
        raise _RefusedError(f"has an index that is not valid: {printable(str(error))}") from error
    home = PurePosixPath(index.directory)
    if (
        index.version != VERSION
        or str(home) != index.directory
        or not home.is_absolute()
        or ".." in home.parts
    ):
        raise _RefusedError("has an index that is not valid")
    return index
