"""The thread by which a machine takes part in a run: it takes turns, hears news, gives signs of life and sees losses.

The process that leads the run says what it would like to say and to know, and is woken when there is an answer. While
the database is away, turns are repeated; how long that may last is decided by `Membership`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition, Thread

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    BoardUnreachableError,
    MachineLostError,
    MachineState,
    Turn,
)
from pytest_dogfood.fleet.membership import Membership, pause_before_retry

LISTENING, WATCHING = 0.5, 2.0
"""Seconds between two questions for news: while something here waits for other machines, and otherwise."""


SECONDS_TO_END = 5.0
"""Seconds that a thread may take to end; it may wait for an answer of the database, and ends with the process."""


def now() -> float:
    """Return seconds of a clock that also counts while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Request(Struct, frozen=True, kw_only=True):
    """A turn, or else a question for news after `seen` and for the units `aside`; `waits`: workers are idle."""

    turn: Turn | None = None
    seen: int = 0
    aside: tuple[str, ...] = ()
    waits: bool = False


class Member:
    """The machine's thread. `wake` lets the leading process call `hear`; it is called from this thread.

    One request is under way at a time: after an answer was heard, nothing is sent until the next request.
    """

    def __init__(self, board: Board, membership: Membership, *, wake: Callable[[], None]) -> None:
        self._board = board
        self._membership = membership
        self._wake = wake
        self.is_ending = False
        """Set when the leading process waits for no more events, and so cannot be asked whether it is alive."""
        self._changed = Condition()
        # What follows is guarded by the condition.
        self._request: Request | None = None
        self._answers: list[tuple[Answer, Turn | None]] = []
        self._errands: deque[Callable[[], object]] = deque()
        self._stop_reason = ""
        self._trouble: HarnessError | None = None
        self._flushing = self._closing = False
        self._heard_at = now()
        # These are the thread's own.
        self._asked_at = self._beaten_at = 0.0
        self._threads = [
            Thread(target=self._take_part, name="dogfood-fleet", daemon=True),
            Thread(target=self._watch_the_clock, name="dogfood-fleet-fence", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ask(self, request: Request) -> None:
        """Say and ask this next, in the place of what was not sent yet."""
        with self._changed:
            self._request = request
            self._changed.notify_all()

    def hear(self) -> Sequence[tuple[Answer, Turn | None]]:
        """Return the answers since the last call, each with its turn; raises HarnessError if the machine has to end."""
        with self._changed:
            self._heard_at = now()
            if self._trouble is not None:
                raise self._trouble
            answers, self._answers = self._answers, []
            if answers:
                self._request = None
            return answers

    def end_holds(self, worker: str) -> None:
        """Let others have the tokens that a worker held when it died."""
        with self._changed:
            self._errands.append(partial(self._board.end_holds, worker))
            self._changed.notify_all()

    def stop_run(self, why: str) -> None:
        """Let the run give out nothing more on any machine."""
        with self._changed:
            self._stop_reason = self._stop_reason or why
            self._changed.notify_all()

    def may_act(self) -> bool:
        """Return whether the others still count on this machine."""
        return self._trouble is None and not self._membership.is_fenced(now())

    def flush(self, last: Sequence[Turn], seconds: float) -> bool:
        """Send what was not sent yet, and wait for that for at most so many seconds; return whether all was sent.

        From then on only signs of life are given.
        """
        until = now() + seconds
        with self._changed:
            self._flushing = True
            self._answers.clear()
            for request in [*(Request(turn=turn) for turn in last), None]:
                self._request = request
                self._changed.notify_all()
                while (self._request or self._errands) and self._trouble is None and now() < until:
                    self._changed.wait(until - now())
                if self._trouble is not None or self._request or self._errands:
                    return False
            return True

    def close(self) -> None:
        """End the threads, once nothing is left to say."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(SECONDS_TO_END)

    def _watch_the_clock(self) -> None:
        """End the machine's part in time, even while the database leaves a question without an answer."""
        with self._changed:
            while not self._closing and self._trouble is None:
                if self._membership.is_fenced(now()):
                    break
                self._changed.wait(max(0.01, self._membership.fence_at - now()))
            else:
                return
        self._fail(HarnessError(self._membership.why_fenced))

    def _fail(self, trouble: HarnessError) -> None:
        with self._changed:
            self._trouble = self._trouble or trouble
            self._changed.notify_all()
        self._wake()

    def _take_part(self) -> None:
        failures = 0
        while self._trouble is None and not self._closing:
            try:
                self._act()
                failures = 0
            except BoardUnreachableError:
                failures += 1
                self._pause(pause_before_retry(failures))
            except MachineLostError:
                self._membership.lose()
                self._fail(HarnessError(self._membership.why_fenced))
            except HarnessError as error:  # the run is gone
                self._fail(error)

    def _act(self) -> None:
        """Do what is due most urgently, or wait for the next occasion."""
        if now() - self._beaten_at >= self._membership.beat_every and (
            self.is_ending or self._membership.may_beat(now(), self._heard_at)
        ):
            self._beat()
        if self._stop_reason:
            self._board.stop(self._stop_reason)
            self._stop_reason = ""
        with self._changed:
            request = None if self._answers else self._request
        pause = LISTENING if request is not None and request.waits else WATCHING
        if request is not None and request.turn is not None:
            self._asked_at = now()
            self._give(self._board.turn(request.turn), request)
        elif self._errands:
            self._errands[0]()
            with self._changed:
                self._errands.popleft()
                self._changed.notify_all()
        elif request is not None and now() - self._asked_at >= pause:
            self._asked_at = now()
            self._give(self._board.news(request.seen, request.aside), request)
        else:
            self._wait(request, pause)

    def _wait(self, request: Request | None, pause: float) -> None:
        occasions = [self._beaten_at + self._membership.beat_every]
        occasions += [self._asked_at + pause] if request is not None else []
        with self._changed:
            is_new = not self._answers and self._request is not request
            if not (is_new or self._errands or self._closing or self._stop_reason):
                self._changed.wait(max(0.01, min(occasions) - now()))

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; what the leading process says does not shorten it."""
        until = now() + seconds
        with self._changed:
            while self._trouble is None and not self._closing and now() < until:
                self._changed.wait(until - now())

    def _beat(self) -> None:
        sent = self._beaten_at = now()
        machines = self._board.beat()
        for silent in self._membership.beat(machines, sent=sent, now=now()):
            if self._board.declare_lost(silent.name, silent.beats):
                self._membership.machines[silent.name] = replace(silent, state=MachineState.LOST)
        with self._changed:
            self._changed.notify_all()  # the other thread has to wait for a later time now
        self._wake()  # the leading process shows that it is alive, and looks at the machines

    def _give(self, answer: Answer, request: Request) -> None:
        with self._changed:
            if not self._flushing:
                self._answers.append((answer, request.turn))
            elif self._request is request:
                self._request = None
                self._changed.notify_all()
        self._wake()
