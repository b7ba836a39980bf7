"""Processes in virtual time: generators that sleep and wait, on hosts that freeze and die."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from typing import Any, TypeVar

Process = Generator["float | Future", Any, Any]
"""Yields seconds to sleep, or a future to wait for, and is sent what that came to."""

T = TypeVar("T")
Task = Generator["float | Future", Any, T]


class Future:
    """A value or an error that comes later, once."""

    def __init__(self) -> None:
        self.is_done = False
        self._value: object = None
        self._error: Exception | None = None
        self._waiting: list[Callable[[], None]] = []

    def resolve(self, value: object = None) -> None:
        self._end(value, None)

    def fail(self, error: Exception) -> None:
        self._end(None, error)

    def result(self) -> object:
        if self._error is not None:
            raise self._error
        return self._value

    def when_done(self, callback: Callable[[], None]) -> None:
        if self.is_done:
            callback()
        else:
            self._waiting.append(callback)

    def _end(self, value: object, error: Exception | None) -> None:
        if self.is_done:
            return
        self.is_done, self._value, self._error = True, value, error
        for callback in self._waiting:
            callback()


class Life:
    """Something whose processes stop when it dies, and pause while it is frozen; a part dies and freezes with it."""

    def __init__(self, whole: Life | None = None) -> None:
        self._whole = whole
        self._dead = False
        self._frozen_until = 0.0

    @property
    def is_dead(self) -> bool:
        return self._dead or (self._whole is not None and self._whole.is_dead)

    @property
    def frozen_until(self) -> float:
        return max(self._frozen_until, self._whole.frozen_until if self._whole else 0.0)

    def die(self) -> None:
        self._dead = True

    def freeze(self, until: float) -> None:
        self._frozen_until = max(self._frozen_until, until)


class World:
    """The clock, and what is to happen when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = itertools.count()

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self._counter), callback))

    def start(self, process: Process, life: Life) -> None:
        self._resume(process, life, lambda: None)

    def timeout(self, future: Future, seconds: float, error: Exception | None = None) -> Future:
        """Return a future that ends with another one, or by itself after so many seconds: with None or an error."""
        either = Future()

        def copy() -> None:
            try:
                either.resolve(future.result())
            except Exception as raised:  # noqa: BLE001 - handed on
                either.fail(raised)

        future.when_done(copy)
        self.after(seconds, either.resolve if error is None else lambda: either.fail(error))
        return either

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._agenda)
            callback()

    def _resume(self, process: Process, life: Life, value: Callable[[], object]) -> None:
        if life.is_dead:
            process.close()
            return
        if life.frozen_until > self.now:
            self.after(life.frozen_until - self.now, lambda: self._resume(process, life, value))
            return
        try:
            try:
                given = value()
            except Exception as error:  # noqa: BLE001 - handed to the process
                wanted = process.throw(error)
            else:
                wanted = process.send(given)
        except StopIteration:
            return
        if isinstance(wanted, Future):
            # Never at once: a process goes on only after what has ended its wait.
            wanted.when_done(lambda: self.after(0, lambda: self._resume(process, life, wanted.result)))
        else:
            self.after(wanted, lambda: self._resume(process, life, lambda: None))
