"""The hub's tables, triggers, upgrades, and the requirements on a PostgreSQL database."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from pytest_dogfood.consistency.hub.model import (
    RANK,
    HubUnreachable,
    HubUsageError,
    NoHubError,
    RightsError,
    SchemaTooNew,
)
from pytest_dogfood.database import CREATEDB, from_stored, to_stored
from pytest_dogfood.diagnostics import counted


class LosslessText(TypeDecorator[str]):
    """Text that is read back exactly as it was written, whatever letters and bytes it contains."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else to_stored(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - likewise
        return None if value is None else from_stored(value)


metadata = sa.MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _moment(name: str) -> sa.Column[object]:
    """Return a column for the server's time: for display only, never for decisions."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _texts(*names: str, default: str | None = None) -> list[sa.Column[str]]:
    return [sa.Column(name, LosslessText, nullable=False, server_default=default) for name in names]


hubs = sa.Table("hub", metadata, sa.Column("id", LosslessText, primary_key=True), _moment("created_at"))

schema_version = sa.Table(
    "schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
)

repos = sa.Table(
    "repos",
    metadata,
    sa.Column("id", LosslessText, primary_key=True),
    sa.Column("slug", LosslessText, nullable=False, unique=True),
    *_texts("root_commit", default=""),
)

checkouts = sa.Table(
    "checkouts",
    metadata,
    sa.Column("id", LosslessText, primary_key=True),
    sa.Column("repo", sa.ForeignKey(repos.c.id), nullable=False, index=True),
    *_texts("machine_id", "path"),
    *_texts("host", default=""),
    sa.Column("gone_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("machine_id", "path"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", LosslessText, primary_key=True),
    sa.Column("repo", sa.ForeignKey(repos.c.id), nullable=False),
    *_texts("task_id", "status"),
    *_texts("title", "source_path", default=""),
    sa.Column("reopen_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
    _moment("created_at"),
    _moment("updated_at"),
    sa.UniqueConstraint("repo", "task_id"),
)

task_events = sa.Table(
    "task_events",
    metadata,
    sa.Column("task", sa.ForeignKey(tasks.c.id), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _moment("at"),
    *_texts("machine", "actor", "source", "to_status"),
    *_texts("host", "repo_commit", "path", "run_id", "reason", default=""),
    sa.Column("from_status", LosslessText),
    sa.Column("reopen_count", sa.Integer, nullable=False),
)

writebacks = sa.Table(
    "writebacks",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("checkout", sa.ForeignKey(checkouts.c.id), nullable=False),
    sa.Column("task", sa.ForeignKey(tasks.c.id), nullable=False),
    *_texts("run_id", "path", "from_status", "to_status", "commit"),
    _moment("at"),
)


def rank(status: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """Return the rank of a status as SQL; NULL, for which no comparison is true, for an unknown one."""
    return sa.case({known.value: number for known, number in RANK.items()}, value=status)


TRIGGERS: Mapping[str, str] = {
    "sqlite": """
CREATE TRIGGER task_events_no_update BEFORE UPDATE ON task_events
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;

CREATE TRIGGER task_events_no_delete BEFORE DELETE ON task_events
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;

-- INSERT OR REPLACE deletes without asking the trigger above.
CREATE TRIGGER task_events_no_replace BEFORE INSERT ON task_events
WHEN EXISTS (SELECT 1 FROM task_events WHERE task = NEW.task AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'task_events is append-only'); END;
""",
    "postgresql": """
CREATE OR REPLACE FUNCTION task_events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'task_events is append-only'; END $$;

