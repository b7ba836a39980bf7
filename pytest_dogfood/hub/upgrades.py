"""The hub's schema, step by step: a hub is created by taking all steps, and upgraded by taking those it lacks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, inspect, select, text

from pytest_dogfood.consistency.hub.schema import TRIGGERS, hubs, metadata, schema_version
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.hub.errors import HubUsageError, NoHubError, SchemaTooNew

Step: TypeAlias = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    # Once there is a second step, this one needs the tables as they were: what was released stays as it is.
    metadata.create_all(connection, checkfirst=False)
    for statement in TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.execute(hubs.insert().values(id=str(uuid.uuid4())))


STEPS: tuple[Step, ...] = (_first,)
"""Step number n, counted from 1, leads to version n of the schema."""

_TELLING = frozenset({"hub", "checkouts", "task_events", "writebacks", "schema_version"})
"""Tables that tell a hub; `tasks` and `repos` may be those of any program."""

_HERE = "the database"
_OF_ITS_OWN = "give the hub a database or a schema of its own: dogfood hub init"

_LOCK = 0x646F67666F6F64  # "dogfood": any number that other programs are unlikely to lock


def found_tables(connection: Connection) -> frozenset[str]:
    """Give those of a hub's tables that the role can see, or tables of another program with the same names."""
    return frozenset(metadata.tables).intersection(inspect(connection).get_table_names())


def upgrade(connection: Connection, steps: Sequence[Step] = STEPS, *, where: str = _HERE) -> int:
    """Bring the schema to the newest version within the caller's transaction; gives the version found, 0 for none.

    Raises SchemaTooNew, and HubUsageError where tables are missing, or belong to another program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = _version(connection, len(steps), where)
    for step in steps[found:]:
        step(connection)
    if found < len(steps):
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert().values(version=len(steps)))
    return found


def require_current(connection: Connection, newest: int = len(STEPS), *, where: str = _HERE) -> None:
    """Raise unless the schema is exactly the one this program knows. Writes nothing."""
    found = _version(connection, newest, where)
    if found == 0:
        raise NoHubError(f"{where} holds no hub; make one there: dogfood hub init")
    if found < newest:
        raise HubUsageError(
            f"the hub has schema {found}, this program needs {newest}; upgrade it once: dogfood hub init"
        )


def hub_id(connection: Connection, *, where: str = _HERE) -> str:
    """Give the hub's id; raises HubUsageError where the table does not have exactly one."""
    return str(_only_value(connection, hubs.c.id, where))


def _version(connection: Connection, newest: int, where: str) -> int:
    """Give the version of the schema, 0 where there is no table of a hub's.

    Raises SchemaTooNew, and HubUsageError where tables or their only rows are missing, or belong to another program.
    """
    there = found_tables(connection)
    if not there:
        return 0
    if not there & _TELLING:
        raise HubUsageError(
            f"{where} has tables of somebody else ({', '.join(sorted(there))}); {_OF_ITS_OWN}"
        )
    # A newer program may have other tables: ask for the version before any is missed.
    found = (
        _only_value(connection, schema_version.c.version, where) if schema_version.name in there else newest
    )
    if found > newest:
        raise SchemaTooNew(
            f"the hub has schema {found}, this program knows only up to {newest}; "
            "upgrade it here: pip install --upgrade pytest-dogfood"
        )
    missing = [table.name for table in metadata.sorted_tables if table.name not in there]
    if missing and found == newest:
        raise _part_of_a_hub(where, f"missing tables: {', '.join(missing)}")
    return int(found)


def _only_value(connection: Connection, column: Column[Any], where: str) -> Any:  # noqa: ANN401 - as the column's
    values = connection.execute(select(column)).scalars().all()
    if len(values) != 1:
        raise _part_of_a_hub(
            where, f"the table '{column.table.name}' has {counted(len(values), 'row')} instead of one"
        )
    return values[0]


def _part_of_a_hub(where: str, what: str) -> HubUsageError:
    return HubUsageError(
        f"{where} holds only a part of a hub ({what}); restore it from a backup, or {_OF_ITS_OWN}"
    )
