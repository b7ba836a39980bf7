"""The hub's schema, step by step: a hub is created by taking all steps, and upgraded by taking those it lacks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import Connection
from sqlalchemy import inspect
from sqlalchemy import select
from sqlalchemy import text

from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.errors import NoHubError
from pytest_dogfood.hub.errors import SchemaTooNew
from pytest_dogfood.hub.tables import TRIGGERS
from pytest_dogfood.hub.tables import hubs
from pytest_dogfood.hub.tables import metadata
from pytest_dogfood.hub.tables import schema_version

Step: TypeAlias = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    # Once there is a second step, this one needs the tables as they were: what was released stays as it is.
    metadata.create_all(connection, checkfirst=False)
    for statement in TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.execute(hubs.insert().values(id=str(uuid.uuid4())))


STEPS: tuple[Step, ...] = (_first,)
"""Step number n, counted from 1, leads to version n of the schema."""

_LOCK = 0x646F67666F6F64  # "dogfood": any number that other programs are unlikely to lock


def upgrade(connection: Connection, steps: Sequence[Step] = STEPS) -> int:
    """Bring the schema to the newest version within the caller's transaction; gives the version found, 0 for none.

    Raises SchemaTooNew, and HubUsageError where the database belongs to somebody else.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = _version(connection)
    _refuse_newer(found, len(steps))
    for step in steps[found:]:
        step(connection)
    if found < len(steps):
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert().values(version=len(steps)))
    return found


def require_current(connection: Connection, newest: int = len(STEPS)) -> None:
    """Raise unless the schema is exactly the one this program knows. Writes nothing."""
    found = connection.execute(select(schema_version.c.version)).scalar()
    if found is None:
        raise NoHubError("the database holds no hub; make one: dogfood hub init")
    _refuse_newer(found, newest)
    if found < newest:
        raise HubUsageError(
            f"the hub has schema {found}, this program needs {newest}; upgrade it once: dogfood hub init"
        )


def _version(connection: Connection) -> int:
    there = set(inspect(connection).get_table_names())
    if schema_version.name in there:
        return connection.execute(select(schema_version.c.version)).scalar() or 0
    if strangers := sorted(there.intersection(metadata.tables)):
        raise HubUsageError(
            f"the database has tables of somebody else ({', '.join(strangers)}); "
            "give the hub a database or a schema of its own"
        )
    return 0


def _refuse_newer(found: int, newest: int) -> None:
    if found > newest:
        raise SchemaTooNew(
            f"the hub has schema {found}, this program knows only up to {newest}; "
            "upgrade it here: pip install --upgrade pytest-dogfood"
        )
