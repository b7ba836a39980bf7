"""What each `dogfood hub` command does; it prints its result and gives an exit status, or raises HubError."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.consistency.hub.imports import problems_in_words, read_tasks_file
from pytest_dogfood.consistency.hub.location import local_hub
from pytest_dogfood.consistency.hub.model import Status, nearest, parse_status
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.diagnostics import InvalidProjectError
from pytest_dogfood.hub.entries import Source, Stamp
from pytest_dogfood.hub.errors import REFUSED, HubUsageError
from pytest_dogfood.hub.machine import current_actor, this_machine
from pytest_dogfood.hub.opening import hub_url, open_hub
from pytest_dogfood.hub.printing import print_table, say, write_json
from pytest_dogfood.hub.taking import Taken, only_task, set_deleted, set_forward, take_in
from pytest_dogfood.hub.tasks import HubTask
from pytest_dogfood.hub.urls import parse_url


def init(options: Namespace) -> int:
    """Create a hub or upgrade it."""
    if options.local and options.hub:
        raise HubUsageError("--local and --hub name two hubs; leave one of them out")
    url = parse_url(str(local_hub())) if options.local else hub_url(options.hub)
    hub, found = Hub.create(url)
    with hub:
        done = {True: "is ready", False: "has been created"}[found > 0]
        say(f"hub {hub.id} {done}: {hub.label}")
    return 0


def tasks(options: Namespace) -> int:
    """List tasks that are not deleted."""
    statuses = [_status(text).value for text in options.status]
    with open_hub(options.hub, readonly=True) as hub:
        if options.repo is not None:
            hub.require_repo(options.repo)
        found = [task for task in hub.tasks(options.repo, statuses=statuses) if not task.deleted]
    if options.format == "json":
        write_json(tasks=[_task_in_json(task) for task in found])
        return 0
    rows = [(task.repo, task.task_id, task.status, task.title) for task in found]
    print_table(rows, nothing="no tasks")
    return 0


def _task_in_json(task: HubTask) -> dict[str, object]:
    return {
        "repo": task.repo,
        "task_id": task.task_id,
        "status": task.status,
        "title": task.title,
        "reopen_count": task.reopen_count,
        "version": task.version,
        "path": task.source_path,
        "hub_id": task.id,
    }


def set_status(options: Namespace) -> int:
    """Set the status of one task, forward."""
    status = _status(options.status)
    with open_hub(options.hub) as hub:
        task = only_task(hub, options.task, options.repo)
        changed = set_forward(hub, task, status, stamp=_stamp(options.actor, Source.API))
    say(
        f"{task.task_id}: {task.status} → {status.value}"
        if changed
        else f"{task.task_id} is {status.value} already"
    )
    return 0


def delete(options: Namespace) -> int:
    """Mark a task as deleted."""
    return _marked(options, deleted=True)


def restore(options: Namespace) -> int:
    """Take the mark away."""
    return _marked(options, deleted=False)


def _marked(options: Namespace, *, deleted: bool) -> int:
    with open_hub(options.hub) as hub:
        task = only_task(hub, options.task, options.repo)
        # The status stays, so only the reason tells in the log what was done.
        reason = ": ".join(filter(None, ("deleted" if deleted else "restored", options.reason)))
        stamp = replace(_stamp(options.actor, Source.API), reason=reason)
        done = set_deleted(hub, task, deleted=deleted, stamp=stamp)
    state = "deleted" if deleted else f"there, and {task.status}"
    say(f"{task.task_id} is {state}" + ("" if done else " already"))
    return 0


def import_file(options: Namespace) -> int:
    """Take in a file of tasks; one that has a mistake is not taken in at all."""
    path = Path(options.file)
    try:
        read = read_tasks_file(path)
    except OSError as error:
        raise HubUsageError(f"cannot read {path}: {error.strerror}") from error
    except InvalidProjectError as error:
        problems = "\n".join(problems_in_words(error.diagnostics))
        raise HubUsageError(f"nothing was imported\n{problems}") from error
    with open_hub(options.hub) as hub:
        results = tuple(take_in(hub, read, stamp=_stamp(options.actor, Source.IMPORT)))
    counts = Counter(result.taken for result in results)
    for result in results:
        if result.taken in {Taken.KEPT, Taken.REFUSED}:
            named = f"{result.task.repo}/{result.task.task_id}"
            say(f"{path}:{result.task.line}: {result.taken.value} {named}: {result.why}")
    say(
        ", ".join(f"{counts[taken]} {taken.value}" for taken in Taken if counts[taken])
        or "no tasks in the file"
    )
    return REFUSED if counts[Taken.REFUSED] else 0


def _stamp(actor: str | None, source: Source) -> Stamp:
    return Stamp(machine=this_machine(), actor=actor or current_actor(), source=source)


def _status(text: str) -> Status:
    status = parse_status(text)
    if status is None:
        meant = nearest(text)
        hint = f"did you mean '{meant}'?" if meant else "one of " + ", ".join(known.value for known in Status)
        raise HubUsageError(f"unknown status '{text}': {hint}")
    return status
