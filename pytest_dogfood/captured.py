"""What a command has written, read with a limit and made safe to show."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.screen import moves_cursor, shown_in_the_end

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
        """Give everything; raises TooMuchOutput beyond `limit` bytes, without having read more than that."""
        with self.path.open("rb") as file:
            data = file.read(limit + 1)
            if len(data) > limit:
                raise TooMuchOutput(max(os.fstat(file.fileno()).st_size, len(data)), limit)
        return data

    def tail(self, limit: int = _TAIL) -> str:
        """Give the end as harmless text, from the beginning of a line, saying how many bytes came before."""
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
    """Give the last lines of a text that has `limit` characters at most, saying how many bytes came before."""
    cut = max(len(text) - limit, 0)
    if cut:
        newline = text.find("\n", cut - 1)
        cut = newline + 1 if 0 <= newline < len(text) - 1 else cut
    left_out = before + len(text[:cut].encode())
    return f"… {left_out} bytes before\n{text[cut:]}" if left_out else text
