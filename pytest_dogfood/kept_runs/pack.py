"""Packs: what a run has kept, in one file, so that another machine can show and enter it.

A pack is a tar file, compressed with gzip. Its first member, `pack.json`, is the index. The others are files,
directories, and links that stay within it; each directory comes before what is in it.
"""

from __future__ import annotations

import gzip
import heapq
import io
import os
import stat
import tarfile
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError, printable, to_harness_error
from pytest_dogfood.storage.record import Kind, RecordedRun
from pytest_dogfood.storage.retention import KEPT, RECORDED
from pytest_dogfood.storage.run_directory import (
    OUTPUTS,
    RECORDS,
    RESULTS,
    RUN,
    SECRETS,
    TRAJECTORIES,
    UNMASKED,
    Unmasked,
    read_unmasked,
)

VERSION = 1
"""Version of the format of packs. 1: the first."""

INDEX = "pack.json"
"""The first member of a pack."""

DEFAULT_LIMIT = 500_000_000
"""Bytes that a pack may hold unless another limit is given."""

PER_MEMBER = 2000
"""Bytes that each member counts besides its content, about what its headers take: many empty ones are not nothing."""

NOT_PACKED = frozenset(
    {
        "tokens",
        SECRETS,
        "interrupted",
        "plans",
        "recorded",
        "project",
        "enter",
        KEPT,
        RECORDED,
        UNMASKED,
        INDEX,
    }
)
"""What lies in the directory of a run and never in a pack: secrets, marks and files of its processes."""

_ALWAYS = (RUN, RESULTS, RECORDS, OUTPUTS, TRAJECTORIES, "shared")
_MOST_LINKS = 40
"""Links that a system follows in one path, as Linux does."""

_SPECIAL = {
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFIFO: "it is a FIFO",
    stat.S_IFBLK: "it is a device",
    stat.S_IFCHR: "it is a device",
}


def in_megabytes(size: int) -> str:
    """Return a number of bytes as people write it: `500 MB`, `1.2 GB`, `34 KB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


class PackIndex(Struct, frozen=True, kw_only=True):
    """What a pack says of itself: its run, the name and directory of the run's project, and the versions.

    `directory` is the one that the run had, which its files may name. `members` counts what follows the index.
    `left_out` says why something of the run is not in it, by its path.
    """

    run: str
    project: str
    root: str
    directory: str
    members: int
    dogfood: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION


class Member(Struct, frozen=True, kw_only=True):
    """A file, directory or link to pack: its path in the run's directory, with slashes, and the bytes of a file."""

    name: str
    size: int = 0


class PackContent(Struct, frozen=True, kw_only=True):
    """What of a run belongs in a pack. `refused` has what must not be packed without a word, by path.

    `home` is the directory that the run had. Paths of what is refused may contain a secret, and are shown without it.
    """

    recorded: RecordedRun
    home: str
    members: tuple[Member, ...]
    left_out: Mapping[str, str]
    refused: Mapping[str, Unmasked]

    @property
    def size(self) -> int:
        return sum(one.size + PER_MEMBER for one in self.members)

    @property
    def parts(self) -> tuple[str, ...]:
        """The states and working directories in it."""
        names = dict.fromkeys(one.name.partition("/")[0] for one in self.members)
        return tuple(name for name in names if name not in _ALWAYS)

    @property
    def journeys(self) -> tuple[str, ...]:
        """The journeys that can be entered in it, those that have failed first."""
        graph, there = self.recorded.graph, {one.name for one in self.members}
        scripts = {one.id for one in graph.journeys if not one.python} if graph is not None else set()
        last = {one.id: one for one in self.recorded.activities if one.kind is Kind.JOURNEY}
        found = [
            one
            for one in last.values()
            if one.id in scripts
            and one.variables
            and {one.place, one.workdir.removeprefix(f"{self.home}/")} <= there
        ]
        return tuple(one.id for one in sorted(found, key=lambda one: not one.outcome.is_bad))

    def largest(self, number: int) -> list[Member]:
        return heapq.nlargest(number, self.members, key=lambda one: one.size)


def content_of(recorded: RecordedRun, *, everything: bool) -> PackContent:
    """Return what of a run belongs in a pack: its record, its outputs, and what has failed, or `everything` kept."""
    directory = recorded.directory
    home = str(_home_of(recorded))
    there = {path.name for path in directory.iterdir()} - NOT_PACKED
    parts = there if everything else there & {*_ALWAYS, *_failed_parts(recorded, home)}
    refused = {name: why for name, why in read_unmasked(directory).items() if name.partition("/")[0] in parts}
    members: list[Member] = []
    left_out: dict[str, str] = {}
    links: dict[str, str] = {}
    for name, found in _walk(directory, parts, refused):
        if stat.S_ISLNK(found.st_mode):
            links[name] = str((directory / name).readlink())
        elif stat.S_ISREG(found.st_mode):
            if os.access(directory / name, os.R_OK):
                members.append(Member(name=name, size=found.st_size))
            else:
                refused[name] = Unmasked(name, "it cannot be read")
        elif stat.S_ISDIR(found.st_mode):
            members.append(Member(name=name))
        else:
            left_out[name] = _SPECIAL.get(stat.S_IFMT(found.st_mode), "it is no file")
    for name, target in links.items():
        if leads_out(name, links, home):
            left_out[name] = f"it is a link that leads out of the run, to {target}"
        else:
            members.append(Member(name=name))
    members.sort(key=lambda one: one.name.split("/"))
    return PackContent(
        recorded=recorded, home=home, members=tuple(members), left_out=left_out, refused=refused
    )


