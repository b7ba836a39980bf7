"""Shared parts of the commands: their parser, streams that report lost output, colours, tables, versioned JSON.

A pipe that is no longer read ends a command silently, as SIGPIPE ends other tools. Any other problem with its output,
such as a full disk, is an error: partial output must not be mistaken for all of it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeAlias

from pytest_dogfood.diagnostics import did_you_mean, printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status that a shell shows for a tool that SIGPIPE has ended."""

CommandFunction: TypeAlias = Callable[[Namespace], int]


class Argument:
    """An argument of a command, as `ArgumentParser.add_argument` takes it."""

    def __init__(self, *names: str, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        self.names = names
        self.settings = settings


ACTOR = Argument("--actor", metavar="A", help="who does this, for the log (default: the user)")
FORMAT = Argument("--format", choices=("text", "json"), default="text", help="default: text")
REASON = Argument("--reason", metavar="TEXT", default="", help="why, for the log")
TASK = (
    Argument("task", metavar="TASK", help="the task's id, or its UUID in the hub"),
    Argument("--repo", metavar="S", help="the repository, if several have a task with this id"),
    ACTOR,
)
"""The arguments that name one task, and the user who changes it."""


class Parser(ArgumentParser):
    """A parser whose errors have the exit status of its command, and suggest the nearest choice."""

    def __init__(self, *, usage_status: int, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**settings)
        self.usage_status = usage_status

    def error(self, message: str) -> NoReturn:
        # Only argparse's message contains the argument and the choices.
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
        near = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else ""
        self.print_usage(sys.stderr)
        self.exit(self.usage_status, f"{self.prog}: error: {message}{near and f'; {near}'}\n")


class CommandGroup:
    """Commands of one name, such as `dogfood hub`. Each is a function from options to an exit status."""

    def __init__(
        self, prog: str, *, usage_status: int, description: str, epilog: str, shared: Sequence[Argument] = ()
    ) -> None:
        """All commands have the `shared` arguments before their own."""
        self.parser = Parser(
            prog=prog,
            usage_status=usage_status,
            description=description,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
        )
        self.subparsers = self.parser.add_subparsers(title="commands", metavar="COMMAND")
        self._shared = shared

    def command(
        self,
        name: str,
        what: str,
        *arguments: Argument | tuple[Argument, ...],
        description: str,
        **settings: object,
    ) -> Callable[[CommandFunction], CommandFunction]:
        """Make the decorated function the command `name`, with these options and settings.

        Arguments in a tuple exclude each other.
        """
        parser = self.subparsers.add_parser(
            name, help=what, description=description, usage_status=self.parser.usage_status
        )
        for each in (*self._shared, *arguments):
            if isinstance(each, Argument):
                parser.add_argument(*each.names, **each.settings)
            else:
                alternatives = parser.add_mutually_exclusive_group()
                for one in each:
                    alternatives.add_argument(*one.names, **one.settings)

        def add(run: CommandFunction) -> CommandFunction:
            parser.set_defaults(command=run, parser=parser, **settings)
            return run

        return add

    def parse(self, given: Sequence[str]) -> Namespace:
        """Return the options, with the function to call as `command`; ends the process for a usage error.

        What stands behind `--` is `rest` for `enter` and `doubt`, where it has options of its own.
        """
        has_rest = given[:1] in (["enter"], ["doubt"]) and "--" in given
        end = given.index("--") if has_rest else len(given)
        namespace = Namespace(command=None, parser=self.parser, rest=tuple(given[end + 1 :]))
        options, unknown = self.parser.parse_known_args(given[:end], namespace)
        if unknown:
            # The outermost parser would report it with its own usage, which does not help.
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options


def hub_commands(prog: str, *, description: str) -> CommandGroup:
    """Return a group of commands that all have `--hub`, and exit statuses of their own."""
    hub = Argument(
        "--hub",
        metavar="URL",
        help="the hub: a PostgreSQL URL or an SQLite file "
        "(default: DOGFOOD_HUB, then dogfood_hub in the settings)",
    )
    statuses = """\
exit status: 0 no FAIL is left, 1 at least one is or a change was refused, 2 usage or settings,
3 the hub cannot be reached or is too new, 130 interrupted, 141 the reader of the output is gone.
"""
    return CommandGroup(prog, usage_status=2, description=description, epilog=statuses, shared=(hub,))


class OutputLostError(Exception):
    """Standard output did not accept all output; `is_broken_pipe` means that it is a pipe without a reader."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.is_broken_pipe = number == errno.EPIPE


class _OutputStream(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            raise OutputLostError(error.errno or errno.EIO) from error
        if not written:  # a full, non-blocking pipe
            raise OutputLostError(errno.EAGAIN)
        return written


class _ErrorStream(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):  # there is no other place to report it, and the exit status remains
            return super().write(data) or memoryview(data).nbytes
        return memoryview(data).nbytes


@contextmanager
def watched_streams() -> Iterator[None]:
    """Let this process write through streams that raise OutputLostError if its output is lost."""
    before = sys.stdout, sys.stderr
    if before != (sys.__stdout__, sys.__stderr__):  # the calling program captures the output
        yield
        return
    # A database that got the number of a closed stream would receive others' output. A newly opened file gets the
    # lowest free number; output to these fails as it does on a closed stream.
    for number, how in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, how)
    sys.stdout = _as_text(_OutputStream(1, "w", closefd=False), sys.stdout)
    sys.stderr = _as_text(_ErrorStream(2, "w", closefd=False), sys.stderr)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except BaseException:
            # The rest of the buffer must neither raise again when it is dropped, nor wait for a reader.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
            raise
        finally:
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that what was begun is ended in order, and nothing half-made stays.

    Cancelled jobs, time limits and closed terminals send these signals. A signal that is ignored stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _as_text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",  # a character that the terminal cannot show must not end the output
        line_buffering=isinstance(raw, _ErrorStream) or raw.isatty(),
    )


class Palette:
    """Colours for a stream, as pytest decides: by NO_COLOR and FORCE_COLOR, else by whether it is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        if os.environ.get("NO_COLOR"):
            self.on = False
        else:
            forced = bool(os.environ.get("FORCE_COLOR"))
            self.on = forced or (stream.isatty() and os.environ.get("TERM") != "dumb")

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.on and colour else text


def write_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Write lines, with escapes for characters that the stream's encoding does not have."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    for line in lines:
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def say(text: str) -> None:
    write_lines([text])


def complain(*lines: str) -> None:
    write_lines(lines, sys.stderr)


def json_document(**content: object) -> str:
    """Return the document for `--format json`, in ASCII: neither file names nor terminals need to be UTF-8."""
    return json.dumps({"version": 1, **content}, indent=2)  # 1, from the beginning


def print_table(rows: Sequence[Sequence[str]], *, nothing: str) -> None:
    """Print rows in columns, or the text `nothing` if there are none."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    write_lines((line.rstrip() for line in lines) if rows else [nothing])
