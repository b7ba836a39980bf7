"""How everything is printed: a counter for terminals, lines that command none, JSON with its version."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

JSON_VERSION = 1
"""Of what `--format json` prints: 1, from the beginning."""

_EVERY = 10  # changes: more often than this is flicker


class Counting:
    """A counter on the terminal for as long as something is looked at; elsewhere nothing is written."""

    def __init__(self, total: int = 0, stream: TextIO | None = None) -> None:
        self.total = total
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty()
        self._done = 0
        self._repo = ""

    def begin(self, repo: str) -> None:
        self._done += 1
        self._repo = printable(repo)
        self._show("")

    def advance(self, done: int, total: int) -> None:
        if done % _EVERY == 0:
            self._show(f": {done} of {total} changes")

    def clear(self) -> None:
        self._write("")

    def _show(self, detail: str) -> None:
        self._write(f"[{self._done}/{self.total}] {self._repo}{detail}")

    def _write(self, text: str) -> None:
        if self._on:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def printable(text: str) -> str:
    """Give text that stays on its line and commands no terminal: titles and file names may hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Write lines, with an escape for what the stream's encoding does not have."""
    stream = stream or sys.stdout
    for line in lines:
        encoding = stream.encoding or "utf-8"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def say(text: str) -> None:
    write_lines([text])


def write_json(**content: object) -> None:
    """Write one document, in ASCII: file names need not be UTF-8, and terminals need not either."""
    write_lines([json.dumps({"version": JSON_VERSION, **content}, indent=2)])


def print_table(rows: Sequence[Sequence[str]], *, nothing: str) -> None:
    """Print rows in columns, or `nothing` where there are none."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    write_lines((line.rstrip() for line in lines) if rows else [nothing])