CREATE TRIGGER task_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON task_events
FOR EACH STATEMENT EXECUTE FUNCTION task_events_append_only();
""",
}
"""For each dialect the statements that make the event log append-only, with an empty line between them."""


def _create_tables(connection: sa.Connection) -> None:
    # Once there is a second step, this one needs a copy of the tables as they were: released steps never change.
    metadata.create_all(connection, checkfirst=False)
    for statement in TRIGGERS[connection.dialect.name].strip().split("\n\n"):
        connection.exec_driver_sql(statement)
    connection.execute(hubs.insert().values(id=str(uuid.uuid4())))


STEPS: tuple[Callable[[sa.Connection], None], ...] = (_create_tables,)
"""Step number n, counted from 1, leads to version n of the schema."""

_TABLES_OF_A_HUB = frozenset({"hub", "checkouts", "task_events", "writebacks", "schema_version"})
"""Tables that only a hub has; `tasks` and `repos` may be those of any program."""

_OF_ITS_OWN = "give the hub a database or a schema of its own: dogfood hub init"

_LOCK = 0x646F67666F6F64  # "dogfood": any number that other programs are unlikely to lock


def found_tables(connection: sa.Connection) -> frozenset[str]:
    """Return the names of a hub's tables that the role can see; they may belong to another program."""
    return frozenset(metadata.tables).intersection(sa.inspect(connection).get_table_names())


def upgrade(
    connection: sa.Connection, steps: Sequence[Callable[[sa.Connection], None]] = STEPS, *, where: str
) -> int:
    """Upgrade the schema to the newest version in the caller's transaction; return the version found, 0 for none.

    Raises SchemaTooNew, and HubUsageError if tables are missing, or belong to another program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = _version(connection, len(steps), where)
    for step in steps[found:]:
        step(connection)
    if found < len(steps):
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert().values(version=len(steps)))
    return found


def require_current(connection: sa.Connection, newest: int = len(STEPS), *, where: str) -> str:
    """Return the hub's id; raises unless the schema is exactly that of this program. Writes nothing."""
    found = _version(connection, newest, where)
    if found == 0:
        raise NoHubError(f"{where} holds no hub; make one there: dogfood hub init")
    if found < newest:
        raise HubUsageError(
            f"the hub has schema {found}, this program needs {newest}; upgrade it once: dogfood hub init"
        )
    return str(_only_value(connection, hubs.c.id, where))


def _version(connection: sa.Connection, newest: int, where: str) -> int:
    """Return the version of the schema, 0 if there is no table of a hub.

    Raises SchemaTooNew, and HubUsageError if tables or their only rows are missing, or belong to another program.
    """
    there = found_tables(connection)
    if not there:
        return 0
    if not there & _TABLES_OF_A_HUB:
        raise HubUsageError(
            f"{where} has tables of another program ({', '.join(sorted(there))}); {_OF_ITS_OWN}"
        )
    # A newer program may have other tables: check the version before the tables.
    has_version = schema_version.name in there
    found = _only_value(connection, schema_version.c.version, where) if has_version else newest
    if found > newest:
        raise SchemaTooNew(
            f"the hub has schema {found}, this program knows only up to {newest}; "
            "upgrade it here: pip install --upgrade pytest-dogfood"
        )
    missing = [table.name for table in metadata.sorted_tables if table.name not in there]
    if missing and found == newest:
        raise _part_of_a_hub(where, f"missing tables: {', '.join(missing)}")
    return int(found)


def _only_value(connection: sa.Connection, column: sa.Column[Any], where: str) -> Any:  # noqa: ANN401 - as the column's
    values = connection.execute(sa.select(column)).scalars().all()
    if len(values) != 1:
        rows = counted(len(values), "row")
        raise _part_of_a_hub(where, f"the table '{column.table.name}' has {rows} instead of one")
    return values[0]


def _part_of_a_hub(where: str, what: str) -> HubUsageError:
    return HubUsageError(
        f"{where} holds only a part of a hub ({what}); restore it from a backup, or {_OF_ITS_OWN}"
    )


_TO_READ: Mapping[str, tuple[str, ...]] = dict.fromkeys(metadata.tables, ("SELECT",))
_TO_WRITE: Mapping[str, tuple[str, ...]] = {
    **_TO_READ,
    **{table.name: ("SELECT", "INSERT", "UPDATE") for table in (repos, checkouts, tasks)},
    **{table.name: ("SELECT", "INSERT") for table in (task_events, writebacks)},
}
_SEQUENCE = f"{writebacks.name}_id_seq"


