"""What a PostgreSQL database must offer before a hub is used in it: UTF-8, a server that takes writes, and the rights.

All of it is asked when the hub is opened, so that no file is committed whose row the hub then cannot take.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import OID

from pytest_dogfood.consistency.hub.connection import CREATEDB
from pytest_dogfood.consistency.hub.model import HubUnreachable, HubUsageError, RightsError
from pytest_dogfood.consistency.hub.schema import (
    checkouts,
    found_tables,
    hubs,
    metadata,
    repos,
    schema_version,
    task_events,
    tasks,
    writebacks,
)

_TO_READ: Mapping[str, tuple[str, ...]] = {
    table.name: ("SELECT",) for table in (hubs, schema_version, repos, checkouts, tasks, task_events)
}
_TO_WRITE: Mapping[str, tuple[str, ...]] = {
    **_TO_READ,
    **{table.name: ("SELECT", "INSERT", "UPDATE") for table in (repos, checkouts, tasks)},
    **{table.name: ("SELECT", "INSERT") for table in (task_events, writebacks)},
}
_SEQUENCE = f"{writebacks.name}_id_seq"

STANDBY = (
    "it takes no writes: name the primary server, or all servers with ?target_session_attrs=read-write at the end of "
    "the URL"
)
"""What helps where a server follows another one and can only be read."""

READ_ONLY = (
    "it takes no writes: default_transaction_read_only is on for this database or this role; "
    "have it switched off, or name another hub"
)
"""What helps where somebody has switched writes off."""


def require_usable(connection: Connection, *, where: str, write: bool, create: bool = False) -> None:
    """Raise unless a hub can be used in this database, to `write` to it, to `create` its tables. Writes nothing.

    Raises HubUsageError for another encoding, HubUnreachable for a server or a database that can only be read, and
    RightsError, with the GRANTs that help. Of an SQLite file there is nothing to ask.
    """
    if connection.dialect.name != "postgresql":
        return
    _require_server(connection, where=where, write=write)
    there = found_tables(connection)
    if not there:
        _require_schema(connection, where=where, create=create)
    elif there.issuperset(metadata.tables):  # of a part of a hub something else is to be said
        _require_rights(connection, where=where, write=write)


def _require_server(connection: Connection, *, where: str, write: bool) -> None:
    name, encoding, follows, frozen = connection.execute(
        text(
            "SELECT current_database(), current_setting('server_encoding'), pg_is_in_recovery(), "
            "current_setting('transaction_read_only') = 'on'"
        )
    ).one()
    if encoding != "UTF8":
        raise HubUsageError(
            f"the database of {where} is encoded as {encoding}, but a hub needs UTF8; make another database and name "
            f"that one: {CREATEDB} {shlex.quote(f'{name}_utf8')}"
        )
    if write and (follows or frozen):
        raise HubUnreachable(f"the hub {where} cannot be used: {STANDBY if follows else READ_ONLY}")


def _require_rights(connection: Connection, *, where: str, write: bool) -> None:
    wanted = [
        (table, right) for table, rights in (_TO_WRITE if write else _TO_READ).items() for right in rights
    ]
    # By OID, which is NULL for a sequence that is gone: a name that is not there would be an error.
    sequence = func.has_sequence_privilege(func.to_regclass(_SEQUENCE).cast(OID), "USAGE, UPDATE")
    asked = [*(func.has_table_privilege(table, right) for table, right in wanted), sequence]
    *tables, may_count = connection.execute(select(*asked)).one()
    lacking: dict[str, list[str]] = {}
    for (table, right), given in zip(wanted, tables, strict=True):
        if not given:
            lacking.setdefault(table, []).append(right)
    if lacking or (write and may_count is False):
        role = _role(connection)
        grants = _grants(lacking, role, sequence=write and may_count is False)
        raise RightsError(_let_run(where, role, grants))


def _require_schema(connection: Connection, *, where: str, create: bool) -> None:
    """Raise where the role does not see the schema that the tables are in, or to `create` may not add to it.

    Tables in a schema that a role may not use look to it as if they were not there.
    """
    role = _role(connection)
    hidden = tuple(_hidden_schemas(connection, role))
    current: str | None = connection.execute(select(func.quote_ident(func.current_schema()))).scalar()
    if current is None and hidden:
        rights = "USAGE, CREATE" if create else "USAGE"
        raise RightsError(_let_run(where, role, (f"GRANT {rights} ON SCHEMA {hidden[0]} TO {role.quoted};",)))
    may_create = func.has_schema_privilege(func.current_schema(), "CREATE")
    if create and current is not None and not connection.execute(select(may_create)).scalar():
        raise RightsError(_let_run(where, role, (f"GRANT CREATE ON SCHEMA {current} TO {role.quoted};",)))


class _Role(Struct, frozen=True, kw_only=True):
    name: str
    quoted: str


def _role(connection: Connection) -> _Role:
    user: ColumnElement[str] = literal_column("current_user")
    name, quoted = connection.execute(select(user, func.quote_ident(user))).one()
    return _Role(name=name, quoted=quoted)


def _grants(lacking: Mapping[str, list[str]], role: _Role, *, sequence: bool) -> Iterator[str]:
    """Yield a statement for each set of rights, with all tables that lack just these."""
    same: dict[tuple[str, ...], list[str]] = {}
    for table, rights in lacking.items():
        same.setdefault(tuple(rights), []).append(table)
    for needed, names in same.items():
        yield f"GRANT {', '.join(needed)} ON {', '.join(names)} TO {role.quoted};"
    if sequence:
        yield f"GRANT USAGE ON SEQUENCE {_SEQUENCE} TO {role.quoted};"


def _let_run(where: str, role: _Role, grants: Iterator[str] | tuple[str, ...]) -> str:
    lines = "".join(f"\n    {grant}" for grant in grants)
    return f"the role '{role.name}' lacks rights in the hub {where}; let its owner run{lines}"


def _hidden_schemas(connection: Connection, role: _Role) -> Iterator[str]:
    """Yield the schemas of the search path that the role may not use, quoted."""
    path: str = connection.execute(select(func.current_setting("search_path"))).scalar_one()
    names = [name.strip().strip('"').replace("$user", role.name) for name in path.split(",")]
    usable = text(
        "SELECT nspname, quote_ident(nspname) FROM pg_catalog.pg_namespace WHERE NOT has_schema_privilege(oid, 'USAGE')"
    )
    hidden = {row[0]: row[1] for row in connection.execute(usable)}
    return (hidden[name] for name in names if name in hidden)
