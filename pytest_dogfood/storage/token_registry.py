"""The registry of tokens: which are present in which state, what made them, since when, with which values."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.execution.background import BackgroundProcess
from pytest_dogfood.execution.watcher import alive, start_time
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.storage.files import SharedLog, private_directory, read_as, write_whole
from pytest_dogfood.storage.locks import LockTable

MACHINE = "machine"
"""The place of tokens with the scope `machine` or `fleet`; other places are names of states."""

BY_PROVISION = "provision"
"""The maker, in its record, of a token that its own provision steps have made."""

SEVERAL = Token("_several")
"""Name of the lock for provisioning shared tokens that depend on each other; no token has such a name."""


class Claim(Struct, frozen=True, kw_only=True):
    """A token that a provider or an establishing journey has made, or begun to make, and that must be released once.

    It stays when the token itself is lost: a half-made token needs a release, too. `values` are those saved so far;
    `secret` names those that must never be shown. `service` is the one that was started last, whether it still runs
    or not.
    """

    since: float = field(default_factory=time.time)
    values: Mapping[str, str] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    service: BackgroundProcess | None = None


class TokenRecord(Claim, frozen=True, kw_only=True):
    """A token that is present in a place. `by` names its maker; `ours` is False if it was present before the run.

    `home` names the state in which a shared token was made: the chain's tokens on which it rests are there.
    """

    token: Token
    place: str
    by: str
    proof: Proof
    ours: bool = True
    home: str = ""


class Attempt(Struct, frozen=True, kw_only=True):
    """An attempt at provisioning a token that has begun, and failed if it has a `message`.

    It lets every other dependent report that at once instead of trying again, and keeps a provider that kills its
    worker from killing a third one. `deaths` counts the attempts before it that ended so.
    """

    token: Token
    place: str
    asked_by: str
    pid: int = field(default_factory=os.getpid)
    born: str | None = field(default_factory=lambda: start_time(os.getpid()))
    message: str = ""
    deaths: int = 0

    def died(self) -> bool:
        """Return whether the process died before the attempt ended."""
        return not self.message and not alive(self.pid, self.born)


class KnownToken(Struct, frozen=True, kw_only=True):
    """All facts on a token in a place; `kept` are the values saved by tests that establish it together.

    `last_since` is the time of the newest record (seconds since the epoch), even if that was forgotten; 0 if there was
    none. `hung` means that its probe did not end when it was last run, before anything had been done for the token.
    """

    token: Token
    place: str
    record: TokenRecord | None = None
    claim: Claim | None = None
    last_since: float = 0.0
    hung: bool = False
    attempt: Attempt | None = None
    kept: Mapping[str, str] = field(default_factory=dict)


class Registry:
    """Records of one run, in `directory`; the same token in another state is another record.

    To change a record, hold the token's lock in its place. Shared tokens may be those of several runs that follow one
    another: then their records are in the directory `machine`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        machine: Path | None = None,
        lock_table: Callable[[Path], LockTable] = LockTable,
    ) -> None:
        directory = private_directory(directory)
        self.shared = machine or directory
        """Where the records of tokens are that lie outside of all states."""
        self._log = SharedLog(directory / "records", KnownToken)
        self._locks = lock_table(directory / "locks")
        self._machine = None
        if machine is not None:
            self._machine = SharedLog(private_directory(machine) / "records", KnownToken)
        self._records: dict[str, dict[Token, KnownToken]] = {}
        self._losses = 0

    def locked(self, token: Token, place: str) -> AbstractContextManager[None]:
        """Keep others from probing, provisioning and releasing a token; reentrant within a process."""
        return self._locks.holding(f"{place}/{token}")

    @property
    def losses(self) -> int:
        """Number of times so far that a token was lost or replaced in any place, which may affect other tokens."""
        self._read_on()
        return self._losses

    def record_of(self, token: Token, place: str) -> TokenRecord | None:
        return self.known_of(token, place).record

    def record(self, record: TokenRecord) -> None:
        """Record that a token is present; claim it for release if it is ours."""
        token, place = record.token, record.place
        claim = record if record.ours else self.claim_of(token, place)
        self._change(token, place, record=record, claim=claim, last_since=record.since, hung=False)

    def forget(self, token: Token, place: str) -> None:
        """Remove a token's record; its claim, if there is one, must still be released."""
        if self.record_of(token, place) is not None:
            self._change(token, place, record=None)

    def claim(
        self, token: Token, place: str, values: Mapping[str, str] | None = None, secret: tuple[str, ...] = ()
    ) -> None:
        """Note that a token may need release: before the first step that makes it, and again with its values."""
        claim = self.claim_of(token, place) or Claim()
        self._change(token, place, claim=replace(claim, values=values or {}, secret=secret))

    def claim_of(self, token: Token, place: str) -> Claim | None:
        return self.known_of(token, place).claim

    def released(self, token: Token, place: str) -> None:
        """Remove a token's record and claim."""
        known = self.known_of(token, place)
        if known.record is not None or known.claim is not None:
            self._change(token, place, record=None, claim=None)

    def unreleased(self, place: str) -> tuple[Token, ...]:
        """Return the tokens of a place with a record or a claim."""
        records = self._read_on().get(place, {})
        return tuple(
            token for token, one in records.items() if one.record is not None or one.claim is not None
        )

    def known_in(self, place: str) -> tuple[Token, ...]:
        """Return every token of which something is known in a place."""
        return tuple(self._read_on().get(place, {}))

    def note_hung(self, token: Token, place: str) -> None:
        """Note that a token's probe did not end in time, before anything had been done for the token."""
        self._change(token, place, hung=True)

    def keep_values(self, token: Token, place: str, values: Mapping[str, str]) -> None:
        """Keep the values that a test saved until all tests that establish the token together have passed."""
        self._change(token, place, kept=values)

    def kept_values(self, token: Token, place: str) -> Mapping[str, str]:
        return self.known_of(token, place).kept

    def places(self) -> tuple[str, ...]:
        """Return every place that ever had a record, the machine last, because tokens in states rest on its tokens."""
        return tuple(sorted(self._read_on(), key=lambda name: (name == MACHINE, name)))

    def begin(self, attempt: Attempt) -> None:
        """Note that provisioning begins, before it does."""
        self._change(attempt.token, attempt.place, attempt=attempt)

    def fail(self, attempt: Attempt, message: str) -> None:
        self.begin(replace(attempt, message=message))

    def succeed(self, attempt: Attempt) -> None:
        self._change(attempt.token, attempt.place, attempt=None)

    def forget_place(self, place: str) -> None:
        """Remove the records of a place that no longer exists."""
        for token in tuple(self._read_on().get(place, {})):
            self.forget(token, place)

    def attempts(self, token: Token) -> tuple[Attempt, ...]:
        """Return the attempts at a token, in all places, that failed or are under way."""
        records = self._read_on()
        found = [records[place].get(token) for place in sorted(records)]
        return tuple(one.attempt for one in found if one is not None and one.attempt is not None)

    def begin_run(self) -> None:
        """Forget what other runs have tried in vain for machine-wide tokens: this one may try again."""
        for known in tuple(self._read_on().get(MACHINE, {}).values()):
            if known.attempt is not None or known.hung:
                self._change(known.token, MACHINE, attempt=None, hung=False)

    def failed(self) -> tuple[Token, ...]:
        """Return the tokens that could not be provisioned in some place."""
        known = (one for records in self._read_on().values() for one in records.values())
        return tuple(one.token for one in known if one.attempt is not None and one.attempt.message)

    def known_of(self, token: Token, place: str) -> KnownToken:
        known = self._read_on().get(place, {}).get(token)
        return KnownToken(token=token, place=place) if known is None else known

    def _change(self, token: Token, place: str, **changes: Any) -> None:  # noqa: ANN401 - fields of the record
        log = self._machine if place == MACHINE and self._machine is not None else self._log
        log.append(replace(self.known_of(token, place), **changes))

    def _read_on(self) -> Mapping[str, Mapping[Token, KnownToken]]:
        of_machine = () if self._machine is None else self._machine.unread()
        for one in (*of_machine, *self._log.unread()):
            records = self._records.setdefault(one.place, {})
            before = records.get(one.token)
            if before is not None and before.record is not None and before.record != one.record:
                self._losses += 1
            records[one.token] = one
        return self._records


