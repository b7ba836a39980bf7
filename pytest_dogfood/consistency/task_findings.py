"""What a run says of a task: C-11, C-13, C-20 to C-24, C-28, C-29, C-37 and C-38, with their severities and hints."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from pytest_dogfood.consistency.hub.model import Block, HubTask, Status, is_closed, nearest, parse_status
from pytest_dogfood.git.work_tree import RepoCondition

_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "same_rank": "a tie, neither side is ahead",
        "diverged": "it has commits of its own besides",
        "dirty": "it is not as it was committed",
    }
)
"""Reasons of findings whose message, which never changes, does not tell them from other findings of their code."""


class FindingSeverity(StrEnum):
    """Whether a finding decides the exit status: FAIL does, WARN does under `--strict`."""

    FAIL = "FAIL"
    WARN = "WARN"
    INFO = "INFO"


class Action(StrEnum):
    """What `fix` does about a finding. `held` means that neither side is written, and the finding says why."""

    NONE = "none"
    HUB_UPDATE = "hub_update"
    CREATE = "create"
    WRITEBACK = "writeback"
    HELD = "held"


class Finding(Struct, frozen=True, kw_only=True):
    """One item of a report. The fields, in this order, are what JSON shows; `line` counts from 1, 0 is none."""

    code: str
    severity: FindingSeverity
    repo: str
    path: str = ""
    line: int = 0
    task_id: str = ""
    hub_id: str = ""
    title: str = ""
    db_status: str = ""
    file_status: str = ""
    reason: str = ""
    message: str
    hint: str = ""
    action: Action = Action.NONE
    fixed: bool = False
    commit: str = ""

    @property
    def is_left(self) -> bool:
        """Say whether a failure remains for somebody to deal with."""
        return self.severity is FindingSeverity.FAIL and not self.fixed

    @property
    def said(self) -> str:
        """Return the message for people, with the reason where that says more."""
        more = _IN_WORDS.get(self.reason)
        return f"{self.message}; {self.reason}: {more}" if more else self.message

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """Return the finding that `to_json` wrote. Raises ValueError or TypeError for anything else."""
        kinds = {"severity": FindingSeverity(value["severity"]), "action": Action(value["action"])}
        return cls(**{**value, **kinds})


class Case(Struct, frozen=True, kw_only=True):
    """The two sides of one task, of which one may be missing, and the condition of the repository."""

    repo: str
    hub: HubTask | None
    block: Block | None
    condition: RepoCondition

    @property
    def sides(self) -> tuple[HubTask | Block, ...]:
        return tuple(side for side in (self.hub, self.block) if side is not None)

    @property
    def task_id(self) -> str:
        """Return the id in the file, where the place of an item is; only what is wrong has another one in the hub."""
        return next((side.task_id for side in reversed(self.sides) if side.task_id), "")

    @property
    def title(self) -> str:
        return next((side.title for side in self.sides if side.title), self.task_id)

    @property
    def path(self) -> str:
        if self.block is not None:
            return self.block.path
        return self.hub.source_path if self.hub is not None else ""

    @property
    def hub_id(self) -> str:
        if self.hub is not None:
            return self.hub.id
        return (self.block.hub_id if self.block is not None else None) or ""

    @property
    def db_status(self) -> str:
        return self.hub.status if self.hub is not None else ""

    @property
    def file_status(self) -> str:
        return (self.block.status if self.block is not None else None) or ""

    @property
    def fix_hint(self) -> str:
        if self.condition.is_behind:
            return "pull first"
        return f"dogfood consistency fix --repo {shlex.quote(self.repo)}"

    def hint_for(self, action: Action) -> str:
        """Return how to go on; what holds a write for another reason than being behind has an item of its own."""
        return "" if action is Action.HELD and not self.condition.is_behind else self.fix_hint

    def say(
        self,
        code: str,
        severity: FindingSeverity,
        message: str,
        *,
        action: Action,
        hint: str = "",
        reason: str = "",
    ) -> Finding:
        return Finding(
            code=code,
            severity=severity,
            repo=self.repo,
            path=self.path,
            line=self.block.line if self.block is not None else 0,
            task_id=self.task_id,
            hub_id=self.hub_id,
            title=self.title,
            db_status=self.db_status,
            file_status=self.file_status,
            reason=reason,
            message=message,
            hint=hint,
            action=action,
        )

    def held(
        self,
        code: str,
        message: str,
        hint: str,
        *,
        severity: FindingSeverity = FindingSeverity.FAIL,
        reason: str = "",
    ) -> Finding:
        return self.say(code, severity, message, action=Action.HELD, hint=hint, reason=reason)


def file_ahead(case: Case, action: Action) -> Finding:
    message = f"file is ahead of DB task '{case.title}' (db={case.db_status}, file={case.file_status})"
    return case.say("C-11", FindingSeverity.FAIL, message, action=action, hint=case.hint_for(action))


def hub_ahead(case: Case, action: Action, *, reason: str = "", hint: str = "") -> Finding:
    message = (
        f"DB task '{case.title}' is ahead of file (db={case.db_status}, file={case.file_status})"
        " — skipped to prevent regression"
    )
    return case.say(
        "C-13",
        FindingSeverity.WARN,
        message,
        action=action,
        reason=reason,
        hint=hint or case.hint_for(action),
    )


def news_in_file(case: Case) -> Finding:
    hint = f"dogfood consistency resolve {shlex.quote(case.task_id)} --take file|hub --reason TEXT"
    return hub_ahead(case, Action.HELD, reason="same_rank", hint=hint)


def missing_in_hub(case: Case, action: Action) -> Finding:
    message = f"task '{case.title}' is not in the hub"
    return case.say("C-20", FindingSeverity.FAIL, message, action=action, hint=case.hint_for(action))


def missing_in_files(case: Case, status: Status) -> Finding:
    behind = case.condition.is_behind
    return case.say(
        "C-21",
        FindingSeverity.INFO if behind or is_closed(status) else FindingSeverity.WARN,
        f"DB task '{case.title}' (db={status.value}) has no block in the workplans",
        action=Action.NONE,
        hint="the block may arrive with the pull" if behind else _done_with(case, status),
    )


def _done_with(case: Case, status: Status) -> str:
    """Return how a task is given up whose block was removed on purpose; one that is closed needs nothing."""
    task = shlex.quote(case.task_id)
    return "" if is_closed(status) else f"if that is on purpose: dogfood hub set {task} cancelled"


def unknown_statuses(case: Case) -> tuple[Finding, ...]:
    """Return C-22 for the file's and C-23 for the hub's status; a side that is missing has nothing to say."""
    found = []
    if case.block is not None and parse_status(case.block.status) is None:
        found.append(_unknown_in_file(case, case.block.status))
    if case.hub is not None and parse_status(case.hub.status) is None:
        found.append(_unknown_in_hub(case, case.hub.status))
    return tuple(found)


def _unknown_in_file(case: Case, status: str | None) -> Finding:
    meant = nearest(status)
    hint = f"did you mean '{meant}'?" if meant else "one of " + ", ".join(known.value for known in Status)
    return case.held(
        "C-22", f"unknown status '{status}' in file" if status else "the block has no status", hint
    )


def _unknown_in_hub(case: Case, status: str) -> Finding:
    meant = nearest(status)
    hint = "a newer version may have written it: upgrade pytest-dogfood here"
    if meant:
        hint += f"; or somebody else did, and meant '{meant}'"
    return case.held("C-23", f"unknown status '{status}' in the hub", hint)


def unusable(case: Case, problem: str) -> Finding:
    return case.held(
        "C-24", f"task block cannot be used: {problem}", "mend it; the other blocks are not affected"
    )


def deleted_in_hub(case: Case) -> Finding:
    return case.held(
        "C-29",
        f"DB task '{case.title}' was deleted, but its block is still here",
        f"remove the block, or bring the task back: dogfood hub restore {shlex.quote(case.task_id)}",
        severity=FindingSeverity.WARN,
    )


def reopened_in_file(case: Case, counts: str, action: Action) -> Finding:
    return case.say(
        "C-28",
        FindingSeverity.WARN,
        f"a reopen of '{case.title}' is recorded in the file only ({counts})",
        action=action,
        reason="file",
        hint=case.fix_hint if case.condition.is_behind else f"{case.fix_hint} --accept-reopen",
    )


def reopened_in_hub(case: Case, counts: str) -> Finding:
    return case.held(
        "C-28",
        f"the file is older than a reopen of '{case.title}' ({counts})",
        f"pull, or record it here: dogfood consistency reopen {shlex.quote(case.task_id)} --accept",
        severity=FindingSeverity.WARN,
        reason="hub",
    )


def moved(case: Case, old_path: str, action: Action) -> Finding:
    message = f"task '{case.title}' moved from '{old_path}' to '{case.path}'"
    return case.say("C-37", FindingSeverity.INFO, message, action=action)


def no_workplans(repo: str, tasks: int, *, behind: bool) -> Finding:
    """Return the one item of a checkout in which no workplan was found although the hub has tasks of it."""
    return Finding(
        code="C-38",
        severity=FindingSeverity.INFO if behind else FindingSeverity.FAIL,
        repo=repo,
        message=f"no workplans found in '{repo}' although the hub has {tasks} of its tasks",
        hint="the workplans may arrive with the pull"
        if behind
        else "is this the right directory and branch?",
        action=Action.NONE if behind else Action.HELD,
    )
