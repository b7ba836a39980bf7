"""The `dogfood fleet` commands: the database that the machines of a run share. psycopg is imported when it is used."""

from __future__ import annotations

import os
import secrets
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dogfood.cli.console import Argument, CommandGroup, complain, print_table, say
from pytest_dogfood.cli.reports import WRITTEN, write_merged
from pytest_dogfood.database import FLEET_VARIABLE
from pytest_dogfood.diagnostics import HarnessError, counted, seconds_in_words

if TYPE_CHECKING:
    from pytest_dogfood.fleet.board import FleetToken, RunContents, Unit
    from pytest_dogfood.fleet.database.postgres import PostgresBoard

OK, RED, GONE, USAGE = 0, 1, 3, 4
"""Exit statuses: all is well, a run is red or goes on, its database or run has gone away, to be put right by you."""

COMMANDS = CommandGroup(
    "dogfood fleet",
    usage_status=USAGE,
    description="A fleet is one run on several machines: pytest --dogfood -n auto --dogfood-fleet RUN on each.\n"
    "They share a PostgreSQL database, named by DOGFOOD_FLEET, or by dogfood_fleet in the settings of pytest.",
    epilog="exit status: 0 ok, 4 the database cannot be used, or usage, 130 interrupted, "
    "141 the reader of the output is gone.",
)


def fleet_url() -> str:
    """Return the URL of the database, from the environment, else from the settings; raises HarnessError."""
    from pytest_dogfood.consistency.hub.location import url_in_settings

    url = os.environ.get(FLEET_VARIABLE, "").strip() or url_in_settings("dogfood_fleet", Path.cwd())[0]
    if not url:
        raise HarnessError(
            "name the database: DOGFOOD_FLEET=postgresql://user@host/database in the environment, "
            'or dogfood_fleet = "URL" under [tool.pytest.ini_options] in pyproject.toml, or in pytest.ini'
        )
    return url


@COMMANDS.command(
    "init",
    "make the tables of a fleet in a PostgreSQL database",
    description="Make the tables of a fleet in the database, which must be UTF8, unless they are there. Your role "
    "must be allowed to create tables. Then grant other roles what runs need, as the command says.",
)
def init(_: Namespace) -> int:
    from pytest_dogfood.fleet.database.connection import Connection
    from pytest_dogfood.fleet.database.tables import grant, make_tables

    try:
        with closing(Connection(fleet_url(), patience=10)) as connection:
            is_new = make_tables(connection)
            say(
                f"the tables of the fleet {'have been made' if is_new else 'are there'}: {connection.address.label}"
            )
    except HarnessError as error:
        complain(f"dogfood fleet init: {error}")
        return USAGE
    say(f"to let another role take part in runs:\n    {grant('role')}")
    return OK


@COMMANDS.command(
    "show",
    "show the runs in the database, or the machines, units and tokens of one",
    Argument("run", nargs="?", metavar="RUN", help="the name of a run (default: list them all)"),
    description="List the runs in the database, the newest first, or show one: its machines, what each unit is waiting "
    "for or where it runs, and its fleet tokens. A unit is what one machine takes whole: a chain of journeys, "
    "a journey, or a file of tests.",
)
def show(options: Namespace) -> int:
    from pytest_dogfood.fleet.board import RunGoneError
    from pytest_dogfood.fleet.database.postgres import PostgresBoard

    try:
        with closing(PostgresBoard(fleet_url(), options.run or "", "", patience=10)) as board:
            board.check()
            if options.run is None:
                _list_runs(board)
            else:
                _show_run(board.contents())
    except RunGoneError:
        complain(
            f"dogfood fleet show: no machine has joined a run {options.run}; list them: dogfood fleet show"
        )
        return USAGE
    except HarnessError as error:
        complain(f"dogfood fleet show: {error}")
        return USAGE
    return OK


