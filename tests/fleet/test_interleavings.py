"""What happens if machines change a run at the same time, in an order that each test determines; also by PgBouncer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg
import pytest
from msgspec.structs import replace

from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    BoardUnreachableError,
    End,
    FleetToken,
    Joined,
    Machine,
    MachineLostError,
    MachineState,
    Offer,
    RunContents,
    TokenState,
    Turn,
)
from pytest_dogfood.fleet.database.connection import LIMITS, Connection, Statement
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.fleet.database.tables import make_tables
from pytest_dogfood.journey import Token
from tests.fleet.conftest import PostgresBoardOf
from tests.support.pgbouncer import pgbouncer
from tests.support.tcp_proxy import Proxy, proxy
from tests.support.waiting import until

T = TypeVar("T")

UNITS = ("u1", "u2", "u3")
STAGING = Token("staging-up")


@pytest.fixture(scope="module", params=["directly", "through PgBouncer"])
def url(request: pytest.FixtureRequest, fleet_url: str) -> Iterator[str]:
    if request.param == "directly":
        yield fleet_url
    else:
        with pgbouncer(fleet_url, sessions=12) as through:
            yield through


class Start(Protocol):
    """Starts a call that waits for the run's row."""

    def __call__(self, call: Callable[[], T]) -> Future[T]: ...


class Fleet:
    """Machines on one run, and its row, which a test can hold while they queue for it."""

    def __init__(self, board_of: PostgresBoardOf, fleet_url: str, pool: ThreadPoolExecutor) -> None:
        self.board_of = board_of
        self.run = board_of("").run
        self._fleet_url = fleet_url
        self.pool = pool

    def join(self, name: str, board: PostgresBoard | None = None) -> PostgresBoard:
        board = board or self.board_of(name)
        board.join(Machine(name=name), b"same", UNITS)
        return board

    def contents(self) -> RunContents:
        return self.board_of("reader").contents()

    @contextmanager
    def in_order(self) -> Iterator[Start]:
        """Return a function that starts calls, each of which waits for the run's row; they get it in this order."""
        with psycopg.connect(self._fleet_url) as holder:
            holder.execute("SELECT 1 FROM fleet_runs WHERE run = %s FOR UPDATE", [self.run])
            started: list[Future[Any]] = []

            def start(call: Callable[[], T]) -> Future[T]:
                future = self.pool.submit(call)
                started.append(future)
                assert until(lambda: self._waiting() == len(started))
                return future

            yield start
            holder.rollback()
            for each in started:
                each.exception()

    def _waiting(self) -> int:
        with psycopg.connect(self._fleet_url) as looking:
            found = looking.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock' AND query LIKE '%%UPDATE fleet_runs SET news%%'"
            ).fetchone()
        return int(found[0]) if found else 0


@pytest.fixture
def fleet(url: str, fleet_url: str, new_run: Callable[..., PostgresBoardOf]) -> Iterator[Fleet]:
    with ThreadPoolExecutor(8) as pool:
        yield Fleet(new_run(url), fleet_url, pool)


def take(board: Board, *units: str) -> Answer:
    return board.turn(Turn(offers=tuple(Offer(unit, f"{unit}::first") for unit in units), idle=len(units)))


def end(unit: str, nodeid: str = "", *, attempt: int = 1, after: str = "") -> End:
    return End(nodeid=nodeid or f"{unit}::first", unit=unit, attempt=attempt, outcome="passed", next=after)


