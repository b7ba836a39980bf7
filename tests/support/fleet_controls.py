"""Fleets that break one rule each: the simulation must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.fleet.board import (
    Answer,
    End,
    FleetToken,
    Machine,
    MachineState,
    Turn,
)
from pytest_dogfood.fleet.membership import Membership
from pytest_dogfood.fleet.turns import Changes, Turns
from tests.support.fleet_boards import MemoryRun
from tests.support.fleet_simulation import Rules
from tests.support.fleet_stories import (
    Story,
    cut_off_while_others_work,
    machines_with_the_same_trouble,
    random_story,
    workers_that_die_when_they_hold,
)


class EndsOfAnybody(MemoryRun):
    """Counts an end whoever tells it."""

    def turn(self, me: str, turn: Turn, number: int) -> Answer:
        if self.machines[me].state is MachineState.LOST:
            for end in turn.ends:
                self._end(me, end)
            self.news += 1
            return self.answer(me, turn.seen, turn.aside)
        return super().turn(me, turn, number)

    def _end(self, me: str, end: End) -> None:
        unit = self.units[end.unit]
        if end.nodeid not in self.ends:
            self.ends[end.nodeid] = replace(end, machine=me, news=self.news)
            self.units[end.unit] = replace(unit, current=end.next, done=not end.next)

    def _counts(self, me: str, end: End) -> bool:  # noqa: ARG002 - overrides
        return True


class LostMachinesTake(MemoryRun):
    """Lets a lost machine take units."""

    def turn(self, me: str, turn: Turn, number: int) -> Answer:
        if self.machines[me].state is MachineState.LOST:
            self._take(me, turn.offers, turn.idle, turn.knows)
        return super().turn(me, turn, number)


class LookBeforeLeaving(MemoryRun):
    """Leaves in one transaction after having looked, in another one, whether others are there."""

    def leave(self, me: str) -> tuple[FleetToken, ...] | None:
        others = self.__dict__.setdefault("others_at_the_last_look", {})
        seen, others[me] = others.get(me), self._others(me)
        if seen is None:
            return ()
        if not seen:
            return super().leave(me)
        made, self._made = self._made, []
        if self.machines[me].state is MachineState.HERE:
            super().leave(me)
        self._made = made
        return None

    def _others(self, me: str) -> bool:
        return any(one.state is MachineState.HERE and one.name != me for one in self.machines.values())


class LateHoldsHold(MemoryRun):
    """Lets a request for a hold that arrives late hold a token."""

    def hold(self, me: str, token: FleetToken, worker: str) -> FleetToken:
        return super().hold(me, replace(token, changes=self.token(token.token).changes), worker)


class DeadWorkersHold(MemoryRun):
    """Gives a token to a worker that has died."""

    def end_holds(self, me: str, worker: str) -> None:
        super().end_holds(me, worker)
        self._dead_workers.clear()


class HoldsOfTheLostStay(MemoryRun):
    """Frees the units of a lost machine only."""

    def _end_uses_and_holds(self, machine: str, *, lost: bool) -> None:
        if not lost:
            super()._end_uses_and_holds(machine, lost=lost)


class NeverFenced(Membership):
    """Goes on, whether it reaches the board or not."""

    def is_fenced(self, now: float) -> bool:  # noqa: ARG002 - overrides
        return False


class WallClocks(Membership):
    """Compares the time of its own clock with that beside a beat, written by the clock of another machine."""

    written: ClassVar[dict[str, float]] = {}

    def beat(self, machines: Iterable[Machine], *, sent: float, now: float) -> tuple[Machine, ...]:
        machines = tuple(machines)
        super().beat(machines, sent=sent, now=now)
        self.written[self.me] = now
        return tuple(
            self.machines[name]
            for name in self.live_others
            if now - self.written.get(name, now) >= self.lease
        )


class NothingTakenBack(Turns):
    """Never asks whether what it has set aside is free."""

    def aside(self) -> tuple[str, ...]:
        return ()


class AvoidsWhatNobodyElseCanDo(Turns):
    """Leaves to others what they could not provide for either."""

    def _should_avoid(self, unit: str) -> bool:
        return bool(self._others) and not self._fails.keys().isdisjoint(self._needs.get(unit, ()))


class OnlyWhatItAskedFor(Turns):
    """Does not believe that it holds what an answer that was lost has given to it."""

    def apply(self, answer: Answer, turn: Turn | None = None) -> Changes:
        asked = {offer.unit for offer in turn.offers[: turn.idle]} if turn else set[str]()
        mine = tuple(unit for unit in answer.mine if unit.name in asked or unit.name in self.queue.held)
        return super().apply(replace(answer, mine=mine), turn)


class Control(Struct, frozen=True):
    """Rules of which one is broken, and histories in which that shows."""

    rules: Rules
    story: Callable[[int], Story] = random_story


CONTROLS = {
    "an end counts in any attempt": Control(Rules(run=EndsOfAnybody), cut_off_while_others_work),
    "no fencing": Control(Rules(membership=NeverFenced), cut_off_while_others_work),
    "wall clocks": Control(Rules(membership=WallClocks)),
    "nothing is taken back": Control(Rules(turns=NothingTakenBack)),
    "a lost machine may take": Control(Rules(run=LostMachinesTake), cut_off_while_others_work),
    "the last to leave looks before it leaves": Control(Rules(run=LookBeforeLeaving)),
    "a late request holds a token": Control(Rules(run=LateHoldsHold)),
    "a dead worker gets a token": Control(Rules(run=DeadWorkersHold), workers_that_die_when_they_hold),
    "a lost machine keeps its tokens": Control(Rules(run=HoldsOfTheLostStay)),
    "a broken machine waits for others that are broken": Control(
        Rules(turns=AvoidsWhatNobodyElseCanDo), machines_with_the_same_trouble
    ),
    "what a lost answer gave is not held": Control(Rules(turns=OnlyWhatItAskedFor)),
}
"""The rules that are broken, by name."""
