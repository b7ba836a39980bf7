"""The standard streams of a command of ours: what is printed arrives, or the command ends with words and a status.

A pipe that nobody reads any more ends a command without a word, as SIGPIPE ends other tools. Whatever else comes in
the way of its output, such as a full disk, is an error: whoever has the rest of it must not take it for the whole.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

NOBODY_READS = 128 + signal.SIGPIPE
"""The exit status that a shell shows for a tool which SIGPIPE has ended."""


class Palette:
    """Colours for a stream: none unless it is a terminal that has them, and none under NO_COLOR (https://no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.on else text


class OutputLostError(Exception):
    """Standard output did not take what was printed; `nobody_reads` says that it is a pipe without a reader."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.nobody_reads = error.errno == errno.EPIPE


@contextmanager
def watched() -> Iterator[None]:
    """Let this process write through streams of ours; raises OutputLostError where its output does not arrive."""
    if not (_has_number(sys.stdout) and _has_number(sys.stderr)):
        yield
        return
    _fill_closed()
    before = sys.stdout, sys.stderr
    out = _number(sys.stdout, os.O_RDONLY)
    sys.stdout = _as_text(_Out(out, "w", closefd=False), sys.stdout)
    sys.stderr = _as_text(_Err(_number(sys.stderr, os.O_WRONLY), "w", closefd=False), sys.stderr)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except BaseException:
            # What is left in the buffer must neither raise again when it is dropped, nor wait for a reader.
            _drop(out)
            raise
        finally:
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


class _Out(io.FileIO):
    """Standard output, whose failures nobody takes for those of another file."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            raise OutputLostError(error) from error
        if not written and memoryview(data).nbytes:  # somebody made it one that does not wait
            raise OutputLostError(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        return written


class _Err(io.FileIO):
    """Standard error: where it takes nothing, nobody is left to be told, and the exit status remains."""

    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _fill_closed() -> None:
    """Put something at the numbers of closed streams: a database that got one would take what others print."""
    # What is opened gets the lowest number that is free. Output cannot be written, and whoever tries will learn so.
    for number, how in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, how)


def _drop(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _has_number(stream: TextIO | None) -> bool:
    """Return whether a stream is the system's, or closed; somebody may have put one of his own in its place."""
    try:
        return stream is None or stream.fileno() >= 0
    except OSError:
        return False


def _number(stream: TextIO | None, how: int) -> int:
    return stream.fileno() if stream is not None else os.open(os.devnull, how)


def _as_text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",  # what the terminal does not have is no reason to show nothing
        line_buffering=isinstance(raw, _Err) or raw.isatty(),
    )