def require_usable(connection: sa.Connection, *, where: str, write: bool, create: bool = False) -> None:
    """Check that this database can hold a hub, to `write` to it, to `create` its tables. Writes nothing.

    Raises HubUsageError for another encoding, HubUnreachable for a read-only server or database, and RightsError with
    the GRANTs that help. It is called when a hub is opened, so that no file is committed whose row the hub then cannot
    store; an SQLite file needs no check.
    """
    if connection.dialect.name != "postgresql":
        return
    name, encoding, follows, frozen, role, quoted = connection.execute(
        sa.text(
            "SELECT current_database(), current_setting('server_encoding'), pg_is_in_recovery(), "
            "current_setting('transaction_read_only') = 'on', current_user, quote_ident(current_user)"
        )
    ).one()
    if encoding != "UTF8":
        raise HubUsageError(
            f"the database of {where} is encoded as {encoding}, but a hub needs UTF8; make another database and name "
            f"that one: {CREATEDB} {shlex.quote(f'{name}_utf8')}"
        )
    if write and follows:
        raise HubUnreachable(
            f"the hub {where} cannot be used: it takes no writes: name the primary server, or all servers with "
            "?target_session_attrs=read-write at the end of the URL"
        )
    if write and frozen:
        raise HubUnreachable(
            f"the hub {where} cannot be used: it takes no writes: default_transaction_read_only is on for this "
            "database or this role; have it switched off, or name another hub"
        )
    there = found_tables(connection)
    if not there:
        missing = _rights_on_schema(connection, role, create=create)
    elif there.issuperset(metadata.tables):
        missing = _rights_on_tables(connection, write=write)
    else:
        return  # a part of a hub is reported elsewhere
    if missing:
        lines = "".join(f"\n    GRANT {rights} TO {quoted};" for rights in missing)
        raise RightsError(f"the role '{role}' lacks rights in the hub {where}; let its owner run{lines}")


def _rights_on_tables(connection: sa.Connection, *, write: bool) -> list[str]:
    """Return the missing rights: one text for each set of rights, with all tables that lack exactly these."""
    needed = _TO_WRITE if write else _TO_READ
    pairs = [(table, right) for table, rights in needed.items() for right in rights]
    # By OID, which is NULL for a missing sequence: a missing name would be an error.
    sequence: sa.ColumnElement[bool] = sa.literal_column(
        f"has_sequence_privilege(CAST(to_regclass('{_SEQUENCE}') AS oid), 'USAGE, UPDATE')"
    )
    asked = [*(sa.func.has_table_privilege(table, right) for table, right in pairs), sequence]
    *answers, may_count = connection.execute(sa.select(*asked)).one()
    given = dict(zip(pairs, answers, strict=True))
    lacking: dict[str, list[str]] = {}
    for table, rights in needed.items():
        if left := ", ".join(right for right in rights if not given[table, right]):
            lacking.setdefault(left, []).append(table)
    missing = [f"{rights} ON {', '.join(tables)}" for rights, tables in lacking.items()]
    return [*missing, f"USAGE ON SEQUENCE {_SEQUENCE}"] if write and may_count is False else missing


def _rights_on_schema(connection: sa.Connection, role: str, *, create: bool) -> Sequence[str]:
    """Return the rights that are missing to use the schema of the tables, or to `create` tables there.

    A role cannot see tables in a schema that it may not use.
    """
    current, path, may_create = connection.execute(
        sa.text(
            "SELECT quote_ident(current_schema()), current_setting('search_path'), "
            "has_schema_privilege(current_schema(), 'CREATE')"
        )
    ).one()
    if current is not None:
        return [] if may_create or not create else [f"CREATE ON SCHEMA {current}"]
    usable = sa.text(
        "SELECT nspname, quote_ident(nspname) FROM pg_catalog.pg_namespace WHERE NOT has_schema_privilege(oid, 'USAGE')"
    )
    hidden = {row[0]: row[1] for row in connection.execute(usable)}
    names = [name.strip().strip('"').replace("$user", role) for name in path.split(",")]
    rights = "USAGE, CREATE" if create else "USAGE"
    return [f"{rights} ON SCHEMA {hidden[name]}" for name in names if name in hidden][:1]
