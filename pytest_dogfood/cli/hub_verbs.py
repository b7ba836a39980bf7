"""What each `dogfood hub` command does; it prints its result and gives an exit status, or raises HubError."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.cli.console import print_table, say, write_json, write_lines
from pytest_dogfood.consistency.checkouts import PLACE, NewCheckout, around, guess_repository, write_protocol
from pytest_dogfood.consistency.hub.connection import parse_url
from pytest_dogfood.consistency.hub.imports import (
    ImportOutcome,
    import_tasks,
    problems_in_words,
    read_tasks_file,
    set_deleted,
    set_forward,
)
from pytest_dogfood.consistency.hub.location import current_actor, hub_url, local_hub, open_hub, this_machine
from pytest_dogfood.consistency.hub.model import (
    REFUSED,
    Checkout,
    HubTask,
    HubUsageError,
    RefusedError,
    Source,
    Stamp,
    Status,
    nearest,
    parse_status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.diagnostics import HarnessError, InvalidProjectError, did_you_mean
from pytest_dogfood.git.repository import Repository


def register(options: Namespace) -> int:
    """Record a checkout, and write the protocol into it if asked to."""
    new_checkout, why_not = _checkout_at(Path(options.path))
    root = new_checkout.path
    with open_hub(options.hub, repository=root) as hub:
        machine = this_machine()
        here = hub.checkouts(machine.id)
        gone = {each.path for each in here if not os.path.lexists(each.path)}
        slug = _name(options.slug or guess_repository(new_checkout, hub.repos(), here, gone))
        root_commit = new_checkout.root_as(next(iter(hub.repos(slug)), None))
        made = hub.register(root, slug=slug, root_commit=root_commit, machine=machine)
    said = [f"{made.repo} is at {made.path}"]
    said += [
        f"nothing is at {each.path} any more; if it went here: dogfood hub forget {shlex.quote(each.path)}"
        for each in here
        if each.repo == slug and each.path in gone
    ]
    if why_not:
        said.append(f"its workplans are read, but never written: {why_not}")
    try:
        if options.protocol:
            written = write_protocol(root, slug)
            there = f"{root / PLACE} is there already and was left as it is"
            said.append(f"wrote {written}" if written else there)
    finally:
        write_lines(said)
    return 0


def _name(slug: str) -> str:
    if not slug.strip() or any(letter.isspace() or letter == "/" for letter in slug):
        raise HubUsageError(
            f"{slug!r} is no name for a repository: no spaces, no slashes; give one with --slug"
        )
    return slug


def _checkout_at(path: Path) -> tuple[NewCheckout, str]:
    """Return the work tree with what git knows of its history, and why git knows nothing."""
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise HubUsageError(f"there is no directory {path}") from error
    if not resolved.is_dir():
        raise HubUsageError(f"{path} is no directory; name the one that holds the checkout")
    repository = Repository(resolved)
    try:
        top = repository.place.top
        return NewCheckout(path=top, roots=repository.root_commits(), trees=repository.work_trees()), ""
    except HarnessError as error:
        return NewCheckout(path=resolved), str(error)


def forget(options: Namespace) -> int:
    """Forget a checkout that is no more."""
    path = Path(options.path).absolute()
    with open_hub(options.hub) as hub:
        machine = this_machine()
        known = {each.path: each.repo for each in hub.checkouts(machine.id)}
        # As it was registered: links resolved, which cannot be done any more where the directory is gone.
        named = next((place for place in (str(path), str(path.resolve())) if place in known), None)
        if named is None:
            hint = did_you_mean(str(path), known) or "see them all: dogfood hub repos"
            raise HubUsageError(f"no checkout at {path} is registered on this machine; {hint}")
        hub.forget(Path(named), machine)
    say(f"{known[named]} is no longer at {named}; its tasks and their log stay")
    return 0


def repos(options: Namespace) -> int:
    """List repositories with their paths on this machine, or only the paths."""
    with open_hub(options.hub, readonly=True) as hub:
        if options.slug is not None:
            hub.require_repo(options.slug)
        wanted = hub.repos(options.slug)
        machine = this_machine(create=False)
        here = hub.checkouts(machine.id, repo=options.slug) if machine.id else ()
    if options.path:
        return _print_paths(here, options.slug)
    if options.format == "json":
        listed = [
            {
                "slug": repo.slug,
                "root_commit": repo.root_commit,
                "paths": [each.path for each in here if each.repo == repo.slug],
            }
            for repo in wanted
        ]
        write_json(repos=listed)
        return 0
    rows = [
        (repo.slug, path)
        for repo in wanted
        for path in [each.path for each in here if each.repo == repo.slug] or ["(not on this machine)"]
    ]
    print_table(rows, nothing="the hub has no repositories; add one: dogfood hub register PATH")
    return 0


def _print_paths(here: Sequence[Checkout], slug: str | None) -> int:
    """Print the checkout around the working directory, or else all of them."""
    found = around(here, Path.cwd().resolve()) if slug is not None else []
    chosen = found[-1:] or here
    write_lines(each.path for each in chosen)
    if slug is not None and not chosen:
        raise RefusedError(
            f"'{slug}' has no path on this machine; add it: dogfood hub register PATH --slug {slug}"
        )
    return 0


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
        task = hub.only_task(options.task, repo=options.repo)
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
        task = hub.only_task(options.task, repo=options.repo)
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
        results = tuple(import_tasks(hub, read, stamp=_stamp(options.actor, Source.IMPORT)))
    counts = Counter(result.taken for result in results)
    for result in results:
        if result.taken in {ImportOutcome.KEPT, ImportOutcome.REFUSED}:
            named = f"{result.task.repo}/{result.task.task_id}"
            say(f"{path}:{result.task.line}: {result.taken.value} {named}: {result.why}")
    say(
        ", ".join(f"{counts[taken]} {taken.value}" for taken in ImportOutcome if counts[taken])
        or "no tasks in the file"
    )
    return REFUSED if counts[ImportOutcome.REFUSED] else 0


def _stamp(actor: str | None, source: Source) -> Stamp:
    return Stamp(machine=this_machine(), actor=actor or current_actor(), source=source)


def _status(text: str) -> Status:
    status = parse_status(text)
    if status is None:
        meant = nearest(text)
        hint = f"did you mean '{meant}'?" if meant else "one of " + ", ".join(known.value for known in Status)
        raise HubUsageError(f"unknown status '{text}': {hint}")
    return status