def _home_of(recorded: RecordedRun) -> Path:
    """Return the directory that a run had, which may lie elsewhere by now."""
    for one in recorded.activities:
        for parent in Path(one.workdir).parents if one.workdir else ():
            if parent.name == recorded.run.id:
                return parent
    return recorded.directory


def _failed_parts(recorded: RecordedRun, home: str) -> Iterator[str]:
    """Yield the names of the states and working directories of what has failed."""
    bad = {name for name, result in recorded.results.items() if result.outcome.is_bad}
    paths = [path for name in bad for path in recorded.results[name].kept.split(":")]
    for one in recorded.activities:
        if one.outcome.is_bad or (one.kind is Kind.JOURNEY and one.id in bad):
            paths += [one.workdir, f"{home}/{one.place}" if one.place else ""]
    for path in paths:
        if path.startswith(f"{home}/"):
            yield path.removeprefix(f"{home}/").partition("/")[0]


def _walk(
    root: Path, parts: Collection[str], refused: dict[str, Unmasked]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what lies in parts of a directory, by its path in it, except for what is refused or cannot be read.

    What cannot be read is added to `refused`.
    """
    waiting = sorted(parts, reverse=True)
    while waiting:
        name = waiting.pop()
        if name in refused:
            continue
        try:
            found = (root / name).lstat()
            if stat.S_ISDIR(found.st_mode):
                below = sorted((path.name for path in (root / name).iterdir()), reverse=True)
                waiting += [f"{name}/{one}" for one in below]
        except OSError as error:
            refused[name] = Unmasked(name, f"it cannot be read: {error.strerror}")
            continue
        yield name, found


def leads_out(name: str, links: Mapping[str, str], home: str) -> bool:
    """Return whether a link leads out of a pack, directly or by way of its other links; so does one without an end.

    `links` has the targets by the links' paths. A target below `home`, the directory of the run, is one in the pack.
    """
    at = name.split("/")[:-1]
    waiting = [name.rpartition("/")[2]]
    followed = 0
    while waiting:
        part = waiting.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not at:
                return True
            at.pop()
            continue
        at.append(part)
        target = links.get("/".join(at))
        if target is None:
            continue
        followed += 1
        if followed > _MOST_LINKS:
            return True
        at.pop()
        if target.startswith("/"):
            if f"{target}/".startswith(f"{home}/"):
                at, target = [], target[len(home) :]
            else:
                return True
        waiting += reversed(target.split("/"))
    return False


def write_pack(content: PackContent, target: Path, *, leave_out: bool = False) -> PackIndex:
    """Write a pack, whole or not at all, and return its index; what is refused must be left out, or nothing is written.

    The same run always gives the same bytes. Raises HarnessError.
    """
    left_out = dict(content.left_out)
    if leave_out:
        left_out |= {one.shown: one.why for one in content.refused.values()}
    run = content.recorded.run
    index = PackIndex(
        run=run.id,
        project=run.project,
        root=run.root,
        directory=content.home,
        members=len(content.members),
        dogfood=version("pytest-dogfood"),
        left_out={printable(name): printable(why) for name, why in sorted(left_out.items())},
    )
    beside = target.with_name(f"{target.name}.{os.getpid()}~")
    try:
        with to_harness_error(f"write {target}"):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            with (
                open(descriptor, "wb") as file,  # noqa: PTH123 - the descriptor carries mode and flags
                gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
                open_tar(cast("IO[bytes]", packed), "w") as tar,
            ):
                _add_index(tar, index)
                for member in content.members:
                    _add(tar, content.recorded.directory, member)
            beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return index


def open_tar(stream: IO[bytes], mode: Literal["r", "w"]) -> tarfile.TarFile:
    """Open a tar file as packs are: a stream to write it to, or to read it from."""
    # Not by the locale: names of files need be neither in its encoding nor in UTF-8.
    return tarfile.TarFile(
        mode=mode,
        fileobj=stream,
        format=tarfile.PAX_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    )


def _add_index(tar: tarfile.TarFile, index: PackIndex) -> None:
    content = msgspec.json.encode(index)
    info = tarfile.TarInfo(INDEX)
    info.size, info.mode = len(content), 0o600
    tar.addfile(info, io.BytesIO(content))


def _add(tar: tarfile.TarFile, root: Path, member: Member) -> None:
    """Add what lies at a path, with the mode and time it has, and without its owner; hard links stay such links."""
    path = root / member.name
    info = tar.gettarinfo(path, arcname=member.name)
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if not info.isreg():
        tar.addfile(info)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor carries flags
        try:
            tar.addfile(info, file)
        except OSError as error:
            if error.errno is None:  # tarfile says so where a file is shorter than it was
                raise HarnessError(f"{path} has changed while it was packed: try again") from error
            raise