@COMMANDS.command(
    "close",
    "end a run, and write one report of all its machines",
    Argument(
        "run", metavar="RUN", help="the name of the run, as the machines were given it; ci, as they were"
    ),
    Argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for machines that are still part of the run (default: 600)",
    ),
    *WRITTEN,
    description="Wait until no machine is part of the run any more, seal it, so that none can join, and put together "
    "what all of them have told, as dogfood merge does for shards. What no machine ran to its end is an error. "
    "Exit status 1 if anything failed or is missing, or if machines are still there. Closing a run again writes the "
    "same report again.",
)
def close(options: Namespace) -> int:
    from pytest_dogfood.fleet.board import BoardUnreachableError, RunGoneError
    from pytest_dogfood.fleet.close import merge_machines, seal
    from pytest_dogfood.fleet.database.postgres import PostgresBoard
    from pytest_dogfood.fleet.options import run_name

    name = f"close-{secrets.token_hex(2)}"
    try:
        run = run_name(options.run, os.environ)
        with closing(PostgresBoard(fleet_url(), str(run), name, patience=10)) as board:
            board.check()
            contents = board.contents()
            if not contents.closed:
                sealed = seal(board, name, contents, wait=options.wait)
                if sealed.here:
                    complain(
                        f"dogfood fleet close: after {options.wait:g} s these machines are still part of {run}: "
                        f"{', '.join(sealed.here)}; nothing was changed"
                    )
                    return RED
                if sealed.tokens:
                    _release(board, sealed.tokens)
                contents = board.contents()
        return write_merged(merge_machines(contents), options)
    except RunGoneError:
        complain(f"dogfood fleet close: no machine joined {run}; on GitHub: re-run all jobs")
        return USAGE
    except BoardUnreachableError as error:
        complain(f"dogfood fleet close: {error}")
        return GONE
    except (HarnessError, ValueError) as error:
        complain(f"dogfood fleet close: {error}")
        return USAGE


def _release(board: PostgresBoard, tokens: Sequence[FleetToken]) -> None:
    """Release what lost machines have left, by the files of this checkout."""
    from msgspec.structs import replace

    from pytest_dogfood.fleet.board import TokenState
    from pytest_dogfood.fleet.close import release_left

    names = ", ".join(token.token for token in tokens)
    if problem := release_left(tokens, Path.cwd()):
        complain(f"dogfood fleet close: not all of {names} could be released:", problem)
    else:
        say(f"released what lost machines have left: {names}")
    for token in tokens:
        board.settle(replace(token, state=TokenState.ABSENT, ours=False))
    board.leave()


def _list_runs(board: PostgresBoard) -> None:
    rows = [
        (
            run.run,
            f"begun {run.begun}",
            f"{run.done} of {counted(run.units, 'unit')} done",
            f"{run.here} of {counted(run.machines, 'machine')} here",
            _state(run.stopped, run.closed),
        )
        for run in board.runs()
    ]
    print_table(rows, nothing=f"no runs in {board.label}")


def _show_run(run: RunContents) -> None:
    done = sum(unit.done for unit in run.units)
    state = _state(run.stopped, run.closed)
    say(
        f"{run.run}, begun {run.begun}: {done} of {counted(len(run.units), 'unit')} done{state and f'; {state}'}"
    )
    for title, rows in (
        ("machines", list(_machines(run))),
        ("units", [_unit(unit) for unit in run.units if not unit.done]),
        ("tokens", [_token(token) for token in run.tokens]),
    ):
        if rows:
            say(f"\n{title}:")
            print_table([("  " + row[0], *row[1:]) for row in rows], nothing="")


def _state(stopped: str, closed: str) -> str:
    words = (f"stopped {stopped}" if stopped else "", f"closed {closed}" if closed else "")
    return ", ".join(filter(None, words))


def _machines(run: RunContents) -> Iterator[tuple[str, ...]]:
    items = Counter(end.machine for end in run.ends)
    held = Counter(unit.machine for unit in run.units if not unit.done)
    for machine in run.machines:
        is_here = machine.state == "here"
        seen, lost = run.silent_for.get(machine.name, 0.0), run.losses.after.get(machine.name)
        yield (
            machine.name,
            machine.host,
            f"here, seen {seconds_in_words(round(seen))} ago"
            if is_here
            else machine.state
            if lost is None
            else f"lost after {seconds_in_words(round(lost))}",
            counted(machine.workers, "worker"),
            f"{counted(items[machine.name], 'item')} ended",
            f"runs {counted(held[machine.name], 'unit')}" if is_here else "",
            f"cannot provide {', '.join(machine.fails)}" if machine.fails else "",
        )


def _unit(unit: Unit) -> tuple[str, str, str]:
    lost = f"lost on {', '.join(unit.lost_on)}" if unit.lost_on else ""
    if not unit.machine:
        return unit.name, "waits for a machine that is ready to run it", lost
    return unit.name, f"runs on {unit.machine}: {unit.current}", lost


def _token(token: FleetToken) -> tuple[str, str, str]:
    where = f" by {token.holder}" if token.holder else ""
    state = {
        "absent": "absent",
        "coming": f"being provided{where}",
        "held": f"present{f', checked{where}' if where else ''}",
        "releasing": f"being released{where}",
        "failed": f"failed on {', '.join(token.tried_on)}: {token.message}",
    }[token.state]
    holder = token.holder.partition("/")[0]
    waiting = ", ".join(name for name in token.used_by if name != holder)
    waits = waiting if token.state in {"coming", "releasing"} else ""
    users = ", ".join(token.used_by)
    return token.token, state, f"waiting for it: {waits}" if waits else f"used by {users}" if users else ""
