"""The command line of `dogfood hub`: its options. What the commands do is imported only when one runs."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from typing import NoReturn

from pytest_dogfood.hub.errors import USAGE
from pytest_dogfood.hub.errors import HubError


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


def add_hub_commands(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `hub` and its verbs; each sets `command`, a function from options to an exit status."""
    hub = subparsers.add_parser(
        "hub",
        help="set up the task database and look into it",
        description="The hub is the database that knows the status of every task: an SQLite file for one machine, "
        "PostgreSQL where several share it.",
    )
    hub.set_defaults(command=without_verb(hub))
    verbs = hub.add_subparsers(title="commands", metavar="COMMAND", parser_class=HubParser)
    _add_init(verbs)
    _add_register(verbs)
    _add_repos(verbs)
    _add_tasks(verbs)
    _add_set(verbs)
    _add_import(verbs)


def add_hub_option(parser: ArgumentParser) -> None:
    """Add `--hub`, which each command takes after its verb."""
    parser.add_argument(
        "--hub",
        metavar="URL",
        help="the hub: a PostgreSQL URL or an SQLite file (default: DOGFOOD_HUB, then dogfood_hub in the settings)",
    )


def _add_init(verbs: argparse._SubParsersAction[HubParser]) -> None:
    init = verbs.add_parser(
        "init",
        help="create a hub, or upgrade its schema",
        description="Create a hub, or bring an older one to the schema of this program. Nothing else ever does.",
    )
    add_hub_option(init)
    init.add_argument(
        "--local",
        action="store_true",
        help="make an SQLite file in your data directory, for this machine only",
    )
    init.set_defaults(command=_command("init"))


def _add_register(verbs: argparse._SubParsersAction[HubParser]) -> None:
    register = verbs.add_parser(
        "register",
        help="say where a repository is checked out here",
        description="Record where a repository is checked out on this machine.",
    )
    add_hub_option(register)
    register.add_argument("path", metavar="PATH", help="the checkout, or a directory in it")
    register.add_argument("--slug", metavar="S", help="the repository's name (default: the directory's)")
    register.add_argument(
        "--protocol",
        action="store_true",
        help="also write docs/session-close.md into it, unless there is one",
    )
    register.set_defaults(command=_command("register"))


def _add_repos(verbs: argparse._SubParsersAction[HubParser]) -> None:
    repos = verbs.add_parser(
        "repos",
        help="list the repositories and where they are on this machine",
        description="List the repositories and where they are checked out on this machine.",
    )
    add_hub_option(repos)
    repos.add_argument("--slug", metavar="S", help="only this one")
    repos.add_argument("--path", action="store_true", help="print only the path, for scripts and Makefiles")
    add_format_option(repos)
    repos.set_defaults(command=_command("repos"))


def _add_tasks(verbs: argparse._SubParsersAction[HubParser]) -> None:
    tasks = verbs.add_parser(
        "tasks", help="list tasks and their statuses", description="List tasks and their statuses."
    )
    add_hub_option(tasks)
    tasks.add_argument("--repo", metavar="S", help="only those of this repository")
    tasks.add_argument(
        "--status", action="append", default=[], metavar="STATUS", help="only these (repeatable)"
    )
    add_format_option(tasks)
    tasks.set_defaults(command=_command("tasks"))


def _add_set(verbs: argparse._SubParsersAction[HubParser]) -> None:
    setting = verbs.add_parser(
        "set",
        help="set the status of a task, forward",
        description="Set the status of a task. A lower rank is refused: see dogfood consistency reopen.",
    )
    add_hub_option(setting)
    setting.add_argument("task", metavar="TASK", help="the task's id, or its UUID in the hub")
    setting.add_argument("status", metavar="STATUS", help="todo, in_progress, blocked, done or cancelled")
    setting.add_argument("--repo", metavar="S", help="the repository, where several have a task of this id")
    add_actor_option(setting)
    setting.set_defaults(command=_command("set_status"))


def _add_import(verbs: argparse._SubParsersAction[HubParser]) -> None:
    importing = verbs.add_parser(
        "import",
        help="take in tasks from a JSON or CSV file",
        description="Take in tasks from elsewhere: JSON, such as `hub tasks --format json` prints, or CSV with the "
        "columns repo, task_id, status and title. No task goes back: where the hub is further, it is kept.",
    )
    add_hub_option(importing)
    importing.add_argument("file", metavar="FILE", help="a .json or .csv file")
    add_actor_option(importing)
    importing.set_defaults(command=_command("import_file"))


def add_actor_option(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", metavar="A", help="who does this, for the log (default: the user)")


def add_format_option(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


class Deferred:
    """A command that is imported when it runs, and whose errors become words and an exit status."""

    def __init__(self, name: str, *, module: str = "hubverbs", speaker: str = "dogfood hub") -> None:
        self._name = name
        self._module = f"pytest_dogfood.hub.{module}"
        self._speaker = speaker

    def __call__(self, options: Namespace) -> int:
        try:
            module = import_module(self._module)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in {"sqlalchemy", "platformdirs", "markdown_it"}:
                raise
            return self._complain("the hub needs more packages: pip install 'pytest-dogfood[hub]'", USAGE)
        try:
            return int(getattr(module, self._name)(options))
        except HubError as error:
            return self._complain(str(error), error.exit_status)

    def _complain(self, text: str, status: int) -> int:
        sys.stderr.write(f"{self._speaker}: {text}\n")
        return status


def _command(name: str) -> Deferred:
    return Deferred(name)


def without_verb(parser: ArgumentParser) -> Any:  # noqa: ANN401 - argparse takes anything as a default
    """Make the command of a parser whose verb was left out: it shows what there is."""

    def run(_options: Namespace) -> int:
        parser.print_help(sys.stderr)
        return USAGE

    return run
