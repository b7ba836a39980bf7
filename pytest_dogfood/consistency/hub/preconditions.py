"""What a PostgreSQL database must offer before a hub is used in it: UTF-8, a server that takes writes, and the rights.

All of it is asked when the hub is opened, so that no file is committed whose row the hub then cannot take.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
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


def require_usable(connection: sa.Connection, *, where: str, write: bool, create: bool = False) -> None:
    """Raise unless a hub can be used in this database, to `write` to it, to `create` its tables. Writes nothing.

    Raises HubUsageError for another encoding, HubUnreachable for a server or a database that can only be read, and
    RightsError, with the GRANTs that help.
    """
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
    if write and (follows or frozen):
        raise HubUnreachable(f"the hub {where} cannot be used: {STANDBY if follows else READ_ONLY}")
    there = found_tables(connection)
    if not there:
        missing = _rights_on_schema(connection, role, create=create)
    elif there.issuperset(metadata.tables):
        missing = _rights_on_tables(connection, write=write)
    else:
        return  # of a part of a hub something else is to be said
    if missing:
        lines = "".join(f"\n    GRANT {rights} TO {quoted};" for rights in missing)
        raise RightsError(f"the role '{role}' lacks rights in the hub {where}; let its owner run{lines}")


def _rights_on_tables(connection: sa.Connection, *, write: bool) -> list[str]:
    """Return what is missing: one text for each set of rights, with all tables that lack just these."""
    wanted = [
        (table, right) for table, rights in (_TO_WRITE if write else _TO_READ).items() for right in rights
    ]
    # By OID, which is NULL for a sequence that is gone: a name that is not there would be an error.
    sequence = sa.func.has_sequence_privilege(sa.func.to_regclass(_SEQUENCE).cast(OID), "USAGE, UPDATE")
    asked = [*(sa.func.has_table_privilege(table, right) for table, right in wanted), sequence]
    *answers, may_count = connection.execute(sa.select(*asked)).one()
    lacking: dict[str, list[str]] = {}
    for (table, right), given in zip(wanted, answers, strict=True):
        if not given:
            lacking.setdefault(table, []).append(right)
    tables: dict[str, list[str]] = {}
    for table, rights in lacking.items():
        tables.setdefault(", ".join(rights), []).append(table)
    missing = [f"{rights} ON {', '.join(names)}" for rights, names in tables.items()]
    return [*missing, f"USAGE ON SEQUENCE {_SEQUENCE}"] if write and may_count is False else missing


def _rights_on_schema(connection: sa.Connection, role: str, *, create: bool) -> Sequence[str]:
    """Return what is missing to see the schema that the tables are in, or to `create` tables there.

    Tables in a schema that a role may not use look to it as if they were not there.
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
