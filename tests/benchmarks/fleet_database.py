"""What the database of a fleet costs its machines, far away and close by."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from statistics import median

import psycopg

from pytest_dogfood.fleet.board import End, Machine, Offer, Turn
from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.fleet.database.tables import make_tables
from tests.benchmarks.measuring import Row
from tests.support import postgres
from tests.support.tcp_proxy import proxy

ROUND_TRIP = 0.03
"""Seconds from a machine to the database and back."""

_RUNS = count(1)


def fleet_database(times: int) -> list[Row]:
    """Measure the board on a server of this machine, by a network that takes 30 ms, and without one."""
    with postgres.server() as server:
        with closing(Connection(server.url)) as connection:
            make_tables(connection)
        with proxy(server.url, delay=ROUND_TRIP / 2) as (_, far):
            rows = [_one_turn(far, 10 * times), *_many_machines(far, times)]
        return [*rows, *_large_run(server.url, times), _idle(server)]


@contextmanager
def machines(url: str, number: int, units: Sequence[str]) -> Iterator[list[PostgresBoard]]:
    """Let machines join a new run of these units."""
    run = f"bench-{next(_RUNS)}"
    boards = [PostgresBoard(url, run, f"machine-{each}") for each in range(number)]
    try:
        for each, board in enumerate(boards):
            board.join(Machine(name=f"machine-{each}"), b"same", units)
        yield boards
    finally:
        for board in boards:
            board.close()


def work(board: PostgresBoard, units: Sequence[str], turns: int, idle: int = 1) -> list[float]:
    """End what the machine holds and take other units, in each of so many turns; return the seconds of each."""
    seconds, answer = [], board.news(0)
    for _ in range(turns):
        ends = [
            End(
                nodeid=unit.name,
                unit=unit.name,
                attempt=unit.attempt,
                outcome="passed",
                result=bytes(500),
                record=bytes(300),
            )
            for unit in answer.mine
        ]
        offers = tuple(Offer(unit, unit) for unit in units[:64])
        started = time.perf_counter()
        answer = board.turn(Turn(ends=tuple(ends), offers=offers, idle=idle, seen=answer.news))
        seconds.append(time.perf_counter() - started)
        units = units[idle:]
    return seconds


def _one_turn(url: str, turns: int) -> Row:
    units = _units(turns + 1)
    with machines(url, 1, units) as (board,):
        seconds = work(board, units, turns)
    return Row(what="fleet: one turn, round trip 30 ms, ms", ours=1000 * median(seconds), target=50)


def _many_machines(url: str, times: int) -> list[Row]:
    first, per_second = [], []
    for _ in range(times):
        units = _units(16 * 41)
        with machines(url, 16, units) as boards, ThreadPoolExecutor(16) as pool:
            # Each has an order of its own, as by its own durations.
            orders = [units[number * 41 :] + units[: number * 41] for number in range(16)]
            began = time.perf_counter()
            list(pool.map(lambda board, order: work(board, order, 1, 4), boards, orders))
            first.append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(lambda board, order: work(board, order[4:], 20), boards, orders))
            per_second.append(16 * 20 / (time.perf_counter() - began))
    return [
        Row(
            what="fleet: 16 machines, turns/s, round trip 30 ms",
            ours=median(per_second),
            target=150,
            at_least=True,
        ),
        Row(what="fleet: 16 machines take 4 units each at once, s", ours=median(first), target=0.3),
    ]


def _large_run(url: str, times: int) -> list[Row]:
    joining, reading = [], []
    units = _units(10_000)
    for _ in range(times):
        run = f"bench-{next(_RUNS)}"
        names = [f"machine-{number}" for number in range(20)]
        boards = [PostgresBoard(url, run, name) for name in names]
        with ThreadPoolExecutor(20) as pool:
            began = time.perf_counter()
            list(pool.map(lambda board, name: board.join(Machine(name=name), b"same", units), boards, names))
            joining.append(time.perf_counter() - began)
            for start in range(0, 10_000, 64):
                work(boards[0], units[start:], 2, 64)
            began = time.perf_counter()
            list(pool.map(lambda board: board.news(0), boards))
            reading.append(time.perf_counter() - began)
        for board in boards:
            board.close()
    return [
        Row(what="fleet: 20 machines join a run of 10,000 items, s", ours=median(joining), target=2),
        Row(what="fleet: 20 machines read 10,000 ends at once, s", ours=median(reading), target=3),
    ]


def _idle(server: postgres.Server) -> Row:
    """Count the statements of an idle machine, which asks for news every 2 s, and beats every 5 s."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET log_statement = 'all'")
    with machines(server.url, 1, ["unit"]) as (board,):
        before = _statements(server)
        board.news(1)
        poll = _statements(server) - before
        board.beat()
        beat = _statements(server) - before - poll
    return Row(what="fleet: statements of an idle machine, per second", ours=poll / 2 + beat / 5, target=2)


def _statements(server: postgres.Server) -> int:
    return server.log.read_text(errors="replace").count("execute <unnamed>")


def _units(number: int) -> list[str]:
    return [f"tests/test_module.py::test_{each}" for each in range(number)]
