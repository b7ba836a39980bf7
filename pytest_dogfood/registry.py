"""The registry: which token holds in which state, thanks to whom, since when, with which values."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path

import msgspec

from pytest_dogfood.journey import Token
from pytest_dogfood.journey import is_of_a_test
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.process import alive
from pytest_dogfood.process import start_time
from pytest_dogfood.services import Running
from pytest_dogfood.storage import LockedFile
from pytest_dogfood.storage import private_directory
from pytest_dogfood.storage import read_as
from pytest_dogfood.storage import write_whole

MACHINE = "machine"
"""The place of tokens that hold for every worker of this machine; other places are names of states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A token that holds in a place. `by` says thanks to whom; `ours` is False if it was there before anybody.

    `secret` names those of the `values` that are never to be shown.
    """

    token: Token
    place: str
    by: str
    proof: Proof
    ours: bool = True
    since: float = field(default_factory=time.time)
    values: Mapping[str, str] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    service: Running | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An act of provisioning that has begun, and failed if it has a `message`.

    It lets each further dependent say so at once instead of trying again, and instead of losing another worker
    where the provider kills the process that waits for it.
    """

    token: Token
    place: str
    asked_by: str
    pid: int = field(default_factory=os.getpid)
    born: str | None = field(default_factory=lambda: start_time(os.getpid()))
    message: str = ""

    def died(self) -> bool:
        """Whether the process that provisioned was gone before it came to an end."""
        return not self.message and not alive(self.pid, self.born)


class Registry:
    """Records below a run's directory; the same token in another state is another record."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks: dict[Path, LockedFile] = {}
        self._made: dict[str, Path] = {}

    @contextmanager
    def locked(self, token: Token, place: str) -> Iterator[None]:
        """Keep others from asking for, bringing about and giving back a token; reentrant within a process."""
        path = self._place(place) / f"{_file_name(token)}.lock"
        with self._locks.setdefault(path, LockedFile(path)):
            yield

    def holding(self, token: Token, place: str) -> Holding | None:
        return read_as(self._place(place) / f"{_file_name(token)}.json", Holding)

    def record(self, holding: Holding) -> None:
        path = self._place(holding.place) / f"{_file_name(holding.token)}.json"
        write_whole(path, msgspec.json.encode(holding))

    def forget(self, token: Token, place: str) -> None:
        (self._place(place) / f"{_file_name(token)}.json").unlink(missing_ok=True)

    def keep_values(self, token: Token, place: str, values: Mapping[str, str]) -> None:
        """Keep what one of several tests has saved until all that establish the token together have passed."""
        path = self._place(place) / f"{_file_name(token)}.values"
        write_whole(path, msgspec.json.encode(dict(values)))

    def kept_values(self, token: Token, place: str) -> Mapping[str, str]:
        return read_as(self._place(place) / f"{_file_name(token)}.values", dict[str, str]) or {}

    def holdings(self, place: str) -> tuple[Holding, ...]:
        """Give everything that holds in a place, oldest first."""
        found = [read_as(path, Holding) for path in sorted(self._place(place).glob("*.json"))]
        return tuple(sorted((one for one in found if one), key=lambda one: one.since))

    def places(self) -> tuple[str, ...]:
        """Name every place something was ever recorded for, the machine last: what holds in states rests on it."""
        found = sorted(path.name for path in private_directory(self._directory).iterdir())
        return tuple(sorted(found, key=lambda name: name == MACHINE))

    def begin(self, attempt: Attempt) -> None:
        """Note that provisioning begins, before it does."""
        self._write_attempt(attempt)

    def fail(self, attempt: Attempt, message: str) -> None:
        self._write_attempt(replace(attempt, message=message))

    def succeed(self, attempt: Attempt) -> None:
        self._attempt_file(attempt.token, attempt.place).unlink(missing_ok=True)

    def attempts(self, token: Token) -> tuple[Attempt, ...]:
        """Give the attempts at a token, in whatever place, that failed or are under way."""
        found = [read_as(path, Attempt) for path in sorted(self._attempts.glob(f"{token}@*"))]
        return tuple(one for one in found if one is not None)

    def _write_attempt(self, attempt: Attempt) -> None:
        write_whole(self._attempt_file(attempt.token, attempt.place), msgspec.json.encode(attempt))

    def _attempt_file(self, token: Token, place: str) -> Path:
        return self._attempts / f"{token}@{place}"

    @property
    def _attempts(self) -> Path:
        return private_directory(self._directory.with_name("attempts"))

    def _place(self, place: str) -> Path:
        if place not in self._made:
            self._made[place] = private_directory(self._directory / place)
        return self._made[place]


def _file_name(token: Token) -> str:
    """Name a token's files; the name of a test may be long and hold slashes."""
    return hashlib.sha256(token.encode()).hexdigest()[:32] if is_of_a_test(token) else token


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One live run that counts on a machine-wide token, known by the process that leads the run."""

    run: str
    pid: int
    born: str | None

    def is_live(self) -> bool:
        return alive(self.pid, self.born)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """What this machine knows of a token beyond a single run; `ours` if some run brought it about."""

    token: Token
    ours: bool
    values: Mapping[str, str] = field(default_factory=dict)
    leases: tuple[Lease, ...] = ()


class MachineRegistry:
    """Leases on machine-wide tokens, shared by all runs of one project on this machine."""

    def __init__(self, directory: Path, lease: Lease) -> None:
        self._directory = private_directory(directory)
        self._lease = lease
        self._locks: dict[Token, LockedFile] = {}

    @contextmanager
    def locked(self, token: Token) -> Iterator[None]:
        with self._locks.setdefault(token, LockedFile(self._directory / f"{token}.lock")):
            yield

    def record_of(self, token: Token) -> MachineRecord | None:
        return read_as(self._directory / f"{token}.json", MachineRecord)

    def take(self, token: Token, *, ours: bool, values: Mapping[str, str]) -> MachineRecord:
        """Add this run's lease; while anybody counts on the token, what was first said of `ours` stays."""
        known = self.record_of(token)
        counted_on = known is not None and any(one.is_live() for one in known.leases)
        record = MachineRecord(
            token=token,
            ours=known.ours if known is not None and (counted_on or known.ours) else ours,
            values=values or (known.values if known else {}),
            leases=(*self._others(known), self._lease),
        )
        self._write(record)
        return record

    def give_back(self, token: Token) -> bool:
        """Drop this run's lease; True if nobody counts on the token any more and it is ours to release."""
        known = self.record_of(token)
        if known is None:
            return False
        record = replace(known, leases=self._others(known))
        self._write(record)
        return record.ours and not record.leases

    def forget(self, token: Token) -> None:
        (self._directory / f"{token}.json").unlink(missing_ok=True)

    def _others(self, known: MachineRecord | None) -> tuple[Lease, ...]:
        leases = known.leases if known else ()
        return tuple(one for one in leases if one.run != self._lease.run and one.is_live())

    def _write(self, record: MachineRecord) -> None:
        write_whole(self._directory / f"{record.token}.json", msgspec.json.encode(record))


def own_lease(run: str) -> Lease:
    """Give the lease of the run that this process leads."""
    return Lease(run=run, pid=os.getpid(), born=start_time(os.getpid()))
