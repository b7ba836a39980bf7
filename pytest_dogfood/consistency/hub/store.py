"""A hub that is open: what it knows, and the changes it accepts. Any call may raise HubUnreachable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from msgspec.structs import asdict
from sqlalchemy import URL, select, update
from sqlalchemy.exc import IntegrityError

from pytest_dogfood.consistency.hub import changes, queries, queries as registering
from pytest_dogfood.consistency.hub.connection import Database, parse_url
from pytest_dogfood.consistency.hub.model import (
    Checkout,
    Event,
    HubTask,
    HubUsageError,
    Machine,
    Repo,
    Source,
    Stamp,
    Status,
    Writeback,
    WrongHubError,
)
from pytest_dogfood.consistency.hub.preconditions import require_usable
from pytest_dogfood.consistency.hub.schema import hub_id, require_current, tasks, upgrade, writebacks
from pytest_dogfood.diagnostics import did_you_mean


class Hub:
    """A hub of the newest schema; `id` stays the same wherever its database moves to."""

    def __init__(self, database: Database, hub_id: str) -> None:
        self._database = database
        self.id = hub_id

    @classmethod
    def open(cls, url: str | URL, *, readonly: bool = False) -> Self:
        """Open a hub that exists, never creating or upgrading anything; `readonly` also refuses every write.

        Raises NoHubError, HubUsageError for an older schema, a part of one, or a database that is not UTF-8,
        SchemaTooNew, RightsError for rights that are missing, or HubUnreachable.
        """
        database = Database(_parsed(url), readonly=readonly)
        with _closed_on_failure(database):
            with database.transaction(write=False) as connection:
                require_usable(connection, where=database.label, write=not readonly)
                require_current(connection, where=database.label)
                found = hub_id(connection, where=database.label)
            database.keep_open()
            return cls(database, found)

    @classmethod
    def create(cls, url: str | URL) -> tuple[Self, int]:
        """Create a hub or upgrade it; gives it and the schema's version found before, 0 for none. Raises as `open`."""
        database = Database(_parsed(url), create=True)
        with _closed_on_failure(database):
            database.use_write_ahead_log()
            with database.transaction(write=True) as connection:
                require_usable(connection, where=database.label, write=True, create=True)
                found = upgrade(connection, where=database.label)
                return cls(database, hub_id(connection, where=database.label)), found

    @property
    def label(self) -> str:
        """Where it is, for people: without a password."""
        return self._database.label

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def require_id(self, pinned: str, *, where: str) -> None:
        """Raise WrongHubError if `where` names another hub than this one; an empty `pinned` names none."""
        if pinned and pinned.strip().casefold() != self.id.casefold():
            raise WrongHubError(
                f"{where} belongs to the hub {pinned}, but {self.label} is the hub {self.id}; "
                "name the right one with --hub or DOGFOOD_HUB"
            )

    def require_repo(self, slug: str) -> None:
        """Raise HubUsageError if no repository has this name."""
        known = [repo.slug for repo in self.repos()]
        if slug not in known:
            hint = did_you_mean(slug, known) or "see them all: dogfood hub repos"
            raise HubUsageError(f"no repository '{slug}' in the hub; {hint}")

    def repos(self, slug: str | None = None) -> tuple[Repo, ...]:
        with self._database.transaction(write=False) as connection:
            return queries.read_repos(connection, slug)

    def checkouts(self, machine_id: str | None = None, *, repo: str | None = None) -> tuple[Checkout, ...]:
        with self._database.transaction(write=False) as connection:
            return queries.read_checkouts(connection, machine_id, repo)

    def register(self, path: Path, *, slug: str, root_commit: str, machine: Machine) -> Checkout:
        """Record where a repository is checked out; registering the same again changes nothing.

        Raises HubUsageError if the path is another repository's, or the slug one of another history.
        """
        with self._database.transaction(write=True) as connection:
            repo = registering.repo_of(connection, slug, root_commit)
            return registering.checkout_of(connection, repo, path, machine)

    def forget(self, path: Path, machine: Machine) -> None:
        """Forget a checkout of this machine; its repository, the tasks and the log stay."""
        with self._database.transaction(write=True) as connection:
            registering.forget(connection, path, machine)

    def add_repo(self, slug: str) -> None:
        """Make a repository known that has no checkout yet."""
        with self._database.transaction(write=True) as connection:
            registering.repo_of(connection, slug, "")

    def tasks(self, repo: str | None = None, *, statuses: Sequence[str] = ()) -> tuple[HubTask, ...]:
        """Return the tasks, deleted ones too, in the order of repositories and ids."""
        with self._database.transaction(write=False) as connection:
            return queries.read_tasks(connection, repo, statuses)

    def find(self, name: str, *, repo: str | None = None) -> tuple[HubTask, ...]:
        """Return every task of this id, of which each repository may have one, or the one of this UUID."""
        with self._database.transaction(write=False) as connection:
            return queries.find_tasks(connection, name, repo)

    def task(self, key: str) -> HubTask | None:
        """Return the task of this UUID as it is now."""
        with self._database.transaction(write=False) as connection:
            return queries.task_of_key(connection, key)

    def events(
        self, task: str | None = None, *, repo: str | None = None, regressions: bool = False
    ) -> tuple[Event, ...]:
        """Return the event log, each task's in the order of versions; `task` is a UUID."""
        with self._database.transaction(write=False) as connection:
            return queries.read_events(connection, task, repo, regressions=regressions)

    def histories(self, repo: str) -> Mapping[str, frozenset[str]]:
        """Return the statuses that each task had since its last reopen; tasks without events are left out."""
        with self._database.transaction(write=False) as connection:
            return queries.read_histories(connection, repo)

    def create_task(self, task: HubTask, *, stamp: Stamp) -> HubTask | None:
        """Create a task in a repository that is known, with a new id if it has none; None if there is one."""
        try:
            with self._database.transaction(write=True, may_exist=True) as connection:
                repo = registering.repo_of(connection, task.repo, "")
                return changes.create(connection, task, repo.id, stamp=stamp)
        except IntegrityError:
            return None

    def compare_and_set(
        self, seen: HubTask, status: Status, *, stamp: Stamp, reopen_count: int | None = None
    ) -> bool:
        """Move a task to a higher position; False if it would not be higher, or the task changed since."""
        count = seen.reopen_count if reopen_count is None else reopen_count
        with self._database.transaction(write=True) as connection:
            return changes.forward(connection, seen, status, reopen_count=count, stamp=stamp)

    def set_status(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Move a task to a status of the same or a higher rank; False as above."""
        with self._database.transaction(write=True) as connection:
            return changes.forward_or_aside(connection, seen, status, stamp=stamp)

    def reopen(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Count one reopen more and set any status; the stamp's source is `reopen`. False if it changed since."""
        _require_source(stamp, Source.REOPEN)
        return self.compare_and_set(seen, status, reopen_count=seen.reopen_count + 1, stamp=stamp)

    def resolve(self, seen: HubTask, status: Status, *, stamp: Stamp) -> bool:
        """Settle a tie: set another status of the same rank; the stamp's source is `resolve`. False as above."""
        _require_source(stamp, Source.RESOLVE)
        with self._database.transaction(write=True) as connection:
            return changes.aside(connection, seen, status, stamp=stamp)

    def set_deleted(self, seen: HubTask, *, deleted: bool, stamp: Stamp) -> bool:
        """Mark a task as deleted, or restore it; nothing of it is lost. False if it changed since."""
        with self._database.transaction(write=True) as connection:
            return changes.set_deleted(connection, seen, deleted=deleted, stamp=stamp)

    def record_path(self, key: str, path: str) -> None:
        """Record in which file a task's block was found last; no part of its status or its history."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(tasks).where(tasks.c.id == key).values(source_path=path))

    def require_writebacks(self, planned: Sequence[Writeback]) -> None:
        """Raise what `record_writebacks` would raise for these, and record nothing: to be asked before a commit."""
        with self._database.transaction(write=True) as connection, connection.begin_nested() as savepoint:
            connection.execute(writebacks.insert(), [asdict(each) for each in planned])
            savepoint.rollback()

    def record_writebacks(self, done: Sequence[Writeback]) -> None:
        if not done:
            return
        with self._database.transaction(write=True) as connection:
            connection.execute(writebacks.insert(), [asdict(each) for each in done])

    def writebacks(self) -> tuple[Writeback, ...]:
        """Return what was written back into files, the oldest first."""
        columns = [column for column in writebacks.c if column.name not in {"id", "at"}]
        with self._database.transaction(write=False) as connection:
            rows = connection.execute(select(*columns).order_by(writebacks.c.id))
            return tuple(Writeback(**row._mapping) for row in rows)  # noqa: SLF001 - as in queries


@contextmanager
def _closed_on_failure(database: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.close()
        raise


def _parsed(url: str | URL) -> URL:
    return parse_url(url) if isinstance(url, str) else url


def _require_source(stamp: Stamp, source: Source) -> None:
    if stamp.source is not source:
        raise ValueError(f"the stamp of a {source.value} says {stamp.source.value!r}")
