"""The files that outputs of commands go to, and their text, read with a limit and made safe to show.

On some file systems it costs more to make a file than to run a shell, and most commands leave at least one of their
outputs empty. So a file that nothing was written to serves another command.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.masking import Secrets
from pytest_dogfood.execution.process import open_private
from pytest_dogfood.execution.screen import moves_cursor, shown_in_the_end


def is_full(directory: Path) -> bool:
    """Return whether nothing more can be written to the disk of a directory; False where the system does not know."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    free = found.f_bavail if os.geteuid() else found.f_bfree  # some room is kept for root
    return bool(found.f_blocks and not free) or bool(found.f_files and not found.f_ffree)


_TAIL = 16 * 1024
_OVERWRITTEN = 256 * 1024
"""How far back an output is read that was written over, as by progress bars."""


class TooMuchOutput(HarnessError):  # noqa: N818 - a fact about the command, as StopIteration is one
    """A stream is longer than what may be read into memory: `size` bytes where `limit` is allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.size} bytes of output, more than the {self.limit} that are examined"


class Captured(Struct, frozen=True, kw_only=True):
    """The file that holds one output stream. It may still grow if the command left a daemon behind."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, limit: int) -> bytes:
        """Return everything; raises TooMuchOutput beyond `limit` bytes, without having read more than that."""
        with self.path.open("rb") as file:
            data = file.read(limit + 1)
            if len(data) > limit:
                raise TooMuchOutput(max(os.fstat(file.fileno()).st_size, len(data)), limit)
        return data

    def tail(self, limit: int = _TAIL) -> str:
        """Return the end as harmless text, from the beginning of a line, saying how many bytes came before."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            before = max(size - limit, 0)
            # One byte more tells whether the cut happens to fall between two lines.
            file.seek(max(before - 1, 0))
            data = file.read(limit + 1 if before else limit)
            if before and moves_cursor(_decoded(data)):
                # Of a progress bar little is left in the end: look further back for what was shown above it.
                start = max(size - _OVERWRITTEN, 0)
                file.seek(start)
                return _ending(printable(file.read(size - start)), limit, before=start)
        if not before:
            return printable(data)
        newline = data.find(b"\n")
        # A single line longer than the limit: its end says more than nothing at all.
        skipped = newline + 1 if 0 <= newline < len(data) - 1 else 1
        return f"… {before - 1 + skipped} bytes before\n{printable(data[skipped:])}"


def printable(data: bytes) -> str:
    r"""Decode output for people: as a terminal shows it in the end, and control characters by name, such as `\x00`."""
    return shown_in_the_end(_decoded(data))


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _ending(text: str, limit: int, *, before: int) -> str:
    """Return the last lines of a text that has `limit` characters at most, saying how many bytes came before."""
    cut = max(len(text) - limit, 0)
    if cut:
        newline = text.find("\n", cut - 1)
        cut = newline + 1 if 0 <= newline < len(text) - 1 else cut
    left_out = before + len(text[:cut].encode())
    return f"… {left_out} bytes before\n{text[cut:]}" if left_out else text


UNMASKED = ".raw"
"""Suffix of an output that may still hold secrets; whoever finds one after a death removes it."""


class EmptyFiles:
    """Files of one kind that nothing was written to. They keep their names until something is."""

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def add(self, path: Path) -> None:
        self._paths.append(path)

    def open(self) -> tuple[Path, int] | None:
        """Open the youngest that is still empty and that no process in the background holds; forget the others."""
        while self._paths:
            path = self._paths.pop()
            descriptor = _opened_if_as_new(path)
            if descriptor is not None:
                return path, descriptor
        return None


def _opened_if_as_new(path: Path) -> int | None:
    if sys.platform != "linux":
        return None  # nothing tells who else has a file open
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A lease for writing is granted if nobody else has the file open, see fcntl(2). To ask is all we want; who
        # opens it in between sends us a signal, so let that be one that does nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        if not os.fstat(descriptor).st_size:
            return descriptor
    except OSError:  # somebody has, or this file system knows no leases
        pass
    os.close(descriptor)
    return None


class Output(Struct):
    """One output of one command: a file in `directory` that is called `name` once it is settled; now it is at `path`.

    Without `spares` it may hold secrets until then. It says so, and nobody uses it again.
    """

    directory: Path
    name: str
    empty_files: EmptyFiles | None
    path: Path | None = None

    def open(self) -> int:
        """Open the file for a command to write to, readable by its owner only."""
        if self.empty_files is None:
            self.path = self.directory / (self.name + UNMASKED)
        elif (spare := self.empty_files.open()) is not None:
            self.path, descriptor = spare
            return descriptor
        else:
            self.path = self.directory / self.name
        return open_private(self.path, fresh=True)

    def settle(self, secrets: Secrets) -> None:
        """Hide secrets in the file and give it its name; if nothing was written to it, there is none any more.

        Raises HarnessError where the file cannot be had, for instance because a command has removed it.
        """
        if self.path is None:
            return
        with to_harness_error(f"keep the output {self.path}"):
            self.path = self._settled(self.path, secrets)

    def _settled(self, path: Path, secrets: Secrets) -> Path | None:
        if path.stat().st_size:
            if self.empty_files is None:
                secrets.mask_file(path)
            return path if path.name == self.name else path.replace(self.directory / self.name)
        if self.empty_files is None:
            path.unlink()
        else:
            self.empty_files.add(path)
        return None

    def discard(self) -> None:
        """Remove what may hold secrets, for nobody is going to settle it."""
        if self.empty_files is None and self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None
