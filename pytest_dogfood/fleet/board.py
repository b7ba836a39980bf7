"""What the machines of a fleet read and write in common, as a protocol: which machine has what.

The machines know the graph; a board knows machines, units, ends and tokens. A *unit* is what is taken whole: a state of
a chain, a journey without a chain, or a file of plain tests. Every change to a run increases its counter `news`, one
change after the other, so a machine that has read up to `news` 41 has missed nothing before that.

Only the holder counts: a board refuses a change by a machine that is not `here`, and an end of an attempt at a unit
that the machine no longer holds. Everything may be sent twice, because an answer may be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Token

MOST_OFFERED = 64
"""Units that a machine offers to take in one turn, the first of its own order."""

MOST_LOSSES = 5
"""A unit that was lost this often with its machine is given up: its items are reported as crashed."""

MOST_LOST_IN = 2
"""An item that was running in this many lost attempts is reported as crashed."""


class BoardUnreachableError(HarnessError):
    """The board could not be reached; nothing is known about whether the last change was made."""


class BoardUnusableError(HarnessError):
    """The board is not set up for this run or this user; the text says what to do."""


class MachineLostError(HarnessError):
    """The machine is no longer part of the run: others have declared it lost."""


class RunGoneError(HarnessError):
    """The run is not on the board any more."""


class MachineState(StrEnum):
    HERE = "here"
    LEFT = "left"
    LOST = "lost"


class Machine(Struct, frozen=True, kw_only=True):
    """A machine of the run. `beats` counts the signs of life that it has given; no clock is compared.

    `fails` are tokens that it could not provide, those of chains and machines: others had better run what needs them.
    """

    name: str
    host: str = ""
    workers: int = 1
    beats: int = 0
    state: MachineState = MachineState.HERE
    fails: tuple[Token, ...] = ()


class Unit(Struct, frozen=True, kw_only=True):
    """A unit of the run: the machine that holds it (empty: it is free), and which attempt at it this is, from 1.

    `current` is the node id of the item that runs or comes next in the attempt. `lost_in` names the items that were
    current when a machine was lost, once for each loss, and `lost_on` these machines; `losses` counts them.
    """

    name: str
    machine: str = ""
    attempt: int = 0
    current: str = ""
    lost_in: tuple[str, ...] = ()
    lost_on: tuple[str, ...] = ()
    losses: int = 0
    done: bool = False

    @property
    def is_free(self) -> bool:
        return not self.machine and not self.done

    def is_given_up(self, nodeid: str) -> bool:
        """Return whether an item is not to be run again, because it took machines down, or its unit did."""
        return self.losses >= MOST_LOSSES or self.lost_in.count(nodeid) >= MOST_LOST_IN


class End(Struct, frozen=True, kw_only=True):
    """The end of an item, by its node id, in an attempt at its unit.

    `result` is what the other machines need to know, and `record` what a report says of the item: bytes that the board
    does not read. An end that counts has its record on the board, whatever becomes of its machine; only those who look
    from outside get it back. `next` is the node id of the unit's next item; if it is empty, the unit is done. The board
    sets `machine` and `news`.
    """

    nodeid: str
    unit: str
    attempt: int
    outcome: str
    result: bytes = b""
    record: bytes = b""
    next: str = ""
    machine: str = ""
    news: int = 0


class Offer(Struct, frozen=True):
    """A unit that a machine is ready to take, and the item that it would run first."""

    unit: str
    first: str


class Turn(Struct, frozen=True, kw_only=True):
    """What a machine has to say and to ask at once.

    It takes units of `offers`, in this order, until it holds `idle` units beside those that it `knows` to hold. `fails`
    are all tokens that it could not provide so far. It has read the news up to `seen`, and asks which units set `aside`
    are free. A machine gives back what it holds by leaving, and not before.
    """

    ends: tuple[End, ...] = ()
    offers: tuple[Offer, ...] = ()
    idle: int = 0
    knows: tuple[str, ...] = ()
    fails: tuple[Token, ...] = ()
    seen: int = 0
    aside: tuple[str, ...] = ()


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to a turn: all units that the machine holds, the news after `seen`, those of `aside` that are free.

    `ends` are those of all machines, the own ones included. `refused` are the node ids of ends that were not
    counted, because another attempt holds the unit. `stopped` says why the run gives out nothing more.
    """

    news: int
    mine: tuple[Unit, ...] = ()
    ends: tuple[End, ...] = ()
    free: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    stopped: str = ""
    closed: bool = False


class Joined(Struct, frozen=True, kw_only=True):
    """The answer to joining: the units that machines hold, all ends and all machines so far.

    If `agreement` is not empty, another one was made before, and the machine has not joined; neither has it if the
    run is `closed` (in words, when). `finished` says, in words, when every unit was done, if that was before the
    machine came. `age` is the number of seconds since the run last changed, by the board's own clock.
    """

    agreement: bytes = b""
    news: int = 0
    held: tuple[Unit, ...] = ()
    ends: tuple[End, ...] = ()
    machines: tuple[Machine, ...] = ()
    stopped: str = ""
    closed: str = ""
    finished: str = ""
    age: float = 0.0


class TokenState(StrEnum):
    """How far a token of the fleet is: `coming` while one holder provisions it, `releasing` at the end of the run."""

    ABSENT = "absent"
    COMING = "coming"
    HELD = "held"
    RELEASING = "releasing"
    FAILED = "failed"


