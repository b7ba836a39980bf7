from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_dogfood.fleet.board import MOST_LOSSES, MOST_OFFERED, Answer, Board, End, Machine, Unit
from pytest_dogfood.fleet.turns import LARGEST_TURN, Changes, Turns
from pytest_dogfood.journey import Token
from pytest_dogfood.scheduling.queue import Job
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from tests.support.fleet_boards import MemoryBoard, MemoryRun

NEEDS: Mapping[str, set[Token]] = {}


class Side:
    """A machine that is about to take turns: four items, of which `b` and `c` are one unit."""

    def __init__(self, run: MemoryRun, name: str, needs: Mapping[str, set[Token]] = NEEDS) -> None:
        self.board: Board = MemoryBoard(run, name)
        self.ids = ("a", "b", "c", "d")
        self.queue = SharedQueue(
            [
                Job(index=0, unit="a"),
                Job(index=1, unit="b", weight=9),
                Job(index=2, unit="b"),
                Job(index=3, unit="d", after=(2,)),
            ]
        )
        self.queue.add_worker("w")
        self.turns = Turns(name, self.queue, self.ids, needs)
        self.turns.join(self.board.join(Machine(name=name), b"", ("a", "b", "d")))

    def turn(self, idle: int = 0) -> Changes:
        turn = self.turns.next_turn(idle)
        return self.turns.apply(self.board.turn(turn), turn)

    def look(self) -> None:
        self.turns.look_at(self.board.beat())

    def end(self, nodeid: str, outcome: str = "passed", record: bytes = b"") -> None:
        self.turns.end(self.ids.index(nodeid), outcome, b"", record)


@pytest.fixture
def run() -> MemoryRun:
    return MemoryRun()


def test_a_machine_takes_as_many_units_as_workers_wait_the_most_urgent_first(run: MemoryRun) -> None:
    red = Side(run, "red")
    assert [(unit.name, unit.attempt) for unit in red.turn(1).taken] == [("b", 1)]
    assert red.queue.held == {"b"}
    assert run.units["b"].current == "b"


def test_what_another_machine_has_is_set_aside_until_it_is_free(run: MemoryRun) -> None:
    red, green = Side(run, "red"), Side(run, "green")
    red.turn(1)
    assert [unit.name for unit in green.turn(2).taken] == ["a"]
    assert green.queue.aside == {"b"}
    run.leave("red")
    green.turns.apply(green.board.news(green.turns.seen, green.turns.aside()))
    assert green.queue.aside == set()
    assert [unit.name for unit in green.turn(1).taken] == ["b"]


def test_a_machine_that_joins_sets_aside_what_others_have_and_does_not_run_what_has_ended(
    run: MemoryRun,
) -> None:
    red = Side(run, "red")
    red.turn(1)
    red.end("b")
    red.turn(1)
    green = Side(run, "green")
    assert green.queue.finished == {1}
    assert green.queue.aside == {"a", "b"}


def test_ends_go_out_with_the_next_item_of_the_unit_and_finish_it_in_the_end(run: MemoryRun) -> None:
    red, green = Side(run, "red"), Side(run, "green")
    red.turn(1)
    red.end("b")
    red.turn()
    assert run.units["b"].current == "c"
    red.end("c", "failed")
    assert [unit.name for unit in red.turn(2).taken] == ["a", "d"]
    assert run.units["b"].done
    answer = green.board.news(0)
    assert [(end.nodeid, end.outcome) for end in green.turns.news_in(answer)] == [
        ("b", "passed"),
        ("c", "failed"),
    ]
    green.turns.apply(answer)
    assert green.queue.finished == {1, 2}
    assert green.turns.news_in(answer) == ()


def test_ends_stay_until_a_turn_with_them_is_answered(run: MemoryRun) -> None:
    red = Side(run, "red")
    red.turn(2)
    red.end("b")
    lost = red.turns.next_turn(0)
    red.board.turn(lost)
    red.end("a")
    assert [end.nodeid for end in red.turns.next_turn(0).ends] == ["b", "a"]
    red.turn()
    assert red.turns.next_turn(0).ends == ()
    assert run.ends.keys() == {"a", "b"}


