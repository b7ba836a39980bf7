"""The command line of `dogfood hub`: its options."""

from __future__ import annotations

import argparse
from typing import Any

from pytest_dogfood.cli.console import CommandGroup, add_actor_option, add_format_option, add_task_arguments


def add_hub_commands(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `hub` and its verbs; each sets `command`, a function from options to an exit status."""
    verbs = CommandGroup(
        subparsers,
        "hub",
        module="hub_verbs",
        description="The hub is the database that knows the status of every task: an SQLite file for one machine,\n"
        "PostgreSQL where several share it.",
    )
    _add_checkouts(verbs)
    _add_tasks(verbs)


def _add_checkouts(verbs: CommandGroup) -> None:
    init = verbs.add(
        "init",
        "create a hub, or upgrade its schema",
        description="Create a hub, or bring an older one to the schema of this program. Nothing else ever does.",
    )
    init.add_argument(
        "--local",
        action="store_true",
        help="make an SQLite file in your data directory, for this machine only",
    )
    register = verbs.add(
        "register",
        "say where a repository is checked out here",
        description="Record where a repository is checked out on this machine.",
    )
    register.add_argument("path", metavar="PATH", help="the checkout, or a directory in it")
    register.add_argument("--slug", metavar="S", help="the repository's name (default: the directory's)")
    register.add_argument(
        "--protocol",
        action="store_true",
        help="also write docs/session-close.md into it, unless there is one",
    )
    forget = verbs.add(
        "forget",
        "forget a checkout that is no more",
        description="Forget a checkout of this machine that was moved or removed. Nothing else is touched: the "
        "repository stays known, and so do its tasks and their log.",
    )
    forget.add_argument("path", metavar="PATH", help="where it was, as `dogfood hub repos` shows it")
    repos = verbs.add(
        "repos",
        "list the repositories and where they are on this machine",
        description="List the repositories and where they are checked out on this machine.",
    )
    repos.add_argument("--slug", metavar="S", help="only this one")
    repos.add_argument("--path", action="store_true", help="print only the path, for scripts and Makefiles")
    add_format_option(repos)


def _add_tasks(verbs: CommandGroup) -> None:
    tasks = verbs.add("tasks", "list tasks and their statuses", description="List tasks and their statuses.")
    tasks.add_argument("--repo", metavar="S", help="only those of this repository")
    tasks.add_argument(
        "--status", action="append", default=[], metavar="STATUS", help="only these (repeatable)"
    )
    add_format_option(tasks)
    setting = verbs.add(
        "set",
        "set the status of a task, forward",
        description="Set the status of a task. A lower rank is refused: see dogfood consistency reopen.",
        function="set_status",
    )
    add_task_arguments(setting)
    setting.add_argument("status", metavar="STATUS", help="todo, in_progress, blocked, done or cancelled")
    _add_marking(verbs, "delete", "mark a task as deleted", "Nothing of it is lost: see restore.")
    _add_marking(verbs, "restore", "bring a deleted task back", "It has the status that it had.")
    importing = verbs.add(
        "import",
        "take in tasks from a JSON or CSV file",
        description="Take in tasks from elsewhere: JSON, such as `hub tasks --format json` prints, or CSV with the "
        "columns repo, task_id, status and title. No task goes back: where the hub is further, it is kept.",
        function="import_file",
    )
    importing.add_argument("file", metavar="FILE", help="a .json or .csv file")
    add_actor_option(importing)


def _add_marking(verbs: CommandGroup, name: str, what: str, consequence: str) -> None:
    parser = verbs.add(name, what, description=f"{what[0].upper()}{what[1:]}. {consequence}")
    add_task_arguments(parser)
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the log")
