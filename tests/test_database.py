"""URLs of PostgreSQL as libpq's options, and how they are shown."""

from __future__ import annotations

import pytest

from pytest_dogfood.database import UrlError, connection_options, display_options


@pytest.mark.parametrize(
    "url, options",
    [
        ("postgresql://host/ci", {"host": "host", "dbname": "ci"}),
        ("postgres://me@host:5433/ci", {"user": "me", "host": "host", "port": "5433", "dbname": "ci"}),
        ("postgresql+psycopg://host", {"host": "host"}),
        ("postgresql://me:a%40b/c?d#e@host", {"user": "me", "password": "a@b/c?d#e", "host": "host"}),
        ("postgresql://me@tenant:word@host", {"user": "me@tenant", "password": "word", "host": "host"}),
        ("postgresql:///ci?host=/var/run", {"dbname": "ci", "host": "/var/run"}),
        ("postgresql://[::1]:5432/ci", {"host": "::1", "port": "5432", "dbname": "ci"}),
        ("postgresql://a:1,b:2/ci", {"host": "a,b", "port": "1,2", "dbname": "ci"}),
        ("postgresql://a,b:2/ci", {"host": "a,b", "port": ",2", "dbname": "ci"}),
        (
            "postgresql://host/ci?sslmode=verify-full",
            {"host": "host", "dbname": "ci", "sslmode": "verify-full"},
        ),
        ("postgresql://host/ci?password=a+b", {"host": "host", "dbname": "ci", "password": "a+b"}),
    ],
)
def test_a_url_is_read_as_libpqs_options(url: str, options: dict[str, str]) -> None:
    assert connection_options(url) == options


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@host/ci",
        "me:hunter2@host/ci",
        "host=db password=hunter2",
        "postgresql://me:hun@ter2@host/ci",
        "postgresql://host:hunter2/ci",
        "postgresql://me:x@[hunter2/ci",
        "postgresql:///ci?user=me&password=hun@ter2",
    ],
)
def test_what_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UrlError) as refused:
        connection_options(url)
    assert "hunter2" not in str(refused.value)
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgres://me:hunter2@host:5433/ci", "postgresql://me@host:5433/ci"),
        ("postgresql://host/ci?password=hunter2&sslmode=require", "postgresql://host/ci?sslmode=require"),
        ("postgresql://host/ci?sslpassword=hunter2", "postgresql://host/ci?sslpassword=***"),
        ("postgresql://[::1]:5432/ci", "postgresql://[::1]:5432/ci"),
        ("postgresql://a:1,b/ci", "postgresql://a:1,b/ci"),
        ("postgresql:///ci?host=/var/run", "postgresql:///ci?host=/var/run"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert display_options(connection_options(url)) == shown
