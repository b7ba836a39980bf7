"""A hub on both databases: what it accepts, what it refuses, and what its log says."""

from __future__ import annotations

import os
import sqlite3
import stat
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from pytest_dogfood.consistency.hub import schema
from pytest_dogfood.consistency.hub.connection import Database, parse_url
from pytest_dogfood.consistency.hub.model import (
    HubError,
    HubTask,
    HubUnreachable,
    HubUsageError,
    Machine,
    NoHubError,
    SchemaTooNew,
    Stamp,
    Status,
    Writeback,
)
from pytest_dogfood.consistency.hub.schema import metadata
from pytest_dogfood.consistency.hub.store import Hub

HERE = Machine(id="here", host="host")

Add = Callable[..., HubTask]
MakeStamp = Callable[..., Stamp]
Move = tuple[str, Status, int, bool]


def test_a_new_hub_has_exactly_the_tables_of_the_program(hub_url: str) -> None:
    hub, found = Hub.create(hub_url)
    hub.close()
    engine = create_engine(parse_url(hub_url))
    assert found == 0
    assert set(inspect(engine).get_table_names()) == set(metadata.tables)
    engine.dispose()


def test_creating_a_hub_that_is_there_changes_nothing(hub: Hub, hub_url: str, add_task: Add) -> None:
    task = add_task(hub)
    again, found = Hub.create(hub_url)
    with again:
        assert (again.id, found) == (hub.id, len(schema.STEPS))
        assert again.tasks() == (task,)


def test_opening_a_hub_that_does_not_exist_makes_nothing(hub_url: str) -> None:
    with pytest.raises(NoHubError, match="dogfood hub init"):
        Hub.open(hub_url)
    engine = create_engine(parse_url(hub_url))
    path = Path(engine.url.database or "")
    assert not path.exists() if engine.dialect.name == "sqlite" else not inspect(engine).get_table_names()
    engine.dispose()


def _set_schema(url: str, version: int) -> None:
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE schema_version SET version = {version}"))  # noqa: S608 - a number
    engine.dispose()


def test_a_newer_schema_is_refused_with_exit_status_3(hub: Hub, hub_url: str) -> None:
    _set_schema(hub_url, 99)
    with pytest.raises(SchemaTooNew, match="pip install --upgrade") as opening:
        Hub.open(hub_url)
    with pytest.raises(SchemaTooNew):
        Hub.create(hub_url)
    assert opening.value.exit_status == 3
    assert hub.id


