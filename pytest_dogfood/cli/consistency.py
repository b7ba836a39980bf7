"""The command line of `dogfood consistency`: its options."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from typing import Any

from pytest_dogfood.cli.console import CommandGroup, add_actor_option, add_format_option, add_task_arguments


def add_consistency_commands(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `consistency` and its verbs; each sets `command`, a function from options to an exit status."""
    verbs = CommandGroup(
        subparsers,
        "consistency",
        module="consistency_verbs",
        description="Compare the task blocks of workplans with the hub, and bring them into step. No task ever goes\n"
        "back but by reopen.",
    )
    _add_runs(verbs)
    _add_moves(verbs)
    log = verbs.add(
        "log",
        "print who changed which status, and why",
        description="Print the event log. With --regressions, every event that lowered a rank: each is a "
        "reopen or was resolved, and has a reason.",
    )
    log.add_argument("--task", metavar="ID", help="only this task's")
    log.add_argument("--repo", metavar="S", help="only this repository's")
    log.add_argument("--regressions", action="store_true", help="only events that lower the rank")
    add_format_option(log)


def _add_runs(verbs: CommandGroup) -> None:
    check = verbs.add(
        "check",
        "say what differs, and change nothing",
        description="Say what differs between workplans and the hub. Nothing is written; only remote-tracking "
        "branches are fetched.",
    )
    _add_looking(check)
    fix = verbs.add(
        "fix",
        "bring workplans and the hub into step",
        description="Bring the hub forward to what workplans say, and workplans to what the hub says, one commit "
        "for each file. Nothing is pulled or pushed; a repository that is behind its remote is left alone.",
    )
    _add_fixing(fix)
    sync = verbs.add("sync", "git pull --ff-only, then fix", description="Run git pull --ff-only, then fix.")
    _add_fixing(sync)


def _add_looking(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--repo",
        action="append",
        default=[],
        metavar="S",
        help="this repository (repeatable; default: the one around the working directory)",
    )
    parser.add_argument("--all", action="store_true", help="every repository of the hub")
    _add_offline_option(parser)
    parser.add_argument("--strict", action="store_true", help="count WARN as FAIL")
    add_format_option(parser)


def _add_fixing(parser: ArgumentParser) -> None:
    _add_looking(parser)
    parser.add_argument("--no-writeback", action="store_true", help="never write and commit a workplan")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--accept-reopen", action="store_true", help="take over reopens that are recorded in a file"
    )
    _add_lock_option(parser)
    add_actor_option(parser)


def _add_moves(verbs: CommandGroup) -> None:
    reopen = verbs.add(
        "reopen",
        "let a task go back, on purpose",
        description="Count one reopen more and set an earlier status, in the hub and in the workplan of this "
        "checkout; with --accept, record in the workplan what was reopened elsewhere.",
    )
    _add_moving(reopen)
    reopen.add_argument(
        "--to", choices=("todo", "in_progress", "blocked"), default="todo", help="default: todo"
    )
    how = reopen.add_mutually_exclusive_group()
    how.add_argument("--hub-only", action="store_true", help="leave the workplans to others")
    how.add_argument("--accept", action="store_true", help="record the hub's reopen in this checkout")
    resolve = verbs.add(
        "resolve",
        "settle a tie of two statuses of the same rank",
        description="Settle a tie: the hub and the workplan have different statuses of the same rank, such as "
        "done and cancelled, and the side you name wins.",
    )
    _add_moving(resolve)
    resolve.add_argument("--take", choices=("file", "hub"), required=True, help="the side that wins")


def _add_moving(parser: ArgumentParser) -> None:
    add_task_arguments(parser)
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the log")
    _add_offline_option(parser)
    _add_lock_option(parser)


def _add_offline_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--offline", action="store_true", help="do not fetch or pull; what was fetched last counts"
    )


def _add_lock_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--lock-timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="seconds to wait for another fixer of the same checkout (default: 30)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
