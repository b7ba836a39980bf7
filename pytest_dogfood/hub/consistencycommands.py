"""The command line of `dogfood consistency`: its options. What the commands do is imported when one runs."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from typing import Any

from pytest_dogfood.hub.hubcommands import Deferred
from pytest_dogfood.hub.hubcommands import HubParser
from pytest_dogfood.hub.hubcommands import add_actor_option
from pytest_dogfood.hub.hubcommands import add_format_option
from pytest_dogfood.hub.hubcommands import add_hub_option
from pytest_dogfood.hub.hubcommands import without_verb

SPEAKER = "dogfood consistency"

_STATUSES = """\
exit status: 0 nothing is left to do, 1 at least one FAIL is left, 2 usage or settings, 3 the hub cannot be
reached or is too new, 130 interrupted.
"""


def add_consistency_commands(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `consistency` and its verbs; each sets `command`, a function from options to an exit status."""
    consistency = subparsers.add_parser(
        "consistency",
        help="keep workplans and the hub in step, never back",
        description="Compare the task blocks of workplans with the hub, and bring them into step. No task ever "
        "goes back but by reopen.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    consistency.set_defaults(command=without_verb(consistency))
    verbs = consistency.add_subparsers(title="commands", metavar="COMMAND", parser_class=HubParser)
    _add_check(verbs)
    _add_fix(verbs)
    _add_sync(verbs)
    _add_reopen(verbs)
    _add_resolve(verbs)
    _add_log(verbs)


def _add_check(verbs: argparse._SubParsersAction[HubParser]) -> None:
    check = verbs.add_parser(
        "check",
        help="say what differs, and change nothing",
        description="Say what differs between workplans and the hub. Nothing is written; only remote-tracking "
        "branches are fetched.",
    )
    _add_common(check)
    check.set_defaults(command=_command("check"))


def _add_fix(verbs: argparse._SubParsersAction[HubParser]) -> None:
    fix = verbs.add_parser(
        "fix",
        help="bring workplans and the hub into step",
        description="Bring the hub forward to what workplans say, and workplans to what the hub says, one commit "
        "for each file. Nothing is pulled or pushed; a repository that is behind its remote is left alone.",
    )
    _add_fixing(fix)
    fix.set_defaults(command=_command("fix"))


def _add_sync(verbs: argparse._SubParsersAction[HubParser]) -> None:
    sync = verbs.add_parser(
        "sync", help="git pull --ff-only, then fix", description="Run git pull --ff-only, then fix."
    )
    _add_fixing(sync)
    sync.set_defaults(command=_command("sync"))


def _add_common(parser: ArgumentParser) -> None:
    add_hub_option(parser)
    parser.add_argument(
        "--repo",
        action="append",
        default=[],
        metavar="S",
        help="this repository (repeatable; default: the one around the working directory)",
    )
    parser.add_argument("--all", action="store_true", help="every repository of the hub")
    parser.add_argument("--offline", action="store_true", help="do not fetch; what was fetched last counts")
    parser.add_argument("--strict", action="store_true", help="count WARN as FAIL")
    add_format_option(parser)


def _add_fixing(parser: ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--no-writeback", action="store_true", help="never write and commit a workplan")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--accept-reopen", action="store_true", help="take over reopens that are recorded in a file"
    )
    parser.add_argument(
        "--lock-timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="seconds to wait for another fixer of the same checkout (default: 30)",
    )
    add_actor_option(parser)


def _add_reopen(verbs: argparse._SubParsersAction[HubParser]) -> None:
    reopen = verbs.add_parser(
        "reopen",
        help="let a task go back, on purpose",
        description="Count one reopen more and set an earlier status, in the hub and in the workplan of this "
        "checkout; with --accept, record in the workplan what was reopened elsewhere.",
    )
    _add_move(reopen)
    reopen.add_argument(
        "--to", choices=("todo", "in_progress", "blocked"), default="todo", help="default: todo"
    )
    how = reopen.add_mutually_exclusive_group()
    how.add_argument("--hub-only", action="store_true", help="leave the workplans to others")
    how.add_argument("--accept", action="store_true", help="record the hub's reopen in this checkout")
    reopen.set_defaults(command=_command("reopen"))


def _add_resolve(verbs: argparse._SubParsersAction[HubParser]) -> None:
    resolve = verbs.add_parser(
        "resolve",
        help="settle a tie of two statuses of the same rank",
        description="Settle a tie: the hub and the workplan have different statuses of the same rank, such as "
        "done and cancelled, and the side you name wins.",
    )
    _add_move(resolve)
    resolve.add_argument("--take", choices=("file", "hub"), required=True, help="the side that wins")
    resolve.set_defaults(command=_command("resolve"))


def _add_move(parser: ArgumentParser) -> None:
    add_hub_option(parser)
    parser.add_argument("task", metavar="TASK", help="the task's id, or its UUID in the hub")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the log")
    parser.add_argument("--repo", metavar="S", help="the repository, where several have a task of this id")
    parser.add_argument("--offline", action="store_true", help="do not fetch; what was fetched last counts")
    parser.add_argument("--lock-timeout", type=_seconds, default=30.0, metavar="S", help="default: 30")
    add_actor_option(parser)


def _add_log(verbs: argparse._SubParsersAction[HubParser]) -> None:
    log = verbs.add_parser(
        "log",
        help="print who changed which status, and why",
        description="Print the event log. With --regressions, every event that lowered a rank: each is a "
        "reopen or was resolved, and has a reason.",
    )
    add_hub_option(log)
    log.add_argument("--task", metavar="ID", help="only this task's")
    log.add_argument("--repo", metavar="S", help="only this repository's")
    log.add_argument("--regressions", action="store_true", help="only events that lower the rank")
    add_format_option(log)
    log.set_defaults(command=_command("log"))


def _command(name: str) -> Deferred:
    return Deferred(name, module="consistencyverbs", speaker=SPEAKER)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