def test_an_older_schema_is_upgraded_by_init_and_by_nothing_else(
    hub: Hub, hub_url: str, add_task: Add
) -> None:
    task = add_task(hub)

    def second(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE repos ADD COLUMN colour TEXT"))

    steps = (*schema.STEPS, second)
    database = Database(parse_url(hub_url))
    with (
        pytest.raises(HubUsageError, match="upgrade it once: dogfood hub init"),
        database.transaction(write=False) as connection,
    ):
        schema.require_current(connection, len(steps), where="here")
    with database.transaction(write=True) as connection:
        assert schema.upgrade(connection, steps, where="here") == 1
        assert schema.upgrade(connection, steps, where="here") == 2
        assert "colour" in {column["name"] for column in inspect(connection).get_columns("repos")}
    database.close()
    assert hub.tasks() == (task,)


def test_a_database_with_tables_of_somebody_else_is_left_alone(hub_url: str) -> None:
    engine = create_engine(parse_url(hub_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tasks (id INTEGER)"))
    with pytest.raises(HubUsageError, match=r"tables of another program \(tasks\)"):
        Hub.create(hub_url)
    assert inspect(engine).get_table_names() == ["tasks"]
    engine.dispose()


def test_a_hub_opened_for_reading_refuses_every_write(hub: Hub, hub_url: str, add_task: Add) -> None:
    task = add_task(hub)
    with Hub.open(hub_url, readonly=True) as reader:
        with pytest.raises(HubError):
            reader.register(Path("/w/other"), slug="other", root_commit="", machine=HERE)
        with pytest.raises(HubError):
            reader.record_path(task.id, "elsewhere.md")
        assert reader.tasks() == (task,)


def test_an_sqlite_hub_is_put_in_order_once_and_not_after_each_transaction(
    sqlite_hub: Hub, add_task: Add
) -> None:
    log = Path(f"{sqlite_hub.label}-wal")
    with Hub.open(sqlite_hub.label) as hub:
        add_task(hub)
        assert log.stat().st_size
    assert not log.exists()


def test_an_sqlite_hub_that_vanishes_is_noticed_and_what_to_look_for_is_said(sqlite_hub: Hub) -> None:
    with Hub.open(sqlite_hub.label) as hub:
        Path(hub.label).unlink()
        with pytest.raises(HubUnreachable, match="is it still there"):
            hub.tasks()


def test_reading_an_sqlite_hub_leaves_no_file_behind_and_its_bytes_alone(
    sqlite_hub: Hub, add_task: Add
) -> None:
    add_task(sqlite_hub)
    path = Path(sqlite_hub.label)
    before = path.read_bytes()
    with Hub.open(sqlite_hub.label, readonly=True) as reader:
        assert len(reader.tasks()) == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_hub_on_a_read_only_disk_can_be_read(
    sqlite_hub: Hub, add_task: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = add_task(sqlite_hub)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # nobody can take rights from root
    with Hub.open(sqlite_hub.label, readonly=True) as reader:
        assert reader.tasks() == (task,)


def test_several_that_create_one_hub_at_once_get_the_same(hub_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(Hub.create, [hub_url] * 6))
    assert len({hub.id for hub, _ in made}) == 1
    assert sorted(found for _, found in made) == [0, 1, 1, 1, 1, 1]
    for hub, _ in made:
        hub.close()


def test_a_checkout_is_registered_once(hub: Hub) -> None:
    first = hub.register(Path("/w/shop"), slug="shop", root_commit="", machine=HERE)
    again = hub.register(Path("/w/shop"), slug="shop", root_commit="abc", machine=HERE)
    second = hub.register(Path("/w/shop2"), slug="shop", root_commit="abc", machine=HERE)
    assert first == again
    assert hub.checkouts("here", repo="shop") == (first, second)
    assert hub.checkouts("elsewhere") == ()
    assert [repo.root_commit for repo in hub.repos()] == ["abc"]


def test_a_path_of_another_repository_and_a_slug_of_another_history_are_refused(hub: Hub) -> None:
    hub.register(Path("/w/shop"), slug="shop", root_commit="abc", machine=HERE)
    with pytest.raises(HubUsageError, match=r"registered as 'shop' already.*dogfood hub forget /"):
        hub.register(Path("/w/shop"), slug="other", root_commit="abc", machine=HERE)
    with pytest.raises(HubUsageError, match="another repository"):
        hub.register(Path("/w/new"), slug="shop", root_commit="def", machine=HERE)
    assert [repo.slug for repo in hub.repos()] == ["shop"]


def test_a_task_is_created_once_in_its_repository(hub: Hub, add_task: Add, stamp: MakeStamp) -> None:
    task = add_task(hub, title="Sell")
    double = HubTask(id="", repo="shop", task_id=task.task_id, status="done")
    same_key = HubTask(id=task.id, repo="other", task_id="X", status="done")
    assert hub.create_task(double, stamp=stamp()) is None
    assert hub.create_task(same_key, stamp=stamp()) is None
    assert hub.tasks() == (task,)
    assert hub.find_tasks(task.task_id) == hub.find_tasks(task.id.upper()) == (task,)
    assert hub.find_tasks(task.task_id, repo="other") == ()


def test_a_writeback_is_recorded(hub: Hub, add_task: Add) -> None:
    checkout = hub.register(Path("/w/shop"), slug="shop", root_commit="", machine=HERE)
    task = add_task(hub)
    done = Writeback(
        run_id="run",
        checkout=checkout.id,
        path="workplans/a.md",
        task=task.id,
        from_status="todo",
        to_status="done",
        commit="abc",
    )
    hub.record_writebacks([done])
    hub.record_writebacks([])
    (logged,) = hub.writebacks(task.id, repo="shop")
    assert (logged.task, logged.machine, logged.host, logged.path) == (task.id, HERE.id, HERE.host, done.path)
    assert (logged.from_status, logged.to_status, logged.commit) == ("todo", "done", "abc")
    assert abs(datetime.now(UTC) - logged.at) < timedelta(minutes=5)
    assert hub.writebacks(repo="other") == hub.writebacks(str(uuid.uuid4())) == ()


def test_a_path_comes_back_as_it_was_even_if_it_is_no_utf_8(hub: Hub, add_task: Add) -> None:
    task = add_task(hub, title="nul \0 \ud800")
    hub.record_path(task.id, "workplans/\udcff→\n'\".md")
    (found,) = hub.tasks()
    assert found.source_path == "workplans/\udcff→\n'\".md"
    assert found.title == "nul \0 \ud800"
    assert found.version == 1


def test_a_locked_sqlite_hub_is_reported_and_not_waited_for_without_end(
    sqlite_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_dogfood.consistency.hub.connection.BUSY_TIMEOUT", 0)
    holder = sqlite3.connect(sqlite_hub.label, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(HubUnreachable, match="locked"), Hub.open(sqlite_hub.label) as second:
        second.register(Path("/w/other"), slug="other", root_commit="", machine=HERE)
    holder.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    path.write_text("not a database, but long enough to look like one" * 40)
    with pytest.raises(NoHubError, match="is not an SQLite database"):
        Hub.open(str(path))


def test_a_new_sqlite_hub_uses_a_write_ahead_log_in_a_private_directory(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hub.sqlite"
    Hub.create(str(path))[0].close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
