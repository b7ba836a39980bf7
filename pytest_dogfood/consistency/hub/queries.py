"""What is read from the hub, as values."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_, select

from pytest_dogfood.consistency.hub.schema import checkouts, rank, repos, task_events, tasks
from pytest_dogfood.hub.entries import Checkout, Event, Repo, Source
from pytest_dogfood.hub.tasks import HubTask


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
    """Give the tasks with this id in their repositories, or the one with this id in the hub."""
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
    """Give events, those of one task in the order of its versions, of several as they come by the hub's clock.

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
    """Give, for each task of a repository that has events of its current reopen count, the statuses they mention.

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
