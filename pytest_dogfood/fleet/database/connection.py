"""The connection of one process to the database of a fleet: its URL, one round trip for many statements, its errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import Struct

from pytest_dogfood.database import UrlError, advice_on, connection_options, display_options
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import BoardUnreachableError, BoardUnusableError

if TYPE_CHECKING:
    import psycopg

Statement: TypeAlias = tuple[str, Mapping[str, object]]
Row: TypeAlias = tuple[Any, ...]
T = TypeVar("T")

_DELAYS = (0.2, 0.5, 1.0, 2.0)
"""Seconds before a call is repeated; the last one again and again."""

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""What the server takes by default may be something else, and a snapshot from before the lock would miss changes."""

_BEGIN_TO_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

LIMITS = {
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "transaction_timeout": "15s",
}
"""Limits of each change. A machine that freezes in the middle of it would keep the run's row from all others.

PostgreSQL has the last one from version 17 on: before, a client that freezes while it sends a change too large for one
packet is not noticed.
"""

_VERSION_WITH_ALL_LIMITS = 170_000

_LIMIT: Statement = ("", {})
"""Stands for the statement that sets the limits, in the words of the server's version."""


class RightsError(BoardUnusableError):
    """The role may not do what was asked for; `said` is what the database said."""

    def __init__(self, where: str, said: str) -> None:
        super().__init__(
            f"the role may not use the tables of the fleet in {where}: {said}; see: dogfood fleet init"
        )
        self.said = said


class TablesExistError(BoardUnusableError):
    """A table to be made is there already."""


class Address(Struct, frozen=True):
    """Where the database of a fleet is: libpq's options, and the URL without its password as `label`."""

    options: Mapping[str, str]
    label: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL; raises BoardUnusableError, whose text shows no part of it."""
        try:
            options = connection_options(url)
        except UrlError as error:
            raise BoardUnusableError(f"the URL of the fleet's database cannot be read: {error}") from error
        return cls(options, display_options(options))


def repeated(call: Callable[[], T], seconds: float) -> T:
    """Repeat a call while the board cannot be reached, for so many seconds; then raise its BoardUnreachableError."""
    give_up_at = time.monotonic() + seconds
    attempt = 0
    while True:
        try:
            return call()
        except BoardUnreachableError:
            delay = _DELAYS[min(attempt, len(_DELAYS) - 1)]
            if time.monotonic() + delay > give_up_at:
                raise
            time.sleep(delay)
            attempt += 1


class Connection:
    """A connection that is opened when it is first needed, and again after it has failed. Threads may share it."""

    def __init__(self, url: str, *, patience: float = 5.0) -> None:
        """Prepare a connection; a server that does not answer for `patience` seconds counts as unreachable."""
        self.address = Address.parse(url)
        self._patience = patience
        self._lock = Lock()
        self._open: psycopg.Connection[Row] | None = None

    def change(
        self,
        statements: Sequence[Statement],
        *,
        before: Sequence[Statement] = (),
        after: Sequence[Statement] = (),
    ) -> list[list[Row]]:
        """Run statements as one transaction, and those `after` it, in one round trip; return the rows of both.

        Each statement sees what was committed before it began: what follows the lock on a row sees what was done by
        those who had the lock before. What may have much to say belongs `after`, where all see the same contents:
        a client that freezes before it has read everything keeps the server, and would keep the lock. What brings much
        belongs `before`: it is part of the transaction, but takes no locks, and may take longer than LIMITS allow.
        """
        first = len(before) + 2
        last = first + len(statements)
        then = [(_BEGIN_TO_READ, {}), *after, ("COMMIT", {})] if after else []
        answers = self._run([(_BEGIN, {}), *before, _LIMIT, *statements, ("COMMIT", {}), *then])
        return [*answers[first:last], *answers[last + 2 : -1]]

    def read(self, *statements: Statement) -> list[list[Row]]:
        """Run statements in one round trip; return the rows of each. All or none of their changes are made."""
        return self._run(statements)

    def read_at_once(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in one round trip, which all see the same contents; return the rows of each."""
        return self._run([(_BEGIN_TO_READ, {}), *statements, ("COMMIT", {})])[1:-1]

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        with self._lock:
            was_open = self._open is not None
            try:
                return self._run_once(statements)
            except BoardUnreachableError:
                # The server may have been restarted since the last call. All statements may be sent twice.
                if not was_open:
                    raise
                return self._run_once(statements)

    def _run_once(self, statements: Sequence[Statement]) -> list[list[Row]]:
        connection = self._connection()
        import psycopg

        limits = _limits(connection.info.server_version)
        statements = [limits if one is _LIMIT else one for one in statements]
        try:
            with connection.pipeline():
                # In text, a server would write each byte of a result as two letters.
                cursors = [connection.execute(text, given, binary=True) for text, given in statements]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
        except psycopg.Error as error:
            self._drop()
            raise error_in_words(error, self.address) from error
        except BaseException:
            self._drop()  # it may be in the middle of a transaction
            raise

    def _connection(self) -> psycopg.Connection[Row]:
        if self._open is None:
            self._open = connect(self.address, patience=self._patience)
        return self._open

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _limits(server_version: int) -> Statement:
    """Return the statement that limits a transaction, and not the session, which a pooler lends to others."""
    known = LIMITS if server_version >= _VERSION_WITH_ALL_LIMITS else dict(list(LIMITS.items())[:2])
    calls = (f"set_config('{name}', '{limit}', true)" for name, limit in known.items())
    return f"SELECT {', '.join(calls)}", {}


