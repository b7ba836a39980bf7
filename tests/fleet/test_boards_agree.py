"""Random histories of a run have the same results on the board in PostgreSQL and on the one in memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    End,
    FleetToken,
    Joined,
    Machine,
    MachineState,
    Offer,
    TokenState,
    Turn,
)
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.journey import Token
from tests.fleet.conftest import PostgresBoardOf
from tests.support.fleet_boards import MemoryBoard, MemoryRun

UNITS = ("chain-a", "chain-b", "test_é.py", "lone\udc80")
TOKENS = (Token("staging-up"), Token("image"))
WORKERS = ("gw0", "gw1")
MACHINES = ("blue", "green", "red")


class Pair:
    """A machine with a board of each kind, to which the same is said."""

    def __init__(self, name: str, memory: MemoryBoard, postgres: PostgresBoard) -> None:
        self.name = name
        self.memory = memory
        self.postgres = postgres
        self.seen = (0, 0)
        self.knows: tuple[str, ...] = ()
        self.last = Turn()

    def both(self, call: Callable[[Board, int], object]) -> object:
        """Return what both boards answer, after looking whether it is the same."""
        of_memory, of_postgres = _answer(call, self.memory, 0), _answer(call, self.postgres, 1)
        assert _comparable(of_postgres) == _comparable(of_memory)
        if isinstance(of_memory, Answer | Joined) and isinstance(of_postgres, Answer | Joined):
            self.seen = (of_memory.news, of_postgres.news)
        return of_postgres


def _answer(call: Callable[[Board, int], object], board: Board, which: int) -> object:
    try:
        return call(board, which)
    except HarnessError as error:
        return type(error)


def _comparable(answer: object) -> object:
    """Leave out the numbers of news, which may have gaps, and moments; what became ours at once has no order."""
    if isinstance(answer, Answer):
        return replace(answer, news=0, ends=tuple(replace(end, news=0) for end in answer.ends))
    if isinstance(answer, Joined):
        ends = tuple(replace(end, news=0) for end in answer.ends)
        closed, finished = (text and "then" for text in (answer.closed, answer.finished))
        return replace(answer, news=0, ends=ends, closed=closed, finished=finished, age=0)
    if isinstance(answer, tuple) and answer and isinstance(answer[0], FleetToken):
        return sorted(answer, key=lambda token: str(token.token))
    return answer


class History:
    """Random operations of machines on one run."""

    def __init__(self, seed: int, new_board: PostgresBoardOf) -> None:
        self.random = Random(seed)  # noqa: S311 - chance, not secrecy
        self.run = MemoryRun()
        self.pairs = [Pair(name, MemoryBoard(self.run, name), new_board(name)) for name in MACHINES]
        self.items = count(1)

    def step(self) -> None:
        pair = self.random.choice(self.pairs)
        operations = {
            self.join: 3,
            self.turn: 12,
            self.turn_again: 2,
            self.news: 2,
            self.beat: 3,
            self.declare_lost: 2,
            self.leave: 1,
            self.stop: 0.3,
            self.close: 0.5,
            self.hold: 4,
            self.begin: 4,
            self.settle: 4,
            self.use: 2,
            self.end_use: 1,
            self.forget: 2,
            self.end_holds: 1,
        }
        chosen = self.random.choices(list(operations), list(operations.values()))[0]
        if pair.name in self.run.machines or chosen in {self.join, self.news}:
            chosen(pair)

    def join(self, pair: Pair) -> None:
        machine = Machine(name=pair.name, host="host", workers=2)
        agreement = self.random.choice([b"one", b"one", b"one", b"other"])
        pair.both(lambda board, _: board.join(machine, agreement, UNITS))

    def turn(self, pair: Pair) -> None:
        held = [unit for unit in self.run.units.values() if unit.machine == pair.name and not unit.done]
        some = self.random.sample(held, self.random.randint(0, len(held)))
        ends = [
            End(
                nodeid=self.random.choice([f"i{next(self.items)}", "same"]),
                unit=unit.name,
                attempt=unit.attempt - self.random.choice([0, 0, 0, 1]),
                outcome="passed",
                result=b"\0\xff",
                record=self.random.choice([b"", b'\0\xff\\"{,}', bytes(1000)]),
                next=after,
            )
            for unit in some
            for after in self.random.choice([("",), ("next",), ("\0", ""), ("next", "last")])
        ]
        offered = self.random.sample(UNITS, self.random.randint(0, len(UNITS)))
        pair.last = Turn(
            ends=tuple(ends),
            offers=tuple(Offer(unit, f"first of {unit}") for unit in offered),
            idle=self.random.randint(0, 2),
            knows=tuple(unit.name for unit in held if self.random.random() < 0.8),
            fails=self.random.choice([(), TOKENS[:1]]),
            aside=tuple(self.random.sample(UNITS, self.random.randint(0, 2))),
        )
        self.turn_again(pair)

    def turn_again(self, pair: Pair) -> None:
        seen = pair.seen
        pair.both(lambda board, which: board.turn(replace(pair.last, seen=seen[which])))

    def news(self, pair: Pair) -> None:
        if self.run.exists:
            seen = self.random.choice([(0, 0), pair.seen])
            aside = UNITS if self.run.units else ()
            pair.both(lambda board, which: board.news(seen[which], aside))

    def beat(self, pair: Pair) -> None:
        pair.both(lambda board, _: board.beat())

    def declare_lost(self, pair: Pair) -> None:
        other = self.random.choice([name for name in self.run.machines if name != pair.name] or [""])
        if other:
            beats = self.run.machines[other].beats - self.random.choice([0, 1])
            pair.both(lambda board, _: board.declare_lost(other, beats))

    def leave(self, pair: Pair) -> None:
        pair.both(lambda board, _: board.leave())

    def stop(self, pair: Pair) -> None:
        why = self.random.choice(["--maxfail 1", "interrupted"])
        pair.both(lambda board, _: board.stop(why))

    def close(self, pair: Pair) -> None:
        here = {one.name for one in self.run.machines.values() if one.state is MachineState.HERE}
        if not here - {pair.name}:
            self.run.closed = "now"
        assert pair.postgres.close_run() == bool(self.run.closed)

    def hold(self, pair: Pair) -> None:
        found = self.run.token(self.random.choice(TOKENS))
        asked = replace(found, changes=found.changes - self.random.choice([0, 0, 0, 1]))
        worker = self.random.choice(WORKERS)
        pair.both(lambda board, _: board.hold(asked, worker))

    def begin(self, pair: Pair) -> None:
        found = self.run.token(self.random.choice(TOKENS))
        asked = replace(found, changes=found.changes - self.random.choice([0, 0, 0, 1]))
        pair.both(lambda board, _: board.begin(asked))

    def settle(self, pair: Pair) -> None:
        found = self.run.token(self.random.choice(TOKENS))
        changed = replace(
            found,
            state=self.random.choice([TokenState.HELD, TokenState.FAILED, TokenState.ABSENT]),
            by="provider",
            ours=self.random.random() < 0.5,
            values=self.random.choice([{}, {"URL": "http://é\0\udc80"}]),
            message=self.random.choice(["", "exit 1"]),
            tried_on=self.random.choice([(), (pair.name,)]),
            changes=found.changes - self.random.choice([0, 0, 0, 1]),
        )
        pair.both(lambda board, _: board.settle(changed))

    def use(self, pair: Pair) -> None:
        token = self.random.choice(TOKENS)
        pair.both(lambda board, _: board.use(token))

    def end_use(self, pair: Pair) -> None:
        token = self.random.choice(TOKENS)
        pair.both(lambda board, _: board.end_use(token))

    def forget(self, pair: Pair) -> None:
        found = self.run.token(self.random.choice(TOKENS))
        asked = replace(found, changes=found.changes - self.random.choice([0, 0, 0, 1]))
        pair.both(lambda board, _: board.forget(asked))

    def end_holds(self, pair: Pair) -> None:
        if self.random.random() < 0.3:
            worker = self.random.choice(WORKERS)
            pair.both(lambda board, _: board.end_holds(worker))

    def compare(self) -> None:
        """Look whether both hold the same in the end."""
        if not self.run.exists:
            return
        contents = self.pairs[0].postgres.contents()
        assert contents.machines == tuple(self.run.machines[name] for name in sorted(self.run.machines))
        assert {unit.name: unit for unit in contents.units} == self.run.units
        assert [replace(end, news=0) for end in contents.ends] == [
            replace(end, news=0) for end in self.run.ends.values()
        ]
        tokens = {token.token: token for token in contents.tokens}
        assert {token: tokens.get(token, FleetToken(token=token)) for token in TOKENS} == {
            token: self.run.token(token) for token in TOKENS
        }


@pytest.mark.parametrize("tens", range(30))
def test_random_histories_have_the_same_results_in_memory_and_in_postgresql(
    tens: int, new_run: Callable[..., PostgresBoardOf]
) -> None:
    for seed in range(tens * 10, tens * 10 + 10):
        history = History(seed, new_run())
        for _ in range(50):
            history.step()
        history.compare()
