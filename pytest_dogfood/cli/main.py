"""The `dogfood` command: finds the subcommand, runs it, and returns its exit status."""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress

from pytest_dogfood.cli.console import (
    BROKEN_PIPE,
    CommandGroup,
    OutputLostError,
    complain,
    signals_as_interrupts,
    watched_streams,
)

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    if arguments is not None:
        return _run(arguments)
    # The process is short and drops few objects, so the garbage collector need not run so often.
    gc.set_threshold(50_000)
    try:
        with watched_streams():
            return _run(sys.argv[1:])
    except OutputLostError as error:
        if error.is_broken_pipe:
            return BROKEN_PIPE
        with suppress(OSError):  # no standard error either: the exit status must be enough
            said = f"dogfood: cannot write to standard output: {error}; what was done stays done\n"
            os.write(2, said.encode())
        return _commands(sys.argv[1:]).parser.usage_status
    except KeyboardInterrupt:  # while the last output was waiting for its reader
        return INTERRUPTED


def _commands(given: Sequence[str]) -> CommandGroup:
    """Return the group of commands that the first word names; only its module is imported."""
    name = given[0] if given else ""
    if name == "hub":
        from pytest_dogfood.cli.hub import COMMANDS
    elif name == "consistency":
        from pytest_dogfood.cli.consistency import COMMANDS
    elif name == "fleet":
        from pytest_dogfood.cli.fleet import COMMANDS
    else:
        from pytest_dogfood.cli.doubt import COMMANDS
    return COMMANDS


def _run(given: Sequence[str]) -> int:
    commands = _commands(given)
    of_the_hub = commands.parser.prog in {"dogfood hub", "dogfood consistency"}
    options = commands.parse(given if commands.parser.prog == "dogfood" else given[1:])
    if options.command is None:
        commands.parser.print_help(sys.stderr)
        return commands.parser.usage_status
    try:
        return _run_on_hub(options, commands) if of_the_hub else int(options.command(options))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run_on_hub(options: Namespace, commands: CommandGroup) -> int:
    from pytest_dogfood.consistency.hub.model import PACKAGES, HubError

    try:
        with signals_as_interrupts():
            return int(options.command(options))
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        complain(f"{commands.parser.prog}: the hub needs more packages: pip install 'pytest-dogfood[hub]'")
        return commands.parser.usage_status
    except HubError as error:
        complain(f"{commands.parser.prog}: {error}")
        return error.exit_status
