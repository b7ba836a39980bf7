"""The tables of a fleet in a PostgreSQL database, which `dogfood fleet init` makes."""

from __future__ import annotations

import re

from msgspec import Struct

from pytest_dogfood.database import CREATEDB
from pytest_dogfood.fleet.board import BoardUnusableError
from pytest_dogfood.fleet.database.connection import Connection, RightsError, TablesExistError

TABLES = ("fleet_runs", "fleet_machines", "fleet_units", "fleet_ends", "fleet_tokens")

VERSION = 1
"""Of the tables. It stands in the comment on the table of runs, which every role may read."""

_MADE_BY = "dogfood fleet, tables "

_TABLES = """
CREATE TABLE fleet_runs (
    run text PRIMARY KEY,
    agreement bytea NOT NULL,
    news bigint NOT NULL DEFAULT 0,
    stopped text NOT NULL DEFAULT '',
    begun timestamptz NOT NULL DEFAULT now(),
    changed timestamptz NOT NULL DEFAULT now(),
    closed timestamptz
);
CREATE TABLE fleet_machines (
    run text NOT NULL,
    machine text NOT NULL,
    host text NOT NULL,
    workers integer NOT NULL,
    beats bigint NOT NULL DEFAULT 0,
    turn bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'here',
    fails text[] NOT NULL DEFAULT '{}',
    dead_workers text[] NOT NULL DEFAULT '{}',
    joined timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    lost_at timestamptz,
    record bytea,
    PRIMARY KEY (run, machine)
);
CREATE TABLE fleet_units (
    run text NOT NULL,
    unit text NOT NULL,
    machine text NOT NULL DEFAULT '',
    attempt integer NOT NULL DEFAULT 0,
    current text NOT NULL DEFAULT '',
    lost_in text[] NOT NULL DEFAULT '{}',
    lost_on text[] NOT NULL DEFAULT '{}',
    losses integer NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run, unit)
);
CREATE INDEX fleet_units_held ON fleet_units (run, machine) WHERE NOT done AND machine <> '';
CREATE TABLE fleet_ends (
    run text NOT NULL,
    nodeid text NOT NULL,
    news bigint NOT NULL,
    ended timestamptz NOT NULL DEFAULT now(),
    place integer NOT NULL,
    machine text NOT NULL,
    unit text NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    result bytea NOT NULL,
    record bytea NOT NULL,
    next text NOT NULL,
    PRIMARY KEY (run, nodeid)
);
CREATE INDEX fleet_ends_news ON fleet_ends (run, news);
CREATE TABLE fleet_tokens (
    run text NOT NULL,
    token text NOT NULL,
    state text NOT NULL DEFAULT 'absent',
    holder text NOT NULL DEFAULT '',
    by text NOT NULL DEFAULT '',
    ours boolean NOT NULL DEFAULT false,
    made bigint NOT NULL DEFAULT 0,
    values bytea NOT NULL DEFAULT '',
    message text NOT NULL DEFAULT '',
    tried_on text[] NOT NULL DEFAULT '{}',
    lost_on text[] NOT NULL DEFAULT '{}',
    used_by text[] NOT NULL DEFAULT '{}',
    changes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run, token)
);
"""

_LOOK = """
SELECT obj_description(to_regclass('fleet_runs'), 'pg_class'), current_setting('server_encoding'),
    quote_ident(current_user),
    ARRAY(SELECT name FROM unnest(%(tables)s::text[]) AS name WHERE to_regclass(name) IS NOT NULL),
    ARRAY(SELECT DISTINCT asked FROM unnest(%(tables)s::text[]) AS name, unnest(%(rights)s::text[]) AS asked
        WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), asked))
"""


class _Found(Struct, frozen=True):
    comment: str
    encoding: str
    role: str
    tables: tuple[str, ...]
    missing_rights: tuple[str, ...]

    @property
    def version(self) -> int:
        """The version of the tables; 0 if they are not those of a fleet."""
        found = re.fullmatch(rf"{_MADE_BY}(\d+)", self.comment)
        return int(found[1]) if found else 0


def check_tables(connection: Connection) -> None:
    """Check that a run can use the tables; raises BoardUnusableError with the command or the GRANT that helps."""
    found = _look(connection)
    where = connection.address.label
    if not found.tables:
        raise BoardUnusableError(f"{where} has no tables of a fleet; make them: dogfood fleet init")
    _refuse_strange(found, where)
    if found.missing_rights:
        raise BoardUnusableError(
            f"the role {found.role} may not use the tables of the fleet in {where}: it lacks "
            f"{', '.join(sorted(found.missing_rights))}; their owner grants it by\n    {grant(found.role)}"
        )


def make_tables(connection: Connection) -> bool:
    """Make the tables, or return False if they are there; raises BoardUnusableError in words."""
    found = _look(connection)
    where = connection.address.label
    if found.encoding != "UTF8":
        raise BoardUnusableError(
            f"the database {where} has the encoding {found.encoding}, and a fleet needs UTF8; "
            f"to create another one: {CREATEDB} NAME"
        )
    if found.tables:
        _refuse_strange(found, where)
        return False
    statements = [each.strip() for each in _TABLES.split(";") if each.strip()]
    statements.append(f"COMMENT ON TABLE fleet_runs IS '{_MADE_BY}{VERSION}'")
    try:
        connection.change([(each, {}) for each in statements])
    except TablesExistError:  # another one made them at the same time
        return make_tables(connection)
    except RightsError as error:
        raise BoardUnusableError(
            f"the role {found.role} may not create tables in {where}: {error.said}; name another role in the URL, or "
            f"let the owner of the database run\n    GRANT CREATE ON SCHEMA public TO {found.role};"
        ) from error
    return True


def grant(role: str) -> str:
    """Return the statement that lets a role, as SQL writes it, take part in runs."""
    return f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO {role};"


def _look(connection: Connection) -> _Found:
    asked = {"tables": list(TABLES), "rights": ["SELECT", "INSERT", "UPDATE", "DELETE"]}
    ((comment, encoding, role, tables, missing),) = connection.read((_LOOK, asked))[0]
    return _Found(comment or "", encoding, role, tuple(tables), tuple(missing))


def _refuse_strange(found: _Found, where: str) -> None:
    if found.version > VERSION:
        raise BoardUnusableError(
            f"the tables of the fleet in {where} were made by a newer version of pytest-dogfood (tables "
            f"{found.version}, here {VERSION}); install that one here: pip install --upgrade pytest-dogfood"
        )
    missing = [name for name in TABLES if name not in found.tables]
    if missing or not found.version:
        what = (
            f"it lacks {', '.join(missing)}" if missing else "fleet_runs was not made by `dogfood fleet init`"
        )
        raise BoardUnusableError(
            f"the tables of the fleet in {where} are not whole: {what}; if nothing else uses them, remove them and "
            f"make them anew:\n    DROP TABLE {', '.join(found.tables)};\n    dogfood fleet init"
        )