def connect(address: Address, *, patience: float = 5.0) -> psycopg.Connection[Row]:
    """Connect to a database; raises BoardUnreachableError, and BoardUnusableError without psycopg."""
    try:
        import psycopg
    except ImportError as error:
        raise BoardUnusableError("a fleet needs psycopg: pip install 'pytest-dogfood[postgres]'") from error
    # libpq takes two seconds for the least it can wait.
    seconds = max(2, round(patience))
    options: dict[str, Any] = {
        "connect_timeout": seconds,
        "keepalives_idle": seconds,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": seconds * 1000,
        "fallback_application_name": "dogfood",
        **address.options,
        # Neither PGCLIENTENCODING nor the URL nor the role may choose: names may contain any letter.
        "client_encoding": "utf8",
    }
    # A pooler gives the session to another client after each transaction, and prepared statements with it.
    try:
        return psycopg.connect(**options, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise error_in_words(error, address) from error


def error_in_words(error: psycopg.Error, address: Address) -> HarnessError:
    """Return the error of the board that an error of the database means, without a part of the password."""
    import psycopg

    said = " ".join(str(error).split())
    for name, value in address.options.items():
        if "pass" in name.lower():
            said = said.replace(value, "***")
    state = error.sqlstate or ""
    where = address.label
    if state == "42P01":  # undefined_table
        return BoardUnusableError(f"{where} has no tables of a fleet; make them: dogfood fleet init")
    if state == "42703":  # undefined_column
        return BoardUnusableError(
            f"the tables of the fleet in {where} are not those of this version; see: dogfood fleet init"
        )
    if state == "42501":  # insufficient_privilege
        return RightsError(where, said)
    if state in {"42P07", "23505"}:  # duplicate_table, and what two that make it at the same time get
        return TablesExistError(f"the fleet in {where} cannot be used: {said}")
    if isinstance(error, psycopg.DataError | psycopg.ProgrammingError) or state.startswith("54"):
        return BoardUnusableError(f"the fleet in {where} cannot be used: {said}")
    advice = advice_on(state, said)
    return BoardUnreachableError(
        f"the fleet's database {where} cannot be used: {said}{advice and f'; {advice}'}"
    )
