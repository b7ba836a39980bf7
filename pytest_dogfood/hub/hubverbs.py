"""What each `dogfood hub` command does; it prints its result and gives an exit status, or raises HubError."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.diagnostics import InvalidProjectError
from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.hub.database import Hub
from pytest_dogfood.hub.entries import Checkout
from pytest_dogfood.hub.entries import Source
from pytest_dogfood.hub.entries import Stamp
from pytest_dogfood.hub.errors import REFUSED
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.errors import RefusedError
from pytest_dogfood.hub.git import Git
from pytest_dogfood.hub.importing import problems_in_words
from pytest_dogfood.hub.importing import read_tasks_file
from pytest_dogfood.hub.locating import local_hub
from pytest_dogfood.hub.locating import locate
from pytest_dogfood.hub.locating import pinned_id
from pytest_dogfood.hub.machine import current_actor
from pytest_dogfood.hub.machine import this_machine
from pytest_dogfood.hub.protocol import PLACE
from pytest_dogfood.hub.protocol import write_protocol
from pytest_dogfood.hub.statuses import Status
from pytest_dogfood.hub.statuses import nearest
from pytest_dogfood.hub.statuses import parse_status
from pytest_dogfood.hub.taking import Taken
from pytest_dogfood.hub.taking import only_task
from pytest_dogfood.hub.taking import set_forward
from pytest_dogfood.hub.taking import take_in
from pytest_dogfood.hub.tasks import HubTask
from pytest_dogfood.hub.urls import parse_url

JSON_VERSION = 1
"""Of what `--format json` prints: 1, from the beginning."""


def open_hub(option: str | None, *, readonly: bool = False, repository: Path | None = None) -> Hub:
    """Open the hub that is meant, unless `repository`, or here, pins another one; raises HubError."""
    location = locate(option)
    hub = Hub.open(parse_url(location.url, base=location.base), readonly=readonly)
    pinned, where = pinned_id(repository or Path.cwd())
    hub.require_id(pinned, where=str(where))
    return hub


def init(options: Namespace) -> int:
    """Create a hub or upgrade it."""
    if options.local and options.hub:
        raise HubUsageError("--local and --hub name two hubs; leave one of them out")
    url = parse_url(str(local_hub())) if options.local else _named_url(options.hub)
    hub, found = Hub.create(url)
    with hub:
        done = {True: "is ready", False: "has been created"}[found > 0]
        _print(f"hub {hub.id} {done}: {hub.label}")
    return 0


def _named_url(option: str | None) -> Any:  # noqa: ANN401 - SQLAlchemy's URL
    location = locate(option)
    return parse_url(location.url, base=location.base)


def register(options: Namespace) -> int:
    """Record a checkout, and write the protocol into it if asked to."""
    root, root_commit = _checkout_at(Path(options.path))
    slug = options.slug or root.name
    if not slug.strip() or any(letter.isspace() or letter == "/" for letter in slug):
        raise HubUsageError(
            f"{slug!r} is no name for a repository: no spaces, no slashes; give one with --slug"
        )
    with open_hub(options.hub, repository=root) as hub:
        made = hub.register(root, slug=slug, root_commit=root_commit, machine=this_machine())
        _print(f"{made.repo} is at {made.path}")
    if options.protocol:
        written = write_protocol(root, slug)
        _print(f"wrote {written}" if written else f"{root / PLACE} is there already and was left as it is")
    return 0


def _checkout_at(path: Path) -> tuple[Path, str]:
    """Give the root of the work tree, and the first commit of its history where git knows one."""
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise HubUsageError(f"there is no directory {path}") from error
    if not resolved.is_dir():
        raise HubUsageError(f"{path} is no directory; name the one that holds the checkout")
    try:
        git = Git(resolved)
        top = git.read("rev-parse", "--show-toplevel")
        if not top.ok:
            return resolved, ""
        git = git.at(Path(top.text))
        if git.read("rev-parse", "--is-shallow-repository").text != "false":
            return git.directory, ""  # where its history ends is not where it began
        roots = git.read("rev-list", "--max-parents=0", "HEAD")
    except HarnessError:
        return resolved, ""  # no git here: files are read all the same
    return git.directory, roots.text.split()[-1] if roots.ok and roots.out else ""


def repos(options: Namespace) -> int:
    """List repositories with their paths on this machine, or only the paths."""
    with open_hub(options.hub, readonly=True) as hub:
        known = hub.repos()
        if options.slug is not None and options.slug not in {repo.slug for repo in known}:
            hint = did_you_mean(options.slug, (repo.slug for repo in known))
            raise HubUsageError(f"no repository '{options.slug}' in the hub; {hint}".rstrip("; "))
        machine = this_machine(create=False)
        here = hub.checkouts(machine.id, repo=options.slug) if machine.id else ()
    if options.path:
        return _print_paths(here, options.slug)
    wanted = [repo for repo in known if options.slug in {None, repo.slug}]
    if options.format == "json":
        listed = [
            {
                "slug": repo.slug,
                "root_commit": repo.root_commit,
                "paths": [each.path for each in here if each.repo == repo.slug],
            }
            for repo in wanted
        ]
        return _print_json(repos=listed)
    rows = [
        (repo.slug, path)
        for repo in wanted
        for path in [each.path for each in here if each.repo == repo.slug] or ["(not on this machine)"]
    ]
    _print_table(rows, nothing="the hub has no repositories; add one: dogfood hub register PATH")
    return 0


def _print_paths(here: Sequence[Checkout], slug: str | None) -> int:
    """Print the checkout around the working directory, or else all of them."""
    now = Path.cwd().resolve()
    around = [each for each in here if now.is_relative_to(each.path)]
    chosen = [max(around, key=lambda each: len(each.path))] if around and slug is not None else here
    _print(*(each.path for each in chosen))
    if slug is not None and not chosen:
        raise RefusedError(
            f"'{slug}' has no path on this machine; add it: dogfood hub register PATH --slug {slug}"
        )
    return 0


def tasks(options: Namespace) -> int:
    """List tasks that are not deleted."""
    statuses = [_status(text).value for text in options.status]
    with open_hub(options.hub, readonly=True) as hub:
        if options.repo is not None and not hub.repos(options.repo):
            hint = did_you_mean(options.repo, (repo.slug for repo in hub.repos()))
            raise HubUsageError(f"no repository '{options.repo}' in the hub; {hint}".rstrip("; "))
        found = [task for task in hub.tasks(options.repo, statuses=statuses) if not task.deleted]
    if options.format == "json":
        return _print_json(tasks=[_task_in_json(task) for task in found])
    rows = [(task.repo, task.task_id, task.status, task.title) for task in found]
    _print_table(rows, nothing="no tasks")
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
    _print(
        f"{task.task_id}: {task.status} → {status.value}"
        if changed
        else f"{task.task_id} is {status.value} already"
    )
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
    counts: Counter[Taken] = Counter()
    with open_hub(options.hub) as hub:
        for result in take_in(hub, read, stamp=_stamp(options.actor, Source.IMPORT)):
            counts[result.taken] += 1
            if result.taken in {Taken.KEPT, Taken.REFUSED}:
                named = f"{result.task.repo}/{result.task.task_id}"
                _print(f"{path}:{result.task.line}: {result.taken.value} {named}: {result.why}")
    _print(
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


def _print_json(**content: object) -> int:
    _print(json.dumps({"version": JSON_VERSION, **content}, indent=2, ensure_ascii=True))
    return 0


def _print_table(rows: Sequence[Sequence[str]], *, nothing: str) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    _print(*(line.rstrip() for line in lines) if rows else [nothing])


def _print(*lines: str) -> None:
    for line in lines:
        try:
            sys.stdout.write(f"{line}\n")
        except UnicodeEncodeError:  # a terminal without arrows, or a file name that is no UTF-8
            encoding = sys.stdout.encoding
            sys.stdout.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