def test_two_that_take_the_same_unit_at_once_do_not_both_get_it(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    with fleet.in_order() as start:
        first, second = start(lambda: take(red, "u1", "u2")), start(lambda: take(green, "u2", "u3"))
    assert [unit.name for unit in first.result().mine] == ["u1", "u2"]
    assert [unit.name for unit in second.result().mine] == ["u3"]


def test_an_end_that_waits_while_another_is_made_has_the_later_number(fleet: Fleet) -> None:
    red, green, blue = fleet.join("red"), fleet.join("green"), fleet.join("blue")
    take(red, "u1")
    take(green, "u2")
    seen = blue.news(0).news
    with fleet.in_order() as start:
        later = start(lambda: green.turn(Turn(ends=(end("u2"),))))
        latest = start(lambda: red.turn(Turn(ends=(end("u1"),))))
        assert blue.news(seen).ends == ()  # a reader neither waits nor sees what may not come to be
    assert [one.nodeid for one in blue.news(seen).ends] == ["u2::first", "u1::first"]
    assert later.result().news < latest.result().news


def test_no_end_of_many_that_are_made_at_once_is_missed(fleet: Fleet) -> None:
    units = [f"unit-{number}" for number in range(40)]
    boards = {name: fleet.board_of(name) for name in ("red", "green", "blue", "reader")}
    for name, board in boards.items():
        board.join(Machine(name=name), b"same", units)

    def work(board: Board) -> None:
        while mine := board.turn(Turn(offers=tuple(Offer(unit, unit) for unit in units), idle=1)).mine:
            for number in range(10):
                after = "next" if number < 9 else ""
                board.turn(Turn(ends=(end(mine[0].name, f"{mine[0].name}-{number}", after=after),)))

    heard: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, board) for name, board in boards.items() if name != "reader"]
        seen = 0
        while True:
            is_over = all(each.done() for each in working)
            answer = boards["reader"].news(seen)
            heard += [one.nodeid for one in answer.ends]
            seen = answer.news
            if is_over:
                break
    assert sorted(heard) == sorted(f"{unit}-{number}" for unit in units for number in range(10))
    for each in working:
        each.result()


