"""The only statements that change a task: each refuses what is not allowed, and comes with its row of the event log.

All of them compare and set: they hold for the task as the caller saw it, and give False if it is another by now.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, and_, func, or_, update

from pytest_dogfood.consistency.hub.model import HubTask, Position, Stamp, Status, position
from pytest_dogfood.consistency.hub.schema import rank, task_events, tasks

Guard: TypeAlias = Callable[[Position], ColumnElement[bool]]


def forward(
    connection: Connection, seen: HubTask, status: Status, *, reopen_count: int, stamp: Stamp
) -> bool:
    """Move a task to a higher position. A reopen is one, too: it raises the count."""
    return _move(connection, seen, position(status, reopen_count), status, _is_below, stamp)


def forward_or_aside(connection: Connection, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
    """Move a task to a status of the same or a higher rank."""
    return _move(connection, seen, position(status, seen.reopen_count), status, _is_not_above, stamp)


def aside(connection: Connection, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
    """Move a task to another status of the same rank."""
    return _move(connection, seen, position(status, seen.reopen_count), status, _is_level_with, stamp)


def create(connection: Connection, task: HubTask, repo_key: str, *, stamp: Stamp) -> HubTask:
    """Insert a task, `repo_key` being its repository's row; raises IntegrityError where it exists already."""
    task_key = str(uuid.UUID(task.id)) if task.id else str(uuid.uuid4())
    made = replace(task, id=task_key, version=1, deleted=False)
    connection.execute(
        tasks.insert().values(
            id=made.id,
            repo=repo_key,
            task_id=made.task_id,
            title=made.title,
            status=made.status,
            reopen_count=made.reopen_count,
            version=made.version,
            source_path=made.source_path,
        )
    )
    _log(connection, made, from_status=None, to_status=made.status, version=1, stamp=stamp)
    return made


def set_deleted(connection: Connection, seen: HubTask, *, deleted: bool, stamp: Stamp) -> bool:
    """Mark a task as deleted, or take the mark away. Its row and its events stay, and its status does not change."""
    marked = {"deleted_at": func.now() if deleted else None}
    if not _compare_and_set(connection, seen, marked, _is_deleted(not_yet=deleted)):
        return False
    version = seen.version + 1
    _log(connection, seen, from_status=seen.status, to_status=seen.status, version=version, stamp=stamp)
    return True


def _is_deleted(*, not_yet: bool) -> ColumnElement[bool]:
    return tasks.c.deleted_at.is_(None) if not_yet else tasks.c.deleted_at.is_not(None)


def _is_below(target: Position) -> ColumnElement[bool]:
    return or_(
        tasks.c.reopen_count < target.reopen_count,
        and_(tasks.c.reopen_count == target.reopen_count, rank(tasks.c.status) < target.rank),
    )


def _is_not_above(target: Position) -> ColumnElement[bool]:
    return and_(tasks.c.reopen_count == target.reopen_count, rank(tasks.c.status) <= target.rank)


def _is_level_with(target: Position) -> ColumnElement[bool]:
    return and_(tasks.c.reopen_count == target.reopen_count, rank(tasks.c.status) == target.rank)


def _move(
    connection: Connection,
    seen: HubTask,
    target: Position,
    status: Status,
    guard: Guard,
    stamp: Stamp,
) -> bool:
    values = {"status": status.value, "reopen_count": target.reopen_count}
    if not _compare_and_set(connection, seen, values, guard(target)):
        return False
    moved = replace(seen, reopen_count=target.reopen_count)
    version = seen.version + 1
    _log(connection, moved, from_status=seen.status, to_status=status.value, version=version, stamp=stamp)
    return True


def _compare_and_set(
    connection: Connection, seen: HubTask, values: Mapping[str, object], guard: ColumnElement[bool]
) -> bool:
    statement = (
        update(tasks)
        .values(version=tasks.c.version + 1, updated_at=func.now(), **values)
        .where(tasks.c.id == seen.id, tasks.c.version == seen.version, tasks.c.status == seen.status, guard)
    )
    return connection.execute(statement).rowcount == 1


def _log(
    connection: Connection,
    task: HubTask,
    *,
    from_status: str | None,
    to_status: str,
    version: int,
    stamp: Stamp,
) -> None:
    connection.execute(
        task_events.insert().values(
            task=task.id,
            version=version,
            machine=stamp.machine.id,
            host=stamp.machine.host,
            actor=stamp.actor,
            source=stamp.source.value,
            from_status=from_status,
            to_status=to_status,
            reopen_count=task.reopen_count,
            repo_commit=stamp.repo_commit,
            path=stamp.path,
            run_id=stamp.run_id,
            reason=stamp.reason,
        )
    )
