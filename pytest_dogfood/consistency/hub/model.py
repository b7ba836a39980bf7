"""The statuses of a task and the one order they have: open before active before closed, counted anew after a reopen."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct


class Status(StrEnum):
    """How far a task is. The order of the members is for display only: see `RANK`."""

    TODO = "todo"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    CANCELLED = "cancelled"


RANK: Mapping[Status, int] = MappingProxyType(
    {
        Status.TODO: 0,
        Status.IN_PROGRESS: 1,
        Status.BLOCKED: 1,
        Status.DONE: 2,
        Status.CANCELLED: 2,
    }
)
"""Two statuses may share a rank: were `blocked` above `in_progress`, a stale file would undo an unblocking."""

CLOSED_RANK = 2

_HABITS: Mapping[str, Status] = MappingProxyType(
    {
        "open": Status.TODO,
        "new": Status.TODO,
        "pending": Status.TODO,
        "started": Status.IN_PROGRESS,
        "active": Status.IN_PROGRESS,
        "doing": Status.IN_PROGRESS,
        "wip": Status.IN_PROGRESS,
        "waiting": Status.BLOCKED,
        "on_hold": Status.BLOCKED,
        "complete": Status.DONE,
        "completed": Status.DONE,
        "closed": Status.DONE,
        "finished": Status.DONE,
        "abandoned": Status.CANCELLED,
        "dropped": Status.CANCELLED,
        "wontfix": Status.CANCELLED,
    }
)
"""What other trackers say. Only ever used to suggest a name, never to read one."""


class Position(Struct, frozen=True, order=True):
    """Where a task stands; compared from left to right."""

    reopen_count: int
    rank: int


def parse_status(text: str | None) -> Status | None:
    """Give the status of exactly this name; None for every other text, and for none."""
    try:
        return Status(text) if text is not None else None
    except ValueError:
        return None


def position(status: Status, reopen_count: int) -> Position:
    return Position(reopen_count, RANK[status])


def is_closed(status: Status) -> bool:
    return RANK[status] == CLOSED_RANK


def nearest(text: str | None) -> str:
    """Give the name of the status that was probably meant, or the empty string."""
    plain = "_".join((text or "").casefold().replace("-", " ").replace("_", " ").split())
    if plain in _HABITS:
        return _HABITS[plain].value
    found = get_close_matches(plain, [status.value for status in Status], n=1)
    return found[0] if found else ""
