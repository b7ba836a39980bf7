"""The connection of a board to its database: servers that go away, and runs that are old."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from pytest_dogfood.fleet.board import BoardUnreachableError, Machine, Offer, RunGoneError, Turn
from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.fleet.database.tables import make_tables
from tests.fleet.conftest import PostgresBoardOf
from tests.support import postgres

ODD = "lone \udc80 and \ud800, NUL \0, é 🎉 \uef00"


def test_a_server_that_was_restarted_between_two_calls_is_not_noticed() -> None:
    with postgres.server() as server:
        with closing(Connection(server.url)) as connection:
            make_tables(connection)
        with closing(PostgresBoard(server.url, "run", "red")) as red:
            red.join(Machine(name="red"), b"", ["unit"])
            server.stop()
            server.start()
            assert [unit.name for unit in red.turn(Turn(offers=(Offer("unit", "first"),), idle=1)).mine] == [
                "unit"
            ]


def test_a_server_that_is_away_is_reported_or_waited_for() -> None:
    with postgres.server() as server:
        with closing(Connection(server.url)) as connection:
            make_tables(connection)
        with (
            closing(PostgresBoard(server.url, "run", "red")) as red,
            closing(PostgresBoard(server.url, "run", "red", repeat_for=60)) as worker,
            ThreadPoolExecutor(1) as pool,
        ):
            red.join(Machine(name="red"), b"", ["unit"])
            server.stop()
            with pytest.raises(BoardUnreachableError, match="cannot be used"):
                red.beat()
            waiting = pool.submit(worker.beat)
            server.start()
            assert [machine.beats for machine in waiting.result()] == [1]
            assert [machine.beats for machine in red.beat()] == [2]


def test_a_new_run_forgets_those_in_which_nothing_has_happened_for_long(
    fleet_url: str, new_run: Callable[..., PostgresBoardOf]
) -> None:
    old, recent = new_run()("red"), new_run()("red")
    for board in (old, recent):
        board.join(Machine(name="red"), b"", ["unit"])
    with psycopg.connect(fleet_url) as connection:
        for run, days in ((old.run, 31), (recent.run, 29)):
            connection.execute(
                "UPDATE fleet_runs SET changed = now() - make_interval(days => %s) WHERE run = %s",
                [days, run],
            )
    new_run()("red").join(Machine(name="red"), b"", ["unit"])
    assert recent.contents().units
    with pytest.raises(RunGoneError):
        old.turn(Turn())
    with psycopg.connect(fleet_url) as connection:
        assert connection.execute("SELECT 1 FROM fleet_units WHERE run = %s", [old.run]).fetchall() == []


def test_any_text_comes_back_as_it_was(new_run: Callable[..., PostgresBoardOf]) -> None:
    red = new_run()("red")
    joined = red.join(Machine(name="red", host=ODD), b"\0\xff", [ODD, "unit"])
    assert joined.machines[0].host == ODD
    red.stop(ODD)
    contents = red.contents()
    assert {unit.name for unit in contents.units} == {ODD, "unit"}
    assert (contents.agreement, contents.stopped) == (b"\0\xff", ODD)


def test_a_machine_may_leave_a_record_after_it_has_left(new_run: Callable[..., PostgresBoardOf]) -> None:
    red = new_run()("red")
    red.join(Machine(name="red"), b"", ["unit"])
    assert red.leave() is None
    red.run_record(b"record")
    assert red.contents().run_records == {"red": b"record"}
