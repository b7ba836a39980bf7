"""The thread of a machine, on boards in memory that can be made unreachable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    BoardUnreachableError,
    End,
    Machine,
    MachineState,
    Offer,
    Turn,
)
from pytest_dogfood.fleet.member import Member, Request, now
from pytest_dogfood.fleet.membership import Membership
from tests.support.fleet_boards import MemoryBoard, MemoryRun
from tests.support.live_projects import Eventually


class FragileBoard(MemoryBoard):
    """A board that can be away, or leave a question without an answer."""

    def __init__(self, run: MemoryRun, machine: str) -> None:
        super().__init__(run, machine)
        self.is_away = False
        self.answers = Event()
        self.answers.set()
        self.turns: list[Turn] = []
        self.in_vain = 0

    def _reach(self) -> None:
        self.answers.wait()
        if self.is_away:
            self.in_vain += 1
            raise BoardUnreachableError("it is away")

    def turn(self, turn: Turn) -> Answer:
        self._reach()
        self.turns.append(turn)
        return super().turn(turn)

    def news(self, seen: int, aside: Sequence[str] = ()) -> Answer:
        self._reach()
        return super().news(seen, aside)

    def beat(self) -> tuple[Machine, ...]:
        self._reach()
        return super().beat()


class Leading:
    """What the leading process has: a member, and whether it was woken."""

    def __init__(self, board: Board, lease: float) -> None:
        self.woken = Event()
        self.membership = Membership("red", lease, now())
        self.member = Member(board, self.membership, wake=self.woken.set)

    def next_answer(self) -> tuple[Answer, Turn | None]:
        while True:
            assert self.woken.wait(30)
            self.woken.clear()
            if answers := self.member.hear():
                (answer,) = answers
                return answer


Joining = Callable[..., tuple[Leading, FragileBoard]]


@pytest.fixture
def run() -> MemoryRun:
    return MemoryRun()


@pytest.fixture
def joining(run: MemoryRun) -> Iterator[Joining]:
    """Return a function by which a machine joins the run of units a, b and c, with a lease in seconds."""
    made: list[tuple[Leading, FragileBoard]] = []

    def join(lease: float = 60.0) -> tuple[Leading, FragileBoard]:
        board = FragileBoard(run, "red")
        board.join(Machine(name="red"), b"", ["a", "b", "c"])
        made.append((Leading(board, lease), board))
        made[-1][0].member.start()
        return made[-1]

    yield join
    for leading, board in made:
        board.is_away = False
        board.answers.set()
        leading.member.close()


def asking(idle: int = 1, ends: tuple[End, ...] = (), knows: tuple[str, ...] = ()) -> Request:
    offers = tuple(Offer(unit, f"{unit}1") for unit in "abc" if unit not in knows)
    return Request(turn=Turn(offers=offers, idle=idle, ends=ends, knows=knows), waits=True)


END = End(nodeid="a1", unit="a", attempt=1, outcome="passed")


def test_a_turn_is_answered_with_the_turn_that_it_belongs_to(joining: Joining) -> None:
    leading, _ = joining()
    request = asking()

    leading.member.ask(request)
    answer, turn = leading.next_answer()

    assert [unit.name for unit in answer.mine] == ["a"]
    assert turn == request.turn


def test_nothing_is_sent_between_an_answer_and_the_request_after_it_was_heard(joining: Joining) -> None:
    leading, board = joining()
    leading.member.ask(asking())
    assert leading.woken.wait(30)

    leading.member.ask(asking(idle=2))  # made before the answer was heard
    leading.next_answer()
    assert leading.woken.wait(0.7) is False  # longer than a question for news takes
    leading.member.ask(asking(idle=1, knows=("a",)))
    answer, _ = leading.next_answer()

    assert [unit.name for unit in answer.mine] == ["a", "b"]
    assert len(board.turns) == 2


def test_news_come_without_a_turn(joining: Joining, run: MemoryRun) -> None:
    leading, _ = joining()
    other = MemoryBoard(run, "green")
    other.join(Machine(name="green"), b"", [])
    other.turn(Turn(offers=(Offer("a", "a1"),), idle=1))
    other.turn(Turn(ends=(END,)))

    leading.member.ask(Request(seen=1, aside=("b",), waits=True))
    answer, turn = leading.next_answer()

    assert turn is None
    assert [end.nodeid for end in answer.ends] == ["a1"]
    assert answer.free == ("b",)


def test_while_the_board_is_away_a_turn_is_repeated(joining: Joining, eventually: Eventually) -> None:
    leading, board = joining()
    board.is_away = True
    leading.member.ask(asking())
    assert eventually(lambda: board.in_vain > 1)
    assert not leading.member.hear()

    board.is_away = False
    answer, _ = leading.next_answer()

    assert [unit.name for unit in answer.mine] == ["a"]
    assert leading.member.may_act()


@pytest.mark.parametrize("how", ["away", "without an answer"])
def test_a_machine_that_has_lost_touch_for_too_long_ends(joining: Joining, how: str) -> None:
    leading, board = joining(lease=1.5)
    leading.member.ask(asking())
    leading.next_answer()
    board.is_away = how == "away"
    if not board.is_away:
        board.answers.clear()

    with pytest.raises(HarnessError, match="lost touch with the fleet for 1 s"):
        leading.next_answer()

    assert not leading.member.may_act()


def test_a_machine_that_others_have_declared_lost_ends(joining: Joining, run: MemoryRun) -> None:
    leading, _ = joining()
    other = MemoryBoard(run, "green")
    other.join(Machine(name="green"), b"", [])
    other.declare_lost("red", run.machines["red"].beats)

    leading.member.ask(asking())

    with pytest.raises(HarnessError, match="counts this machine as lost"):
        leading.next_answer()


def test_a_machine_whose_counter_stands_still_is_declared_lost(
    joining: Joining, run: MemoryRun, eventually: Eventually
) -> None:
    leading, _ = joining(lease=1.2)
    MemoryBoard(run, "green").join(Machine(name="green"), b"", [])

    def is_lost() -> bool:
        leading.member.hear()
        return run.machines["green"].state is MachineState.LOST

    assert eventually(is_lost)
    assert run.machines["red"].state is MachineState.HERE


def test_the_last_ends_are_sent_at_the_end_with_their_records(joining: Joining, run: MemoryRun) -> None:
    leading, board = joining()
    leading.member.ask(asking())
    leading.next_answer()

    first = replace(END, next="a2", record=b"of the first")
    second = replace(END, nodeid="a2", record=b"of the second")
    said = leading.member.flush([Turn(ends=(first,)), Turn(ends=(second,))], 30)

    assert said
    assert [(end.nodeid, end.record) for end in run.ends.values()] == [
        ("a1", b"of the first"),
        ("a2", b"of the second"),
    ]
    assert [turn.ends for turn in board.turns[1:]] == [(first,), (second,)]


def test_signs_of_life_are_given_until_the_end(
    joining: Joining, run: MemoryRun, eventually: Eventually
) -> None:
    leading, _ = joining(lease=1.2)
    assert leading.member.flush((), 30)
    beats = run.machines["red"].beats

    assert eventually(lambda: run.machines["red"].beats > beats + 2)
    leading.member.close()
    beats = run.machines["red"].beats

    assert leading.member.may_act()
    assert run.machines["red"].beats == beats


def test_what_could_not_be_sent_at_the_end_is_told(joining: Joining) -> None:
    leading, board = joining()
    leading.member.ask(asking())
    leading.next_answer()
    board.is_away = True

    assert not leading.member.flush([Turn(ends=(END,)), Turn()], 0.5)


def test_a_run_can_be_stopped_for_all(joining: Joining, run: MemoryRun, eventually: Eventually) -> None:
    leading, _ = joining()

    leading.member.stop_run("red: --maxfail 1")
    leading.member.stop_run("red: something else")

    assert eventually(lambda: run.stopped == "red: --maxfail 1")
