"""Holds and leases on the tokens that are true for every machine of a fleet, for one process on a machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import Board, FleetToken, TokenState
from pytest_dogfood.fleet.member import now
from pytest_dogfood.fleet.token_rules import after_failure, is_for_others_to_try, refusal, refusal_of_loss
from pytest_dogfood.journey import Token
from pytest_dogfood.storage.token_registry import MachineRecord

LARGEST_VALUE = 64 * 1024
"""Bytes of one value of a token."""

POLL = 0.2
"""Seconds between two questions about a token that another worker holds."""

Waiting = Callable[[str], AbstractContextManager[object]]


class TokensOfFleet:
    """Leases on tokens of the fleet; `worker` is the name of this process on its machine, `lease` is in seconds.

    `waiting` is called with the name of a token that another worker holds; its context lasts as long as the wait.
    """

    def __init__(
        self, board: Board, *, machine: str, worker: str, lease: float, waiting: Waiting = nullcontext
    ) -> None:
        self._board = board
        self._machine = machine
        self._worker = worker
        self._lease = lease
        self._waiting = waiting
        self._depth: Counter[Token] = Counter()
        self._held: dict[Token, FleetToken] = {}
        """The tokens that this process holds, as they will be written when it ends the hold."""
        self._used: set[Token] = set()
        self._failed: set[Token] = set()
        """The tokens that a provider could not make here, until another machine is asked whether it can."""
        self.is_last = False
        """Set in the process that releases the tokens of the fleet, once all else is done."""

    def use(self, token: Token) -> None:
        """Note that this machine needs a token, before its probe is first asked here."""
        if token not in self._used:
            self._board.use(token)
            self._used.add(token)

    def try_to_hold(self, token: Token) -> bool:
        """Hold a token alone; return False if another worker has made it while this one waited.

        Raises HarnessError if the token was given up.
        """
        row = self._board.token(token)
        if why := refusal(row):
            raise HarnessError(why)
        return self._hold(row)

    def _hold(self, row: FleetToken) -> bool:
        if self._is_others(row):
            with self._waiting(row.token):
                while self._is_others(row):
                    time.sleep(POLL)
                    row = self._board.token(row.token)
            if row.state is TokenState.HELD:
                return False
        held = self._board.hold(row, self._worker)
        if held.holder != self._me:
            return False
        self._held[row.token] = held
        return True

    @property
    def _me(self) -> str:
        return f"{self._machine}/{self._worker}"

    def _is_others(self, row: FleetToken) -> bool:
        return bool(row.holder) and row.holder != self._me

    @contextmanager
    def locked(self, token: Token) -> Iterator[None]:
        """Hold a token alone, and write at the end what has become of it; reentrant.

        Also one that was given up: it may be destroyed, established by a journey, or released.
        """
        while token not in self._held and not self._hold(self._board.token(token)):
            pass  # another has made it meanwhile, and holds it no more
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

    def begin(self, token: Token) -> None:
        """Note that a provider begins to make a token that this process holds."""
        self._held[token] = self._board.begin(self._held[token])

    def fail(self, token: Token, message: str) -> None:
        """Note that the provider has failed here."""
        self._held[token] = after_failure(self._held[token], self._machine, message)
        self._failed.add(token)

    def is_tried_elsewhere(self, token: Token) -> bool:
        """Return whether another machine has provided a token that could not be provided here; wait for that.

        Raises HarnessError, naming all machines, if it could not be provided there either.
        """
        if token not in self._failed:
            return False  # something else went wrong
        self._failed.discard(token)
        row = self._board.token(token)
        until = now() + self._lease
        with self._waiting(token):
            while now() < until and self._is_under_way(row):
                time.sleep(POLL)
                row = self._board.token(token)
        if why := refusal(row):
            raise HarnessError(why)
        return row.state is TokenState.HELD

    def _is_under_way(self, row: FleetToken) -> bool:
        return self._is_others(row) or (
            row.state is TokenState.ABSENT and is_for_others_to_try(row, self._machine)
        )

    def refuse_loss(self, token: Token, denial: str) -> None:
        """Raise HarnessError if a token that is not present here is in use on another machine."""
        row = self._held[token]
        if why := refusal_of_loss(row, self._machine):
            raise HarnessError(f"{why}\n{denial}".rstrip())

    # What leases on the tokens of one machine have, too.

    def record_of(self, token: Token) -> MachineRecord | None:
        row = self._held.get(token) or self._board.token(token)
        if row.state is not TokenState.HELD:
            return None
        return MachineRecord(token=token, ours=row.ours, values=row.values)

    def take_lease(
        self, token: Token, *, ours: bool, values: Mapping[str, str], by: str = ""
    ) -> MachineRecord:
        """Note that a token is present for all machines, if `by` names what made it; else that it may be half-made."""
        self.use(token)
        row = self._held[token]
        if by:
            _refuse_large(token, values)
            made = f"{self._me} {by}"
            row = replace(row, state=TokenState.HELD, by=made, values=dict(values), tried_on=(), message="")
        row = self._held[token] = replace(row, ours=row.ours or ours)
        return MachineRecord(token=token, ours=row.ours, values=row.values)

    def drop_lease(self, token: Token) -> bool:  # noqa: ARG002 - leaving the run ends all that a machine uses
        return self.is_last

    def forget(self, token: Token) -> None:
        """Note that a token may be lost for all machines, or, once the last one has released it, that it is gone."""
        row = self._held[token]
        gone = {"ours": False} if self.is_last else {}
        self._held[token] = replace(row, state=TokenState.ABSENT, by="", values={}, **gone)


def _refuse_large(token: Token, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        if len(value.encode(errors="surrogateescape")) > LARGEST_VALUE:
            raise HarnessError(
                f"the value {name!r} of {token!r} has more than {LARGEST_VALUE // 1024} KiB, and a token of the fleet "
                "carries its values to all machines; save it in a file that they reach, and name the file"
            )