class RunIdentity(Struct, frozen=True, kw_only=True):
    """A live run that uses a machine-wide token, identified by the process that leads the run."""

    run: str
    pid: int
    born: str | None

    def is_live(self) -> bool:
        return alive(self.pid, self.born)


class MachineRecord(Struct, frozen=True, kw_only=True):
    """The record of a token on this machine beyond a single run; `ours` if a run provisioned it."""

    token: Token
    ours: bool
    values: Mapping[str, str] = field(default_factory=dict)
    leases: tuple[RunIdentity, ...] = ()


class Leases(Protocol):
    """Who uses tokens that lie outside of all states, and whether they were there before.

    To take or drop a lease, or to forget a token, hold the token's lock.
    """

    def locked(self, token: Token) -> AbstractContextManager[None]:
        """Keep all others from changing a token; reentrant within a process."""

    def record_of(self, token: Token) -> MachineRecord | None: ...

    def take_lease(
        self, token: Token, *, ours: bool, values: Mapping[str, str], by: str = ""
    ) -> MachineRecord:
        """Add this run's lease; while any run uses the token, the first value of `ours` stays.

        With `by`, which names what made it, the token is known to be present.
        """

    def drop_lease(self, token: Token) -> bool:
        """Drop this run's lease; return True if no run uses the token any more and it is ours to release."""

    def forget(self, token: Token) -> None: ...


