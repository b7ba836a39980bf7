"""An open hub: its queries and its changes. Any call may raise HubUnreachable.

Only the statements here change a task: each refuses changes that are not allowed, and writes its row of the event log.
They compare and set: they apply to the task as the caller read it, and return False if it has changed since.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from msgspec.structs import asdict, replace
from sqlalchemy.exc import IntegrityError

from pytest_dogfood.consistency.hub import schema
from pytest_dogfood.consistency.hub.connection import Database
from pytest_dogfood.consistency.hub.model import (
    RANK,
    Checkout,
    Event,
    HubTask,
    HubUsageError,
    LoggedWriteback,
    Machine,
    Repo,
    Source,
    Stamp,
    Status,
    Writeback,
    parse_uuid,
)
from pytest_dogfood.consistency.hub.schema import checkouts, rank, repos, task_events, tasks, writebacks
from pytest_dogfood.diagnostics import did_you_mean

_CHECKOUTS = sa.select(
    checkouts.c.id, repos.c.slug.label("repo"), checkouts.c.machine_id, checkouts.c.host, checkouts.c.path
).join(repos, checkouts.c.repo == repos.c.id)

_TASKS = sa.select(
    tasks.c.id,
    repos.c.slug.label("repo"),
    tasks.c.task_id,
    tasks.c.title,
    tasks.c.status,
    tasks.c.reopen_count,
    tasks.c.version,
    tasks.c.source_path,
    tasks.c.deleted_at.is_not(None).label("deleted"),
).join(repos, tasks.c.repo == repos.c.id)


class Hub:
    """A hub with the newest schema; `id` stays the same if its database is moved."""

    def __init__(self, database: Database, hub_id: str) -> None:
        self._database = database
        self.id = hub_id
        self.label = database.label
        """Its URL or path for people, without a password."""

    @classmethod
    def open(cls, url: str | sa.URL, *, readonly: bool = False) -> Self:
        """Open an existing hub, without creating or upgrading anything; `readonly` also refuses every write.

        Raises NoHubError, HubUsageError for an older schema, a part of one, or a database that is not UTF-8,
        SchemaTooNew, RightsError for missing rights, or HubUnreachable.
        """
        database = Database(url, readonly=readonly)
        try:
            with database.transaction(write=False) as connection:
                schema.require_usable(connection, where=database.label, write=not readonly)
                found = schema.require_current(connection, where=database.label)
            database.keep_open()
        except BaseException:
            database.close()
            raise
        return cls(database, found)

    @classmethod
    def create(cls, url: str | sa.URL) -> tuple[Self, int]:
        """Create or upgrade a hub; return it and the schema version found before, 0 for none. Raises as `open` does."""
        database = Database(url, create=True)
        try:
            with database.transaction(write=True) as connection:
                schema.require_usable(connection, where=database.label, write=True, create=True)
                version = schema.upgrade(connection, where=database.label)
                return cls(database, schema.require_current(connection, where=database.label)), version
        except BaseException:
            database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def require_repo(self, slug: str | None) -> None:
        """Raise HubUsageError if no repository has this name; None means any."""
        if slug is not None and slug not in (known := [repo.slug for repo in self.repos()]):
            hint = did_you_mean(slug, known) or "see them all: dogfood hub repos"
            raise HubUsageError(f"no repository '{slug}' in the hub; {hint}")

    def repos(self, slug: str | None = None) -> tuple[Repo, ...]:
        query = sa.select(repos).where(_is(repos.c.slug, slug)).order_by(repos.c.slug)
        return tuple(Repo(**row) for row in self._rows(query))

    def checkouts(self, machine_id: str | None = None, *, repo: str | None = None) -> tuple[Checkout, ...]:
        here = (_is(checkouts.c.machine_id, machine_id), _is(repos.c.slug, repo))
        query = _CHECKOUTS.where(checkouts.c.gone_at.is_(None), *here)
        query = query.order_by(repos.c.slug, checkouts.c.path)
        return tuple(Checkout(**row) for row in self._rows(query))

    def register(self, path: Path, *, slug: str, root_commit: str, machine: Machine) -> Checkout:
        """Record where a repository is checked out; registering the same again changes nothing.

        An empty `root_commit` means that it is not known. Raises HubUsageError if the path belongs to another
        repository, or the slug to another history.
        """
        here = sa.and_(checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
        with self._database.transaction(write=True) as connection:
            repo = _add_repo(connection, slug)
            if root_commit and root_commit != repo.root_commit:
                if repo.root_commit:
                    raise HubUsageError(
                        f"'{slug}' begins with commit {repo.root_commit[:12]}, but this history begins with "
                        f"{root_commit[:12]}: another repository? Register it under another name: --slug NAME"
                    )
                connection.execute(
                    sa.update(repos).where(repos.c.id == repo.id).values(root_commit=root_commit)
                )
            _insert_once(connection, checkouts, repo=repo.id, machine_id=machine.id, path=str(path))
            found = connection.execute(_CHECKOUTS.add_columns(checkouts.c.gone_at).where(here)).one()
            if found.repo != slug and found.gone_at is None:
                raise HubUsageError(
                    f"{path} is registered as '{found.repo}' already; use that name, or, if it holds another "
                    f"repository now, first: dogfood hub forget {shlex.quote(str(path))}"
                )
            now = sa.update(checkouts).values(repo=repo.id, host=machine.host, gone_at=None)
            connection.execute(now.where(here))
        return Checkout(id=found.id, repo=slug, machine_id=machine.id, host=machine.host, path=str(path))

    def forget(self, path: Path, machine: Machine) -> None:
        """Forget a checkout of this machine; its repository, the tasks, the log and its writebacks stay."""
        here = sa.and_(checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
        with self._database.transaction(write=True) as connection:
            connection.execute(sa.update(checkouts).where(here).values(gone_at=sa.func.now()))

    def tasks(self, repo: str | None = None, *, statuses: Sequence[str] = ()) -> tuple[HubTask, ...]:
        """Return the tasks, including deleted ones, in the order of repositories and ids."""
        query = _TASKS.where(_is(repos.c.slug, repo)).order_by(repos.c.slug, tasks.c.task_id)
        if statuses:
            query = query.where(tasks.c.status.in_(statuses))
        return tuple(HubTask(**row) for row in self._rows(query))

    def find_tasks(self, name: str, *, repo: str | None = None) -> tuple[HubTask, ...]:
        """Return every task with this id, of which each repository may have one, or the task with this UUID."""
        named = sa.or_(tasks.c.task_id == name, tasks.c.id == parse_uuid(name))
        query = _TASKS.where(named, _is(repos.c.slug, repo)).order_by(repos.c.slug)
        return tuple(HubTask(**row) for row in self._rows(query))

    def only_task(self, name: str, *, repo: str | None = None) -> HubTask:
        """Return the only task that a name means, as in `find_tasks`; raises HubUsageError for none and for several."""
        found = self.find_tasks(name, repo=repo)
        if not found:
            within = f" of '{repo}'" if repo is not None else ""
            raise HubUsageError(f"no task '{name}'{within} in the hub; see them all: dogfood hub tasks")
        if len(found) > 1:
            where = ", ".join(task.repo for task in found)
            raise HubUsageError(
                f"several repositories have a task '{name}' ({where}); say which one: --repo NAME"
            )
        return found[0]

    def task(self, key: str) -> HubTask | None:
        """Return the current state of the task with this UUID."""
        found = self._rows(_TASKS.where(tasks.c.id == parse_uuid(key)))
        return HubTask(**found[0]) if found else None

    def events(
        self, task: str | None = None, *, repo: str | None = None, regressions: bool = False
    ) -> tuple[Event, ...]:
        """Return the events of one task, a UUID, in the order of its versions, or of several by the hub's clock.

        With `regressions`, return only events that lowered a rank.
        """
        query = sa.select(task_events).join(tasks, task_events.c.task == tasks.c.id)
        query = query.join(repos, tasks.c.repo == repos.c.id)
        query = query.where(_is(task_events.c.task, task), _is(repos.c.slug, repo))
        if task is None:
            query = query.order_by(task_events.c.at, repos.c.slug, tasks.c.task_id)
        if regressions:
            query = query.where(rank(task_events.c.to_status) < rank(task_events.c.from_status))
        rows = self._rows(query.order_by(task_events.c.version))
        return tuple(Event(**{**row, "at": _in_utc(row["at"])}) for row in rows)

    def histories(self, repo: str) -> Mapping[str, frozenset[str]]:
        """Return the statuses that each task had since its last reopen; tasks without events are left out.

        The status before a reopen belongs to the previous count: in a file it counts as a new one.
        """
        log = task_events.c
        now = sa.and_(tasks.c.id == log.task, tasks.c.reopen_count == log.reopen_count)
        query = sa.select(log.task, log.source, log.from_status, log.to_status).join(tasks, now)
        query = query.join(repos, tasks.c.repo == repos.c.id).where(repos.c.slug == repo)
        seen: dict[str, set[str]] = {}
        for row in self._rows(query):
            left = set() if row["source"] == Source.REOPEN.value else {row["from_status"]}
            seen.setdefault(row["task"], set()).update(left - {None}, {row["to_status"]})
        return {task: frozenset(statuses) for task, statuses in seen.items()}

    def create_task(self, task: HubTask, *, stamp: Stamp) -> HubTask | None:
        """Create a task, with a new id if it has none, and its repository if that is new; None if the task exists."""
        task_id = str(uuid.UUID(task.id)) if task.id else str(uuid.uuid4())
        made = replace(task, id=task_id, version=1, deleted=False)
        row = asdict(made)
        del row["deleted"]
        try:
            with self._database.transaction(write=True, may_exist=True) as connection:
                row["repo"] = _add_repo(connection, task.repo).id
                connection.execute(tasks.insert().values(row))
                _log(connection, made, stamp, from_status=None)
        except IntegrityError:
            return None
        return made

    def move_forward(
        self, seen: HubTask, status: Status, *, stamp: Stamp, reopen_count: int | None = None
    ) -> bool:
        """Move a task to a higher position, as a reopen also does; return False if it would not be higher."""
        count = seen.reopen_count if reopen_count is None else reopen_count
        is_below = sa.tuple_(tasks.c.reopen_count, rank(tasks.c.status)) < sa.tuple_(count, RANK[status])
        return self._change(seen, replace(seen, status=status.value, reopen_count=count), is_below, stamp)

    def set_status(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Move a task to a status of the same or a higher rank; return False if it would be lower."""
        is_not_above = rank(tasks.c.status) <= RANK[status]
        return self._change(seen, replace(seen, status=status.value), is_not_above, stamp)

    def reopen(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Count one more reopen and set any status, for the reason of the stamp."""
        reopened = replace(stamp, source=Source.REOPEN)
        return self.move_forward(seen, status, reopen_count=seen.reopen_count + 1, stamp=reopened)

    def resolve(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Resolve a tie: set another status of the same rank, for the reason of the stamp."""
        is_level = rank(tasks.c.status) == RANK[status]
        resolved = replace(stamp, source=Source.RESOLVE)
        return self._change(seen, replace(seen, status=status.value), is_level, resolved)

    def set_deleted(self, seen: HubTask, *, deleted: bool, stamp: Stamp) -> bool:
        """Mark a task as deleted, or restore it; its data and status do not change."""
        is_other = tasks.c.deleted_at.is_(None) if deleted else tasks.c.deleted_at.is_not(None)
        return self._change(seen, seen, is_other, stamp, deleted_at=sa.func.now() if deleted else None)

    def record_path(self, key: str, path: str) -> None:
        """Record the file in which a task's block was found last; that changes neither its status nor its history."""
        with self._database.transaction(write=True) as connection:
            connection.execute(sa.update(tasks).where(tasks.c.id == key).values(source_path=path))

    def require_writebacks(self, planned: Sequence[Writeback]) -> None:
        """Raise the error that `record_writebacks` would raise, and record nothing. Call it before a commit."""
        with self._database.transaction(write=True) as connection, connection.begin_nested() as savepoint:
            connection.execute(writebacks.insert(), [asdict(each) for each in planned])
            savepoint.rollback()

    def record_writebacks(self, done: Sequence[Writeback]) -> None:
        if done:
            with self._database.transaction(write=True) as connection:
                connection.execute(writebacks.insert(), [asdict(each) for each in done])

    def writebacks(self, task: str | None = None, *, repo: str | None = None) -> tuple[LoggedWriteback, ...]:
        """Return the writebacks of one task, a UUID, or of several; the oldest first."""
        columns = [writebacks.c[name] for name in LoggedWriteback.__struct_fields__ if name in writebacks.c]
        query = sa.select(*columns, checkouts.c.machine_id.label("machine"), checkouts.c.host)
        query = query.join(checkouts, writebacks.c.checkout == checkouts.c.id)
        query = query.join(tasks, writebacks.c.task == tasks.c.id).join(repos, tasks.c.repo == repos.c.id)
        query = query.where(_is(writebacks.c.task, task), _is(repos.c.slug, repo))
        rows = self._rows(query.order_by(writebacks.c.at, writebacks.c.id))
        return tuple(LoggedWriteback(**{**row, "at": _in_utc(row["at"])}) for row in rows)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        with self._database.transaction(write=False) as connection:
            return connection.execute(query).mappings().all()

    def _change(
        self, seen: HubTask, wanted: HubTask, allowed: sa.ColumnElement[bool], stamp: Stamp, **more: object
    ) -> bool:
        """Change a task and log it; return False if that is not `allowed` or it has changed. `more`: other columns."""
        unchanged = (
            tasks.c.id == seen.id,
            tasks.c.version == seen.version,
            tasks.c.status == seen.status,
            tasks.c.reopen_count == seen.reopen_count,
        )
        statement = sa.update(tasks).values(
            status=wanted.status,
            reopen_count=wanted.reopen_count,
            version=tasks.c.version + 1,
            updated_at=sa.func.now(),
            **more,
        )
        with self._database.transaction(write=True) as connection:
            if connection.execute(statement.where(*unchanged, allowed)).rowcount != 1:
                return False
            _log(connection, replace(wanted, version=seen.version + 1), stamp, from_status=seen.status)
        return True


def _is(column: sa.ColumnElement[str], value: str | None) -> sa.ColumnElement[bool]:
    """Return the condition that a column has this value; None means any."""
    return sa.true() if value is None else column == value


def _in_utc(moment: datetime) -> datetime:
    """Return the server's time in UTC; SQLite's is in UTC already, without a time zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _log(connection: sa.Connection, task: HubTask, stamp: Stamp, *, from_status: str | None) -> None:
    machine = {"machine": stamp.machine.id, "host": stamp.machine.host}
    now = {"task": task.id, "version": task.version, "reopen_count": task.reopen_count}
    moved = {"from_status": from_status, "to_status": task.status}
    connection.execute(task_events.insert().values({**asdict(stamp), **machine, **now, **moved}))


def _add_repo(connection: sa.Connection, slug: str) -> sa.Row[Any]:
    """Return the repository of a slug, added if it is new."""
    _insert_once(connection, repos, slug=slug)
    return connection.execute(sa.select(repos).where(repos.c.slug == slug)).one()


def _insert_once(connection: sa.Connection, table: sa.Table, **values: str) -> None:
    """Insert a row with a new id unless one with the same key exists, even if both are inserted at the same time."""
    # Each dialect has its own statement for this, and PostgreSQL's takes long to import.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    row = {"id": str(uuid.uuid4()), **values}
    connection.execute(dialect.insert(table).values(row).on_conflict_do_nothing())