def test_what_is_too_much_for_one_turn_is_told_in_several(run: MemoryRun) -> None:
    red = Side(run, "red")
    red.turn(2)
    for nodeid, size in (("b", LARGEST_TURN + 1), ("c", LARGEST_TURN // 2), ("a", LARGEST_TURN // 2)):
        red.end(nodeid, record=bytes(size))
    parts = [["b"], ["c", "a"]]
    assert [[end.nodeid for end in turn.ends] for turn in red.turns.last_turns()] == parts
    for part in parts:
        assert [end.nodeid for end in red.turns.next_turn(0).ends] == part
        assert not red.turns.is_done
        red.turn()
    assert red.turns.last_turns() == ()
    assert [len(end.record) for end in run.ends.values()] == [LARGEST_TURN + 1, *2 * [LARGEST_TURN // 2]]


def test_what_was_taken_unheard_is_heard_in_the_next_answer(run: MemoryRun) -> None:
    red = Side(run, "red")
    red.board.turn(red.turns.next_turn(1))
    changes = red.turn(1)
    assert [unit.name for unit in changes.taken] == ["b"]
    assert not changes.lost
    assert red.queue.aside == set()


def test_a_machine_whose_unit_others_may_take_is_lost(run: MemoryRun) -> None:
    red, green = Side(run, "red"), Side(run, "green")
    red.turn(1)
    assert green.board.declare_lost("red", 0)
    assert red.turns.apply(red.board.news(0)).lost
    assert red.queue.held == set()


def test_a_machine_whose_end_is_refused_is_lost(run: MemoryRun) -> None:
    red = Side(run, "red")
    red.turn(1)
    red.end("b")
    turn = red.turns.next_turn(0)
    assert red.turns.apply(
        Answer(news=9, mine=(Unit(name="b", machine="red", attempt=1),), refused=("b",)), turn
    ).lost


def test_an_item_that_took_two_machines_down_is_to_be_reported_and_the_rest_of_its_unit_runs(
    run: MemoryRun,
) -> None:
    for name in ("red", "green"):
        Side(run, name).turn(1)
        Side(run, f"{name}-witness").board.declare_lost(name, 0)
    blue = Side(run, "blue")
    changes = blue.turn(1)
    assert changes.taken[0].lost_on == ("red", "green")
    assert changes.crashed == (1,)
    blue.end("b", "crashed")
    assert blue.queue.next_for("w") == (2,)


def test_a_unit_that_took_five_machines_down_is_to_be_reported_whole(run: MemoryRun) -> None:
    blue = Side(run, "blue")
    run.units["b"] = Unit(name="b", losses=MOST_LOSSES, attempt=5)
    assert blue.turn(1).crashed == (1, 2)


def test_a_stopped_run_gives_out_nothing(run: MemoryRun) -> None:
    red, green = Side(run, "red"), Side(run, "green")
    red.board.stop("stopped by red: --maxfail 1")
    assert green.turn(1).stopped == "stopped by red: --maxfail 1"
    assert green.turns.next_turn(1).offers == ()
    assert not green.turns.wants_turn(1)


def test_a_machine_leaves_to_others_what_it_cannot_provide_for(run: MemoryRun) -> None:
    needs = {"b": {Token("image")}}
    red, green = Side(run, "red", needs), Side(run, "green", needs)
    red.look()
    red.turns.fail([Token("image")])
    assert [unit.name for unit in red.turn(2).taken] == ["a"]
    assert "b" not in red.turns.aside()
    green.look()
    assert next(one for one in run.machines.values() if one.name == "red").fails == ("image",)
    assert [unit.name for unit in green.turn(1).taken] == ["b"]


def test_a_machine_tries_what_no_other_can_provide_for_either(run: MemoryRun) -> None:
    needs = {"b": {Token("image")}}
    red, green = Side(run, "red", needs), Side(run, "green", needs)
    for side in (red, green):
        side.turns.fail([Token("image")])
        side.turn()
        red.look()
    assert [unit.name for unit in red.turn(1).taken] == ["b"]


def test_a_machine_tries_what_it_cannot_provide_for_once_no_other_is_left(run: MemoryRun) -> None:
    needs = {"b": {Token("image")}}
    red, green = Side(run, "red", needs), Side(run, "green", needs)
    red.look()
    red.turns.fail([Token("image")])
    red.turn(1)
    green.board.leave()
    red.look()
    assert [unit.name for unit in red.turn(1).taken] == ["b"]


def test_a_turn_is_worth_it_while_there_is_something_to_say_or_to_take(run: MemoryRun) -> None:
    red = Side(run, "red")
    assert red.turns.wants_turn(1)
    assert not red.turns.wants_turn(0)
    red.turn(2)
    assert not red.turns.wants_turn(1)  # `d` is not ready
    red.end("b")
    assert red.turns.wants_turn(0)
    red.turn()
    red.turns.fail([Token("image")])
    assert red.turns.wants_turn(0)
    red.turn()
    assert not red.turns.wants_turn(0)
    for nodeid in ("a", "c", "d"):
        red.turn(1)
        red.end(nodeid)
    assert not red.turns.is_done
    red.turn()
    assert red.turns.is_done


def test_offers_beyond_the_first_are_made_once_these_are_set_aside(run: MemoryRun) -> None:
    count = MOST_OFFERED + 3
    ids = tuple(f"{number:03}" for number in range(count))
    found = []
    for name, idle in (("red", MOST_OFFERED), ("green", 2)):
        queue = SharedQueue([Job(index=index, unit=unit) for index, unit in enumerate(ids)])
        turns = Turns(name, queue, ids)
        board = MemoryBoard(run, name)
        board.join(Machine(name=name), b"", ids)
        for _ in range(2):
            turn = turns.next_turn(idle - len(queue.held))
            found.append(len(turns.apply(board.turn(turn), turn).taken))
    assert found == [MOST_OFFERED, 0, 0, 2]


def test_an_end_of_what_has_ended_elsewhere_is_not_sent(run: MemoryRun) -> None:
    red = Side(run, "red")
    red.turn(1)
    red.turns.apply(
        Answer(news=9, mine=(run.units["b"],), ends=(End(nodeid="b", unit="b", attempt=2, outcome="passed"),))
    )
    red.end("b")
    assert red.turns.next_turn(0).ends == ()
