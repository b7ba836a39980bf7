"""What a command has written, read with a limit and made safe to show."""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError

_TAIL = 16 * 1024

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles and links
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # strings for devices and programs
    r"|\x1b[ -/]*[0-~]"  # everything short
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
            before = max(os.fstat(file.fileno()).st_size - limit, 0)
            # One byte more tells whether the cut happens to fall between two lines.
            file.seek(max(before - 1, 0))
            data = file.read(limit + 1 if before else limit)
        if not before:
            return printable(data)
        newline = data.find(b"\n")
        # A single line longer than the limit: its end says more than nothing at all.
        skipped = newline + 1 if 0 <= newline < len(data) - 1 else 1
        return f"… {before - 1 + skipped} bytes before\n{printable(data[skipped:])}"


def printable(data: bytes) -> str:
    r"""Decode output for people: no escape sequences, and control characters by name, such as `\x00`."""
    text = _ANSI.sub("", data.decode("utf-8", errors="replace")).replace("\r\n", "\n")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