def test_a_machine_that_was_declared_lost_while_its_taking_waited_takes_nothing(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    with fleet.in_order() as start:
        lost = start(lambda: green.declare_lost("red", 0))
        taking = start(lambda: take(red, "u1"))
    assert lost.result()
    assert isinstance(taking.exception(), MachineLostError)
    assert [(unit.machine, unit.attempt, unit.losses) for unit in fleet.contents().units] == [("", 0, 0)] * 3


def test_what_a_machine_takes_just_before_it_is_declared_lost_is_free_again(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    with fleet.in_order() as start:
        taking = start(lambda: take(red, "u1"))
        lost = start(lambda: green.declare_lost("red", 0))
    assert [unit.name for unit in taking.result().mine] == ["u1"]
    assert lost.result()
    unit = fleet.contents().units[0]
    assert (unit.machine, unit.lost_in, unit.lost_on, unit.losses) == ("", ("u1::first",), ("red",), 1)
    with pytest.raises(MachineLostError):
        red.turn(Turn(ends=(end("u1"),)))
    assert [unit.attempt for unit in take(green, "u1").mine] == [2]


def test_a_sign_of_life_while_the_loss_waits_keeps_the_machine(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "u1")
    with fleet.in_order() as start:
        lost = start(lambda: green.declare_lost("red", 0))
        red.beat()
    assert not lost.result()
    assert [unit.name for unit in red.turn(Turn()).mine] == ["u1"]


def test_an_end_just_before_the_loss_counts_and_one_just_after_does_not(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "u1", "u2")
    with fleet.in_order() as start:
        before = start(lambda: red.turn(Turn(ends=(end("u1"),))))
        start(lambda: green.declare_lost("red", 0))
    with pytest.raises(MachineLostError):
        red.turn(Turn(ends=(end("u2"),)))
    assert before.result().refused == ()
    found = fleet.contents()
    assert [one.nodeid for one in found.ends] == ["u1::first"]
    assert [(unit.done, unit.losses) for unit in found.units] == [(True, 0), (False, 1), (False, 0)]


def test_two_that_declare_the_same_loss_free_its_units_once(fleet: Fleet) -> None:
    red, green, blue = fleet.join("red"), fleet.join("green"), fleet.join("blue")
    take(red, "u1")
    with fleet.in_order() as start:
        losses = [start(partial(board.declare_lost, "red", 0)) for board in (green, blue)]
    assert [loss.result() for loss in losses] == [True, True]
    assert [unit.losses for unit in fleet.contents().units] == [1, 0, 0]


def test_two_that_declare_each_other_lost_do_not_both_go(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    with fleet.in_order() as start:
        first = start(lambda: red.declare_lost("green", 0))
        second = start(lambda: green.declare_lost("red", 0))
    assert first.result()
    assert isinstance(second.exception(), MachineLostError)
    assert [machine.state for machine in fleet.contents().machines] == [MachineState.LOST, MachineState.HERE]


def test_of_two_that_leave_at_once_the_last_one_releases(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    held = red.hold(red.token(STAGING), "gw0")
    red.settle(
        FleetToken(token=STAGING, state=TokenState.HELD, ours=True, holder=held.holder, changes=held.changes)
    )
    with fleet.in_order() as start:
        first, second = start(green.leave), start(red.leave)
    assert first.result() is None
    (released,) = second.result() or ()
    assert (released.token, released.state) == (STAGING, TokenState.RELEASING)
    settled = FleetToken(token=STAGING, holder=released.holder, changes=released.changes)
    assert red.settle(settled).state is TokenState.ABSENT
    assert red.leave() is None


def test_a_run_is_not_closed_while_a_machine_that_came_first_is_here(fleet: Fleet) -> None:
    fleet.join("red").leave()
    closer, late = fleet.board_of("closer"), fleet.board_of("late")
    with fleet.in_order() as start:
        joined = start(lambda: late.join(Machine(name="late"), b"same", UNITS))
        closed = start(closer.close_run)
    assert joined.result().closed == ""
    assert not closed.result()
    assert [unit.name for unit in take(late, "u1").mine] == ["u1"]


def test_a_machine_that_comes_after_the_close_does_not_join(fleet: Fleet) -> None:
    fleet.join("red").leave()
    closer, late = fleet.board_of("closer"), fleet.board_of("late")
    with fleet.in_order() as start:
        closed = start(closer.close_run)
        joined = start(lambda: late.join(Machine(name="late"), b"same", UNITS))
    assert closed.result()
    assert joined.result().closed
    assert [machine.name for machine in fleet.contents().machines] == ["red"]
    with pytest.raises(MachineLostError):
        late.turn(Turn())


def test_two_that_begin_a_run_at_once_agree_on_one(url: str, new_run: Callable[..., PostgresBoardOf]) -> None:
    board_of = new_run(url)
    boards = [board_of(name) for name in ("red", "green", "blue", "grey")]

    def join(board: PostgresBoard, agreement: bytes) -> Joined:
        return board.join(Machine(name=agreement.decode()), agreement, UNITS)

    agreements = (b"one", b"two", b"three", b"four")
    with ThreadPoolExecutor(4) as pool:
        joined = list(pool.map(join, boards, agreements))
    (made,) = {one.agreement for one in joined if one.agreement}
    assert [one.agreement for one in joined] == [b"" if own == made else made for own in agreements]


@pytest.fixture
def through_proxy(fleet: Fleet, url: str) -> Iterator[Callable[[str], tuple[Proxy, PostgresBoard]]]:
    """Return a function that lets a machine join over a network of its own."""
    with ExitStack() as stack:

        def join(name: str) -> tuple[Proxy, PostgresBoard]:
            network, address = stack.enter_context(proxy(url))
            board = PostgresBoard(address, fleet.run, name)
            stack.callback(board.close)
            fleet.join(name, board)
            return network, board

        yield join


def test_a_turn_whose_answer_was_lost_is_made_again_and_comes_to_the_same(
    fleet: Fleet, through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]]
) -> None:
    network, red = through_proxy("red")
    network.lose_next_answer()
    assert [(unit.name, unit.attempt) for unit in take(red, "u1", "u2").mine] == [("u1", 1), ("u2", 1)]
    network.lose_next_answer()
    answer = red.turn(Turn(ends=(end("u1"), end("u2", after="u2::second")), idle=1, knows=("u1", "u2")))
    assert answer.refused == ()
    assert [(unit.name, unit.current) for unit in answer.mine] == [("u2", "u2::second")]
    assert [one.nodeid for one in fleet.contents().ends] == ["u1::first", "u2::first"]


def test_a_repeated_taking_counts_what_the_first_one_took(
    through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]],
) -> None:
    network, red = through_proxy("red")
    network.lose_next_answer()
    answer = red.turn(Turn(offers=(Offer("u1", "i"), Offer("u2", "i"), Offer("u3", "i")), idle=1))
    assert [unit.name for unit in answer.mine] == ["u1"]


def test_a_hold_and_a_settlement_whose_answers_were_lost_are_made_once(
    through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]],
) -> None:
    network, red = through_proxy("red")
    network.lose_next_answer()
    held = red.hold(red.token(STAGING), "gw0")
    assert (held.holder, held.changes) == ("red/gw0", 1)
    network.lose_next_answer()
    settled = red.settle(
        FleetToken(token=STAGING, state=TokenState.HELD, holder=held.holder, changes=held.changes)
    )
    assert (settled.state, settled.holder, settled.changes) == (TokenState.HELD, "", 2)


def test_joining_beating_and_leaving_bear_that_their_answers_are_lost(
    fleet: Fleet, through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]]
) -> None:
    network, red = through_proxy("red")
    for call in (lambda: red.join(Machine(name="red"), b"same", UNITS), red.beat, red.leave):
        network.lose_next_answer()
        call()
    assert [machine.state for machine in fleet.contents().machines] == [MachineState.LEFT]


