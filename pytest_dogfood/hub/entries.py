"""What the hub keeps besides tasks: repositories, checkouts, and who changed what, when and why."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from pytest_dogfood.hub.machine import Machine


class Source(StrEnum):
    """Where a change of a status came from."""

    FILE = "file"
    API = "api"
    CREATE = "create"
    REOPEN = "reopen"
    RESOLVE = "resolve"
    IMPORT = "import"


class Repo(Struct, frozen=True, kw_only=True):
    """A repository. `root_commit` is the first commit of its history, empty while it is not known."""

    id: str
    slug: str
    root_commit: str = ""


class Checkout(Struct, frozen=True, kw_only=True):
    """A place where a repository is checked out; `repo` is its slug."""

    id: str
    repo: str
    machine_id: str
    host: str = ""
    path: str


class Stamp(Struct, frozen=True, kw_only=True):
    """Who makes a change and why, as the event log will have it. A deliberate move needs a reason."""

    machine: Machine
    actor: str
    source: Source
    repo_commit: str = ""
    path: str = ""
    run_id: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.source in {Source.REOPEN, Source.RESOLVE} and not self.reason.strip():
            raise ValueError(f"a {self.source.value} needs a reason")


class Event(Struct, frozen=True, kw_only=True):
    """One row of the event log. `at` is the server's time, in UTC; `from_status` is None when a task was created."""

    task: str
    version: int
    at: datetime
    machine: str
    host: str
    actor: str
    source: str
    from_status: str | None
    to_status: str
    reopen_count: int
    repo_commit: str = ""
    path: str = ""
    run_id: str = ""
    reason: str = ""


class Writeback(Struct, frozen=True, kw_only=True):
    """One status that a commit carried from the hub into a file."""

    run_id: str
    checkout: str
    path: str
    task: str
    from_status: str
    to_status: str
    commit: str
