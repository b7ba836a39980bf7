"""The two sides of a task: as the hub has it, and as a workplan has it."""

from __future__ import annotations

from msgspec import Struct


class HubTask(Struct, frozen=True, kw_only=True):
    """A task as the hub has it. `status` is the raw text: a newer program may have written one we do not know."""

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
    """A task block as a workplan has it. `problem` says why it cannot be used; then `task_id` is only a guess.

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
