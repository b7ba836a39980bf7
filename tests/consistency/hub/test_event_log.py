"""The event log: nobody changes it, and writers that race or die leave every chain closed and without gaps."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from pytest_dogfood.consistency.hub.connection import parse_url
from pytest_dogfood.consistency.hub.model import (
    Event,
    HubTask,
    Machine,
    Position,
    Source,
    Stamp,
    Status,
    position,
)
from pytest_dogfood.consistency.hub.store import Hub

LONG_AGO = """\
INSERT INTO task_events (task, version, at, machine, actor, source, from_status, to_status, reopen_count)
VALUES (:task, 2, '1990-01-01 00:00:00', 'here', 'a', 'api', 'todo', 'done', 0)
"""
WRITERS = Path(__file__).with_name("concurrent_writers.py")
HERE = Machine(id="here", host="host")

Add = Callable[..., HubTask]
MakeStamp = Callable[..., Stamp]
Move = tuple[str, Status, int, bool]


def test_the_log_comes_in_the_order_of_time_and_that_of_one_task_in_the_order_of_its_versions(
    hub: Hub, hub_url: str, add_task: Add
) -> None:
    first, other = add_task(hub, "T1"), add_task(hub, "T2")
    engine = create_engine(parse_url(hub_url))
    with engine.begin() as connection:
        connection.execute(text(LONG_AGO), {"task": other.id})
    engine.dispose()
    assert [(event.task, event.version) for event in hub.events()] == [
        (other.id, 2),
        (first.id, 1),
        (other.id, 1),
    ]
    assert [event.version for event in hub.events(other.id)] == [1, 2]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE task_events SET reason = 'x'", "DELETE FROM task_events", "DELETE FROM tasks"],
)
def test_the_database_refuses_to_change_the_log(
    hub: Hub, hub_url: str, add_task: Add, statement: str
) -> None:
    add_task(hub)
    engine = create_engine(parse_url(hub_url))
    with pytest.raises(DBAPIError), engine.begin() as connection:  # noqa: PT012 - SQLite needs its keys switched on
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA foreign_keys=ON"))
        connection.execute(text(statement))
    engine.dispose()
    assert len(hub.events()) == len(hub.tasks()) == 1


def test_sqlite_refuses_to_replace_an_event(sqlite_hub: Hub, add_task: Add) -> None:
    add_task(sqlite_hub)
    connection = sqlite3.connect(sqlite_hub.label)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("INSERT OR REPLACE INTO task_events SELECT * FROM task_events")
    connection.close()


def assert_closed(hub: Hub) -> None:
    """Each task's events are numbered without gaps, each begins where the one before ended, the last one is now."""
    for task in hub.tasks():
        events = hub.events(task.id)
        assert [event.version for event in events] == list(range(1, task.version + 1))
        assert (events[-1].to_status, events[-1].reopen_count) == (task.status, task.reopen_count)
        assert all(later.from_status == earlier.to_status for earlier, later in pairwise(events))
        assert all(_is_no_step_back(earlier, later) for earlier, later in pairwise(events))


def _is_no_step_back(earlier: Event, later: Event) -> bool:
    return position(Status(later.to_status), later.reopen_count) >= position(
        Status(earlier.to_status), earlier.reopen_count
    )


def _race(url: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, WRITERS, url, *arguments], check=True, timeout=120, stdout=subprocess.PIPE
    )


def test_racing_writers_leave_closed_chains_and_no_regression(hub: Hub, hub_url: str, add_task: Add) -> None:
    for number in range(30):
        add_task(hub, f"T{number}")
    _race(hub_url, "8", "once")
    assert hub.events(regressions=True) == ()
    assert_closed(hub)


def test_without_the_guard_the_same_race_regresses(hub: Hub, hub_url: str, add_task: Add) -> None:
    for number in range(20):
        add_task(hub, f"T{number}")
    _race(hub_url, "8", "once", "unguarded")
    assert hub.events(regressions=True)


def test_writers_killed_in_the_middle_leave_closed_chains(
    hub: Hub, hub_url: str, add_task: Add, eventually: Callable[[Callable[[], bool]], bool]
) -> None:
    for number in range(5):
        add_task(hub, f"T{number}")
    race = subprocess.Popen(
        [sys.executable, WRITERS, hub_url, "3", "endless"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert race.stdout is not None
    with race.stdout as printed:
        writers = [int(printed.readline()) for _ in range(3)]
    for writer in writers:
        count = len(hub.events())
        assert eventually(partial(_has_events, hub, count + 20))
        os.kill(writer, signal.SIGKILL)
    assert race.wait(timeout=30)
    assert_closed(hub)
    assert all(event.source == "reopen" and event.reason for event in hub.events(regressions=True))
    # Nobody holds a lock any more.
    assert hub.reopen(
        hub.tasks()[0],
        Status.TODO,
        stamp=Stamp(machine=HERE, actor="after", source=Source.REOPEN, reason="to see"),
    )


def _has_events(hub: Hub, count: int) -> bool:
    return len(hub.events()) > count


@pytest.fixture(scope="module")
def long_lived_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub, _ = Hub.create(str(tmp_path_factory.mktemp("hub") / "hub.sqlite"))
    with hub:
        yield hub


_MOVES = st.lists(
    st.tuples(
        st.sampled_from(["forward", "set", "resolve", "reopen"]),
        st.sampled_from(Status),
        st.integers(min_value=0, max_value=2),  # the count that a forward move claims
        st.booleans(),  # whether it is made by somebody who saw the task long ago
    ),
    max_size=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from(Status), moves=_MOVES)
def test_no_sequence_of_moves_lowers_a_position(
    long_lived_hub: Hub, start: Status, moves: list[Move]
) -> None:
    hub = long_lived_hub
    made = hub.create_task(
        HubTask(id="", repo="shop", task_id=str(uuid.uuid4()), status=start.value),
        stamp=_stamp(Source.CREATE),
    )
    assert made is not None
    seen = made
    for how, status, count, is_stale in moves:
        before = hub.task(made.id)
        assert before is not None
        seen = seen if is_stale else before
        applied = _apply(hub, seen, how, status, count)
        after = hub.task(made.id)
        assert after is not None
        assert applied is (after.version == before.version + 1)
        assert _stands_at(after) >= _stands_at(before)
    (task,) = hub.find_tasks(made.id)
    assert [event.version for event in hub.events(made.id)] == list(range(1, task.version + 1))


def _stamp(source: Source) -> Stamp:
    return Stamp(machine=HERE, actor="tester", source=source, reason="because")


def _stands_at(task: HubTask) -> Position:
    return position(Status(task.status), task.reopen_count)


def _apply(hub: Hub, seen: HubTask, how: str, status: Status, count: int) -> bool:
    match how:
        case "forward":
            return hub.move_forward(seen, status, reopen_count=count, stamp=_stamp(Source.FILE))
        case "set":
            return hub.set_status(seen, status, stamp=_stamp(Source.API))
        case "resolve":
            return hub.resolve(seen, status, stamp=_stamp(Source.RESOLVE))
        case _:
            return hub.reopen(seen, status, stamp=_stamp(Source.REOPEN))
