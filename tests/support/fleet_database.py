"""A database in virtual time: requests are slow, answers get lost, what was sent arrives again, and it goes away."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import BoardUnreachableError
from tests.support.virtual_time import Future, World

PATIENCE = 5.0
"""Seconds that a machine waits for an answer."""


class Trouble(Struct, frozen=True, kw_only=True):
    """What goes wrong between machines and database: shares of all requests, and intervals in seconds.

    `stuck` requests to a database that is away stand in a queue until it is back. `cut` holds the intervals in which a
    machine, by its name, does not reach the database.
    """

    slow: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    stuck: float = 0.0
    away: tuple[tuple[float, float], ...] = ()
    cut: tuple[tuple[str, float, float], ...] = ()


class Database:
    """Executes requests one after the other, and calls `watch` after each."""

    def __init__(self, world: World, dice: Random, trouble: Trouble, watch: Callable[[], None]) -> None:
        self._world = world
        self._dice = dice
        self._trouble = trouble
        self._watch = watch
        self.requests = 0

    def call(self, machine: str, request: Callable[[], object]) -> Future:
        """Send a request; the future ends with its answer, its error, or BoardUnreachableError."""
        answer = Future()
        self._world.after(self._delay(), lambda: self._arrive(machine, request, answer))
        return self._world.timeout(answer, PATIENCE, BoardUnreachableError("no answer"))

    def _arrive(self, machine: str, request: Callable[[], object], answer: Future) -> None:
        back = self._back_at(machine)
        if back is None:
            self._execute(machine, request, answer)
        elif self._dice.random() >= self._trouble.stuck:
            self._world.after(0.001, lambda: answer.fail(BoardUnreachableError("refused")))
        else:
            # It stands in a pooler's queue, or in that of a server that was stopped.
            self._world.after(
                back - self._world.now + 0.01, lambda: self._execute(machine, request, Future())
            )

    def _execute(self, machine: str, request: Callable[[], object], answer: Future) -> None:
        self.requests += 1
        try:
            value, error = request(), None
        except HarnessError as raised:
            value, error = None, raised
        self._watch()
        if self._dice.random() < self._trouble.late:
            self._world.after(self._dice.expovariate(0.1), lambda: self._repeat(request))
        if self._dice.random() >= self._trouble.lost and self._back_at(machine) is None:
            end = (lambda: answer.resolve(value)) if error is None else (lambda: answer.fail(error))
            self._world.after(self._delay(), end)

    def _repeat(self, request: Callable[[], object]) -> None:
        try:
            request()
        except HarnessError:
            return
        self._watch()

    def _back_at(self, machine: str) -> float | None:
        """Return until when a machine does not reach the database; None if it does."""
        now = self._world.now
        until = [end for begin, end in self._trouble.away if begin <= now < end]
        until += [end for name, begin, end in self._trouble.cut if name == machine and begin <= now < end]
        return max(until, default=None)

    def _delay(self) -> float:
        if self._dice.random() < self._trouble.slow:
            return self._dice.choice([0.3, 1.0, 3.0, 8.0]) * self._dice.random()
        return 0.001 + 0.01 * self._dice.random()