class FleetLeases(Leases, Protocol):
    """Leases on tokens that are true for every machine of a fleet: one worker of all machines provides them.

    `is_last` is set in the process that releases them, once everything has ended on all machines.
    """

    is_last: bool

    def use(self, token: Token) -> None:
        """Note that this machine needs a token, before its probe is first asked here."""

    def try_to_hold(self, token: Token) -> bool:
        """Hold a token alone until `locked` ends; return False if another has made it while this one waited.

        Raises HarnessError if the token was given up.
        """

    def begin(self, token: Token) -> None:
        """Note that a provider begins to make a token that this process holds."""

    def fail(self, token: Token, message: str) -> None:
        """Note that the provider has failed here."""

    def is_tried_elsewhere(self, token: Token) -> bool:
        """Return whether another machine has provided a token that could not be provided here; wait for that.

        Raises HarnessError if it could not be provided there either.
        """

    def refuse_loss(self, token: Token, denial: str) -> None:
        """Raise HarnessError if a token that is not present here is in use on another machine."""


class MachineRegistry:
    """Leases on machine-wide tokens, shared by all runs of one project on this machine."""

    def __init__(
        self, directory: Path, identity: RunIdentity, *, lock_table: Callable[[Path], LockTable] = LockTable
    ) -> None:
        self._directory = private_directory(directory)
        self._identity = identity
        self._lock_table = lock_table
        self._locks = lock_table(self._directory / "locks")

    def for_one_run(self, directory: Path) -> Leases:
        """Return leases of the same run in another directory, which no other run sees."""
        return MachineRegistry(directory, self._identity, lock_table=self._lock_table)

    def locked(self, token: Token) -> AbstractContextManager[None]:
        """Keep other runs of the project on this machine from changing a token; reentrant within a process."""
        return self._locks.holding(token)

    def record_of(self, token: Token) -> MachineRecord | None:
        return read_as(self._directory / f"{token}.json", MachineRecord)

    def take_lease(
        self,
        token: Token,
        *,
        ours: bool,
        values: Mapping[str, str],
        by: str = "",  # noqa: ARG002 - what other runs left is probed
    ) -> MachineRecord:
        """Add this run's lease; while any run uses the token, the first value of `ours` stays."""
        known = self.record_of(token)
        counted_on = known is not None and any(one.is_live() for one in known.leases)
        record = MachineRecord(
            token=token,
            ours=known.ours if known is not None and (counted_on or known.ours) else ours,
            values=values or (known.values if known else {}),
            leases=(*self._others(known), self._identity),
        )
        self._write(record)
        return record

    def drop_lease(self, token: Token) -> bool:
        """Drop this run's lease; return True if no run uses the token any more and it is ours to release."""
        known = self.record_of(token)
        if known is None:
            return False
        record = replace(known, leases=self._others(known))
        self._write(record)
        return record.ours and not record.leases

    def forget(self, token: Token) -> None:
        (self._directory / f"{token}.json").unlink(missing_ok=True)

    def _others(self, known: MachineRecord | None) -> tuple[RunIdentity, ...]:
        leases = known.leases if known else ()
        return tuple(one for one in leases if one.run != self._identity.run and one.is_live())

    def _write(self, record: MachineRecord) -> None:
        write_whole(self._directory / f"{record.token}.json", msgspec.json.encode(record))
