"""The tables of the hub, and what the database itself refuses: a lower rank, and changes of the event log."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    case,
    func,
)

from pytest_dogfood.consistency.hub.model import RANK
from pytest_dogfood.hub.words import Words

metadata = MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _moment(name: str) -> Column[object]:
    """Give a column for the server's time: for display only, decisions never look at it."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


hubs = Table("hub", metadata, Column("id", Words, primary_key=True), _moment("created_at"))

schema_version = Table(
    "schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False)
)

repos = Table(
    "repos",
    metadata,
    Column("id", Words, primary_key=True),
    Column("slug", Words, nullable=False, unique=True),
    Column("root_commit", Words, nullable=False, server_default=""),
)

checkouts = Table(
    "checkouts",
    metadata,
    Column("id", Words, primary_key=True),
    Column("repo", ForeignKey(repos.c.id), nullable=False, index=True),
    Column("machine_id", Words, nullable=False),
    Column("host", Words, nullable=False, server_default=""),
    Column("path", Words, nullable=False),
    Column("gone_at", DateTime(timezone=True)),
    UniqueConstraint("machine_id", "path"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Words, primary_key=True),
    Column("repo", ForeignKey(repos.c.id), nullable=False),
    Column("task_id", Words, nullable=False),
    Column("title", Words, nullable=False, server_default=""),
    Column("status", Words, nullable=False),
    Column("reopen_count", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("source_path", Words, nullable=False, server_default=""),
    Column("deleted_at", DateTime(timezone=True)),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("repo", "task_id"),
)

task_events = Table(
    "task_events",
    metadata,
    Column("task", ForeignKey(tasks.c.id), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _moment("at"),
    Column("machine", Words, nullable=False),
    Column("host", Words, nullable=False, server_default=""),
    Column("actor", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("from_status", Words),
    Column("to_status", Words, nullable=False),
    Column("reopen_count", Integer, nullable=False),
    Column("repo_commit", Words, nullable=False, server_default=""),
    Column("path", Words, nullable=False, server_default=""),
    Column("run_id", Words, nullable=False, server_default=""),
    Column("reason", Words, nullable=False, server_default=""),
)

writebacks = Table(
    "writebacks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run_id", Words, nullable=False),
    Column("checkout", ForeignKey(checkouts.c.id), nullable=False),
    Column("path", Words, nullable=False),
    Column("task", ForeignKey(tasks.c.id), nullable=False),
    Column("from_status", Words, nullable=False),
    Column("to_status", Words, nullable=False),
    Column("commit", Words, nullable=False),
    _moment("at"),
)


def rank(status: ColumnElement[str]) -> ColumnElement[int]:
    """Give the rank of a status as SQL; NULL, with which no comparison holds, for one that we do not know."""
    return case({known.value: number for known, number in RANK.items()}, value=status)


_SQLITE = """
CREATE TRIGGER task_events_no_update BEFORE UPDATE ON task_events
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;

CREATE TRIGGER task_events_no_delete BEFORE DELETE ON task_events
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;

-- INSERT OR REPLACE deletes without asking the trigger above.
CREATE TRIGGER task_events_no_replace BEFORE INSERT ON task_events
WHEN EXISTS (SELECT 1 FROM task_events WHERE task = NEW.task AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;
"""

_POSTGRESQL = """
CREATE OR REPLACE FUNCTION task_events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'task_events is append-only'; END $$;

CREATE TRIGGER task_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON task_events
FOR EACH STATEMENT EXECUTE FUNCTION task_events_append_only();
"""

TRIGGERS: Mapping[str, tuple[str, ...]] = {
    "sqlite": tuple(_SQLITE.strip().split("\n\n")),
    "postgresql": tuple(_POSTGRESQL.strip().split("\n\n")),
}
"""For each dialect the statements that make the event log append-only."""
