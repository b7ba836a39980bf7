"""The path of a directory, found where files, links and values name it, and replaced by that of another.

A path may be the beginning of a longer one, in a directory: `/run/c1/bin` is in `/run/c1`. But `/run/c1-x`, `/run/c10`
and `/run/c1.log` are something else. So a letter, a digit, `_`, `-` or `.` after the path continues its name, unless
only `-` and `.` follow: a sentence may end with a path. Everything else ends it, also where a file name could contain
it. A path that is replaced by mistake names something that is not there; one that is left names the original.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pytest_dogfood.storage.files import opened_directory

CHUNK = 2**20
"""Bytes that are read at once: more does not make a search faster, and less makes it slower."""

_PATH_BYTES = b"".join(bytes([one]) for one in range(256) if one >= 0x80 or chr(one).isalnum()) + b"_-+./"
_CONTEXT = 64


def replace_path(text: str, source: Path, target: Path) -> str:
    """Return a text, such as the value of a token, with the path of one directory replaced by that of another."""
    # Values come from the output of programs, which need not be UTF-8: any text must come back as it was.
    paths = PathReplacement.between(source, target, errors="surrogatepass")
    return paths.replaced_in(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _spellings(path: str) -> tuple[str, ...]:
    """Return a path as it is, as it stands in a URL, and as it stands in JSON."""
    return path, quote(path, errors="surrogateescape"), json.dumps(path)[1:-1]


def _spellings_in_text(path: str) -> tuple[str, ...]:
    """Return a path as it is written only by programs that write text: PHP's JSON, and the query of a URL."""
    return json.dumps(path)[1:-1].replace("/", r"\/"), quote(path, safe="", errors="surrogateescape")


