"""`dogfood fleet init` and `show`, as typed and seen."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.fleet.board import BoardUnusableError, End, FleetToken, Machine, Offer, TokenState, Turn
from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.tables import TABLES, check_tables, grant, make_tables
from pytest_dogfood.journey import Token
from tests.fleet.conftest import PostgresBoardOf
from tests.fleet.test_boards_agree import History
from tests.support import postgres

Type = Callable[..., int]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Type `dogfood fleet …` in an empty directory, with a database; gives the exit status."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, url: str) -> int:
        monkeypatch.setenv("DOGFOOD_FLEET", url)
        return main(["fleet", *words])

    return run


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.partition('@')[2]}").geturl()


def test_init_makes_the_tables_and_then_leaves_them_alone(
    typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("init", url=postgres_url) == 0
    first = capsys.readouterr().out
    assert "the tables of the fleet have been made: postgresql://" in first
    execute(postgres_url, "INSERT INTO fleet_runs (run, agreement) VALUES ('kept', '')")
    assert typed("init", url=postgres_url) == 0
    assert "the tables of the fleet are there: postgresql://" in capsys.readouterr().out
    assert typed("show", url=postgres_url) == 0
    assert capsys.readouterr().out.startswith("kept  begun ")


def test_several_can_make_the_tables_at_the_same_time(postgres_url: str) -> None:
    def make(_: int) -> bool:
        with closing(Connection(postgres_url)) as connection:
            return make_tables(connection)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == [False, False, False, True]


def test_a_database_that_is_not_utf8_is_refused_with_the_command_that_makes_one(
    typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgres.server("SQL_ASCII") as server:
        assert typed("init", url=server.url) == 4
    said = capsys.readouterr().err
    assert "has the encoding SQL_ASCII, and a fleet needs UTF8" in said
    assert "createdb --template=template0 --encoding=UTF8 --locale=C NAME" in said


@pytest.mark.parametrize("command", ["init", "show"])
def test_tables_of_a_newer_version_are_refused(
    command: str, typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("init", url=postgres_url)
    execute(postgres_url, "COMMENT ON TABLE fleet_runs IS 'dogfood fleet, tables 7'")
    assert typed(command, url=postgres_url) == 4
    assert "newer version of pytest-dogfood (tables 7, here 1); install that one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage", ["DROP TABLE fleet_units", "COMMENT ON TABLE fleet_runs IS NULL"], ids=["part", "foreign"]
)
def test_tables_that_are_not_whole_are_refused(
    damage: str, typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("init", url=postgres_url)
    execute(postgres_url, damage)
    assert typed("init", url=postgres_url) == 4
    said = capsys.readouterr().err
    assert "are not whole" in said
    assert "DROP TABLE fleet_runs, " in said


def test_without_tables_the_command_that_makes_them_is_named(
    typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("show", url=postgres_url) == 4
    assert "has no tables of a fleet; make them: dogfood fleet init" in capsys.readouterr().err


def test_a_role_that_may_not_create_tables_is_told_which_grant_helps(
    typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(
        postgres_url,
        "DROP ROLE IF EXISTS weak",
        "CREATE ROLE weak LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    assert typed("init", url=as_role(postgres_url, "weak")) == 4
    assert "GRANT CREATE ON SCHEMA public TO weak;" in capsys.readouterr().err


def test_a_role_without_rights_is_told_which_grant_helps_and_it_helps(postgres_url: str) -> None:
    execute(postgres_url, "DROP ROLE IF EXISTS agent", "CREATE ROLE agent LOGIN")
    with closing(Connection(postgres_url)) as connection:
        make_tables(connection)
    with closing(Connection(as_role(postgres_url, "agent"))) as connection:
        with pytest.raises(BoardUnusableError, match="lacks DELETE, INSERT, SELECT, UPDATE") as refused:
            check_tables(connection)
        execute(postgres_url, str(refused.value).partition("\n")[2])
        check_tables(connection)
    execute(postgres_url, "DROP OWNED BY agent")


def test_no_database_is_named(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("init", url="") == 4
    assert "name the database: DOGFOOD_FLEET=postgresql://" in capsys.readouterr().err


def test_the_settings_may_name_the_database(
    typed: Type, fleet_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ndogfood_fleet = {fleet_url}\n")
    assert typed("init", url="") == 0
    assert "are there" in capsys.readouterr().out


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@host/ci",
        "me:hunter2@host/ci",
        "postgresql://me:hun@ter2@host/ci",
        "postgresql://me:hunter2@host:port/ci",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(
    url: str, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("show", url=url) == 4
    said = capsys.readouterr().err
    assert "the URL of the fleet's database cannot be read" in said
    assert "hunter2" not in said
    assert "ter2" not in said


def test_a_server_that_is_away_is_named_without_the_password(
    typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert typed("show", url=f"postgresql://me:hunter2@127.0.0.1:{port}/ci?sslpassword=hunter3") == 4
    said = capsys.readouterr().err
    assert f"postgresql://me@127.0.0.1:{port}/ci?sslpassword=***" in said
    assert "hunter" not in said


def test_a_database_that_does_not_exist_is_told_how_to_create_it(
    typed: Type, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("init", url=urlsplit(postgres_url)._replace(path="/nowhere").geturl()) == 4
    assert "To create it: createdb --template=template0" in capsys.readouterr().err


def test_without_psycopg_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None; from pytest_dogfood.cli.main import main;"
        "sys.exit(main(['fleet', 'init']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"DOGFOOD_FLEET": "postgresql://host/ci", "PYTHONPATH": ":".join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        4,
        "dogfood fleet init: a fleet needs psycopg: pip install 'pytest-dogfood[postgres]'\n",
    )


def test_show_says_what_each_machine_runs_and_what_waits_for_what(
    typed: Type, fleet_url: str, new_run: Callable[..., PostgresBoardOf], capsys: pytest.CaptureFixture[str]
) -> None:
    board_of = new_run()
    red, green, blue = (board_of(name) for name in ("red-07fa", "green-4be1", "blue-92d0"))
    for name, board in {"red-07fa": red, "green-4be1": green, "blue-92d0": blue}.items():
        board.join(Machine(name=name, host="box", workers=4), b"same", ["a", "b", "c"])
    red.turn(Turn(offers=(Offer("a", "test_a.py::test_one"),), idle=1))
    red.turn(Turn(ends=(End(nodeid="test_a.py::test_one", unit="a", attempt=1, outcome="passed"),)))
    blue.turn(Turn(offers=(Offer("b", "test_b.py::test_two"),), idle=1))
    red.declare_lost("blue-92d0", 0)
    green.turn(Turn(offers=(Offer("b", "test_b.py::test_two"),), idle=1))
    red.begin(red.hold(FleetToken(token=Token("staging-up")), "gw1"))
    red.use(Token("staging-up"))
    green.use(Token("staging-up"))
    image = green.hold(FleetToken(token=Token("image")), "gw0")
    green.settle(
        FleetToken(
            token=Token("image"),
            state=TokenState.FAILED,
            holder=image.holder,
            changes=image.changes,
            message="exit 1",
            tried_on=("green-4be1",),
        )
    )
    red.stop("by red-07fa: --maxfail 1")
    assert typed("show", red.run, url=fleet_url) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(": 1 of 3 units done; stopped by red-07fa: --maxfail 1")
    lines = [" ".join(line.split()) for line in shown]
    assert any(
        re.fullmatch(r"blue-92d0 box lost after \d+ s 4 workers 0 items ended", line) for line in lines
    )
    assert any(line.startswith("red-07fa box here, seen ") for line in lines)
    assert any(line.endswith("4 workers 1 item ended runs 0 units") for line in lines)
    assert "b runs on green-4be1: test_b.py::test_two lost on blue-92d0" in lines
    assert "c waits for a machine that is ready to run it" in lines
    assert "staging-up being provided by red-07fa/gw1 waiting for it: green-4be1" in lines
    assert "image failed on green-4be1: exit 1" in lines


def test_show_of_a_run_that_no_machine_has_joined_says_so(
    typed: Type, fleet_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("show", "never", url=fleet_url) == 4
    assert "no machine has joined a run never; list them: dogfood fleet show" in capsys.readouterr().err


def test_all_tables_are_checked(fleet_url: str) -> None:
    with psycopg.connect(fleet_url) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fleet%'"
        )
        assert {name for (name,) in found} == set(TABLES)


def test_the_page_grants_what_init_prints_and_that_is_enough_for_all_that_machines_do(
    postgres_url: str, new_run: Callable[..., PostgresBoardOf]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "fleet.md").read_text(encoding="utf-8")
    assert grant("fleet") in page
    execute(postgres_url, "DROP ROLE IF EXISTS fleet", "CREATE ROLE fleet LOGIN")
    with closing(Connection(postgres_url)) as connection:
        make_tables(connection)
    execute(postgres_url, grant("fleet"))
    try:
        for seed in range(3):
            history = History(seed, new_run(as_role(postgres_url, "fleet")))
            for _ in range(60):
                history.step()
            history.compare()
    finally:
        execute(postgres_url, "DROP OWNED BY fleet")
