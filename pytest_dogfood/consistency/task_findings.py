"""Findings on a task: C-11, C-13, C-20 to C-24, C-28, C-29, C-37 and C-38, with severities and hints."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from pytest_dogfood.consistency.hub.model import (
    Block,
    HubTask,
    Status,
    is_closed,
    nearest_status,
    parse_status,
    suggest_status,
)
from pytest_dogfood.git.work_tree import RepoCondition

_IN_WORDS: Mapping[str, str] = {
    "same_rank": "a tie, neither side is ahead",
    "diverged": "it also has commits that the remote lacks",
    "dirty": "it differs from what is committed",
}
"""Words for the reasons of findings whose message never changes and is shared by all findings of their code."""


NAMES: Mapping[str, str] = {
    "C-11": "file-ahead",
    "C-13": "hub-ahead",
    "C-14": "checkout-not-current",
    "C-20": "not-in-hub",
    "C-21": "no-block",
    "C-22": "unknown-file-status",
    "C-23": "unknown-hub-status",
    "C-24": "block-not-read",
    "C-25": "duplicate-id",
    "C-26": "hub-id-mismatch",
    "C-27": "file-not-read",
    "C-28": "one-sided-reopen",
    "C-29": "deleted-in-hub",
    "C-30": "no-checkout",
    "C-31": "git-unusable",
    "C-32": "no-commit-possible",
    "C-33": "file-not-updated",
    "C-34": "hub-not-updated",
    "C-36": "lock-not-taken",
    "C-37": "block-moved",
    "C-38": "no-workplans",
}
"""The name of each code, for people. A code has one name, whatever its reasons, and neither ever changes."""


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
    """One finding of a report. `line` counts from 1, 0 is none. JSON shows the fields in this order, and the name."""

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
    def label(self) -> str:
        """Return the code with its name: `C-13 hub-ahead`."""
        return f"{self.code} {NAMES[self.code]}"

    @property
    def is_left(self) -> bool:
        """Return whether this is a failure that is not fixed."""
        return self.severity is FindingSeverity.FAIL and not self.fixed

    @property
    def text(self) -> str:
        """Return the message for people, with the reason if that adds something."""
        more = _IN_WORDS.get(self.reason)
        return f"{self.message}; {self.reason}: {more}" if more else self.message

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "name": NAMES[self.code], **msgspec.to_builtins(self)}


class Case(Struct, frozen=True, kw_only=True):
    """The two sides of one task, of which one may be missing, and the condition of the repository."""

    repo: str
    hub: HubTask | None
    block: Block | None
    condition: RepoCondition

    @property
    def task_id(self) -> str:
        """Return the id in the file, where the place of a finding is; if the hub has another id, that is an error."""
        in_file = self.block.task_id if self.block is not None else ""
        return in_file or (self.hub.task_id if self.hub is not None else "")

    @property
    def title(self) -> str:
        in_hub = self.hub.title if self.hub is not None else ""
        return in_hub or (self.block.title if self.block is not None else "") or self.task_id

    @property
    def path(self) -> str:
        if self.block is not None:
            return self.block.path
        return self.hub.source_path if self.hub is not None else ""

    @property
    def db_status(self) -> str:
        return self.hub.status if self.hub is not None else ""

    @property
    def file_status(self) -> str:
        return (self.block.status if self.block is not None else None) or ""

    @property
    def reopen_counts(self) -> str:
        in_hub = self.hub.reopen_count if self.hub is not None else 0
        return f"db count={in_hub}, file count={self.block.reopened if self.block is not None else 0}"

    @property
    def fix_hint(self) -> str:
        if self.condition.is_behind:
            return "pull first"
        return f"dogfood consistency fix --repo {shlex.quote(self.repo)}"

    def hint_for(self, action: Action) -> str:
        """Return what to do next. If the write is held, except for being behind, another finding says that."""
        return "" if action is Action.HELD and not self.condition.is_behind else self.fix_hint

    def finding(
        self,
        code: str,
        severity: FindingSeverity,
        message: str,
        *,
        action: Action = Action.HELD,
        hint: str = "",
        reason: str = "",
    ) -> Finding:
        known = self.block.hub_id if self.block is not None else None
        return Finding(
            code=code,
            severity=severity,
            repo=self.repo,
            path=self.path,
            line=self.block.line if self.block is not None else 0,
            task_id=self.task_id,
            hub_id=self.hub.id if self.hub is not None else known or "",
            title=self.title,
            db_status=self.db_status,
            file_status=self.file_status,
            reason=reason,
            message=message,
            hint=hint,
            action=action,
        )


def file_ahead(case: Case, action: Action) -> Finding:
    message = f"file is ahead of DB task '{case.title}' (db={case.db_status}, file={case.file_status})"
    return case.finding("C-11", FindingSeverity.FAIL, message, action=action, hint=case.hint_for(action))


def hub_ahead(case: Case, action: Action, *, reason: str = "", hint: str = "") -> Finding:
    message = (
        f"DB task '{case.title}' is ahead of file (db={case.db_status}, file={case.file_status})"
        " — skipped to prevent regression"
    )
    hint = hint or case.hint_for(action)
    return case.finding("C-13", FindingSeverity.WARN, message, action=action, reason=reason, hint=hint)


def tie(case: Case) -> Finding:
    hint = f"dogfood consistency resolve {shlex.quote(case.task_id)} --take file|hub --reason TEXT"
    return hub_ahead(case, Action.HELD, reason="same_rank", hint=hint)


def missing_in_hub(case: Case, action: Action) -> Finding:
    message = f"task '{case.title}' is not in the hub"
    return case.finding("C-20", FindingSeverity.FAIL, message, action=action, hint=case.hint_for(action))


def missing_in_files(case: Case) -> Finding:
    severity, hint = FindingSeverity.INFO, ""
    if case.condition.is_behind:
        hint = "the block may arrive with the pull"
    elif not is_closed(Status(case.db_status)):
        severity = FindingSeverity.WARN
        hint = f"if you removed it on purpose: dogfood hub set {shlex.quote(case.task_id)} cancelled"
    message = f"DB task '{case.title}' (db={case.db_status}) has no block in the workplans"
    return case.finding("C-21", severity, message, action=Action.NONE, hint=hint)


def unknown_statuses(case: Case) -> tuple[Finding, ...]:
    """Return C-22 for the file's and C-23 for the hub's status; a side that is missing has none."""
    found = []
    if case.block is not None and parse_status(case.block.status) is None:
        status = case.block.status
        message = f"unknown status '{status}' in file" if status else "the block has no status"
        found.append(case.finding("C-22", FindingSeverity.FAIL, message, hint=suggest_status(status)))
    if case.hub is not None and parse_status(case.hub.status) is None:
        hint = "a newer version may have written it: upgrade pytest-dogfood here"
        if meant := nearest_status(case.hub.status):
            hint += f"; or it is a mistake for '{meant}'"
        message = f"unknown status '{case.hub.status}' in the hub"
        found.append(case.finding("C-23", FindingSeverity.FAIL, message, hint=hint))
    return tuple(found)


def unusable(case: Case, problem: str) -> Finding:
    message = f"task block cannot be used: {problem}"
    hint = "correct it; the other blocks are not affected"
    return case.finding("C-24", FindingSeverity.FAIL, message, hint=hint)


def deleted_in_hub(case: Case) -> Finding:
    message = f"DB task '{case.title}' was deleted, but its block is still here"
    hint = f"remove the block, or restore the task: dogfood hub restore {shlex.quote(case.task_id)}"
    return case.finding("C-29", FindingSeverity.WARN, message, hint=hint)


def reopened_in_file(case: Case, action: Action) -> Finding:
    message = f"a reopen of '{case.title}' is recorded in the file only ({case.reopen_counts})"
    hint = case.fix_hint if case.condition.is_behind else f"{case.fix_hint} --accept-reopen"
    return case.finding("C-28", FindingSeverity.WARN, message, action=action, reason="file", hint=hint)


def reopened_in_hub(case: Case) -> Finding:
    message = f"the file is older than a reopen of '{case.title}' ({case.reopen_counts})"
    hint = f"pull, or record it here: dogfood consistency reopen {shlex.quote(case.task_id)} --accept"
    return case.finding("C-28", FindingSeverity.WARN, message, reason="hub", hint=hint)


def moved(case: Case, old_path: str, action: Action) -> Finding:
    message = f"task '{case.title}' moved from '{old_path}' to '{case.path}'"
    return case.finding("C-37", FindingSeverity.INFO, message, action=action)


def no_workplans(repo: str, tasks: int, *, behind: bool) -> Finding:
    """Return the finding on a checkout without workplans although the hub has tasks of it."""
    severity, action = FindingSeverity.FAIL, Action.HELD
    hint = "check that this is the right directory and branch"
    if behind:
        severity, action, hint = FindingSeverity.INFO, Action.NONE, "the workplans may arrive with the pull"
    message = f"no workplans found in '{repo}' although the hub has {tasks} of its tasks"
    return Finding(code="C-38", severity=severity, repo=repo, message=message, hint=hint, action=action)
