"""A machine of a fleet in virtual time: the real queue, units, turns and membership, with workers that are played."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pytest_dogfood.fleet.board import (
    BoardUnreachableError,
    End,
    Joined,
    Machine,
    MachineLostError,
    TokenState,
    Turn,
)
from pytest_dogfood.fleet.membership import Membership, pause_before_retry
from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from pytest_dogfood.scheduling.split import Fork
from tests.support.fleet_items import ItemRun
from tests.support.played_workers import Place
from tests.support.virtual_time import Future, Life, Task

if TYPE_CHECKING:
    from tests.support.fleet_boards import MemoryRun
    from tests.support.fleet_simulation import History

T = TypeVar("T")

WAITING, WATCHING = 0.5, 2.0
"""Seconds between two questions for news: while a worker waits, and otherwise."""

GREEN, RED, INTERRUPTED, FENCED, REFUSED = 0, 1, 2, 3, 4


class PlayedMachine:
    """One machine. `status` is its exit status, None while it runs or if it was killed."""

    def __init__(self, history: History, name: str, workers: int, *, broken: Collection[Token] = ()) -> None:
        self.history = history
        self.name = name
        self.broken = broken
        self.workers = workers
        self.life = Life()
        self.part = Life(self.life)
        """What ends when the machine leaves the run, or is fenced."""
        self.status: int | None = None
        self.has_joined = False
        self.outcomes: dict[JourneyId, str] = {}
        self.all_outcomes: dict[int, str] = {}
        """What became of items, as far as is known here."""
        self.holds: dict[Place, set[Token]] = {}
        self.templates: dict[Fork, set[Token]] = {}
        self.begun: set[Place] = set()
        self.queue = SharedQueue(history.jobs)
        self.turns = history.new_turns(name, self.queue)
        self.membership: Membership = history.new_membership(name, 0.0)
        self.lives: dict[str, Life] = {}
        self.running: dict[str, int] = {}
        """The item that each worker runs now."""
        self._offset = history.dice.uniform(-60, 60)
        self._hired = 0
        self._turns_sent = 0
        self._is_leaving = False
        self._woken = Future()

    @property
    def run(self) -> MemoryRun:
        return self.history.run

    @property
    def lease(self) -> float:
        return self.history.lease

    @property
    def is_over(self) -> bool:
        """Whether the machine takes part in the run no more."""
        return self.status is not None or self.life.is_dead

    def clock(self) -> float:
        """Return the time of this machine, which no other machine shares."""
        return self.history.world.now + self._offset

    def reach(self, request: Callable[[], T]) -> Task[T]:
        """Ask the board until it answers; a machine that is lost is fenced."""
        failures = 0
        while True:
            try:
                return (yield from self.call(request))
            except BoardUnreachableError:
                failures += 1
                yield pause_before_retry(failures)
            except MachineLostError:
                self.membership.lose()
                self.fence()
                yield Future()  # nothing more is done here

    def call(self, request: Callable[[], T]) -> Task[T]:
        answer: T = yield self.history.database.call(self.name, request)
        return answer

    def fail(self, token: Token) -> None:
        if token not in self.history.fleet_tokens:
            self.turns.fail([token])

    # Its processes

    def take_part(self, begins: float) -> Task[None]:
        yield begins
        sent = self.clock()
        joined: Joined | None = None
        while joined is None:
            sent = self.clock()
            try:
                joined = yield from self.call(
                    lambda: self.run.join(
                        Machine(name=self.name, workers=self.workers), b"", self.history.units
                    )
                )
            except BoardUnreachableError:
                yield pause_before_retry(1)
            except MachineLostError:  # it had joined, and was lost before it heard of it
                self.status = FENCED
                return
        self.has_joined = True
        self.membership = self.history.new_membership(self.name, sent)
        self._hear(joined.ends)
        self.turns.join(joined)
        for _ in range(self.workers):
            self._hire()
        self.history.world.start(self._beat(), self.part)
        self.history.world.start(self._watch_the_clock(), self.part)
        self.history.world.start(self._talk(), self.part)

    def _beat(self) -> Task[None]:
        failures = 0
        while not self.is_over:
            sent = self.clock()
            try:
                machines = yield from self.call(lambda: self.run.beat(self.name))
            except BoardUnreachableError:
                failures += 1
                yield pause_before_retry(failures)
                continue
            except MachineLostError:
                if not self._is_leaving:  # else it may have left, and not heard of it yet
                    self._stop_if_lost()
                return
            failures = 0
            silent = self.membership.beat(machines, sent=sent, now=self.clock())
            self.turns.look_at(machines)
            for one in silent:
                with self._whatever_the_answer():
                    yield from self.call(partial(self.run.declare_lost, self.name, one.name, one.beats))
            yield max(0.0, self.membership.beat_every - (self.clock() - sent))

    def _watch_the_clock(self) -> Task[None]:
        while not self.is_over:
            if self.membership.is_fenced(self.clock()):
                self.fence()
                return
            yield min(1.0, max(0.01, self.membership.fence_at - self.clock()))

    def _talk(self) -> Task[None]:
        failures = 0
        self._feed()
        while not (self.is_over or self._is_leaving):
            idle = max(0, len(self.lives) - len(self.running))
            ends = self.turns.is_done or (self.turns.stopped and not self.running)
            if ends and not self.turns.wants_turn(0):
                yield from self._leave(GREEN)
                return
            try:
                if self.turns.wants_turn(idle):
                    yield from self._take_turn(self.turns.next_turn(idle))
                else:
                    yield self.history.world.timeout(self._woken, WAITING if idle else WATCHING)
                    if self._woken.is_done:
                        self._woken = Future()
                    else:
                        yield from self._take_turn(None)
                failures = 0
            except BoardUnreachableError:
                failures += 1
                yield pause_before_retry(failures)
            except MachineLostError:
                self._stop_if_lost()
                return

    def _take_turn(self, turn: Turn | None) -> Task[None]:
        seen, aside = self.turns.seen, self.turns.aside()
        if turn is None:
            answer = yield from self.call(lambda: self.run.answer(self.name, seen, aside))
        else:
            self._turns_sent += 1
            number = self._turns_sent
            answer = yield from self.call(partial(self.run.turn, self.name, turn, number))
        if self.is_over or self._is_leaving:
            return
        self._hear(self.turns.news_in(answer))
        changes = self.turns.apply(answer, turn)
        if changes.lost:
            self._stop_if_lost()
            return
        for index in changes.crashed:
            self.end(index, "crashed", blamed=True)
        self._feed()

    def _feed(self) -> None:
        if self._is_leaving or self.turns.stopped:
            return
        for worker in list(self.lives):
            if worker in self.running or self.is_over or self.membership.is_fenced(self.clock()):
                continue
            if indices := self.queue.next_for(worker):
                self.running[worker] = indices[0]
                self.history.world.start(self._work(worker, indices), self.lives[worker])

    def _work(self, worker: str, indices: tuple[int, ...]) -> Task[None]:
        for index in indices:
            self.running[worker] = index
            self.history.begin_item(self, index)
            planned = self.history.planned[index]
            seconds = self.history.seconds[index]
            item = ItemRun(self.history, self, worker)
            if planned is None:
                yield seconds
                outcome = "passed"
            else:
                outcome = yield from item.run(planned, seconds)
            self.history.end_use(self.name, worker)
            if self.is_over or self.membership.is_fenced(self.clock()):
                return
            if index == indices[-1]:
                del self.running[worker]
            self.end(index, outcome, blamed=item.blamed and outcome != "passed")
        self._feed()
        self._wake()

    def end(self, index: int, outcome: str, *, blamed: bool) -> None:
        """Count an item as ended here."""
        self._note(index, outcome)
        self.turns.end(index, outcome, b"blamed" if blamed else b"")
        self.history.ended_here(self, index)
        self._feed()
        self._wake()

    def _hear(self, ends: Iterable[End]) -> None:
        for end in ends:
            self._note(self.history.places[end.nodeid], end.outcome)

    def _note(self, index: int, outcome: str) -> None:
        self.all_outcomes[index] = outcome
        planned = self.history.planned[index]
        if planned is not None:
            self.outcomes[planned.id] = outcome

    def _hire(self) -> None:
        worker = f"gw{self._hired}"
        self._hired += 1
        self.lives[worker] = Life(self.part)
        self.queue.add_worker(worker)

    def _wake(self) -> None:
        self._woken.resolve()

    # What happens to it

    def kill(self) -> None:
        self.life.die()

    def kill_worker(self) -> None:
        """Let one worker die, one that runs something if there is one."""
        if self.is_over or not self.lives:
            return
        worker = self.history.dice.choice(sorted(self.running) or sorted(self.lives))
        self.lives.pop(worker).die()
        self.history.end_use(self.name, worker)
        self.history.world.start(self._after_the_death_of(worker), self.part)

    def _after_the_death_of(self, worker: str) -> Task[None]:
        yield 0.1
        if self.membership.is_fenced(self.clock()):
            return
        index = self.running.pop(worker, None)
        if index is not None:
            self.end(index, "crashed", blamed=True)
        self.queue.lose(worker)
        self._hire()
        self._feed()
        self._wake()
        yield from self.reach(lambda: self.run.end_holds(self.name, worker))

    def interrupt(self) -> None:
        """End what runs, and leave, as after Ctrl-C."""
        if self.is_over or not self.has_joined or self._is_leaving:
            return
        self._end_workers()
        self._is_leaving = True
        self.history.world.start(self._leave(INTERRUPTED), self.part)

    def fence(self) -> None:
        """Stop, because others may run what this machine held."""
        if not self.is_over:
            self._end_workers()
            self.status = FENCED
            self.part.die()

    def _stop_if_lost(self) -> None:
        self.membership.lose()
        self.fence()

    def _end_workers(self) -> None:
        for worker, life in self.lives.items():
            life.die()
            self.history.end_use(self.name, worker)
        self.running.clear()

    def _leave(self, status: int) -> Task[None]:
        self._is_leaving = True
        while (tokens := (yield from self.reach(lambda: self.run.leave(self.name)))) is not None:
            for row in self.history.in_order_of_release(tokens):
                yield self.history.begin_release(self, row.token)
                self.history.there.discard(row.token)
                gone = replace(row, state=TokenState.ABSENT, ours=False)
                yield from self.reach(partial(self.run.settle, self.name, gone))
        self.status = status or self.history.status_of(self)
        self.part.die()

    @contextmanager
    def _whatever_the_answer(self) -> Iterator[None]:
        try:
            yield
        except BoardUnreachableError:
            pass
        except MachineLostError:
            if not self._is_leaving:
                self._stop_if_lost()
