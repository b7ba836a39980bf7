"""Rows of a fleet's tables as the structs of the board; text is stored so that a database takes whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

import msgspec

from pytest_dogfood.database import from_stored, to_stored
from pytest_dogfood.fleet.board import End, FleetToken, Machine, MachineState, TokenState, Unit
from pytest_dogfood.fleet.database.connection import Row
from pytest_dogfood.journey import Token


def stored_texts(texts: Iterable[str]) -> list[str]:
    return [to_stored(text) for text in texts]


def texts(stored: Sequence[str]) -> tuple[str, ...]:
    return tuple(from_stored(text) for text in stored)


def read_machine(row: Row) -> Machine:
    name, host, workers, beats, state, fails = row
    return Machine(
        name=from_stored(name),
        host=from_stored(host),
        workers=workers,
        beats=beats,
        state=MachineState(state),
        fails=tuple(Token(token) for token in texts(fails)),
    )


def read_unit(row: Row) -> Unit:
    name, machine, attempt, current, lost_in, lost_on, losses, done = row
    return Unit(
        name=from_stored(name),
        machine=from_stored(machine),
        attempt=attempt,
        current=from_stored(current),
        lost_in=texts(lost_in),
        lost_on=texts(lost_on),
        losses=losses,
        done=done,
    )


def read_ends(rows: Iterable[Row]) -> tuple[End, ...]:
    """Return ends in the order in which they were made."""
    return tuple(map(_read_end, sorted(rows, key=itemgetter(-2, -1))))


def _read_end(row: Row) -> End:
    nodeid, unit, attempt, outcome, result, record, after, machine, news, _ = row
    return End(
        nodeid=from_stored(nodeid),
        unit=from_stored(unit),
        attempt=attempt,
        outcome=from_stored(outcome),
        result=result,
        record=record,
        next=from_stored(after),
        machine=from_stored(machine),
        news=news,
    )


def read_token(row: Row) -> FleetToken:
    name, state, holder, by, ours, values, message, tried_on, lost_on, used_by, changes = row
    return FleetToken(
        token=Token(from_stored(name)),
        state=TokenState(state),
        holder=from_stored(holder),
        by=from_stored(by),
        ours=ours,
        values=_decoded_values(values),
        message=from_stored(message),
        tried_on=texts(tried_on),
        lost_on=texts(lost_on),
        used_by=texts(used_by),
        changes=changes,
    )


def encoded_values(values: Mapping[str, str]) -> bytes:
    """Return the values of a token as bytes; they are empty if there are none."""
    stored = {to_stored(name): to_stored(value) for name, value in values.items()}
    return msgspec.msgpack.encode(stored) if stored else b""


def _decoded_values(content: bytes) -> dict[str, str]:
    decoded = msgspec.msgpack.decode(content, type=dict[str, str]) if content else {}
    return {from_stored(name): from_stored(value) for name, value in decoded.items()}
