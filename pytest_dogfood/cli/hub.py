"""The `dogfood hub` commands, each with its options above it. None imports SQLAlchemy before it opens a hub."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections import Counter
from pathlib import Path

from pytest_dogfood.cli.console import (
    ACTOR,
    FORMAT,
    REASON,
    TASK,
    Argument,
    hub_commands,
    json_document,
    print_table,
    say,
    write_lines,
)
from pytest_dogfood.consistency.hub.location import current_actor, hub_url, local_hub, open_hub, this_machine
from pytest_dogfood.consistency.hub.model import (
    REFUSED,
    HubUsageError,
    RefusedError,
    Source,
    Stamp,
    Status,
    parse_status,
    suggest_status,
)
from pytest_dogfood.diagnostics import HarnessError, did_you_mean

COMMANDS = hub_commands(
    "dogfood hub",
    description="The hub is the database that holds the status of every task: an SQLite file for one machine,\n"
    "PostgreSQL if several share it.",
)


@COMMANDS.command(
    "init",
    "create a hub, or upgrade its schema",
    Argument(
        "--local",
        action="store_true",
        help="make an SQLite file in your data directory, for this machine only",
    ),
    description="Create a hub, or upgrade an older one to the schema of this program. No other command does.",
)
def init(options: Namespace) -> int:
    from pytest_dogfood.consistency.hub.store import Hub

    if options.local and options.hub:
        raise HubUsageError("--local and --hub name two hubs; leave one of them out")
    hub, version = Hub.create(str(local_hub()) if options.local else hub_url(options.hub))
    with hub:
        say(f"hub {hub.id} {'is ready' if version else 'has been created'}: {hub.label}")
    return 0


@COMMANDS.command(
    "register",
    "record where a repository is checked out here",
    Argument("path", metavar="PATH", help="the checkout, or a directory in it"),
    Argument("--slug", metavar="S", help="the repository's name (default: the directory's)"),
    Argument(
        "--protocol",
        action="store_true",
        help="also write docs/session-close.md into it, unless there is one",
    ),
    description="Record where a repository is checked out on this machine.",
)
def register(options: Namespace) -> int:
    from pytest_dogfood.consistency.checkouts import PLACE, NewCheckout, guess_repository, write_protocol
    from pytest_dogfood.git.repository import Repository

    path = Path(options.path)
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise HubUsageError(f"there is no directory {path}") from error
    if not root.is_dir():
        raise HubUsageError(f"{path} is not a directory; name the one that holds the checkout")
    repository = Repository(root)
    try:
        root, why_not = repository.work_tree.top, ""
        new_checkout = NewCheckout(path=root, roots=repository.root_commits(), trees=repository.work_trees())
    except HarnessError as error:
        new_checkout, why_not = NewCheckout(path=root), str(error)
    with open_hub(options.hub, repository=root) as hub:
        machine = this_machine()
        here = hub.checkouts(machine.id)
        gone = {each.path for each in here if not os.path.lexists(each.path)}
        slug = options.slug or guess_repository(new_checkout, hub.repos(), here, gone)
        if not slug.strip() or any(letter.isspace() or letter == "/" for letter in slug):
            raise HubUsageError(
                f"{slug!r} is not a name for a repository: it has spaces or slashes, or is empty; give one with --slug"
            )
        root_commit = new_checkout.root_as(next(iter(hub.repos(slug)), None))
        made = hub.register(root, slug=slug, root_commit=root_commit, machine=machine)
    said = [f"{made.repo} is at {made.path}"]
    said += [
        f"{each.path} no longer exists; if it was moved here: dogfood hub forget {shlex.quote(each.path)}"
        for each in here
        if each.repo == slug and each.path in gone
    ]
    if why_not:
        said.append(f"its workplans are read, but never written: {why_not}")
    try:
        if options.protocol:
            written = write_protocol(root, slug)
            there = f"{root / PLACE} exists already, and was not changed"
            said.append(f"wrote {written}" if written else there)
    finally:
        write_lines(said)
    return 0


@COMMANDS.command(
    "forget",
    "forget a checkout that was moved or removed",
    Argument("path", metavar="PATH", help="where it was, as `dogfood hub repos` shows it"),
    description="Forget a checkout of this machine that was moved or removed. The repository, its tasks "
    "and their log stay.",
)
def forget(options: Namespace) -> int:
    path = Path(options.path).absolute()
    with open_hub(options.hub) as hub:
        machine = this_machine()
        known = {each.path: each.repo for each in hub.checkouts(machine.id)}
        # As it was registered, with links resolved, which is impossible if the directory is gone.
        named = next((place for place in (str(path), str(path.resolve())) if place in known), None)
        if named is None:
            hint = did_you_mean(str(path), known) or "see them all: dogfood hub repos"
            raise HubUsageError(f"no checkout at {path} is registered on this machine; {hint}")
        hub.forget(Path(named), machine)
    say(f"{known[named]} is no longer at {named}; its tasks and their log stay")
    return 0


@COMMANDS.command(
    "repos",
    "list the repositories and where they are on this machine",
    Argument("--slug", metavar="S", help="only this one"),
    Argument("--path", action="store_true", help="print only the path, for scripts and Makefiles"),
    FORMAT,
    description="List the repositories and where they are checked out on this machine.",
)
def repos(options: Namespace) -> int:
    from pytest_dogfood.consistency.checkouts import around

    with open_hub(options.hub, readonly=True) as hub:
        hub.require_repo(options.slug)
        wanted = hub.repos(options.slug)
        here = hub.checkouts(this_machine(create=False).id, repo=options.slug)
    if options.path:
        # The checkout around the working directory, or else all of them.
        found = around(here, Path.cwd().resolve()) if options.slug is not None else []
        write_lines(each.path for each in found[-1:] or here)
        if options.slug is not None and not here:
            raise RefusedError(
                f"'{options.slug}' has no path on this machine; add it: "
                f"dogfood hub register PATH --slug {options.slug}"
            )
        return 0
    paths = {repo.slug: [each.path for each in here if each.repo == repo.slug] for repo in wanted}
    if options.format == "json":
        listed = [
            {"slug": repo.slug, "root_commit": repo.root_commit, "paths": paths[repo.slug]} for repo in wanted
        ]
        say(json_document(repos=listed))
        return 0
    rows = [(slug, path) for slug, found in paths.items() for path in found or ["(not on this machine)"]]
    print_table(rows, nothing="the hub has no repositories; add one: dogfood hub register PATH")
    return 0


@COMMANDS.command(
    "tasks",
    "list tasks and their statuses",
    Argument("--repo", metavar="S", help="only those of this repository"),
    Argument("--status", action="append", default=[], metavar="STATUS", help="only these (repeatable)"),
    FORMAT,
    description="List tasks and their statuses.",
)
def tasks(options: Namespace) -> int:
    statuses = [_status(text).value for text in options.status]
    with open_hub(options.hub, readonly=True) as hub:
        hub.require_repo(options.repo)
        found = [task for task in hub.tasks(options.repo, statuses=statuses) if not task.deleted]
    if options.format == "text":
        rows = [(task.repo, task.task_id, task.status, task.title) for task in found]
        print_table(rows, nothing="no tasks")
        return 0
    names = ("repo", "task_id", "status", "title", "reopen_count", "version")
    listed = [
        {name: getattr(task, name) for name in names} | {"path": task.source_path, "hub_id": task.id}
        for task in found
    ]
    say(json_document(tasks=listed))
    return 0


@COMMANDS.command(
    "set",
    "set the status of a task, forward",
    *TASK,
    Argument("status", metavar="STATUS", help="todo, in_progress, blocked, done or cancelled"),
    description="Set the status of a task. A lower rank is refused: see dogfood consistency reopen.",
)
def set_status(options: Namespace) -> int:
    from pytest_dogfood.consistency.hub.imports import set_status_with_retries

    status = _status(options.status)
    with open_hub(options.hub) as hub:
        task = hub.only_task(options.task, repo=options.repo)
        changed = set_status_with_retries(hub, task, status, stamp=_stamp(options, Source.API))
    moved = f": {task.status} → {status.value}" if changed else f" is {status.value} already"
    say(f"{task.task_id}{moved}")
    return 0


@COMMANDS.command(
    "delete",
    "mark a task as deleted",
    *TASK,
    REASON,
    description="Mark a task as deleted. Nothing is lost: restore takes the mark away.",
    deleted=True,
)
@COMMANDS.command(
    "restore",
    "restore a deleted task",
    *TASK,
    REASON,
    description="Restore a deleted task, with the status that it had.",
    deleted=False,
)
def mark(options: Namespace) -> int:
    from pytest_dogfood.consistency.hub.imports import set_deleted_with_retries

    # The status does not change: in the log, only the reason shows what was done.
    reason = ": ".join(filter(None, ("deleted" if options.deleted else "restored", options.reason)))
    with open_hub(options.hub) as hub:
        task = hub.only_task(options.task, repo=options.repo)
        stamp = _stamp(options, Source.API, reason)
        done = set_deleted_with_retries(hub, task, deleted=options.deleted, stamp=stamp)
    if options.deleted:
        say(f"{task.task_id} is deleted" + ("" if done else " already"))
    else:
        now = "and no longer deleted" if done else "and was not deleted"
        say(f"{task.task_id} is {task.status}, {now}")
    return 0


@COMMANDS.command(
    "import",
    "import tasks from a JSON or CSV file",
    Argument("file", metavar="FILE", help="a .json or .csv file"),
    ACTOR,
    description="Import tasks: JSON, such as `hub tasks --format json` prints, or CSV with the columns repo, "
    "task_id, status and title. No task goes back: if the hub has a higher rank, it is kept.",
)
def import_file(options: Namespace) -> int:
    from pytest_dogfood.consistency.hub.imports import ImportOutcome, import_tasks, parse_tasks

    path = Path(options.file)
    try:
        tasks_read = parse_tasks(path.read_bytes(), path=str(path))
    except OSError as error:
        raise HubUsageError(f"cannot read {path}: {error.strerror}") from error
    with open_hub(options.hub) as hub:
        results = tuple(import_tasks(hub, tasks_read, stamp=_stamp(options, Source.IMPORT)))
    counts = Counter(result.outcome for result in results)
    for result in results:
        if result.outcome in {ImportOutcome.KEPT, ImportOutcome.REFUSED}:
            named = f"{result.task.repo}/{result.task.task_id}"
            say(f"{path}:{result.line}: {result.outcome.value} {named}: {result.why}")
    summary = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in ImportOutcome if counts[outcome])
    say(summary or "no tasks in the file")
    return REFUSED if counts[ImportOutcome.REFUSED] else 0


def _stamp(options: Namespace, source: Source, reason: str = "") -> Stamp:
    actor = options.actor or current_actor()
    return Stamp(machine=this_machine(), actor=actor, source=source, reason=reason)


def _status(text: str) -> Status:
    status = parse_status(text)
    if status is None:
        raise HubUsageError(f"unknown status '{text}': {suggest_status(text)}")
    return status
