"""What the hub and the fleet know about PostgreSQL: URLs with passwords, text that it takes, its errors in words.

It imports neither SQLAlchemy nor psycopg.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from urllib.parse import parse_qsl, quote, unquote

DRIVERS = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
"""The usual spellings of the beginning of a URL."""

FLEET_VARIABLE = "DOGFOOD_FLEET"
"""The environment variable with the URL of a fleet's database."""

KEEPALIVE: Mapping[str, object] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Seconds, and milliseconds. A server that disappears is noticed even in the middle of a statement."""

CREATEDB = "createdb --template=template0 --encoding=UTF8 --locale=C"
"""Creates a database, whatever the server's own encoding and locale are; its name comes last."""

# A user has no ':' and no '/', a password ends at the first '@', which may belong to the options of a URL without a
# password.
_USER = re.compile(r"[^:/]*(:[^@]*)?@")
_PORT_AND_OPTIONS = re.compile(r":\d*/[^?]*\?[^@]*=")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:]*))(?::(\d*))?")
_SECRET = re.compile("pass|secret|token", re.IGNORECASE)


def begins_with_user(text: str) -> bool:
    """Return whether text without a scheme looks like a URL with a user, whose password must not be shown."""
    return _USER.match(text) is not None


def has_stray_at(rest: str) -> bool:
    """Return whether a URL without its scheme has an '@' that may come from a password; then none of it is shown."""
    user = _USER.match(rest)
    if user and not _PORT_AND_OPTIONS.match(user[1] or ""):
        rest = rest[user.end() :]
    return "@" in rest


class UrlError(ValueError):
    """A URL cannot be read; the text says why, and shows no part of it."""


def connection_options(text: str) -> dict[str, str]:
    """Read a URL of PostgreSQL into libpq's options, such as host, port, user, password and dbname.

    libpq's own reader ends a password at other letters than SQLAlchemy's, and shows a part of it in its errors.
    Raises UrlError.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme not in DRIVERS:
        raise UrlError("it begins with postgresql://, as in postgresql://user@host/database")
    if has_stray_at(rest):
        raise UrlError(
            "it has an '@' too many: write each '@' of a user name, a password or an option as %40, as in "
            "postgresql://user:pass%40word@host/database, or leave the password to ~/.pgpass"
        )
    options: dict[str, str] = {}
    user = _USER.match(rest)
    if user and "@" in rest[: user.end()] and not _PORT_AND_OPTIONS.match(user[1] or ""):
        name, _, password = rest[: user.end() - 1].partition(":")
        options |= {"user": unquote(name), "password": unquote(password)}
        rest = rest[user.end() :]
    rest, _, query = rest.partition("?")  # a literal '+' stays, as libpq reads it
    places, _, database = rest.partition("/")
    hosts = [_HOST.fullmatch(place) for place in places.split(",")]
    if None in hosts:
        raise UrlError("its host or port cannot be read, as in postgresql://user@host:5432/database")
    options |= {
        "host": ",".join(unquote(host[1] or host[2]) for host in hosts if host),
        "port": ",".join(host[3] or "" for host in hosts if host),
        "dbname": unquote(database),
        **dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)),
    }
    return {name: value for name, value in options.items() if value.strip(",")}


def display_options(options: Mapping[str, str]) -> str:
    """Return the URL of a database without its password, for people."""
    user, dbname = (quote(options.get(name, ""), safe="") for name in ("user", "dbname"))
    hosts, ports = (options.get(name, "").split(",") for name in ("host", "port"))
    is_directory = hosts[0].startswith("/")  # of a socket, which cannot be written as a host
    in_url = [f"[{host}]" if ":" in host else host for host in hosts]
    pairs = zip_longest(in_url, ports, fillvalue="")
    places = [] if is_directory else [f"{host}{port and f':{port}'}" for host, port in pairs]
    named = {"user", "password", "dbname", *(() if is_directory else ("host", "port"))}
    query = "&".join(
        f"{name}={'***' if is_secret_option(name) else quote(value, safe='/:,')}"
        for name, value in options.items()
        if name not in named
    )
    return f"postgresql://{user and f'{user}@'}{','.join(places)}/{dbname}{query and f'?{query}'}"


def is_secret_option(name: str) -> bool:
    """Return whether the value of an option of a URL must not be shown."""
    return _SECRET.search(name) is not None


def secrets_in(url: str) -> list[str]:
    """Return what must not be shown of a URL: its passwords, or all of it if it cannot be read."""
    try:
        options = connection_options(url)
    except UrlError:
        return [url]
    return [value for name, value in options.items() if is_secret_option(name) and name != "passfile"]


# Python decodes bytes that are not UTF-8 as surrogates, which no database accepts: they are stored as private letters.
_BYTES = {0xDC00 + byte: chr(0xEF00 + byte) for byte in range(0x80, 0x100)}
_MARK = "\uef00"
# A text may contain these letters itself, such as the icons of some fonts: a mark distinguishes them from bytes, and a
# mark in a text is doubled. NUL and other surrogates, which no database accepts either, are stored as numbers.
_MEANT = {ord(letter): _MARK + letter for letter in (_MARK, *_BYTES.values())}
_NUMBERED = {code: f"{_MARK}{code:04X}" for code in (0, *range(0xD800, 0xE000)) if code not in _BYTES}
_IN = {**_BYTES, **_MEANT, **_NUMBERED}
_OUT = {written: chr(code) for code, written in _IN.items()}
_WRITTEN = re.compile(f"{_MARK}[{_MARK}\uef80-\uefff]|{_MARK}[0-9A-F]{{4}}|[\uef80-\uefff]")


def to_stored(text: str) -> str:
    """Return text as a database takes it, whatever letters and bytes it contains."""
    return text if text.isascii() and "\0" not in text else text.translate(_IN)


def from_stored(text: str) -> str:
    """Return the text that `to_stored` was given."""
    if text.isascii():  # nearly all text is, and the check is fast
        return text
    return _WRITTEN.sub(lambda found: _OUT.get(found[0], found[0]), text)


def advice_on(sqlstate: str, said: str) -> str:
    """Return what to do about an error of PostgreSQL, by its code or its words; empty if nothing is known."""
    by_words = (advice for words, advice in _ADVICE.items() if words in said)
    return _ADVICE_OF_STATE.get(sqlstate) or next(by_words, "")


_ADVICE: Mapping[str, str] = {
    'FATAL: database "': f"is the name right? To create it: {CREATEDB} NAME",
    "permission denied for database": "let its owner run GRANT CONNECT ON DATABASE database TO role",
    "password authentication failed": "is it right in ~/.pgpass, PGPASSWORD or the URL?",
    "no password supplied": "put it into ~/.pgpass or PGPASSWORD, on this machine",
}
"""Advice for texts in PostgreSQL's errors when it refuses a connection."""

_LOCKED = (
    "another session may hold a lock on its tables, such as an open transaction, a restore or VACUUM FULL: "
    "end it (the server's pg_stat_activity and pg_blocking_pids tell which one it is), then run this again"
)
_ADVICE_OF_STATE: Mapping[str, str] = {
    "25006": "name the primary server, or have default_transaction_read_only switched off",  # read_only_sql_transaction
    "40001": "run this again",  # serialization_failure
    "40P01": "run this again",  # deadlock_detected
    "53100": "free some space on the server's disk",  # disk_full
    "55P03": _LOCKED,  # lock_not_available
    "57014": _LOCKED,  # query_canceled, as by our own statement_timeout
}
"""Advice for PostgreSQL's error codes of failed statements."""
