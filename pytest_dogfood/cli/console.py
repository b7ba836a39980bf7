"""What the commands share: the parser class, tables, JSON with its version."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn, TextIO

from pytest_dogfood.consistency.hub.model import USAGE, HubError

JSON_VERSION = 1
"""Of what `--format json` prints: 1, from the beginning."""

_EVERY = 10  # changes: more often than this is flicker


class ProgressCounter:
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
    """Return text that stays on its line and commands no terminal: titles and file names may hold anything."""
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


STATUSES = """\
exit status: 0 no FAIL is left, 1 at least one is or a change was refused, 2 usage or settings,
3 the hub cannot be reached or is too new, 130 interrupted, 141 the reader of the output is gone.
"""


class HubParser(ArgumentParser):
    """A parser whose mistakes end with this command's status, also where an option is unknown."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")

    def parse_known_args(  # type: ignore[override]  # the original is overloaded for namespaces of any type
        self,
        args: Sequence[str] | None = None,
        namespace: Any = None,  # noqa: ANN401 - argparse's own
    ) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # The outermost parser would say so, with the status that it uses.
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


class CommandGroup:
    """The verbs of one command. Each is a function of a module, from options to an exit status."""

    def __init__(
        self, commands: argparse._SubParsersAction[Any], name: str, *, module: str, description: str
    ) -> None:
        parser = commands.add_parser(
            name,
            description=description,
            epilog=STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=_help_of(parser))
        self._added = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=HubParser)
        self._speaker = f"dogfood {name}"
        self._module = module

    def add(self, name: str, what: str, *, description: str, function: str = "") -> ArgumentParser:
        """Add a verb that does `what`; gives its parser, which has `--hub` already.

        Its function has the verb's name and is in the command's module, unless told otherwise.
        """
        parser: ArgumentParser = self._added.add_parser(name, help=what, description=description)
        parser.add_argument(
            "--hub",
            metavar="URL",
            help="the hub: a PostgreSQL URL or an SQLite file "
            "(default: DOGFOOD_HUB, then dogfood_hub in the settings)",
        )
        parser.set_defaults(command=_deferred(function or name, self._module, self._speaker))
        return parser


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let whoever asks us to end have it as after Ctrl-C: files in order, and no git left alive.

    Cancelled jobs, time limits and closed terminals send these signals. One that is ignored stays ignored.
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


def add_actor_option(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", metavar="A", help="who does this, for the log (default: the user)")


def add_format_option(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def add_task_arguments(parser: ArgumentParser) -> None:
    """Add what names one task, and who changes it."""
    parser.add_argument("task", metavar="TASK", help="the task's id, or its UUID in the hub")
    parser.add_argument("--repo", metavar="S", help="the repository, where several have a task of this id")
    add_actor_option(parser)


def _deferred(name: str, module: str, speaker: str) -> Callable[[Namespace], int]:
    """Make a command that is imported when it runs, and whose errors become words and an exit status."""

    def complain(text: str, status: int) -> int:
        sys.stderr.write(f"{speaker}: {text}\n")
        return status

    def run(options: Namespace) -> int:
        try:
            verbs = import_module(f"pytest_dogfood.cli.{module}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in {"sqlalchemy", "platformdirs", "markdown_it"}:
                raise
            return complain("the hub needs more packages: pip install 'pytest-dogfood[hub]'", USAGE)
        try:
            with ended_in_order():
                return int(getattr(verbs, name)(options))
        except HubError as error:
            return complain(str(error), error.exit_status)

    return run


def _help_of(parser: ArgumentParser) -> Callable[[Namespace], int]:
    """Make the command of a parser whose verb was left out: it shows what there is."""

    def run(_options: Namespace) -> int:
        parser.print_help(sys.stderr)
        return USAGE

    return run
