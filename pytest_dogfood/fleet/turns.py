"""Decides what a machine of a fleet says in its next turn, and what an answer changes for it.

One turn or question is under way at a time. A turn that may not have been made is made again, in other words if
something has happened since: the board tells what this machine holds, so that nothing is taken unheard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from pytest_dogfood.fleet.board import (
    MOST_OFFERED,
    Answer,
    End,
    Joined,
    Machine,
    MachineState,
    Offer,
    Turn,
    Unit,
)
from pytest_dogfood.journey import Token
from pytest_dogfood.scheduling.shared_queue import SharedQueue

LARGEST_TURN = 2**20
"""Bytes of records in one turn, after an outage for instance: the signs of life that follow must not wait for long."""


class Changes(Struct, frozen=True, kw_only=True):
    """What an answer changed here. `taken` are the units that this machine holds from now on.

    `crashed` are the jobs of these that must not run again, because they took machines down, in the order in which they
    are to be reported, by `Turns.end`, before anything is handed out. With `lost` the board has let others have what
    this machine held, so that it must stop. `stopped` says why the run gives out nothing more.
    """

    taken: tuple[Unit, ...] = ()
    crashed: tuple[int, ...] = ()
    lost: bool = False
    stopped: str = ""


class Turns:
    """What a machine has to say to the board, beside its queue, which this keeps in step with the board.

    `ids` are the node ids of the queue's jobs. `needs` holds, for each unit, the tokens of chains and machines that its
    items need and that something provides: what this machine cannot provide is left to other machines.
    """

    def __init__(
        self,
        me: str,
        queue: SharedQueue,
        ids: Sequence[str],
        needs: Mapping[str, Collection[Token]] | None = None,
    ) -> None:
        self.me = me
        self.queue = queue
        self.seen = 0
        """The news that have been read."""
        self.stopped = ""
        self._ids = ids
        self._places = {nodeid: index for index, nodeid in enumerate(ids)}
        self._needs = needs or {}
        self._attempts: dict[str, int] = {}
        self._outbox: dict[str, End] = {}
        self._fails: dict[Token, None] = {}
        self._told = 0
        """How many of these the board has heard of."""
        self._others: tuple[Machine, ...] = ()
        self._avoided: set[str] = set()
        """Units that are set aside because other machines had better run them."""

    @property
    def is_done(self) -> bool:
        """Whether everything has ended, and the board has heard of all that ended here."""
        return self.queue.is_done and not self._outbox

    def wants_turn(self, idle: int) -> bool:
        """Return whether there is something to say or to take, with so many workers that wait for something to do.

        Else it is enough to ask for news.
        """
        if self._outbox or len(self._fails) > self._told:
            return True
        return bool(idle and not self.stopped and self.queue.offers(1))

    def join(self, joined: Joined) -> None:
        """Begin where the run is when this machine joins it; the ends so far count as finished."""
        self.seen = joined.news
        self.stopped = joined.stopped
        self._hear(joined.ends)
        for unit in joined.held:
            self.queue.set_aside(unit.name)
        self.look_at(joined.machines)

    def look_at(self, machines: Iterable[Machine]) -> None:
        """Note which machines there are, and what they could not provide."""
        self._others = tuple(
            machine for machine in machines if machine.name != self.me and machine.state is MachineState.HERE
        )
        self._avoid()

    def fail(self, tokens: Iterable[Token]) -> None:
        """Note that tokens of chains or machines could not be provided here."""
        self._fails.update(dict.fromkeys(tokens))
        self._avoid()

    def end(self, index: int, outcome: str, result: bytes, record: bytes = b"") -> None:
        """Count a job as finished that ended here; the next turn tells the board. What ended elsewhere stays so."""
        if index in self.queue.finished:
            return
        unit = self.queue.unit_of(index)
        attempt = self._attempts[unit]
        self.queue.finish(index)
        following = self.queue.next_of(unit)
        nodeid = self._ids[index]
        self._outbox[nodeid] = End(
            nodeid=nodeid,
            unit=unit,
            attempt=attempt,
            outcome=outcome,
            result=result,
            record=record,
            next="" if following is None else self._ids[following],
        )

    def next_turn(self, idle: int) -> Turn:
        """Return what to say and to ask now, with so many workers that wait for something to do.

        If there is more to say than a turn may hold, the next ones say it.
        """
        wanted = 0 if self.stopped else idle
        offers = self.queue.offers(MOST_OFFERED) if wanted else {}
        return Turn(
            ends=next(self._parts_of_outbox(), ()),
            offers=tuple(Offer(unit, self._ids[first]) for unit, first in offers.items()),
            idle=wanted,
            knows=tuple(sorted(self.queue.held)),
            fails=tuple(self._fails),
            seen=self.seen,
            aside=self.aside(),
        )

    def last_turns(self) -> tuple[Turn, ...]:
        """Return what is left to say before this machine leaves."""
        return tuple(
            Turn(ends=ends, fails=tuple(self._fails), seen=self.seen) for ends in self._parts_of_outbox()
        )

    def aside(self) -> tuple[str, ...]:
        """Return the units of which to ask, in a turn or with the news, whether they are free now."""
        return tuple(sorted(self.queue.aside - self._avoided))

    def news_in(self, answer: Answer) -> tuple[End, ...]:
        """Return the ends in an answer that are new here. Write them down before `apply` counts them."""
        return tuple(
            end for end in answer.ends if self._places.get(end.nodeid, -1) not in self.queue.finished
        )

    def apply(self, answer: Answer, turn: Turn | None = None) -> Changes:
        """Take the answer to a turn, or to a question for news, and return what it changed.

        Then report what crashed, and hand out.
        """
        known = self.queue.held if turn is None else frozenset(turn.knows)
        mine = {unit.name: unit for unit in answer.mine}
        self._hear(answer.ends)
        for end in turn.ends if turn else ():
            self._outbox.pop(end.nodeid, None)
        # An end that is refused, or a unit gone, means that others have been told to take what was here.
        lost = bool(answer.refused)
        for name in known & self.queue.held:
            if name not in mine or mine[name].attempt != self._attempts[name]:
                lost = True
                self.queue.give_up(name)
        new = sorted(mine.keys() - self.queue.held)
        taken = tuple(mine[unit] for unit in new if self.queue.next_of(unit) is not None)
        for unit in taken:
            self._attempts[unit.name] = unit.attempt
            self._avoided.discard(unit.name)
            self.queue.take(unit.name)
        if turn is not None:
            self._told = max(self._told, len(turn.fails))
            if len(mine.keys() - known) < turn.idle:  # else the board may not have come to the others
                for offer in turn.offers:
                    self.queue.set_aside(offer.unit)
        for name in answer.free:
            if name not in self._avoided:
                self.queue.take_back(name)
        self.seen = max(self.seen, answer.news)
        self.stopped = self.stopped or answer.stopped
        return Changes(
            taken=taken,
            crashed=tuple(index for one in taken for index in self._given_up(one)),
            lost=lost,
            stopped=self.stopped,
        )

    def _hear(self, ends: Iterable[End]) -> None:
        for end in ends:
            if end.nodeid in self._places:
                self.queue.finish(self._places[end.nodeid])

    def _parts_of_outbox(self) -> Iterator[tuple[End, ...]]:
        part: list[End] = []
        size = 0
        for end in self._outbox.values():
            size += len(end.record)
            if part and size > LARGEST_TURN:
                yield tuple(part)
                part, size = [], len(end.record)
            part.append(end)
        if part:
            yield tuple(part)

    def _given_up(self, unit: Unit) -> list[int]:
        return [
            index
            for index in self.queue.units[unit.name]
            if index not in self.queue.finished and unit.is_given_up(self._ids[index])
        ]

    def _avoid(self) -> None:
        """Leave to others what this machine cannot provide for, as long as one of them may be able to."""
        for unit in self._avoided - self.queue.held:
            if not self._should_avoid(unit):
                self._avoided.discard(unit)
                self.queue.take_back(unit)
        for unit in self._needs if self._fails else ():
            if unit not in self._avoided and unit not in self.queue.held and self._should_avoid(unit):
                self._avoided.add(unit)
                self.queue.set_aside(unit)

    def _should_avoid(self, unit: str) -> bool:
        needs = self._needs.get(unit, ())
        if self._fails.keys().isdisjoint(needs):
            return False
        return any(set(machine.fails).isdisjoint(needs) for machine in self._others)
