"""The database of a hub, SQLite or PostgreSQL: its URL, its engine, its transactions, and its errors in words."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from pytest_dogfood.consistency.hub.model import (
    HubError,
    HubUnreachable,
    HubUsageError,
    NoHubError,
    RightsError,
)
from pytest_dogfood.database import (
    DRIVERS,
    KEEPALIVE,
    advice_on,
    begins_with_user,
    has_stray_at,
    is_secret_option,
)

_NETWORK = re.compile(
    r"(nfs\d*|cifs|smb\w*|afs|9p|ncpfs|coda|ceph|glusterfs|lustre|beegfs|gpfs|ocfs2|gfs2|davfs|vboxsf|vmhgfs"
    r"|fuse\.(sshfs|vmhgfs-fuse|glusterfs\S*|s3fs|rclone|davfs\S*|ceph\S*|juicefs|gcsfuse|smb\S*|nfs\S*))"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the network file system that contains a path; empty if it is local or unknown.

    `mounts` has the format of Linux's /proc/self/mountinfo, which is read if it is not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    kinds: dict[str, str] = {}
    for line in mounts.splitlines():
        # The type comes right after a single dash. Of several mounts at one place, the last one hides the others.
        before, _, after = line.partition(" - ")
        words, kind = before.split(" "), after.partition(" ")[0]
        if len(words) >= 6 and kind:
            kinds[_ESCAPED.sub(lambda found: chr(int(found[1], 8)), words[4])] = kind
    here = path.resolve()
    kind = next((kinds[str(place)] for place in (here, *here.parents) if str(place) in kinds), "")
    return kind if _NETWORK.fullmatch(kind) else ""


def parse_url(text: str, *, base: Path | None = None) -> URL:
    """Read a hub's URL, or the path of an SQLite file; relative paths start at `base`, or here.

    Raises HubUsageError, whose text never shows a possible password.
    """
    if begins_with_user(text) and "://" not in text and not text.startswith(("/", "./", "../", "~")):
        # Probably a URL without its beginning: as a path, its password would be shown.
        raise HubUsageError(
            "a hub's URL begins with postgresql:// or sqlite:///; the path of an SQLite file with a ':' and an '@' "
            "in it begins with ./ or /"
        )
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
        _ = url.port
    except (ArgumentError, ValueError) as error:
        raise HubUsageError(
            "the hub's URL cannot be read; write sqlite:////path/to/hub.sqlite or "
            "postgresql://user@host/database, with special letters of a password as %XX"
        ) from error
    if url.drivername in DRIVERS:
        if has_stray_at(text.partition("://")[2]):
            raise HubUsageError(
                "the hub's URL has an '@' too many: write each '@' of a user name, a password or an option as %40, as "
                "in postgresql://user:pass%40word@host/database, or leave the password to ~/.pgpass"
            )
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise HubUsageError(f"a hub is SQLite or PostgreSQL, not {url.drivername!r}")
    if not url.database or url.database == ":memory:":
        raise HubUsageError("an SQLite hub needs a file: sqlite:////path/to/hub.sqlite")
    try:
        path = (base or Path.cwd()) / Path(url.database).expanduser()
    except (RuntimeError, OSError) as error:  # an unknown user, a missing directory
        raise HubUsageError(f"the hub's file {url.database} cannot be found: {error}") from error
    return url.set(drivername="sqlite", database=str(path))


def display_url(url: URL) -> str:
    """Return a URL without its password, for people; an SQLite file by its path."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    url = url.set(drivername="postgresql")  # as people write it
    query = {key: "***" if is_secret_option(key) else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


BUSY_TIMEOUT = 10
"""Seconds that a writer waits for another one before the hub counts as locked."""


class Database:
    """A database on which transactions can be opened. Nothing is opened before the first one."""

    def __init__(self, url: str | URL, *, create: bool = False, readonly: bool = False) -> None:
        """Prepare the engine; without `create`, a missing file is refused."""
        self._url = url = parse_url(url) if isinstance(url, str) else url
        self._readonly = readonly
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite(url, create=create, readonly=readonly) if self._is_sqlite else _postgresql(url)
        self._kept: PoolProxiedConnection | None = None
        self.label = display_url(url)

    @contextmanager
    def transaction(self, *, write: bool, may_exist: bool = False) -> Iterator[Connection]:
        """Open a transaction; database errors become HubErrors, except IntegrityError with `may_exist`.

        A write begins IMMEDIATE on SQLite: two transactions that read first and then write would block each other.
        """
        if self._is_sqlite:
            first = ["BEGIN IMMEDIATE" if write else "BEGIN"]
        else:
            first = ["SET TRANSACTION READ ONLY"] if self._readonly else []
            first += ["SET LOCAL statement_timeout = '30s'"]
        try:
            with self._engine.begin() as connection:
                for statement in first:
                    connection.exec_driver_sql(statement)
                yield connection
        except SQLAlchemyError as error:
            if may_exist and isinstance(error, IntegrityError):
                raise
            raise _hub_error(error, self._url) from error

    def keep_open(self) -> None:
        """Keep an SQLite file open between its transactions.

        The last close of a file moves its log into it, and that takes longer than several commits.
        """
        if self._is_sqlite:
            with suppress(SQLAlchemyError, sqlite3.Error):  # a transaction will report the error
                self._kept = self._engine.raw_connection()
                self._kept.cursor().execute("SELECT 1 FROM sqlite_master").fetchall()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        self._engine.dispose()


def _sqlite(url: URL, *, create: bool, readonly: bool) -> Engine:
    path = Path(url.database or "")
    kind = network_file_system(path)
    if kind and url.query.get("network") != "force":
        raise HubUsageError(
            f"{path} is on a network file system ({kind}), where SQLite loses writes; share a PostgreSQL hub, "
            f"or, if only one machine ever opens it, name it as sqlite:///{path}?network=force"
        )
    if not create and not path.is_file():
        raise NoHubError(f"there is no hub at {path}; make one: dogfood hub init --hub {display_url(url)}")
    if create:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HubUsageError(f"cannot make the directory {path.parent}: {error.strerror}") from error
    mode = "rwc" if create else "rw"
    if readonly and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists():
        mode = "ro&immutable=1"  # a read-only disk: it has no writers, and the log cannot be created
    pragmas = [f"busy_timeout={BUSY_TIMEOUT * 1000}", "foreign_keys=ON", "synchronous=FULL"]
    pragmas += ["query_only=ON"] if readonly else []
    pragmas += ["journal_mode=WAL"] if create else []  # readers and a writer at once; the file remembers it

    def connect() -> sqlite3.Connection:
        # Not by a URL, in which %, ? and # have another meaning than in a path. Without an isolation level, because
        # with one the driver would begin its own transactions.
        file = f"file:{quote(str(path))}?mode={mode}"
        connection = sqlite3.connect(file, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    # A pool would give one thread's connection to another, and keep the file open in a forked child.
    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _postgresql(url: URL) -> Engine:
    asked = {key: value for key, value in KEEPALIVE.items() if key not in url.query}
    # Poolers such as PgBouncer give a session to another client after each transaction.
    asked["prepare_threshold"] = None
    # Neither PGCLIENTENCODING nor the URL nor the role may choose: ids and titles may contain any letter. Without it,
    # the driver also returns bytes if the database is SQL_ASCII, and that could not be reported.
    asked["client_encoding"] = "utf8"
    try:
        return create_engine(url, connect_args=asked, pool_pre_ping=True, hide_parameters=True)
    except ArgumentError as error:
        raise HubUsageError(f"the hub's URL cannot be used: {error}") from error
    except ImportError as error:
        raise HubUsageError("PostgreSQL needs psycopg: pip install 'pytest-dogfood[postgres]'") from error


def _hub_error(error: Exception, url: URL) -> HubError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = " ".join(str(cause).split())
    if url.password:
        said = said.replace(str(url.password), "***")
    where = display_url(url)
    state = str(getattr(cause, "sqlstate", None) or "")
    if state == "42P01" or "no such table" in said:  # undefined_table
        return NoHubError(
            f"{where} holds no hub, or only a part of one; `dogfood hub init` makes one there, or says what is missing"
        )
    if state == "42501":  # insufficient_privilege
        return RightsError(
            f"the hub {where} cannot be used: {said}; the role needs SELECT, INSERT and UPDATE on the hub's tables and "
            "USAGE on their sequence, as granted by\n"
            "    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO role;\n"
            "    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO role;"
        )
    if "not a database" in said:
        return NoHubError(f"{where} is not an SQLite database; name another file")
    if isinstance(error, DataError) or state.startswith("54"):  # program_limit_exceeded
        return HubUsageError(f"the hub {where} does not take a value: {said}")
    if state == "42703":  # undefined_column
        advice = "its tables are not as dogfood hub init made them: restore the hub from a backup"
    else:
        advice = advice_on(state, said) or next(
            (advice for words, advice in _ADVICE.items() if words in said), ""
        )
    return HubUnreachable(f"the hub {where} cannot be used: {said}{advice and f'; {advice}'}")


_ADVICE: Mapping[str, str] = {
    "unable to open database file": "is it still there, and can its directory be written?",
    "database is locked": f"it stayed locked for {BUSY_TIMEOUT} s: is another program using it?",
    "disk is full": "free some space",
    "disk I/O": "is its disk full, or broken?",
    "malformed": "restore it from a copy; then `dogfood consistency fix` reads the statuses in workplans again",
}
"""Advice for texts in SQLite's errors."""
