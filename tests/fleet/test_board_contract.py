"""What every board of a fleet does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    End,
    FleetToken,
    Joined,
    Losses,
    Machine,
    MachineLostError,
    MachineState,
    Offer,
    RunContents,
    RunGoneError,
    TokenState,
    Turn,
    Unit,
)
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.journey import Token
from tests.fleet.conftest import BoardOf
from tests.support.fleet_boards import MemoryBoard

UNITS = ("a", "b", "c")
STAGING = Token("staging-up")
IMAGE = Token("image-pushed")


def contents_of(board: Board) -> RunContents:
    assert isinstance(board, PostgresBoard)
    return board.contents()


class Fleet:
    """Boards of machines that have joined a run of the units a, b and c."""

    def __init__(self, board_of: BoardOf) -> None:
        self.board_of = board_of

    def join(self, name: str) -> Board:
        board = self.board_of(name)
        board.join(Machine(name=name, workers=2), b"same", UNITS)
        return board

    def everything(self) -> Joined:
        """Return all that is on the board, as a machine sees it that joins with another agreement."""
        return self.board_of("reader").join(Machine(name="reader"), b"another", ())

    def unit(self, name: str) -> Unit:
        return self.units()[name]

    def units(self) -> dict[str, Unit]:
        board = self.board_of("reader")
        found = board.run.units.values() if isinstance(board, MemoryBoard) else contents_of(board).units
        return {unit.name: unit for unit in found}

    def machine(self, name: str) -> Machine:
        return next(machine for machine in self.everything().machines if machine.name == name)


@pytest.fixture
def fleet(board_of: BoardOf) -> Fleet:
    return Fleet(board_of)


def take(board: Board, *units: str, idle: int = 1, knows: Sequence[str] = ()) -> Answer:
    offers = tuple(Offer(unit, f"{unit}::1") for unit in units)
    return board.turn(Turn(offers=offers, idle=idle, knows=tuple(knows)))


def end(
    board: Board, unit: str, number: int, *, last: bool = False, attempt: int = 1, seen: int = 0
) -> Answer:
    following = "" if last else f"{unit}::{number + 1}"
    one = End(
        nodeid=f"{unit}::{number}",
        unit=unit,
        attempt=attempt,
        outcome="passed",
        result=b"\0r",
        next=following,
    )
    return board.turn(Turn(ends=(one,), seen=seen))


def mine(answer: Answer) -> list[str]:
    return [unit.name for unit in answer.mine]


def lose(board: Board, machine: str) -> bool:
    counters = {one.name: one.beats for one in board.beat()}
    return board.declare_lost(machine, counters[machine])


# Joining


def test_the_first_machine_makes_the_run_and_the_others_find_what_it_has(board_of: BoardOf) -> None:
    joined = board_of("red").join(Machine(name="red", host="r", workers=4), b"same", UNITS)
    assert (joined.agreement, joined.held) == (b"", ())
    assert all(unit.is_free and not unit.attempt for unit in Fleet(board_of).units().values())
    joined = board_of("green").join(Machine(name="green"), b"same", UNITS)
    assert joined.machines == (Machine(name="green"), Machine(name="red", host="r", workers=4))
    assert (joined.ends, joined.stopped, joined.closed, joined.finished) == ((), "", "", "")


def test_a_machine_with_another_agreement_learns_the_first_and_changes_nothing(fleet: Fleet) -> None:
    fleet.join("red")
    board = fleet.board_of("green")
    assert board.join(Machine(name="green"), b"\0other", ("a", "x")).agreement == b"same"
    everything = fleet.everything()
    assert [*fleet.units()] == ["a", "b", "c"]
    assert [machine.name for machine in everything.machines] == ["red"]
    with pytest.raises(MachineLostError):
        board.beat()


def test_joining_twice_is_as_good_as_once(fleet: Fleet) -> None:
    red = fleet.join("red")
    take(red, "a")
    red.beat()
    joined = red.join(Machine(name="red", workers=2), b"same", UNITS)
    assert [machine.beats for machine in joined.machines] == [1]
    assert [(unit.name, unit.machine) for unit in joined.held] == [("a", "red")]


def test_a_machine_that_has_left_or_was_lost_does_not_come_back(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    lose(green, "red")
    with pytest.raises(MachineLostError):
        red.join(Machine(name="red"), b"same", UNITS)
    green.leave()
    with pytest.raises(MachineLostError):
        green.join(Machine(name="green"), b"same", UNITS)


def test_a_machine_that_joins_late_finds_all_ends_and_whether_the_run_is_finished(fleet: Fleet) -> None:
    red = fleet.join("red")
    for unit in UNITS:
        take(red, unit)
        assert fleet.everything().finished == ""
        end(red, unit, 1, last=True)
    joined = fleet.board_of("blue").join(Machine(name="blue"), b"same", UNITS)
    assert joined.finished
    assert {one.nodeid for one in joined.ends} == {"a::1", "b::1", "c::1"}
    assert fleet.machine("blue").state is MachineState.HERE


def test_a_run_that_does_not_exist_is_gone(board_of: BoardOf) -> None:
    board = board_of("red")
    for call in (lambda: board.turn(Turn()), lambda: board.news(0), board.beat, board.leave):
        with pytest.raises(RunGoneError):
            call()


# Taking


def test_a_machine_takes_the_first_free_units_of_its_offers(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    assert mine(take(red, "b")) == ["b"]
    answer = take(green, "b", "c", "a", idle=2)
    assert answer.mine == (
        Unit(name="a", machine="green", attempt=1, current="a::1"),
        Unit(name="c", machine="green", attempt=1, current="c::1"),
    )


def test_a_turn_that_is_made_twice_takes_no_more_than_once(fleet: Fleet) -> None:
    red = fleet.join("red")
    assert mine(take(red, "a", "b", "c", idle=2)) == ["a", "b"]
    assert mine(take(red, "a", "b", "c", idle=2)) == ["a", "b"]
    assert mine(take(red, "a", "b", "c", idle=1, knows=["a", "b"])) == ["a", "b", "c"]


def test_units_that_are_done_are_nobodys_and_are_not_taken(fleet: Fleet) -> None:
    red = fleet.join("red")
    take(red, "a")
    assert mine(end(red, "a", 1, last=True)) == []
    assert mine(take(red, "a", "b")) == ["b"]
    assert fleet.unit("a") == Unit(name="a", machine="red", attempt=1, done=True)


def test_a_machine_hears_which_of_those_set_aside_are_free_now(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a", "b", idle=2)
    end(red, "a", 1, last=True)
    assert green.turn(Turn(aside=UNITS)).free == ("c",)
    red.leave()
    assert green.news(0, UNITS).free == ("b", "c")


def test_a_stopped_run_gives_out_nothing_and_still_counts_ends(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    green.stop("first")
    red.stop("second")
    answer = take(red, "b", idle=2)
    assert (mine(answer), answer.stopped, answer.closed) == (["a"], "first", False)
    assert end(red, "a", 1).ends != ()


def test_what_a_machine_cannot_provide_is_seen_by_all(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    red.turn(Turn(fails=(IMAGE, STAGING)))
    assert [machine.fails for machine in green.beat()] == [(), (IMAGE, STAGING)]


# Ends and news


def test_an_end_tells_all_machines_and_moves_the_unit_on(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    answer = end(red, "a", 1)
    (heard,) = green.news(0).ends
    assert (heard.nodeid, heard.machine, heard.outcome, heard.result) == ("a::1", "red", "passed", b"\0r")
    assert (heard.unit, heard.attempt, heard.next) == ("a", 1, "a::2")
    assert heard.news == answer.news
    assert answer.ends == (heard,)
    assert answer.refused == ()
    assert fleet.unit("a").current == "a::2"


def test_an_end_that_is_told_twice_counts_once_and_moves_nothing_back(fleet: Fleet) -> None:
    red = fleet.join("red")
    take(red, "a")
    end(red, "a", 1)
    end(red, "a", 2)
    assert end(red, "a", 1).refused == ()
    assert fleet.unit("a").current == "a::3"
    assert [one.nodeid for one in red.news(0).ends] == ["a::1", "a::2"]
    end(red, "a", 3, last=True)
    assert end(red, "a", 2).refused == ()
    assert fleet.unit("a").done


def test_several_ends_of_one_turn_count_in_their_order_and_free_the_place_for_the_next_unit(
    fleet: Fleet,
) -> None:
    red = fleet.join("red")
    take(red, "a")
    ends = (
        End(nodeid="a::1", unit="a", attempt=1, outcome="passed", next="a::2"),
        End(nodeid="a::2", unit="a", attempt=1, outcome="failed"),
    )
    answer = red.turn(Turn(ends=ends, offers=(Offer("b", "b::1"),), idle=1))
    assert mine(answer) == ["b"]
    assert [one.nodeid for one in answer.ends] == ["a::1", "a::2"]
    assert fleet.unit("a").done


def test_only_news_after_those_seen_are_told(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    end(red, "a", 1)
    seen = green.news(0).news
    assert green.news(seen).ends == ()
    end(red, "a", 2)
    assert [one.nodeid for one in green.turn(Turn(seen=seen)).ends] == ["a::2"]


def test_every_turn_increases_the_news(fleet: Fleet) -> None:
    red = fleet.join("red")
    found = [red.turn(Turn()).news for _ in range(3)]
    assert found == sorted(set(found))
    assert red.news(0).news == found[-1]


def test_an_end_of_an_attempt_that_is_over_is_refused(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    blue = fleet.join("blue")
    take(blue, "a")
    blue.leave()
    assert end(red, "a", 1).refused == ("a::1",), "nobody holds the unit"
    take(green, "a")
    assert end(red, "a", 1, attempt=2).refused == ("a::1",), "another machine holds it"
    assert end(green, "a", 1, attempt=1).refused == ("a::1",), "it is of the attempt before"
    assert red.news(0).ends == ()
    assert fleet.unit("a").current == "a::1"
    assert end(green, "a", 1, attempt=2).refused == ()
    assert end(red, "a", 1, attempt=2).refused == ("a::1",)


def test_machines_do_not_read_records_of_items_and_add_one_of_their_own_after_they_have_left(
    fleet: Fleet,
) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    red.turn(Turn(ends=(End(nodeid="a::1", unit="a", attempt=1, outcome="passed", record=b"\0long"),)))
    assert [(one.nodeid, one.record) for one in green.news(0).ends] == [("a::1", b"")]
    red.leave()
    red.run_record(b"\0run")


# Membership


def test_beats_count_and_tell_all_machines(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    red.beat()
    assert [(one.name, one.beats) for one in green.beat()] == [("green", 1), ("red", 1)]
    assert [(one.name, one.beats) for one in red.beat()] == [("green", 1), ("red", 2)]


def test_a_machine_that_has_beaten_since_is_not_lost(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    red.beat()
    assert not green.declare_lost("red", 0)
    assert fleet.machine("red").state is MachineState.HERE
    red.beat()


def test_the_units_of_a_lost_machine_are_free_and_tell_of_the_loss(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a", "b", idle=2)
    end(red, "a", 1)
    end(red, "b", 1, last=True)
    assert lose(green, "red")
    assert lose(green, "red"), "two may declare the same loss"
    assert fleet.unit("a") == Unit(name="a", attempt=1, lost_in=("a::2",), lost_on=("red",), losses=1)
    assert fleet.unit("b") == Unit(name="b", machine="red", attempt=1, done=True)
    assert fleet.machine("red").state is MachineState.LOST


def test_losses_tell_which_units_were_lost_with_which_machines(fleet: Fleet) -> None:
    red, green, blue = fleet.join("red"), fleet.join("green"), fleet.join("blue")
    assert blue.losses() == Losses()
    take(red, "a", "b", idle=2)
    end(red, "b", 1, last=True)
    lose(green, "red")
    take(green, "a")
    lose(blue, "green")
    losses = blue.losses()
    assert losses.after.keys() == {"red", "green"}
    assert all(0 <= seconds < 600 for seconds in losses.after.values())
    assert losses.units == (
        Unit(name="a", attempt=2, lost_in=("a::1", "a::1"), lost_on=("red", "green"), losses=2),
    )


def test_a_lost_machine_may_change_nothing(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    held = red.hold(red.token(STAGING), "gw0")
    lose(green, "red")
    for call in (
        lambda: end(red, "a", 1),
        lambda: take(red, "b"),
        lambda: red.stop("it"),
        red.beat,
        red.leave,
        lambda: red.declare_lost("green", 99),
        lambda: red.hold(held, "gw0"),
        lambda: red.begin(held),
        lambda: red.settle(held),
        lambda: red.use(STAGING),
        lambda: red.end_use(STAGING),
        lambda: red.forget(held),
        lambda: red.end_holds("gw0"),
    ):
        with pytest.raises(MachineLostError):
            call()
    assert fleet.unit("b").is_free
    assert green.news(0).ends == ()
    assert red.news(0).mine == ()
    assert red.token(STAGING).holder == ""


def test_a_machine_that_leaves_frees_what_it_held_without_a_loss(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    take(red, "a")
    assert red.leave() is None
    assert red.leave() is None
    assert fleet.unit("a") == Unit(name="a", attempt=1)
    assert take(green, "a").mine == (Unit(name="a", machine="green", attempt=2, current="a::1"),)
    assert not green.declare_lost("red", 0)
    assert fleet.machine("red").state is MachineState.LEFT
    with pytest.raises(MachineLostError):
        take(red, "a")


# Tokens


def provide(board: Board, token: Token, worker: str = "gw0", **values: str) -> FleetToken:
    begun = begin(board, token, worker)
    return board.settle(replace(begun, state=TokenState.HELD, by=worker, values=values))


def begin(board: Board, token: Token, worker: str = "gw0") -> FleetToken:
    return board.begin(board.hold(board.token(token), worker))


def test_a_token_that_was_never_spoken_of_is_absent(fleet: Fleet) -> None:
    assert fleet.join("red").token(STAGING) == FleetToken(token=STAGING)


def test_one_worker_holds_a_token_while_it_is_provided_and_its_values_travel(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    absent = green.token(STAGING)
    held = red.hold(red.token(STAGING), "gw0")
    assert (held.holder, held.state, held.ours) == ("red/gw0", TokenState.ABSENT, False)
    assert red.hold(absent, "gw0") == held, "asked for twice"
    assert green.hold(absent, "gw0").holder == "red/gw0"
    assert green.hold(held, "gw0").holder == "red/gw0"
    assert red.hold(held, "gw1").holder == "red/gw0"
    begun = red.begin(held)
    assert (begun.holder, begun.state, begun.ours) == ("red/gw0", TokenState.COMING, True)
    assert red.begin(held) == begun, "told twice"
    made = replace(begun, state=TokenState.HELD, by="provider", values={"URL": "a\0b"}, message="m")
    settled = red.settle(made)
    assert settled == replace(made, holder="", changes=settled.changes)
    assert green.token(STAGING) == settled


def test_a_token_that_is_there_can_be_held_and_stays_there(fleet: Fleet) -> None:
    red = fleet.join("red")
    settled = provide(red, STAGING, URL="x")
    held = red.hold(settled, "gw1")
    assert (held.state, held.holder, held.values) == (TokenState.HELD, "red/gw1", {"URL": "x"})
    red.settle(held)
    assert red.token(STAGING).holder == ""


def test_a_request_that_arrives_late_holds_and_settles_nothing(fleet: Fleet) -> None:
    red = fleet.join("red")
    absent = red.token(STAGING)
    held = red.begin(red.hold(absent, "gw0"))
    failed = replace(held, state=TokenState.ABSENT, tried_on=("red",), message="no")
    settled = red.settle(failed)
    assert red.hold(absent, "gw0") == settled
    again = red.hold(settled, "gw0")
    assert again.holder == "red/gw0"
    assert red.settle(failed) == again
    assert red.begin(failed) == again


def test_only_the_holder_begins_and_settles(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    held = red.hold(red.token(STAGING), "gw0")
    assert green.settle(replace(held, state=TokenState.HELD)) == held
    assert green.begin(held) == held
    assert red.begin(replace(held, holder="red/gw1")) == held
    assert red.settle(replace(held, holder="red/gw1", state=TokenState.HELD)) == held


def test_uses_are_noted_for_each_machine_and_do_not_disturb_a_hold(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    held = red.hold(red.token(STAGING), "gw0")
    green.use(STAGING)
    assert set(red.use(STAGING).used_by) == {"red", "green"}
    assert set(red.use(STAGING).used_by) == {"red", "green"}
    assert set(red.settle(replace(held, state=TokenState.HELD)).used_by) == {"red", "green"}
    green.end_use(STAGING)
    green.end_use(STAGING)
    assert red.token(STAGING).used_by == ("red",)


@pytest.mark.parametrize("leaves", [True, False])
def test_the_uses_of_a_machine_end_with_it(fleet: Fleet, *, leaves: bool) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    red.use(STAGING)
    if leaves:
        red.leave()
    else:
        lose(green, "red")
    assert green.token(STAGING).used_by == ()


def test_what_a_lost_machine_was_providing_is_absent_and_may_be_half_made(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    begin(red, STAGING)
    provide(red, IMAGE)
    red.hold(red.token(IMAGE), "gw1")
    asked = red.hold(red.token(Token("there-before")), "gw2")
    lose(green, "red")
    asked_then = green.token(asked.token)
    assert (asked_then.holder, asked_then.ours, asked_then.lost_on) == ("", False, ()), "nothing had begun"
    staging, image = green.token(STAGING), green.token(IMAGE)
    assert (staging.state, staging.holder, staging.ours, staging.lost_on) == (
        TokenState.ABSENT,
        "",
        True,
        ("red",),
    )
    assert (image.state, image.holder, image.ours, image.lost_on) == (TokenState.HELD, "", True, ())
    assert green.hold(staging, "gw0").holder == "green/gw0"


def test_what_a_dead_worker_was_providing_is_absent_and_it_gets_nothing_later(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    green.hold(green.token(IMAGE), "gw0")
    begin(red, STAGING)
    red.end_holds("gw0")
    red.end_holds("gw0")
    lost = red.token(STAGING)
    assert (lost.state, lost.holder, lost.ours, lost.lost_on) == (TokenState.ABSENT, "", True, ("red",))
    assert red.hold(lost, "gw0").holder == ""
    assert red.hold(lost, "gw1").holder == "red/gw1"
    assert red.token(IMAGE).holder == "green/gw0"


def test_a_token_is_forgotten_for_all(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    settled = provide(red, STAGING, URL="x")
    forgotten = green.forget(settled)
    assert red.token(STAGING) == forgotten
    assert (forgotten.state, forgotten.values, forgotten.ours) == (TokenState.ABSENT, {}, True)
    assert red.hold(settled, "gw0").holder == "", "it has changed since"
    held = red.begin(red.hold(forgotten, "gw0"))
    assert red.forget(held) == held
    failed = red.settle(replace(held, state=TokenState.FAILED, tried_on=("red", "green"), message="no"))
    assert failed.state is TokenState.FAILED
    assert red.forget(held) == failed, "it has changed since"
    again = red.forget(failed)
    assert (again.state, again.tried_on, again.message) == (TokenState.ABSENT, (), "")


def test_a_token_that_is_forgotten_while_somebody_asks_is_to_be_settled_by_it(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    held = red.hold(provide(red, STAGING), "gw0")
    forgotten = green.forget(held)
    assert (forgotten.state, forgotten.holder) == (TokenState.ABSENT, "red/gw0")
    assert green.forget(held) == forgotten
    assert red.settle(replace(held, state=TokenState.ABSENT)).holder == ""


def test_the_last_machine_to_leave_releases_what_the_fleet_made_the_youngest_first(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    provide(red, STAGING)
    provide(green, IMAGE)
    theirs = red.hold(red.token(Token("there-before")), "gw0")
    red.settle(replace(theirs, state=TokenState.HELD))
    assert red.leave() is None
    releasing: tuple[FleetToken, ...] = ()
    for _ in range(2):
        releasing = green.leave() or ()
        assert [one.token for one in releasing] == [IMAGE, STAGING]
        assert {(one.state, one.holder) for one in releasing} == {(TokenState.RELEASING, "green/main")}
    assert fleet.machine("green").state is MachineState.HERE
    green.settle(replace(releasing[0], state=TokenState.ABSENT, ours=False))
    rest = green.leave()
    assert rest == releasing[1:]
    green.settle(replace(releasing[1], state=TokenState.ABSENT, ours=False))
    assert green.leave() is None


def test_nobody_gets_a_token_that_is_being_released_and_a_machine_that_comes_then_releases_the_rest(
    fleet: Fleet,
) -> None:
    red = fleet.join("red")
    provide(red, STAGING)
    assert red.leave() is not None
    green = fleet.join("green")
    assert green.hold(green.token(STAGING), "gw0").holder == "red/main"
    assert red.leave() is None, "it is not the last one any more"
    found = green.token(STAGING)
    assert (found.state, found.holder, found.ours) == (TokenState.ABSENT, "", True)
    releasing = green.leave()
    assert releasing is not None
    assert [one.token for one in releasing] == [STAGING]


def test_what_was_half_made_is_released_by_the_last_machine(fleet: Fleet) -> None:
    red, green = fleet.join("red"), fleet.join("green")
    begin(red, STAGING)
    lose(green, "red")
    assert [one.token for one in green.leave() or ()] == [STAGING]


def test_what_the_last_machine_was_providing_when_it_was_interrupted_is_released_too(fleet: Fleet) -> None:
    red = fleet.join("red")
    begin(red, STAGING)
    for _ in range(2):
        releasing = red.leave() or ()
        assert [(one.token, one.state, one.holder) for one in releasing] == [
            (STAGING, TokenState.RELEASING, "red/main")
        ]
