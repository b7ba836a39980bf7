"""What a hub asks of a PostgreSQL database before it is used: UTF-8, whole tables, writes, and rights."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.hub import schema
from pytest_dogfood.consistency.hub.connection import parse_url
from pytest_dogfood.consistency.hub.model import (
    HubTask,
    HubUnreachable,
    HubUsageError,
    RightsError,
    Stamp,
    Status,
)
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.machines import plan
from tests.support import postgres
from tests.support.checkouts import Checkout, Farm

Add = Callable[..., HubTask]
LETTERS = "T1 → ü 日本"

READING = """
GRANT SELECT ON hub, schema_version, repos, checkouts, tasks, task_events, writebacks TO {role};
"""
WRITING = """
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
"""


def run_sql(url: str, *statements: str) -> None:
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role, password="pw").render_as_string(hide_password=False)  # noqa: S106 - a role of the test


def granted(error: RightsError) -> list[str]:
    """Return the statements that a message says help."""
    return re.findall(r"^    (GRANT .*;)$", str(error), re.MULTILINE)


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """Make a role that may connect, and nothing else."""
    name = f"role_{uuid.uuid4().hex}"
    run_sql(postgres_url, f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
    yield name
    run_sql(postgres_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.fixture
def hub_on_postgres(postgres_url: str) -> Iterator[Hub]:
    made, _ = Hub.create(postgres_url)
    with made:
        yield made


@pytest.fixture
def encoded_url(postgres_url: str, postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty database of the encoding that the test's parameter names."""
    del postgres_url
    name = f"encoded_{uuid.uuid4().hex}"
    run_sql(
        postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'"
    )
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def make_hub_in_any_encoding(url: str) -> None:
    """Make a hub as it was made when the encoding was not yet asked for."""
    engine = create_engine(parse_url(url), connect_args={"client_encoding": "utf8"})
    with engine.begin() as connection:
        schema.upgrade(connection, where="here")
    engine.dispose()


ENCODINGS = pytest.mark.parametrize("encoded_url", ["LATIN1", "SQL_ASCII", "EUC_JP"], indirect=True)


@ENCODINGS
def test_a_database_that_is_not_utf8_is_refused_at_init_with_the_createdb_line(encoded_url: str) -> None:
    with pytest.raises(HubUsageError, match=r"createdb .*--encoding=UTF8 .*_utf8"):
        Hub.create(encoded_url)
    engine = create_engine(parse_url(encoded_url), connect_args={"client_encoding": "utf8"})
    with engine.connect() as connection:
        assert schema.found_tables(connection) == frozenset()
    engine.dispose()


@ENCODINGS
@pytest.mark.parametrize("readonly", [True, False])
def test_a_hub_in_a_database_that_is_not_utf8_is_refused_at_every_open(
    encoded_url: str, *, readonly: bool
) -> None:
    make_hub_in_any_encoding(encoded_url)
    with pytest.raises(HubUsageError, match=r"is encoded as .*createdb "):
        Hub.open(encoded_url, readonly=readonly)


def test_the_createdb_line_that_is_named_makes_a_database_for_a_hub(add_task: Add) -> None:
    with postgres.server("SQL_ASCII") as server:
        with pytest.raises(HubUsageError) as refused:
            Hub.create(server.url)
        line = str(refused.value).partition("name that one: ")[2]
        server.createdb(line)
        url = make_url(server.url).set(database=line.split()[-1])
        with Hub.create(url)[0] as hub:
            add_task(hub, LETTERS)
            assert [task.task_id for task in hub.tasks()] == [LETTERS]


