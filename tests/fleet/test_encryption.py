"""Machines that reach a real server by encrypted connections, with a password that nobody may see."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec import Struct

from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.tables import grant, make_tables
from tests.support.fleet_machines import Fleet
from tests.support.postgres import encrypted_server

RIGHT, WRONG = "right-word", "wrong-word"
PROJECT = """
capabilities:
  staging-up: {scope: fleet, probe: test -e $NOTES, provision: [run: touch $NOTES]}
journeys:
  - {id: a, requires: [staging-up], steps: [run: sleep 1]}
  - {id: b, requires: [staging-up], steps: [run: sleep 1]}
"""


class Encrypted(Struct):
    """A server's URL without a password, and the certificate of its authority."""

    url: str
    authority: Path


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    authority = tmp_path_factory.mktemp("authority") / "ca.crt"
    with encrypted_server(authority, "fleet", RIGHT) as (server, url):
        connection = Connection(server.url)
        make_tables(connection)
        connection.close()
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute(grant("fleet"))
        yield Encrypted(url, authority)


def with_password(url: str, word: str) -> str:
    return url.replace("fleet@", f"fleet:{word}@")


@pytest.mark.parametrize(
    "mode, how",
    [("require", "by a variable"), ("verify-full", "in the URL"), ("verify-full", "in a file")],
)
def test_machines_share_a_run_through_an_encrypted_connection(
    new_fleet: Callable[..., Fleet], encrypted: Encrypted, mode: str, how: str, tmp_path: Path
) -> None:
    made = new_fleet({"a.journey.yaml": PROJECT})
    url, environment = f"{encrypted.url}?sslmode={mode}", {}
    if mode == "verify-full":
        url += f"&sslrootcert={encrypted.authority}"
    if how == "in the URL":
        url = with_password(url, RIGHT)
    elif how == "in a file":
        words = tmp_path / "pgpass"
        words.write_text(f"localhost:*:*:fleet:{RIGHT}\n")
        words.chmod(0o600)
        environment = {"PGPASSFILE": str(words)}
    else:
        environment = {"PGPASSWORD": RIGHT}

    machines = [
        made.start("run", workers=1, environment={**environment, "DOGFOOD_FLEET": url}) for _ in range(2)
    ]
    ends = [machine.end() for machine in machines]

    assert [end.status for end in ends] == [0, 0], ends[0].text + ends[1].text
    assert {name for end in ends for name in end.cases} == {"a", "b"}
    assert not any(RIGHT in end.text for end in ends)


@pytest.mark.parametrize(
    "mode, given, password, words",
    [
        ("require", "", WRONG, "password authentication failed"),
        ("require", "by a variable", WRONG, "is it right in ~/.pgpass, PGPASSWORD or the URL?"),
        ("require", "as an option", WRONG, "password authentication failed"),
        ("require", "not at all", "", "no password supplied; put it into ~/.pgpass or PGPASSWORD"),
        ("disable", "by a variable", RIGHT, "no encryption"),
        ("verify-full", "by a variable", RIGHT, "root.crt"),
        ("verify-full", "another name", RIGHT, "does not match host name"),
    ],
)
def test_a_connection_that_is_refused_is_told_without_a_password(
    new_fleet: Callable[..., Fleet],
    encrypted: Encrypted,
    mode: str,
    given: str,
    password: str,
    words: str,
) -> None:
    made = new_fleet({"a.journey.yaml": PROJECT})
    url, environment = f"{encrypted.url}?sslmode={mode}", {}
    if not given:
        url = with_password(url, password)
    elif given == "as an option":
        url += f"&password={password}"
    elif password:
        environment = {"PGPASSWORD": password}
    if given == "another name":
        url = (
            url.replace("localhost", socket.gethostbyname("localhost"))
            + f"&sslrootcert={encrypted.authority}"
        )

    end = made.start("refused", workers=1, environment={**environment, "DOGFOOD_FLEET": url}).end()

    assert end.status == 4, end.text
    assert words in end.text
    assert "localhost" in end.text or "127.0.0.1" in end.text
    assert RIGHT not in end.text
    assert WRONG not in end.text