class PathReplacement:
    """Paths to look for, and what stands for each in the copy; those of `in_text` are looked for in text only."""

    def __init__(
        self, pairs: Sequence[tuple[bytes, bytes]], *, in_text: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self._new = {**dict(in_text), **dict(pairs)}
        self.names = sorted(dict(pairs), key=len)
        self._names_in_text = sorted(self._new, key=len)
        self.longest = len(self._names_in_text[-1])

    @classmethod
    def between(
        cls,
        source: Path,
        target: Path,
        *,
        real: tuple[str, str] | None = None,
        errors: str = "surrogateescape",
    ) -> PathReplacement:
        """Return what replaces the path of one directory, and its real path, in all spellings.

        `real` gives the real paths where one of the directories does not exist.
        """
        without_links = real or (os.path.realpath(source), os.path.realpath(target))

        def pairs(spell: Callable[[str], tuple[str, ...]]) -> list[tuple[bytes, bytes]]:
            texts = [(str(source), str(target)), without_links]
            return [
                (old.encode("utf-8", errors), new.encode("utf-8", errors))
                for both in texts
                for old, new in zip(*map(spell, both), strict=True)
            ]

        return cls(pairs(_spellings), in_text=pairs(_spellings_in_text))

    def find(
        self, data: bytes | bytearray, start: int = 0, end: int | None = None, *, text: bool = True
    ) -> dict[int, bytes]:
        """Return where the paths occur between two places, whatever stands before and after them."""
        found: dict[int, bytes] = {}
        stop = len(data) if end is None else end
        for name in (
            self._names_in_text if text else self.names
        ):  # of two that begin in one place, the longer one counts
            # Python searches backwards in half the time, and most files do not contain it at all.
            at = -1 if data.rfind(name, start, stop) < 0 else data.find(name, start, stop)
            while at >= 0:
                found[at] = name
                at = data.find(name, at + 1, stop)
        return found

    def replacements(
        self, found: Mapping[int, bytes], read: Callable[[int, int], bytes]
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield place, path and new path for all that name the directory; `read` returns what is between two places."""
        end = 0
        for at, old in sorted(found.items()):
            if at >= end:  # else it is the end of a longer path, such as /tmp/x in /private/tmp/x
                end = at + len(old)
                if not _continues(read(end, end + _CONTEXT)):
                    yield at, old, self._new[old]

    def link_target(self, target: bytes) -> bytes:
        """Return where a link leads that led to the directory, or below it; any other target stays."""
        for old, new in self._new.items():
            if target == old or target.startswith(old + b"/"):
                return new + target[len(old) :]
        return target

    def replaced_in(self, data: bytes) -> bytes:
        """Return data in which the directory has its new path."""
        parts, end = [], 0
        for at, old, new in self.replacements(self.find(data), lambda start, stop: data[start:stop]):
            parts += [data[end:at], new]
            end = at + len(old)
        return b"".join((*parts, data[end:])) if parts else data


def _continues(after: bytes) -> bool:
    """Return whether what stands after a path belongs to its last name."""
    first = after.decode("utf-8", "replace").lstrip("-.")[:1]
    return first.isalnum() or first == "_"


def is_end_of_another(before: bytes) -> bool:
    """Return whether what stands before a path belongs to it: `/backup` does, `-I` and `file://` do not."""
    return b"/" in before[len(before.rstrip(_PATH_BYTES)) :].rstrip(b"/")


class FileSearch:
    """Reads files in chunks and finds the paths in them, also where a path lies across two chunks."""

    def __init__(self, paths: PathReplacement, *, chunk: int = CHUNK) -> None:
        self._paths = paths
        self._before = paths.longest - 1
        self._buffer = bytearray(self._before + chunk)
        self._view = memoryview(self._buffer)

    def chunks(self, file: int, start: int, end: int, found: dict[int, bytes]) -> Iterator[memoryview]:
        """Yield what is between two places of a file, and add to `found` which paths occur in which places."""
        os.lseek(file, start, os.SEEK_SET)
        before, kept, text = self._before, 0, None
        while start < end and (count := os.readv(file, [self._view[before : before + end - start]])):
            yield self._view[before : before + count]
            if text is None:
                text = self._buffer.find(0, before, before + count) < 0
            for at, name in self._paths.find(self._buffer, before - kept, before + count, text=text).items():
                found[start + at - before] = name
            start += count
            kept = min(before, kept + count)
            self._buffer[before - kept : before] = self._buffer[before + count - kept : before + count]

    def occurrences(self, file: int, extents: Iterable[tuple[int, int]]) -> dict[int, bytes]:
        """Return which paths occur in which places of a file; a path is never in two extents."""
        found: dict[int, bytes] = {}
        for start, end in extents:
            for _ in self.chunks(file, start, end, found):
                pass
        return found

    def is_text(self, file: int, size: int) -> bool:
        """Return whether a file has no NUL byte."""
        return not any(b"\0" in bytes(chunk) for chunk in self.chunks(file, 0, size, {}))


def replace_paths_in_tree(root: Path, old: bytes, new: bytes) -> tuple[str, ...]:
    """Replace a path in all text files and targets of links below a directory, where it may have another length.

    Return the names of the files that contain it and are no text, as paths below the directory: they stay as they are,
    and so do `*.pyc`. Raises OSError. Text files that contain it are read whole; they keep their modes and times.
    """
    paths = PathReplacement([(old, new)])
    search = FileSearch(paths)
    binary: list[str] = []
    with opened_directory(os.path.realpath(root)) as base:
        folders = [""]
        for folder in folders:
            with opened_directory(folder, below=base) as here:
                with os.scandir(here) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
                for entry in found:
                    name = f"{folder}/{entry.name}".lstrip("/")
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif entry.is_symlink():
                        _replace_in_link(paths, entry.name, here)
                    elif (
                        entry.is_file(follow_symlinks=False)
                        and not entry.name.endswith(".pyc")
                        and not _replace_in_file(paths, search, entry.name, here)
                    ):
                        binary.append(name)
    return tuple(binary)


def _replace_in_link(paths: PathReplacement, name: str, folder: int) -> None:
    before = os.fsencode(os.readlink(name, dir_fd=folder))
    after = paths.link_target(before)
    if after != before:
        os.unlink(name, dir_fd=folder)
        os.symlink(after, name, dir_fd=folder)


def _replace_in_file(paths: PathReplacement, search: FileSearch, name: str, folder: int) -> bool:
    """Replace the path in a file; return False if the file contains it and is no text."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with open(file, "rb") as reading:  # noqa: PTH123 - the descriptor carries the flags
        seen = os.fstat(file)
        if not search.occurrences(file, [(0, seen.st_size)]):
            return True
        if not search.is_text(file, seen.st_size):
            return False
        reading.seek(0)
        content = paths.replaced_in(reading.read())
    # Written in place: a file may have several names.
    file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_TRUNC, dir_fd=folder)
    with open(file, "wb") as writing:  # noqa: PTH123 - the descriptor carries the flags
        writing.write(content)
        writing.flush()
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    return True
