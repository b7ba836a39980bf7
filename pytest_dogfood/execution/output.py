r"""The files for the outputs of commands, and their text, read with a limit and made safe to show.

On some file systems it costs more to make a file than to run a shell, and most commands leave at least one of their
outputs empty. So an empty file is reused for another command.

The text is the final state of a terminal: overwritten text, as of progress bars, is gone. Carriage returns,
backspaces and sequences that move the cursor or erase are carried out. Colours, titles and other sequences are left
out. Text before a program first clears the screen or moves to its top stays above it, as if it had scrolled away.
Control characters that a terminal would not show appear by name, such as `\x00`.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
from pathlib import Path
from typing import AnyStr

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.masking import UNMASKED_SUFFIX, SecretKeeper
from pytest_dogfood.execution.process import open_private

SHOWN_BYTES = 16 * 1024
"""Bytes from the end of each output that a report shows."""

_OVERWRITTEN_BYTES = 256 * 1024
"""Bytes from the end of an output that are read if it overwrites text, as progress bars do."""


def is_full(directory: Path) -> bool:
    """Return whether the disk of a directory is full; False if the system cannot tell."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    free = found.f_bavail if os.geteuid() else found.f_bfree  # some room is kept for root
    return bool(found.f_blocks and not free) or bool(found.f_files and not found.f_ffree)


class Output(Struct):
    """One output of one command: a file in `directory`, now at `path`, and called `name` once it is settled.

    `empty_files` are files to reuse. Without them, the output may hold secrets until it is settled: then its name has
    a suffix, and it is not reused.
    """

    directory: Path
    name: str
    empty_files: list[Path] | None
    path: Path | None = None

    def open(self) -> int:
        """Open the file for a command to write to, readable by its owner only."""
        if self.empty_files is None:
            self.path = self.directory / (self.name + UNMASKED_SUFFIX)
        elif (found := _open_empty(self.empty_files)) is not None:
            self.path, descriptor = found
            return descriptor
        else:
            self.path = self.directory / self.name
        return open_private(self.path, fresh=True)

    def settle(self, secrets: SecretKeeper) -> None:
        """Mask the file and give it its name; drop it if it is empty. Raises HarnessError if it is gone."""
        if self.path is None:
            return
        with to_harness_error(f"keep the output {self.path}"):
            if self.path.stat().st_size:
                if self.empty_files is None:
                    secrets.mask_file(self.path)
                if self.path.name != self.name:
                    self.path = self.path.replace(self.directory / self.name)
                return
            if self.empty_files is None:
                self.path.unlink()
            else:
                self.empty_files.append(self.path)
            self.path = None

    def discard(self) -> None:
        """Remove the file if it may hold secrets, because nothing is going to settle it."""
        if self.empty_files is None and self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None


def _open_empty(paths: list[Path]) -> tuple[Path, int] | None:
    """Open the newest file that is still empty and that no background process has open; forget the others."""
    while paths and sys.platform == "linux":  # elsewhere it is unknown whether a file is open
        path = paths.pop()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            # A write lease is granted only if no other process has the file open, see fcntl(2). It is released at once;
            # a process that opens the file in between makes the kernel send a signal, so choose one that does nothing.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            if not os.fstat(descriptor).st_size:
                return path, descriptor
        except OSError:  # a process has it open, or this file system has no leases
            pass
        os.close(descriptor)
    return None


