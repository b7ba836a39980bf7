"""The data model of a hub: tasks, statuses, repositories, checkouts, events; and the errors of its commands."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import ClassVar, NamedTuple

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """A machine: an id that stays when it is renamed, and its present name."""

    id: str
    host: str


PACKAGES = frozenset({"sqlalchemy", "platformdirs", "markdown_it"})
"""What `pytest-dogfood[hub]` installs. Without one of them, a command of the hub says how to install it."""

REFUSED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130


class HubError(Exception):
    """An error about the hub; its text explains it, and says what to do."""

    exit_status: ClassVar[int] = USAGE


class HubUsageError(HubError):
    """A command, a setting or a file is invalid."""


class NoHubError(HubUsageError):
    """No hub is named, or there is none at its URL."""


class WrongHubError(HubUsageError):
    """A repository belongs to another hub than this one."""


class RightsError(HubError):
    """The role that a hub's URL names lacks rights in the database that the command needs."""


class RefusedError(HubError):
    """The order of statuses forbids a change, or the task changed meanwhile."""

    exit_status = REFUSED


class HubUnreachable(HubError):  # noqa: N818 - a state of the hub, and a documented name
    """The hub does not answer, stopped answering, or stayed locked."""

    exit_status = UNREACHABLE


class SchemaTooNew(HubError):  # noqa: N818 - likewise
    """A newer program has upgraded the hub."""

    exit_status = UNREACHABLE


class Status(StrEnum):
    """How far a task is. The order of the members is for display only: see `RANK`."""

    TODO = "todo"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    CANCELLED = "cancelled"


RANK: Mapping[Status, int] = {
    Status.TODO: 0,
    Status.IN_PROGRESS: 1,
    Status.BLOCKED: 1,
    Status.DONE: 2,
    Status.CANCELLED: 2,
}
"""Two statuses may share a rank: if `blocked` were above `in_progress`, a stale file would undo an unblocking."""

_SYNONYMS: Mapping[str, Status] = {
    **dict.fromkeys(("open", "new", "pending"), Status.TODO),
    **dict.fromkeys(("started", "active", "doing", "wip"), Status.IN_PROGRESS),
    **dict.fromkeys(("waiting", "on_hold"), Status.BLOCKED),
    **dict.fromkeys(("complete", "completed", "closed", "finished"), Status.DONE),
    **dict.fromkeys(("abandoned", "dropped", "wontfix"), Status.CANCELLED),
}
"""Words of other trackers, used only for suggestions, never to parse a status."""


class Position(NamedTuple):
    """A task's progress; compared from left to right."""

    reopen_count: int
    rank: int


def parse_status(text: str | None) -> Status | None:
    """Return the status of exactly this name; None for every other text, and for None."""
    return next((status for status in Status if status.value == text), None)


def position(status: Status, reopen_count: int) -> Position:
    return Position(reopen_count, RANK[status])


def is_closed(status: Status) -> bool:
    return status in {Status.DONE, Status.CANCELLED}


def nearest_status(text: str | None) -> str:
    """Return the name of the status that was probably meant, or the empty string."""
    plain = "_".join((text or "").casefold().replace("-", " ").replace("_", " ").split())
    if plain in _SYNONYMS:
        return _SYNONYMS[plain].value
    return next(iter(get_close_matches(plain, [status.value for status in Status], n=1)), "")


def suggest_status(text: str | None) -> str:
    """Return a hint for an unknown status: the one that was probably meant, or all."""
    meant = nearest_status(text)
    return f"did you mean '{meant}'?" if meant else "one of " + ", ".join(known.value for known in Status)


def parse_uuid(text: str) -> str | None:
    """Return a UUID in its usual form; None for every other text."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


class HubTask(Struct, frozen=True, kw_only=True):
    """A task in the hub. `status` is the raw text: a newer program may have written an unknown one."""

    id: str
    repo: str
    task_id: str
    title: str = ""
    status: str
    reopen_count: int = 0
    version: int = 1
    source_path: str = ""
    deleted: bool = False


class Block(Struct, frozen=True, kw_only=True):
    """A task block in a workplan. `problem` says why it cannot be used; then `task_id` is only a guess.

    `path` is relative to the repository, with forward slashes; `line` is that of the opening fence.
    """

    path: str
    line: int
    task_id: str
    hub_id: str | None = None
    status: str | None = None
    reopened: int = 0
    title: str = ""
    problem: str = ""


class Source(StrEnum):
    """The origin of a change of a status."""

    FILE = "file"
    API = "api"
    CREATE = "create"
    REOPEN = "reopen"
    RESOLVE = "resolve"
    IMPORT = "import"


class Repo(Struct, frozen=True, kw_only=True):
    """A repository. `root_commit` is the first commit of its history, empty if it is not known."""

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
    """The origin of a change, for the event log. A deliberate move needs a reason."""

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


class LoggedWriteback(Struct, frozen=True, kw_only=True):
    """A writeback as the log shows it. `at` is the server's time, in UTC; `path` leads into a checkout of `machine`."""

    task: str
    at: datetime
    machine: str
    host: str
    from_status: str
    to_status: str
    path: str
    commit: str
    run_id: str
