"""A hub's URL: how it may be written, and how it is shown without its password."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pytest_dogfood.hub.errors import HubUsageError

FORCE = "network"
"""`?network=force` at the end of an SQLite URL opens it on a network file system all the same."""

_SECRET = re.compile("pass|secret|token", re.IGNORECASE)
# As SQLAlchemy tells them: a user has no ':' and no '/', a password goes to the first '@', which may be one of the
# options of a URL without a password.
_USER = re.compile(r"[^:/]*(:[^@]*)?@")
_PORT_AND_OPTIONS = re.compile(r":\d*/[^?]*\?[^@]*=")
_DRIVERS = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def parse_url(text: str, *, base: Path | None = None) -> URL:
    """Read a hub's URL, or the path of an SQLite file; relative paths start at `base`, or here.

    Raises HubUsageError, whose text never shows what might be a password.
    """
    if _lacks_its_scheme(text):
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
    if url.drivername in _DRIVERS:
        if "@" in _after_user(text):
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
    except (RuntimeError, OSError) as error:  # a user whom nobody knows, a directory that is gone
        raise HubUsageError(f"the hub's file {url.database} cannot be found: {error}") from error
    return url.set(drivername="sqlite", database=str(path))


def _lacks_its_scheme(text: str) -> bool:
    """Tell whether this is a URL without its beginning rather than a file; its password would be shown as a path."""
    return (
        "://" not in text and _USER.match(text) is not None and not text.startswith(("/", "./", "../", "~"))
    )


def _after_user(text: str) -> str:
    """Give what comes after the user and the password of a URL: an '@' in there may come from the password."""
    rest = text.partition("://")[2]
    found = _USER.match(rest)
    if found is None or _PORT_AND_OPTIONS.match(found[1] or ""):
        return rest
    return rest[found.end() :]


def shown(url: URL) -> str:
    """Give a URL for people, without its password; an SQLite file by its path."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    url = url.set(drivername="postgresql")  # as people write it; the driver is our affair
    query = {key: "***" if _SECRET.search(key) else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)