class TooMuchOutput(HarnessError):  # noqa: N818 - a fact about the command, as StopIteration is one
    """A stream is too long to be read into memory: `size` bytes, and `limit` are allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes of output, more than the {limit} that are examined")
        self.size = size
        self.limit = limit


def read_output(path: Path, limit: int) -> bytes:
    """Return the whole file; raises TooMuchOutput beyond `limit` bytes, and HarnessError if it cannot be read."""
    with to_harness_error(f"read {path}"), path.open("rb") as file:
        data = file.read(limit + 1)
        if len(data) > limit:
            raise TooMuchOutput(max(os.fstat(file.fileno()).st_size, len(data)), limit)
    return data


def read_tail(path: Path, limit: int = SHOWN_BYTES) -> str:
    """Return a file's end as printable text, in whole lines, after a note on the bytes before; raises HarnessError."""
    with to_harness_error(f"read {path}"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        before = max(size - limit, 0)
        # One byte more tells whether the cut happens to fall between two lines.
        file.seek(max(before - 1, 0))
        data = file.read(limit + 1 if before else limit)
        if before and _moves_cursor(data.decode("utf-8", errors="replace")):
            # Little is left of a progress bar in the end: read further back for the text above it.
            before = max(size - _OVERWRITTEN_BYTES, 0)
            file.seek(before)
            text = terminal_text(file.read(size - before))
            cut = _line_start(text, "\n", len(text) - limit) if len(text) > limit else 0
            before += len(text[:cut].encode())
            return f"… {before} bytes before\n{text[cut:]}" if before else text
    if not before:
        return terminal_text(data)
    cut = _line_start(data, b"\n", 1)
    return f"… {before - 1 + cut} bytes before\n{terminal_text(data[cut:])}"


def _line_start(text: AnyStr, newline: AnyStr, cut: int) -> int:
    """Return where the first whole line after `cut` begins, or `cut` itself if that is in the last line."""
    found = text.find(newline, cut - 1)
    return found + 1 if 0 <= found < len(text) - 1 else cut


_ESCAPE_SEQUENCE = re.compile(
    r"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles and links
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # strings for devices and programs
    r"|\x1b[ -/]*[0-~]"  # everything short
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CURSOR_MOVE = re.compile(r"[\r\b]|\x1b\[[0-?]*[@A-HJKPXf]")
_PARTS = re.compile(
    rf"(?P<text>[^\x00-\x1f\x7f-\x9f]+)|{_ESCAPE_SEQUENCE.pattern}|(?P<control>[\x00-\x1f\x7f-\x9f])"
)

_WIDEST, _HIGHEST = 256, 256
"""The farthest a sequence moves the cursor; a few bytes must not create megabytes of blanks."""

_TAB = 8


def _moves_cursor(text: str) -> bool:
    """Return whether the text may overwrite itself."""
    return _CURSOR_MOVE.search(text.replace("\r\n", "\n")) is not None


def terminal_text(data: bytes) -> str:
    """Return the text that a terminal would show in the end; it is safe to print."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    if not _moves_cursor(text):
        return _CONTROL.sub(lambda found: _named(found[0]), _ESCAPE_SEQUENCE.sub("", text))
    screen = _Screen()
    for part in _PARTS.finditer(text):
        if part["text"]:
            screen.write(list(part["text"]))
        elif part["final"]:
            screen.apply_sequence(part["final"], part["parameters"])
        elif part["control"]:
            screen.apply_control(part["control"])
    return "\n".join("".join(row) for row in screen.rows)


def _named(letter: str) -> str:
    return f"\\x{ord(letter):02x}"


class _Screen:
    """Rows of cells, and the cursor. `_top` is the row that a program uses as the top of its screen."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._top: int | None = None

    def write(self, cells: list[str]) -> None:
        row = self.rows[self._row]
        row.extend(" " * (self._column - len(row)))
        row[self._column : self._column + len(cells)] = cells
        self._column += len(cells)

    def apply_control(self, letter: str) -> None:
        if letter == "\n":
            self._row += 1
            self._column = 0
            if self._row == len(self.rows):
                self.rows.append([])
        elif letter == "\r":
            self._column = 0
        elif letter == "\b":
            self._column = max(self._column - 1, 0)
        elif letter == "\t":
            row = self.rows[self._row]
            width = _TAB - self._column % _TAB
            if self._column == len(row) and "\t" not in row:
                self.write([" "] * width)
            else:
                self._move(column=self._column + width)
        else:
            self.write([_named(letter)])

    def apply_sequence(self, final: str, parameters: str) -> None:
        """Carry out a control sequence; one that neither moves nor erases has no effect."""
        numbers = [
            int(number[:6]) for number in parameters.split(";") if number.isascii() and number.isdigit()
        ]
        count = max(numbers[0] if numbers else 1, 1)
        if final in "AF":
            self._move(row=self._row - count, column=0 if final == "F" else None)
        elif final in "BE":
            self._move(row=self._row + count, column=0 if final == "E" else None)
        elif final in "CD":
            self._move(column=self._column + (count if final == "C" else -count))
        elif final == "G":
            self._move(column=count - 1)
        elif final in "Hf":
            row = self._first_row() + min(count, _HIGHEST) - 1
            self.rows.extend([] for _ in range(row + 1 - len(self.rows)))
            self._move(row=row, column=(numbers[1] if len(numbers) > 1 else 1) - 1)
        elif final in "JK":
            self._erase(final, numbers[0] if numbers else 0)
        elif final in "PX@":
            self._edit(final, min(count, _WIDEST))

    def _move(self, *, row: int | None = None, column: int | None = None) -> None:
        if row is not None:
            self._row = min(max(row, self._top or 0), len(self.rows) - 1)
        if column is not None:
            self._column = min(max(column, 0), max(_WIDEST, len(self.rows[self._row])))

    def _first_row(self) -> int:
        """Return the first row of the screen; on the first call, start it below the existing rows."""
        if self._top is None:
            if any(self.rows[-1]):
                self.rows.append([])
            self._top = len(self.rows) - 1
            self._move(row=self._top)
        return self._top

    def _erase(self, final: str, what: int) -> None:
        """Erase in a row (K) or on the screen (J): after the cursor (0), before it (1), or everything (2 and 3)."""
        if final == "J" and what >= 2:
            del self.rows[self._first_row() + 1 :]
            self.rows[-1].clear()
            self.rows.extend([] for _ in range(self._row + 1 - len(self.rows)))
            return
        row = self.rows[self._row]
        if what == 0:
            del row[self._column :]
        elif what == 1 and self._column + 1 < len(row):
            row[: self._column + 1] = " " * (self._column + 1)
        else:
            row.clear()
        if final == "J" and what == 0:
            del self.rows[self._row + 1 :]

    def _edit(self, final: str, count: int) -> None:
        """Delete (P), blank (X) or insert (@) characters at the cursor."""
        row = self.rows[self._row]
        here = slice(self._column, self._column + count)
        if final == "P":
            del row[here]
        elif final == "X":
            row[here] = " " * len(row[here])
        elif self._column < len(row):
            longest = max(len(row), _WIDEST)
            row[self._column : self._column] = " " * count
            del row[longest:]
