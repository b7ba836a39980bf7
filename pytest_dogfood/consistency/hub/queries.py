"""What is read from the hub, as values; which repositories and checkouts it knows, and their registration."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, func, or_, select, update

from pytest_dogfood.consistency.hub.model import (
    Checkout,
    Event,
    HubTask,
    HubUsageError,
    Machine,
    Repo,
    Source,
)
from pytest_dogfood.consistency.hub.schema import checkouts, rank, repos, task_events, tasks


def read_repos(connection: Connection, slug: str | None = None) -> tuple[Repo, ...]:
    query = select(repos).order_by(repos.c.slug)
    if slug is not None:
        query = query.where(repos.c.slug == slug)
    rows = connection.execute(query)
    return tuple(Repo(id=row.id, slug=row.slug, root_commit=row.root_commit) for row in rows)


def read_checkouts(
    connection: Connection, machine_id: str | None = None, slug: str | None = None
) -> tuple[Checkout, ...]:
    query = select(checkouts, repos.c.slug).join(repos, checkouts.c.repo == repos.c.id)
    query = query.where(checkouts.c.gone_at.is_(None))
    if machine_id is not None:
        query = query.where(checkouts.c.machine_id == machine_id)
    if slug is not None:
        query = query.where(repos.c.slug == slug)
    rows = connection.execute(query.order_by(repos.c.slug, checkouts.c.path))
    return tuple(
        Checkout(id=row.id, repo=row.slug, machine_id=row.machine_id, host=row.host, path=row.path)
        for row in rows
    )


def read_tasks(
    connection: Connection, slug: str | None = None, statuses: Sequence[str] = ()
) -> tuple[HubTask, ...]:
    query = _tasks().order_by(repos.c.slug, tasks.c.task_id)
    if slug is not None:
        query = query.where(repos.c.slug == slug)
    if statuses:
        query = query.where(tasks.c.status.in_(statuses))
    return tuple(map(_task, connection.execute(query)))


def find_tasks(connection: Connection, name: str, slug: str | None = None) -> tuple[HubTask, ...]:
    """Return the tasks with this id in their repositories, or the one with this id in the hub."""
    named = or_(tasks.c.task_id == name, tasks.c.id == _as_uuid(name))
    query = _tasks().where(named).order_by(repos.c.slug)
    if slug is not None:
        query = query.where(repos.c.slug == slug)
    return tuple(map(_task, connection.execute(query)))


def task_of_key(connection: Connection, key: str) -> HubTask | None:
    row = connection.execute(_tasks().where(tasks.c.id == _as_uuid(key))).first()
    return _task(row) if row is not None else None


def read_events(
    connection: Connection, task: str | None = None, slug: str | None = None, *, regressions: bool = False
) -> tuple[Event, ...]:
    """Return events, those of one task in the order of its versions, of several as they come by the hub's clock.

    With `regressions` only those that lowered a rank.
    """
    query = select(task_events).join(tasks, task_events.c.task == tasks.c.id)
    query = query.join(repos, tasks.c.repo == repos.c.id)
    if task is not None:
        query = query.where(task_events.c.task == task)
    if slug is not None:
        query = query.where(repos.c.slug == slug)
    if regressions:
        query = query.where(rank(task_events.c.to_status) < rank(task_events.c.from_status))
    if task is None:
        query = query.order_by(task_events.c.at, repos.c.slug, tasks.c.task_id)
    rows = connection.execute(query.order_by(task_events.c.version))
    return tuple(map(_event, rows))


def read_histories(connection: Connection, slug: str) -> dict[str, frozenset[str]]:
    """Return, for each task of a repository that has events of its current reopen count, the statuses they mention.

    What a reopen left behind belongs to the count before: a file that says so again carries news.
    """
    query = (
        select(task_events.c.task, task_events.c.source, task_events.c.from_status, task_events.c.to_status)
        .join(
            tasks,
            and_(tasks.c.id == task_events.c.task, tasks.c.reopen_count == task_events.c.reopen_count),
        )
        .join(repos, tasks.c.repo == repos.c.id)
        .where(repos.c.slug == slug)
    )
    seen: dict[str, set[str]] = {}
    for row in connection.execute(query):
        left = set() if row.source == Source.REOPEN.value else {row.from_status}
        seen.setdefault(row.task, set()).update(left - {None}, {row.to_status})
    return {task: frozenset(statuses) for task, statuses in seen.items()}


def _tasks() -> Select[Any]:
    return select(tasks, repos.c.slug).join(repos, tasks.c.repo == repos.c.id)


def _task(row: Row[Any]) -> HubTask:
    return HubTask(
        id=row.id,
        repo=row.slug,
        task_id=row.task_id,
        title=row.title,
        status=row.status,
        reopen_count=row.reopen_count,
        version=row.version,
        source_path=row.source_path,
        deleted=row.deleted_at is not None,
    )


def _event(row: Row[Any]) -> Event:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name, which cannot be a column's
    at: datetime = values["at"]
    values["at"] = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return Event(**values)


def _as_uuid(name: str) -> str | None:
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return None


def repo_of(connection: Connection, slug: str, root_commit: str) -> Repo:
    """Return the repository of a slug, added if it is new; an empty `root_commit` is one that is not known."""
    _insert_once(connection, repos, id=str(uuid.uuid4()), slug=slug, root_commit=root_commit)
    found = read_repos(connection, slug)[0]
    if not root_commit or root_commit == found.root_commit:
        return found
    if found.root_commit:
        raise HubUsageError(
            f"'{slug}' begins with commit {found.root_commit[:12]}, but this history begins with "
            f"{root_commit[:12]}: another repository? Register it under another name: --slug NAME"
        )
    connection.execute(update(repos).where(repos.c.id == found.id).values(root_commit=root_commit))
    return Repo(id=found.id, slug=slug, root_commit=root_commit)


def checkout_of(connection: Connection, repo: Repo, path: Path, machine: Machine) -> Checkout:
    """Return the checkout of a repository at a path of this machine, added if it is new."""
    row = {"machine_id": machine.id, "host": machine.host, "path": str(path)}
    _insert_once(connection, checkouts, id=str(uuid.uuid4()), repo=repo.id, **row)
    here = (checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
    joined = select(checkouts.c.id, checkouts.c.gone_at, repos.c.slug).join(
        repos, checkouts.c.repo == repos.c.id
    )
    found = connection.execute(joined.where(*here)).one()
    if found.slug != repo.slug and found.gone_at is None:
        raise HubUsageError(
            f"{path} is registered as '{found.slug}' already; use that name, or, if it holds another repository now, "
            f"first: dogfood hub forget {shlex.quote(str(path))}"
        )
    connection.execute(update(checkouts).where(*here).values(repo=repo.id, host=machine.host, gone_at=None))
    return Checkout(id=found.id, repo=repo.slug, **row)


def forget(connection: Connection, path: Path, machine: Machine) -> None:
    """Forget that there is a checkout at a path of this machine; what was written back there stays known."""
    here = (checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
    connection.execute(update(checkouts).where(*here).values(gone_at=func.now()))


def _insert_once(connection: Connection, table: Table, **values: str) -> None:
    """Insert a row unless there is one with the same key, whoever was first."""
    # Each has a statement of its own for this, and PostgreSQL's takes long to import.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())