class FleetToken(Struct, frozen=True, kw_only=True):
    """A token that is true for every machine, with the worker that holds it alone (`MACHINE/WORKER`; empty: none).

    `by` names what made it; with `ours` the fleet has to release it, even if it is absent or half-made. `tried_on`
    names the machines on which its provider failed, with `message` in the end, `lost_on` those that were lost, or lost
    a worker, while they provided it. `used_by` are the machines where something needs it. `changes` counts the changes
    except those of `used_by`: a request that arrives late, after its repetition was answered, must change nothing.
    """

    token: Token
    state: TokenState = TokenState.ABSENT
    holder: str = ""
    by: str = ""
    ours: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    tried_on: tuple[str, ...] = ()
    lost_on: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    changes: int = 0


class Losses(Struct, frozen=True, kw_only=True):
    """What was lost with machines, for people: nothing is decided by it.

    `after` has, for each lost machine, the seconds from when it joined to when it was declared lost, by the board's
    clock. `units` are those that were lost with one.
    """

    after: Mapping[str, float] = field(default_factory=dict)
    units: tuple[Unit, ...] = ()


class RunContents(Struct, frozen=True, kw_only=True):
    """All of a run, for those who look at it from outside. `begun`, `changed` and `closed` are moments in words.

    `began` is in seconds since the epoch, by the board's clock.
    The ends have their records. `run_records` are those of machines, by name. What follows is for people, and nothing
    is decided by it: `silent_for` are the seconds since the last beat of each machine; `joined` and `ended` tell how
    many seconds after the run had begun a machine joined, and the end of an item, by its node id, was counted.
    """

    run: str
    agreement: bytes
    begun: str = ""
    began: float = 0.0
    changed: str = ""
    stopped: str = ""
    closed: str = ""
    machines: tuple[Machine, ...] = ()
    units: tuple[Unit, ...] = ()
    ends: tuple[End, ...] = ()
    tokens: tuple[FleetToken, ...] = ()
    run_records: Mapping[str, bytes] = field(default_factory=dict)
    silent_for: Mapping[str, float] = field(default_factory=dict)
    joined: Mapping[str, float] = field(default_factory=dict)
    ended: Mapping[str, float] = field(default_factory=dict)
    losses: Losses = Losses()


class RunSummary(Struct, frozen=True, kw_only=True):
    """A line about a run: how many of its machines are here, and of its units done."""

    run: str
    begun: str
    here: int
    machines: int
    done: int
    units: int
    stopped: str = ""
    closed: str = ""


class Board(Protocol):
    """The board of one run, as one machine sees it.

    Every method raises BoardUnreachableError where the board cannot be reached, RunGoneError where the run is missing,
    and, but for reading, MachineLostError where this machine is not `here`.
    """

    def join(self, machine: Machine, agreement: bytes, units: Sequence[str]) -> Joined:
        """Make the run if it is new, and let the machine take part in it, unless the agreement differs."""

    def turn(self, turn: Turn) -> Answer:
        """Report ends, take units, and read the news, in one transaction."""

    def news(self, seen: int, aside: Sequence[str] = ()) -> Answer:
        """Read the news without changing anything."""

    def run_record(self, content: bytes) -> None:
        """Add the record of this machine's part of the run, also after it has left."""

    def stop(self, why: str) -> None:
        """Let the run give out nothing more; the first reason stays."""

    def beat(self) -> tuple[Machine, ...]:
        """Give a sign of life; return all machines."""

    def declare_lost(self, machine: str, beats: int) -> bool:
        """Declare another machine lost if its counter is still `beats`: its units and holds are free, its uses end.

        Return whether it is lost now, whoever has declared it.
        """

    def losses(self) -> Losses:
        """Return what was lost with machines so far."""

    def leave(self) -> tuple[FleetToken, ...] | None:
        """Leave the run and return None; what the machine held is free.

        If no other machine is here, and the fleet has tokens to release, the machine stays; these are `releasing`, and
        returned. Release them, then leave again.
        """

    def token(self, token: Token) -> FleetToken:
        """Read a token."""

    def hold(self, token: FleetToken, worker: str) -> FleetToken:
        """Hold a token alone, unless it has changed since it was read, or is held; return it as it is then.

        The caller holds it if `holder` is `MACHINE/WORKER` then. Ask whether it is there once more before `begin`.
        """

    def begin(self, token: FleetToken) -> FleetToken:
        """Note that a worker of this machine, which holds a token, begins to provide it; return it as it is then.

        It is `coming`, and `ours`, because it may be half-made from now on. Nothing is noted if it has changed since it
        was held.
        """

    def settle(self, token: FleetToken) -> FleetToken:
        """Write a token that a worker of this machine holds, and end the hold; return it as it is then.

        Nothing is written if it has changed since it was held. `used_by` does not change.
        """

    def use(self, token: Token) -> FleetToken:
        """Note that this machine needs a token, before its probe is first asked here; return it as it is then."""

    def end_use(self, token: Token) -> None:
        """Note that nothing on this machine needs a token any more."""

    def forget(self, token: FleetToken) -> FleetToken:
        """Note that a token may be lost for all, as by a journey that invalidates it; return it as it is then.

        If it is `held` or has `failed`, it is `absent` then, and its provider may be tried again; if it is being
        provided, it stays as it is. A hold goes on. Nothing is forgotten if it has changed since it was read.
        """

    def end_holds(self, worker: str) -> None:
        """Free what a worker of this machine held when it died; a token that was `coming` was lost on this machine.

        What the worker asked for before it died, and arrives later, is refused.
        """
