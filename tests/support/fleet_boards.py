"""A board of a fleet in memory, with the meaning of the protocol to the letter: for tests and simulations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from pytest_dogfood.fleet.board import (
    Answer,
    End,
    FleetToken,
    Joined,
    Losses,
    Machine,
    MachineLostError,
    MachineState,
    Offer,
    RunGoneError,
    TokenState,
    Turn,
    Unit,
)
from pytest_dogfood.journey import Token


class MemoryRun:
    """The rows of one run. Methods are transactions; they name the machine that asks."""

    def __init__(self) -> None:
        self.exists = False
        self.agreement = b""
        self.news = 0
        self.stopped = ""
        self.closed = ""
        self.machines: dict[str, Machine] = {}
        self.units: dict[str, Unit] = {}
        self.ends: dict[str, End] = {}
        self.run_records: dict[str, bytes] = {}
        self.tokens: dict[Token, FleetToken] = {}
        self._last_turn: dict[str, int] = {}
        self._dead_workers: set[str] = set()
        self._made: list[Token] = []
        """The tokens that the fleet has to release, the youngest last."""

    def join(self, machine: Machine, agreement: bytes, units: Sequence[str]) -> Joined:
        if not self.exists:
            self.exists, self.agreement = True, agreement
        known = self.machines.get(machine.name)
        if known is not None and known.state is not MachineState.HERE:
            raise MachineLostError(f"{machine.name} was part of the run before")
        differs = agreement != self.agreement
        finished = "just now" if self.units and all(unit.done for unit in self.units.values()) else ""
        if not differs and not self.closed:
            self.news += 1
            for unit in units:
                self.units.setdefault(unit, Unit(name=unit))
            self.machines.setdefault(machine.name, machine)
        return Joined(
            agreement=self.agreement if differs else b"",
            news=self.news,
            held=_by_name(unit for unit in self.units.values() if unit.machine and not unit.done),
            ends=self._ends_after(0),
            machines=self._all_machines(),
            stopped=self.stopped,
            closed=self.closed,
            finished=finished,
        )

    def turn(self, me: str, turn: Turn, number: int) -> Answer:
        """Do a turn; one that arrives after a later one of the same machine changes nothing."""
        self._change(me)
        if number <= self._last_turn.get(me, 0):
            return self.answer(me, turn.seen, turn.aside)
        self._last_turn[me] = number
        for end in turn.ends:
            self._end(me, end)
        self._take(me, turn.offers, turn.idle, turn.knows)
        self.machines[me] = replace(self.machines[me], fails=turn.fails)
        refused = tuple(end.nodeid for end in turn.ends if not self._counts(me, end))
        return replace(self.answer(me, turn.seen, turn.aside), refused=refused)

    def answer(self, me: str, seen: int, aside: Sequence[str]) -> Answer:
        if not self.exists:
            raise RunGoneError("the run is gone")
        return Answer(
            news=self.news,
            mine=_by_name(unit for unit in self.units.values() if unit.machine == me and not unit.done),
            ends=self._ends_after(seen),
            free=tuple(sorted(name for name in aside if self.units[name].is_free)),
            stopped=self.stopped,
            closed=bool(self.closed),
        )

    def stop(self, me: str, why: str) -> None:
        self._change(me)
        self.stopped = self.stopped or why

    def beat(self, me: str) -> tuple[Machine, ...]:
        machine = self._require(me)
        self.machines[me] = replace(machine, beats=machine.beats + 1)
        return self._all_machines()

    def declare_lost(self, me: str, machine: str, beats: int) -> bool:
        self._change(me)
        found = self.machines[machine]
        if found.state is MachineState.HERE and found.beats == beats:
            self.machines[machine] = replace(found, state=MachineState.LOST)
            for name, unit in self.units.items():
                if unit.machine == machine and not unit.done:
                    self.units[name] = replace(
                        unit,
                        machine="",
                        current="",
                        lost_in=(*unit.lost_in, unit.current),
                        lost_on=(*unit.lost_on, machine),
                        losses=unit.losses + 1,
                    )
            self._end_uses_and_holds(machine, lost=True)
        return self.machines[machine].state is MachineState.LOST

    def losses(self) -> Losses:
        lost = [name for name, machine in self.machines.items() if machine.state is MachineState.LOST]
        return Losses(
            after=dict.fromkeys(sorted(lost), 0.0),
            units=_by_name(unit for unit in self.units.values() if unit.lost_on),
        )

    def leave(self, me: str) -> tuple[FleetToken, ...] | None:
        if me in self.machines and self.machines[me].state is MachineState.LEFT:
            return None
        self._change(me)
        others = any(one.state is MachineState.HERE and one.name != me for one in self.machines.values())
        if self._made and not others:
            for token in self._made:
                if self.tokens[token].state is not TokenState.RELEASING:
                    self._write(self.tokens[token], state=TokenState.RELEASING, holder=f"{me}/main")
            return tuple(self.tokens[token] for token in reversed(self._made))
        self.machines[me] = replace(self.machines[me], state=MachineState.LEFT)
        for name, unit in self.units.items():
            if unit.machine == me and not unit.done:
                self.units[name] = replace(unit, machine="", current="")
        self._end_uses_and_holds(me, lost=False)
        return None

    def token(self, token: Token) -> FleetToken:
        return self.tokens.get(token, FleetToken(token=token))

    def hold(self, me: str, token: FleetToken, worker: str) -> FleetToken:
        self._change(me)
        found = self.token(token.token)
        holder = f"{me}/{worker}"
        if (
            holder in self._dead_workers
            or found.holder
            or found.state is TokenState.RELEASING
            or found.changes != token.changes
        ):
            return found
        return self._write(found, holder=holder)

    def begin(self, me: str, token: FleetToken) -> FleetToken:
        self._change(me)
        found = self.token(token.token)
        if not self._is_held(me, token):
            return found
        return self._write(found, state=TokenState.COMING, ours=True)

    def settle(self, me: str, token: FleetToken) -> FleetToken:
        self._change(me)
        found = self.token(token.token)
        if not self._is_held(me, token):
            return found
        return self._write(replace(token, used_by=found.used_by), holder="")

    def use(self, me: str, token: Token) -> FleetToken:
        self._change(me)
        found = self.token(token)
        if me not in found.used_by:
            self.tokens[token] = replace(found, used_by=(*found.used_by, me))
        return self.tokens.get(token, found)

    def end_use(self, me: str, token: Token) -> None:
        self._change(me)
        found = self.token(token)
        self.tokens[token] = replace(found, used_by=tuple(one for one in found.used_by if one != me))

    def forget(self, me: str, token: FleetToken) -> FleetToken:
        self._change(me)
        found = self.token(token.token)
        if found.changes != token.changes or found.state not in {TokenState.HELD, TokenState.FAILED}:
            return found
        forgotten = replace(found, state=TokenState.ABSENT, values={}, message="", tried_on=(), lost_on=())
        if not found.holder:
            return self._write(forgotten)
        self.tokens[token.token] = forgotten
        return forgotten

    def end_holds(self, me: str, worker: str) -> None:
        self._change(me)
        self._dead_workers.add(f"{me}/{worker}")
        self._free(f"{me}/{worker}", me, lost=True)

    def _is_held(self, me: str, token: FleetToken) -> bool:
        """Return whether a token is still held by a worker of a machine, as it was then."""
        found = self.token(token.token)
        return (found.holder, found.changes) == (token.holder, token.changes) and token.holder.startswith(
            f"{me}/"
        )

    def _require(self, me: str) -> Machine:
        if not self.exists:
            raise RunGoneError("the run is gone")
        machine = self.machines.get(me)
        if machine is None or machine.state is not MachineState.HERE:
            raise MachineLostError(f"{me} is not part of the run")
        return machine

    def _change(self, me: str) -> None:
        self._require(me)
        self.news += 1

    def _all_machines(self) -> tuple[Machine, ...]:
        return tuple(self.machines[name] for name in sorted(self.machines))

    def _ends_after(self, seen: int) -> tuple[End, ...]:
        return tuple(replace(end, record=b"") for end in self.ends.values() if end.news > seen)

    def _end(self, me: str, end: End) -> None:
        unit = self.units[end.unit]
        if end.nodeid in self.ends or unit.done or self.closed:
            return
        if (unit.machine, unit.attempt) != (me, end.attempt):
            return
        self.ends[end.nodeid] = replace(end, machine=me, news=self.news)
        self.units[end.unit] = replace(unit, current=end.next, done=not end.next)

    def _counts(self, me: str, end: End) -> bool:
        found = self.ends.get(end.nodeid)
        return found is not None and (found.machine, found.attempt) == (me, end.attempt)

    def _take(self, me: str, offers: Iterable[Offer], idle: int, knows: Sequence[str]) -> None:
        held = [
            one for one in self.units.values() if one.machine == me and not one.done and one.name not in knows
        ]
        wanted = 0 if self.stopped or self.closed else idle - len(held)
        for offer in offers:
            unit = self.units[offer.unit]
            if wanted > 0 and unit.is_free:
                self.units[offer.unit] = replace(
                    unit, machine=me, attempt=unit.attempt + 1, current=offer.first
                )
                wanted -= 1

    def _write(self, token: FleetToken, **values: object) -> FleetToken:
        written = replace(token, **values, changes=token.changes + 1)
        self.tokens[token.token] = written
        if written.ours and token.token not in self._made:
            self._made.append(token.token)
        elif not written.ours and token.token in self._made:
            self._made.remove(token.token)
        return written

    def _end_uses_and_holds(self, machine: str, *, lost: bool) -> None:
        for token, found in self.tokens.items():
            self.tokens[token] = replace(found, used_by=tuple(one for one in found.used_by if one != machine))
        self._free(f"{machine}/", machine, lost=lost)

    def _free(self, holder: str, machine: str, *, lost: bool) -> None:
        """Free what a worker holds, or with `MACHINE/` every worker of a machine; it may be half-made."""
        for found in list(self.tokens.values()):
            is_whole_machine = holder.endswith("/") and found.holder.startswith(holder)
            if not (is_whole_machine or found.holder == holder):
                continue
            if found.state is TokenState.COMING:
                lost_on = (*found.lost_on, machine) if lost else found.lost_on
                self._write(found, state=TokenState.ABSENT, holder="", lost_on=lost_on)
            else:
                state = TokenState.ABSENT if found.state is TokenState.RELEASING else found.state
                self._write(found, state=state, holder="")


def _by_name(units: Iterable[Unit]) -> tuple[Unit, ...]:
    return tuple(sorted(units, key=lambda unit: unit.name))


class MemoryBoard:
    """The board of a run as one machine sees it; implements `Board`."""

    def __init__(self, run: MemoryRun, machine: str) -> None:
        self.run = run
        self.machine = machine
        self._turns = 0

    def join(self, machine: Machine, agreement: bytes, units: Sequence[str]) -> Joined:
        return self.run.join(machine, agreement, units)

    def turn(self, turn: Turn) -> Answer:
        self._turns += 1
        return self.run.turn(self.machine, turn, self._turns)

    def news(self, seen: int, aside: Sequence[str] = ()) -> Answer:
        return self.run.answer(self.machine, seen, aside)

    def run_record(self, content: bytes) -> None:
        self.run.run_records[self.machine] = content

    def stop(self, why: str) -> None:
        self.run.stop(self.machine, why)

    def beat(self) -> tuple[Machine, ...]:
        return self.run.beat(self.machine)

    def declare_lost(self, machine: str, beats: int) -> bool:
        return self.run.declare_lost(self.machine, machine, beats)

    def losses(self) -> Losses:
        return self.run.losses()

    def leave(self) -> tuple[FleetToken, ...] | None:
        return self.run.leave(self.machine)

    def token(self, token: Token) -> FleetToken:
        return self.run.token(token)

    def hold(self, token: FleetToken, worker: str) -> FleetToken:
        return self.run.hold(self.machine, token, worker)

    def begin(self, token: FleetToken) -> FleetToken:
        return self.run.begin(self.machine, token)

    def settle(self, token: FleetToken) -> FleetToken:
        return self.run.settle(self.machine, token)

    def use(self, token: Token) -> FleetToken:
        return self.run.use(self.machine, token)

    def end_use(self, token: Token) -> None:
        self.run.end_use(self.machine, token)

    def forget(self, token: FleetToken) -> FleetToken:
        return self.run.forget(self.machine, token)

    def end_holds(self, worker: str) -> None:
        self.run.end_holds(self.machine, worker)