def test_a_turn_that_reaches_the_row_after_a_newer_one_of_its_machine_changes_nothing(fleet: Fleet) -> None:
    red = fleet.join("red")
    late = fleet.board_of("red")  # its turns are numbered from 1 again, as one that was on the way
    take(red, "u1")
    red.turn(Turn(ends=(end("u1"),)))
    take(late, "u1", "u2")
    assert red.turn(Turn()).mine == ()


def test_a_client_that_freezes_within_a_change_does_not_keep_the_row(fleet: Fleet, url: str) -> None:
    red = fleet.join("red")
    with psycopg.connect(url, autocommit=True) as frozen:
        # As the board's turns begin, but with shorter limits.
        frozen.execute("BEGIN")
        frozen.execute("SELECT set_config('idle_in_transaction_session_timeout', '500ms', true)")
        frozen.execute("UPDATE fleet_runs SET news = news + 1 WHERE run = %s", [fleet.run])
        assert [unit.name for unit in take(red, "u1").mine] == ["u1"]
        with pytest.raises(psycopg.Error):
            frozen.execute("SELECT 1")


def test_a_client_that_freezes_while_it_sends_a_change_does_not_keep_the_row(
    fleet: Fleet,
    fleet_url: str,
    through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(fleet_url) as connection:
        if connection.info.server_version < 170_000:
            pytest.skip("before version 17, PostgreSQL does not limit how long a transaction takes")
    network, red = through_proxy("red")
    green = fleet.join("green")
    monkeypatch.setitem(LIMITS, "transaction_timeout", "1s")
    network.stop_sending_after(b"UPDATE fleet_machines SET turn")
    frozen = fleet.pool.submit(lambda: take(red, "u1"))
    assert network.is_stopped.wait(30)
    assert [unit.name for unit in take(green, "u1").mine] == ["u1"]
    network.close()
    assert isinstance(frozen.exception(), BoardUnreachableError)


def test_a_client_that_freezes_while_it_sends_a_record_keeps_nobody_waiting(
    fleet: Fleet, through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]]
) -> None:
    network, red = through_proxy("red")
    green = fleet.join("green")
    take(red, "u1")
    network.stop_sending_after(b"the failure")
    record = b"the failure" + bytes(2_000_000)
    frozen = fleet.pool.submit(lambda: red.turn(Turn(ends=(replace(end("u1"), record=record),))))
    assert network.is_stopped.wait(30)
    assert [unit.name for unit in take(green, "u2").mine] == ["u2"]
    network.close()
    assert isinstance(frozen.exception(), BoardUnreachableError)
    assert fleet.contents().ends == ()


def test_a_client_that_freezes_while_it_reads_does_not_keep_the_row(
    fleet: Fleet, through_proxy: Callable[[str], tuple[Proxy, PostgresBoard]]
) -> None:
    network, red = through_proxy("red")
    green = fleet.join("green")
    take(green, "u1")
    large = End(nodeid="large", unit="u1", attempt=1, outcome="passed", result=bytes(12_000_000))
    green.turn(Turn(ends=(large,)))
    network.freeze_reading()
    frozen = fleet.pool.submit(lambda: red.turn(Turn()))
    assert until(lambda: green.turn(Turn()).news > 6)
    network.close()
    assert isinstance(frozen.exception(), BoardUnreachableError)


def test_the_limits_hold_within_a_change_and_not_for_the_session(url: str) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    asked: Statement = (f"SELECT {columns}", {})
    with closing(Connection(url)) as connection:
        ((within,),), ((outside,),) = connection.change([asked]), connection.read(asked)
    assert within == ("10s", "5s", "read committed")
    assert outside[:2] == ("0", "0")


def test_the_isolation_that_a_server_has_by_default_does_not_matter(
    fleet: Fleet, postgres_url: str, new_run: Callable[..., PostgresBoardOf]
) -> None:
    url = postgres_url
    with psycopg.connect(url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'".encode()
        )
    with closing(Connection(url)) as connection_of_fleet:
        make_tables(connection_of_fleet)
    other = Fleet(new_run(url), url, fleet.pool)
    red, green = other.join("red"), other.join("green")
    with other.in_order() as start:
        first, second = start(lambda: take(red, "u1")), start(lambda: take(green, "u1", "u2"))
    assert [unit.name for unit in first.result().mine] == ["u1"]
    assert [unit.name for unit in second.result().mine] == ["u2"]
