"""The board of a fleet in a PostgreSQL database; `statements` has its SQL, `tables` the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from pytest_dogfood.database import from_stored, to_stored
from pytest_dogfood.fleet.board import (
    Answer,
    BoardUnreachableError,
    FleetToken,
    Joined,
    Losses,
    Machine,
    MachineLostError,
    MachineState,
    RunContents,
    RunGoneError,
    RunSummary,
    Turn,
)
from pytest_dogfood.fleet.database import statements as sql
from pytest_dogfood.fleet.database.connection import Connection, Row, Statement, repeated
from pytest_dogfood.fleet.database.rows import (
    encoded_values,
    read_ends,
    read_machine,
    read_token,
    read_unit,
    stored_texts,
)
from pytest_dogfood.fleet.database.tables import check_tables
from pytest_dogfood.journey import Token

T = TypeVar("T")

LAST_WORKER = "main"
"""The worker that holds the tokens which the last machine releases."""


class PostgresBoard:
    """The board of the run `run`, as the machine `machine` sees it; see `Board` for its methods.

    A server that does not answer for `patience` seconds counts as unreachable. A call whose connection was lost is
    made again at once on a new one; then, for `repeat_for` seconds, after 0.2, 0.5, 1, 2, 2 … seconds. Nothing is
    connected before the first call. Threads may share a board, processes may not.
    """

    def __init__(
        self, url: str, run: str, machine: str, *, patience: float = 5.0, repeat_for: float = 0.0
    ) -> None:
        """Read the URL; raises BoardUnusableError if it is none."""
        self._connection = Connection(url, patience=patience)
        self._repeat_for = repeat_for
        self._machine = machine
        self._keys: Mapping[str, object] = {"run": to_stored(run), "me": to_stored(machine)}
        self.run = run
        self._turns = 0

    @property
    def label(self) -> str:
        """The URL without its password."""
        return self._connection.address.label

    def check(self) -> None:
        """Raise BoardUnusableError, in words, unless the tables are there for this version, and may be used."""
        self._repeated(lambda: check_tables(self._connection))

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._connection.close()

    def join(self, machine: Machine, agreement: bytes, units: Sequence[str]) -> Joined:
        given = {
            "agreement": agreement,
            "units": msgspec.json.encode(stored_texts(units)).decode(),
            "number": len(units),
            "host": to_stored(machine.host),
            "workers": machine.workers,
            "seen": 0,
        }
        begun, locked, _, _, state, run, machines, held, finished, ends = self._change(
            sql.BEGIN_RUN,
            sql.LOCK_TO_JOIN,
            sql.ADD_UNITS,
            sql.ADD_MACHINE,
            sql.MY_STATE,
            before=(),
            after=(sql.RUN, sql.MACHINES, sql.HELD_UNITS, sql.IS_FINISHED, sql.ENDS),
            **given,
        )
        self._require_run(locked)
        self._require_run(run)
        ((agreed, closed, changed, age),), ((news, stopped, _),) = locked, run
        if state or (agreed == agreement and not closed):
            self._require_here(state)
        if begun:
            with suppress(BoardUnreachableError):  # the next new run will do it
                self._change(sql.FORGET_OLD)
        return Joined(
            agreement=agreed if agreed != agreement else b"",
            news=news,
            held=tuple(read_unit(row) for row in held),
            ends=read_ends(ends),
            machines=tuple(read_machine(row) for row in machines),
            stopped=from_stored(stopped),
            closed=closed or "",
            finished=changed if finished[0][0] else "",
            age=age,
        )

    def turn(self, turn: Turn) -> Answer:
        self._turns += 1
        has_ends, takes = bool(turn.ends), bool(turn.offers) and turn.idle > 0
        steps = {
            "mine": sql.BEGIN_TURN,
            **({"ends": sql.ADD_ENDS, "go on": sql.GO_ON} if has_ends else {}),
            **({"take": sql.TAKE} if takes else {}),
            "state": sql.MY_STATE,
            "poll": sql.POLL,
            **({"refused": sql.REFUSED} if has_ends else {}),
        }
        rows = self._change(
            sql.LOCK,
            *steps.values(),
            before=(sql.CARRY_RECORDS,) if has_ends else (),
            after=(sql.ENDS,),
            turn=self._turns,
            fails=stored_texts(turn.fails),
            nodeids=stored_texts(end.nodeid for end in turn.ends),
            units=stored_texts(end.unit for end in turn.ends),
            attempts=[end.attempt for end in turn.ends],
            outcomes=stored_texts(end.outcome for end in turn.ends),
            results=[end.result for end in turn.ends],
            records=[end.record for end in turn.ends],
            nexts=stored_texts(end.next for end in turn.ends),
            offers=stored_texts(offer.unit for offer in turn.offers),
            firsts=stored_texts(offer.first for offer in turn.offers),
            idle=turn.idle,
            knows=stored_texts(turn.knows),
            seen=turn.seen,
            aside=stored_texts(turn.aside),
        )
        answers = dict(zip(steps, rows[1:-1], strict=True))
        self._require_here(answers["state"])
        refused = tuple(from_stored(row[0]) for row in answers.get("refused", ()))
        return self._answer(answers["poll"], rows[-1], refused)

    def news(self, seen: int, aside: Sequence[str] = ()) -> Answer:
        polled = self._read((sql.POLL, {"aside": stored_texts(aside)}))[0]
        # Mostly this one statement is enough.
        has_news = bool(polled) and polled[0][0] > seen
        ends = self._read((sql.ENDS, {"seen": seen}))[0] if has_news else []
        return self._answer(polled, ends, ())

    def run_record(self, content: bytes) -> None:
        (written,) = self._read((sql.RUN_RECORD, {"record": content}))
        if not written:
            self._require_here([])

    def stop(self, why: str) -> None:
        self._change_here(sql.STOP, why=to_stored(why))

    def beat(self) -> tuple[Machine, ...]:
        beaten, machines = self._read((sql.BEAT, {}), (sql.MACHINES, {}))
        if not beaten:
            self._require_here([row[4:5] for row in machines if row[0] == self._keys["me"]])
        return tuple(read_machine(row) for row in machines)

    def declare_lost(self, machine: str, beats: int) -> bool:
        repairs = (sql.FREE_UNITS, sql.FREE_TOKENS, sql.FREE_USES)
        given = {"other": to_stored(machine), "beats": beats}
        ((state,),) = self._change_here(sql.DECLARE_LOST, *repairs, sql.STATE_OF, **given) or [("",)]
        return bool(state == MachineState.LOST)

    def losses(self) -> Losses:
        after, units = self._read((sql.LOST_AFTER, {}), (sql.LOST_UNITS, {}))
        return _losses(after, units)

    def leave(self) -> tuple[FleetToken, ...] | None:
        *_, state, releasing = self._change(
            sql.LOCK,
            sql.RELEASE,
            sql.LEAVE,
            sql.GIVE_BACK,
            sql.FREE_TOKENS,
            sql.FREE_USES,
            sql.MY_STATE,
            sql.RELEASING,
            holder=self._holder(LAST_WORKER),
        )
        if state and state[0][0] == MachineState.LEFT:
            return None
        self._require_here(state)
        return tuple(read_token(row) for row in releasing)

    def token(self, token: Token) -> FleetToken:
        found, run = self._read((sql.TOKEN, {"token": to_stored(token)}), (sql.RUN, {}))
        self._require_run(run)
        return read_token(found[0]) if found else FleetToken(token=token)

    def hold(self, token: FleetToken, worker: str) -> FleetToken:
        return self._change_token(token.token, sql.HOLD, holder=self._holder(worker), changes=token.changes)

    def begin(self, token: FleetToken) -> FleetToken:
        return self._change_token(
            token.token, sql.BEGIN, holder=self._own_holder(token), changes=token.changes
        )

    def settle(self, token: FleetToken) -> FleetToken:
        return self._change_token(
            token.token,
            sql.SETTLE,
            holder=self._own_holder(token),
            state=token.state.value,
            by=to_stored(token.by),
            ours=token.ours,
            values=encoded_values(token.values),
            message=to_stored(token.message),
            tried_on=stored_texts(token.tried_on),
            lost_on=stored_texts(token.lost_on),
            changes=token.changes,
        )

    def use(self, token: Token) -> FleetToken:
        return self._change_token(token, sql.USE)

    def end_use(self, token: Token) -> None:
        self._change_here(sql.END_USE, token=to_stored(token))

    def forget(self, token: FleetToken) -> FleetToken:
        return self._change_token(token.token, sql.FORGET, changes=token.changes)

    def end_holds(self, worker: str) -> None:
        self._change_here(sql.NOTE_DEATH, sql.END_HOLDS, holder=self._holder(worker))

    def close_run(self) -> bool:
        """Seal the run, so that no machine joins it any more, unless another machine is here; return whether it is."""
        *_, run = self._change(sql.LOCK, sql.CLOSE, sql.RUN)
        return bool(run[0][2])

    def contents(self) -> RunContents:
        """Return the whole run, as it was at one time."""
        texts = (
            sql.WHOLE_RUN,
            sql.MACHINES,
            sql.UNITS,
            sql.ENDS_AND_RECORDS,
            sql.TOKENS,
            sql.RUN_RECORDS,
            sql.SILENT_FOR,
            sql.JOINED,
            sql.ENDED,
            sql.LOST_AFTER,
            sql.LOST_UNITS,
        )
        keys = {**self._keys, "seen": 0}
        run, machines, units, ends, tokens, run_records, *times, after, lost = self._repeated(
            lambda: self._connection.read_at_once([(text, keys) for text in texts])
        )
        silent, joined, ended = ({from_stored(name): seconds for name, seconds in rows} for rows in times)
        self._require_run(run)
        ((agreement, begun, began, changed, stopped, closed),) = run
        return RunContents(
            run=self.run,
            agreement=agreement,
            begun=begun,
            began=began,
            changed=changed,
            stopped=from_stored(stopped),
            closed=closed or "",
            machines=tuple(read_machine(row) for row in machines),
            units=tuple(read_unit(row) for row in units),
            ends=read_ends(ends),
            tokens=tuple(read_token(row) for row in tokens),
            run_records={from_stored(name): record for name, record in run_records},
            silent_for=silent,
            joined=joined,
            ended=ended,
            losses=_losses(after, lost),
        )

    def runs(self) -> tuple[RunSummary, ...]:
        """Return all runs of the database, the newest first."""
        (rows,) = self._read((sql.RUNS, {}))
        return tuple(
            RunSummary(
                run=from_stored(run),
                begun=begun,
                here=here,
                machines=machines,
                done=done,
                units=units,
                stopped=from_stored(stopped),
                closed=closed or "",
            )
            for run, begun, here, machines, done, units, stopped, closed in rows
        )

    def _holder(self, worker: str) -> str:
        return to_stored(f"{self._machine}/{worker}")

    def _own_holder(self, token: FleetToken) -> str | None:
        """Return the holder of a token if it is a worker of this machine."""
        return to_stored(token.holder) if token.holder.startswith(f"{self._machine}/") else None

    def _change_token(self, token: Token, statement: str, **given: object) -> FleetToken:
        rows = self._change_here(sql.ADD_TOKEN, statement, sql.TOKEN, token=to_stored(token), **given)
        return read_token(rows[0])

    def _change_here(self, *texts: str, **given: object) -> list[Row]:
        """Make a change as a machine that is here; return the rows of the last statement."""
        rows = self._change(sql.LOCK, *texts, sql.MY_STATE, before=(), after=(), **given)
        self._require_here(rows[-1])
        return rows[-2]

    def _change(
        self, *texts: str, before: Sequence[str] = (), after: Sequence[str] = (), **given: object
    ) -> list[list[Row]]:
        """Make changes in one transaction, and read `after` it; raises RunGoneError if there is no run."""
        keys = {**self._keys, **given}
        brought, changes, reads = ([(text, keys) for text in part] for part in (before, texts, after))
        rows = self._repeated(lambda: self._connection.change(changes, before=brought, after=reads))
        if texts[0] == sql.LOCK:
            self._require_run(rows[0])
        return rows

    def _read(self, *statements: Statement) -> list[list[Row]]:
        with_keys = [(text, {**self._keys, **given}) for text, given in statements]
        return self._repeated(lambda: self._connection.read(*with_keys))

    def _repeated(self, call: Callable[[], T]) -> T:
        return repeated(call, self._repeat_for)

    def _answer(self, polled: Sequence[Row], ends: Sequence[Row], refused: tuple[str, ...]) -> Answer:
        """Return an answer from what was polled, and ends that were read later.

        Ends never change, and are numbered in the order in which they were made. So those that belong to what was
        polled are all there, and newer ones are left for the next time.
        """
        self._require_run(polled)
        news, stopped, closed, free, *_ = polled[0]
        return Answer(
            news=news,
            mine=tuple(read_unit(row[4:]) for row in polled if row[4] is not None),
            ends=tuple(end for end in read_ends(ends) if end.news <= news),
            free=tuple(from_stored(unit) for unit in free),
            refused=refused,
            stopped=from_stored(stopped),
            closed=closed,
        )

    def _require_run(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise RunGoneError(f"the run {self.run} is no longer in {self.label}")

    def _require_here(self, state: Sequence[Row]) -> None:
        """Raise an error unless this state of the machine, in rows of one column, says that it is here."""
        if not state:
            self._require_run(self._read((sql.RUN, {}))[0])
        if not state or state[0][0] != MachineState.HERE:
            raise MachineLostError(
                f"{self._machine} is no longer part of the run {self.run}"
                + (
                    ": another machine has declared it lost"
                    if state and state[0][0] == MachineState.LOST
                    else ""
                )
            )


def _losses(after: Sequence[Row], units: Sequence[Row]) -> Losses:
    return Losses(
        after={from_stored(name): seconds for name, seconds in after}, units=tuple(map(read_unit, units))
    )