@pytest.mark.parametrize(
    "variables, options",
    [
        ({}, {}),
        ({"PGCLIENTENCODING": "LATIN1"}, {}),
        ({}, {"client_encoding": "latin1"}),
        ({}, {"options": "-c client_encoding=latin1"}),
    ],
    ids=["role", "variable", "url", "options"],
)
def test_letters_come_back_whatever_encoding_the_client_is_told(
    variables: dict[str, str],
    options: dict[str, str],
    postgres_url: str,
    hub_on_postgres: Hub,
    role: str,
    add_task: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_task(hub_on_postgres, LETTERS)
    run_sql(
        postgres_url,
        *WRITING.format(role=role).strip().splitlines(),
        f"ALTER ROLE {role} SET client_encoding = 'LATIN1'",
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Hub.open(make_url(as_role(postgres_url, role)).update_query_dict(options)) as hub:
        assert [task.task_id for task in hub.tasks()] == [LETTERS]


def test_select_is_enough_to_read_a_hub(
    postgres_url: str, hub_on_postgres: Hub, role: str, add_task: Add
) -> None:
    task = add_task(hub_on_postgres)
    run_sql(postgres_url, READING.format(role=role))
    with Hub.open(as_role(postgres_url, role), readonly=True) as reader:
        assert (reader.tasks(), reader.writebacks()) == ((task,), ())


@pytest.mark.usefixtures("hub_on_postgres")
@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize(
    "before",
    [
        (),
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC",),
        tuple(READING.strip().splitlines()),
        (WRITING.strip().splitlines()[0],),
        (*WRITING.strip().splitlines(), "REVOKE INSERT ON writebacks FROM {role}"),
    ],
    ids=["none", "no-schema", "to-read", "no-sequence", "no-writebacks"],
)
def test_the_grants_that_a_refusal_names_are_those_that_were_missing(
    postgres_url: str, role: str, before: tuple[str, ...], *, readonly: bool
) -> None:
    run_sql(postgres_url, *(statement.format(role=role) for statement in before))
    # A role that does not see the schema is told so first: of the tables in it nothing is known.
    run_sql(postgres_url, *missing_grants(postgres_url, role, readonly=readonly))
    run_sql(postgres_url, *missing_grants(postgres_url, role, readonly=readonly))
    Hub.open(as_role(postgres_url, role), readonly=readonly).close()


def missing_grants(url: str, role: str, *, readonly: bool) -> list[str]:
    try:
        Hub.open(as_role(url, role), readonly=readonly).close()
    except RightsError as error:
        return granted(error)
    return []


@pytest.mark.parametrize(
    "before", [(), ("REVOKE ALL ON SCHEMA public FROM PUBLIC",)], ids=["no-create", "no-schema"]
)
def test_a_role_that_may_make_no_tables_is_told_the_grant_at_init(
    postgres_url: str, role: str, before: tuple[str, ...]
) -> None:
    run_sql(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", *before)
    with pytest.raises(RightsError, match=r"GRANT .*CREATE ON SCHEMA public") as refused:
        Hub.create(as_role(postgres_url, role))
    run_sql(postgres_url, *granted(refused.value))
    with Hub.create(as_role(postgres_url, role))[0] as hub:
        assert hub.tasks() == ()


def test_a_right_that_is_taken_away_in_the_middle_names_the_grants(
    postgres_url: str, hub_on_postgres: Hub, role: str, add_task: Add, stamp: Callable[..., Stamp]
) -> None:
    task = add_task(hub_on_postgres)
    run_sql(postgres_url, *WRITING.format(role=role).strip().splitlines())
    with Hub.open(as_role(postgres_url, role)) as hub:
        run_sql(postgres_url, f"REVOKE UPDATE ON tasks FROM {role}")
        with pytest.raises(RightsError, match="GRANT SELECT, INSERT, UPDATE ON ALL TABLES"):
            hub.move_forward(task, Status.DONE, stamp=stamp())


def test_a_role_that_may_not_connect_is_told_the_grant(
    postgres_url: str, hub_on_postgres: Hub, role: str
) -> None:
    database = make_url(postgres_url).database
    run_sql(postgres_url, f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    with pytest.raises(HubUnreachable, match="GRANT CONNECT ON DATABASE"):
        Hub.open(as_role(postgres_url, role))
    assert hub_on_postgres.tasks() == ()


def test_a_database_that_is_not_there_names_the_createdb_line(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="no_such_hub").render_as_string(hide_password=False)
    with pytest.raises(HubUnreachable, match="createdb --template=template0 --encoding=UTF8"):
        Hub.open(url)


@pytest.fixture
def shop(
    plain_git: Farm,
    hub_on_postgres: Hub,
    postgres_url: str,
    data_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Checkout:
    """A checkout of `shop`, in which T1 is further in the hub and T2 in the file; we are inside."""
    del data_directory
    first = plain_git.checkout("first")
    first.commit(plan({"X-T1": "todo", "X-T2": "done"}))
    first.git("clone", "--quiet", "--bare", str(first.path), str(plain_git.root / "origin.git"))
    clone = plain_git.clone()
    monkeypatch.setenv("DOGFOOD_HUB", postgres_url)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(clone.path)
    assert main(["hub", "register", str(clone.path), "--slug", "shop"]) == 0
    assert main(["consistency", "fix"]) == 0
    assert main(["hub", "set", "X-T1", "done"]) == 0
    clone.commit(plan({"X-T1": "todo", "X-T2": "done", "X-T3": "todo"}))
    assert hub_on_postgres.writebacks() == ()
    return clone


def test_no_file_is_committed_whose_row_the_hub_would_not_take(
    shop: Checkout,
    postgres_url: str,
    hub_on_postgres: Hub,
    role: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = shop.head
    run_sql(
        postgres_url,
        *WRITING.format(role=role).strip().splitlines(),
        f"REVOKE USAGE ON SEQUENCE writebacks_id_seq FROM {role}",
    )
    monkeypatch.setenv("DOGFOOD_HUB", as_role(postgres_url, role))
    assert main(["consistency", "fix"]) == 2
    assert f"GRANT USAGE ON SEQUENCE writebacks_id_seq TO {role};" in capsys.readouterr().err
    assert (shop.head, shop.out("status", "--porcelain")) == (before, "")
    run_sql(postgres_url, f"GRANT USAGE ON SEQUENCE writebacks_id_seq TO {role}")
    assert main(["consistency", "fix"]) == 0
    assert [each.task for each in hub_on_postgres.writebacks()] == [
        task.id for task in hub_on_postgres.find_tasks("X-T1")
    ]


def test_no_file_is_committed_while_its_row_waits_for_a_lock(
    shop: Checkout, postgres_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shop.head
    assert main(["consistency", "fix", "--no-writeback"]) == 0
    waiting = make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=200"})
    monkeypatch.setenv("DOGFOOD_HUB", waiting.render_as_string(hide_password=False))
    engine = create_engine(parse_url(postgres_url))
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLE writebacks IN SHARE MODE"))
        assert main(["consistency", "fix"]) == 3
    engine.dispose()
    assert "another session may hold a lock" in capsys.readouterr().err
    assert (shop.head, shop.out("status", "--porcelain")) == (before, "")


def test_a_fix_that_could_not_write_does_not_advise_to_fix(
    shop: Checkout, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shop.head
    refuse = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    run_sql(
        postgres_url,
        refuse,
        "CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )
    capsys.readouterr()
    assert main(["consistency", "fix"]) == 3
    said = capsys.readouterr()
    assert "C-20 not-in-hub  X-T3" in said.out
    assert "consistency fix" not in said.out + said.err
    assert shop.head == before


def test_a_lock_that_is_not_given_in_time_names_what_to_look_for(
    postgres_url: str, hub_on_postgres: Hub
) -> None:
    waiting = make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=200"})
    engine = create_engine(parse_url(postgres_url))
    with engine.connect() as connection, Hub.open(waiting) as hub:
        connection.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(HubUnreachable, match=r"another session may hold a lock.*pg_blocking_pids"):
            hub.tasks()
        connection.rollback()
        assert hub.tasks() == hub_on_postgres.tasks()
    engine.dispose()


def test_a_standby_can_be_read_and_says_before_any_write_what_to_name(add_task: Add) -> None:
    with postgres.server() as server:
        with Hub.create(server.url)[0] as hub:
            task = add_task(hub)
        server.become_standby()
        with Hub.open(server.url, readonly=True) as reader:
            assert reader.tasks() == (task,)
        with pytest.raises(HubUnreachable, match="target_session_attrs=read-write"):
            Hub.open(server.url)
        with pytest.raises(HubUnreachable, match="name the primary server"):
            Hub.create(server.url)
        server.promote()
        with Hub.open(server.url) as hub:
            assert add_task(hub, "T2").task_id == "T2"


def test_a_database_that_is_set_to_read_only_says_so_before_any_write(
    postgres_url: str, hub_on_postgres: Hub
) -> None:
    assert hub_on_postgres.tasks() == ()
    run_sql(
        postgres_url,
        f"ALTER DATABASE {make_url(postgres_url).database} SET default_transaction_read_only = on",
    )
    Hub.open(postgres_url, readonly=True).close()
    with pytest.raises(HubUnreachable, match="default_transaction_read_only is on") as refused:
        Hub.open(postgres_url)
    assert refused.value.exit_status == 3


PART = "holds only a part of a hub"


@pytest.mark.parametrize(
    "damage, said",
    [
        (["DROP TABLE writebacks"], r"missing tables: writebacks\)"),
        (["DROP TABLE schema_version"], r"missing tables: schema_version\)"),
        (["DROP TABLE hub", "DROP TABLE schema_version"], r"missing tables: hub, schema_version\)"),
        (["DROP TABLE writebacks", "DROP TABLE task_events"], r"missing tables: task_events, writebacks\)"),
        (["DELETE FROM schema_version"], "'schema_version' has 0 rows"),
        (["DELETE FROM hub"], "'hub' has 0 rows"),
        (["INSERT INTO hub (id) VALUES ('x')"], "'hub' has 2 rows"),
    ],
)
def test_a_half_emptied_hub_gets_one_message_at_open_and_at_init(
    hub_url: str, damage: list[str], said: str
) -> None:
    Hub.create(hub_url)[0].close()
    run_sql(hub_url, *damage)
    with pytest.raises(HubUsageError, match=f"{PART} .*{said}.*; restore it from a backup") as opening:
        Hub.open(hub_url)
    with pytest.raises(HubUsageError, match=PART) as making:
        Hub.create(hub_url)
    assert str(opening.value) == str(making.value)
