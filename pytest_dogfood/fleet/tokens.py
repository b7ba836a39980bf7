"""The registry of tokens that are true for every machine of a fleet, as one worker or the leading process sees it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import Board, FleetToken, TokenState
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import listed
from pytest_dogfood.storage.token_registry import MachineRecord

MOST_TRIES = 2
"""Machines on which a provider may fail, or that may be lost while it runs, before the token is given up."""

LARGEST_VALUE = 64 * 1024
"""Bytes of one value of a token."""

POLL = 0.2
"""Seconds between two questions whether another worker has made a token."""


class FleetRegistry:
    """Tokens of the fleet; `worker` is the name of this process on its machine.

    `waiting` is called with the name of a token that another worker holds; its context lasts as long as the wait.
    """

    def __init__(
        self,
        board: Board,
        *,
        machine: str,
        worker: str,
        waiting: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._board = board
        self._machine = machine
        self._worker = worker
        self._waiting = waiting
        self._depth: Counter[Token] = Counter()
        self._held: dict[Token, FleetToken] = {}
        """What will be written of the tokens that this worker holds, when it ends the hold."""
        self._used: set[Token] = set()
        self.is_last = False
        """Set in the process that releases the tokens of the fleet, once all else is done."""

    @property
    def _me(self) -> str:
        return f"{self._machine}/{self._worker}"

    def use(self, token: Token) -> None:
        """Note that this machine needs a token, before its probe is first asked here."""
        if token not in self._used:
            self._board.use(token)
            self._used.add(token)

    def try_to_hold(self, token: Token) -> bool:
        """Hold a token alone; return False if another worker has made it while this one waited for it.

        Raises HarnessError if it was given up.
        """
        row = self._board.token(token)
        self._refuse(row)
        row = self._board.hold(row, self._worker)
        if row.holder != self._me:
            with self._waiting(token):
                while row.holder and row.holder != self._me:
                    time.sleep(POLL)
                    row = self._board.token(token)
            if row.state is TokenState.HELD:
                return False
            self._refuse(row)
            row = self._board.hold(row, self._worker)
        if row.holder != self._me:
            return False
        self._held[token] = row
        return True

    def _refuse(self, row: FleetToken) -> None:
        if row.state is TokenState.FAILED:
            raise HarnessError(
                f"{row.token!r} could not be provisioned on {listed(row.tried_on)}:\n{row.message}"
            )
        if len(row.lost_on) >= MOST_TRIES:
            raise HarnessError(
                f"{row.token!r} took {len(row.lost_on)} machines down while it was provisioned: {listed(row.lost_on)}"
            )

    @contextmanager
    def locked(self, token: Token) -> Iterator[None]:
        """Hold a token alone, and write at the end what has become of it; reentrant."""
        while token not in self._held and not self.try_to_hold(token):
            pass
        self._depth[token] += 1
        try:
            yield
        finally:
            self._depth[token] -= 1
            if not self._depth[token]:
                row = self._held.pop(token)
                if row.state is TokenState.COMING:
                    row = replace(row, state=TokenState.ABSENT)
                self._board.settle(row)

    def refuse_loss(self, token: Token, denial: str) -> None:
        """Raise HarnessError if a token that is not present here is in use on another machine."""
        row = self._held[token]
        others = [name for name in row.used_by if name != self._machine]
        if row.state is TokenState.HELD and others:
            maker = row.by.partition("/")[0] or "another machine"
            raise HarnessError(
                f"{token!r} was provisioned on {maker}, and {listed(others)} uses it, but it is not present on "
                f"{self._machine}; if it is true of one machine only, its scope is machine\n{denial}".rstrip()
            )

    def fail(self, token: Token, message: str) -> None:
        """Note that the provider has failed here; it is tried once more, on another machine."""
        row = self._held.get(token)
        if row is None:
            return
        tried_on = tuple(dict.fromkeys((*row.tried_on, self._machine)))
        state = TokenState.FAILED if len(tried_on) >= MOST_TRIES else TokenState.ABSENT
        text = "\n".join(filter(None, [row.message, f"{self._machine}: {message}"]))
        self._held[token] = replace(row, state=state, tried_on=tried_on, message=text)

    # What the registry of one machine has, too.

    def record_of(self, token: Token) -> MachineRecord | None:
        row = self._held.get(token) or self._board.token(token)
        if row.state is not TokenState.HELD:
            return None
        return MachineRecord(token=token, ours=row.ours, values=row.values)

    def take_lease(self, token: Token, *, ours: bool, values: Mapping[str, str]) -> MachineRecord:
        """Note that a token is present, or half-made and ours to release if there are no values yet."""
        self.use(token)
        row = self._held[token]
        for name, value in values.items():
            if len(value.encode(errors="surrogateescape")) > LARGEST_VALUE:
                raise HarnessError(
                    f"the value {name!r} of {token!r} has more than {LARGEST_VALUE // 1024} KiB, and a token of the "
                    "fleet carries its values to all machines; save it in a file that they reach, and name the file"
                )
        row = replace(row, ours=row.ours or ours)
        self._held[token] = row
        return MachineRecord(token=token, ours=row.ours, values=values or row.values)

    def establish(self, token: Token, by: str, values: Mapping[str, str]) -> None:
        """Note that a token is present for all machines from now on."""
        row = self._held[token]
        self._held[token] = replace(
            row, state=TokenState.HELD, by=f"{self._me} {by}", values=dict(values), message="", tried_on=()
        )

    def drop_lease(self, token: Token) -> bool:
        """Note that nothing on this machine needs a token any more; return whether it is to be released now."""
        if self.is_last:
            return True
        self._used.discard(token)
        self._board.end_use(token)
        return False

    def forget(self, token: Token) -> None:
        """Note that a token may be lost for all machines; once the last one releases it, that it is gone."""
        row = self._held.get(token)
        if row is None:
            self._board.forget(token)
        elif self.is_last:
            self._held[token] = replace(row, state=TokenState.ABSENT, ours=False)
        else:
            self._held[token] = replace(row, state=TokenState.ABSENT, by="", values={})
