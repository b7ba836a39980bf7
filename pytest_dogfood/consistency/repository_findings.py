"""Findings on a repository, a file or a lock: C-14, C-26, C-27, C-30 to C-34 and C-36."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec.structs import replace

from pytest_dogfood.consistency.hub.location import PROJECT_FILE
from pytest_dogfood.consistency.hub.model import HubUsageError, WrongHubError
from pytest_dogfood.consistency.task_findings import Action, Case, Finding, FindingSeverity
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.commit import Reason, WritebackResult
from pytest_dogfood.git.tracked_file import FileState
from pytest_dogfood.git.work_tree import CheckoutLockedError, LockError, RepoCondition, RepoState


def behind_message(repo: str) -> str:
    return f"Repo '{repo}' is behind remote — pull before fixing to avoid clobbering remote progress"


def repo_finding(
    condition: RepoCondition, repo: str, *, fixing: bool, writeback_due: bool = False, named: bool = False
) -> Finding | None:
    """Return the finding on a repository's state, if there is one.

    `fixing` is False in `check`; `writeback_due` means that a file should follow the hub, `named` that the
    user named this repository.
    """
    alert = FindingSeverity.WARN if fixing else FindingSeverity.INFO
    code, severity, reason = "C-32", alert, condition.state.value
    said = f": {condition.detail}" if condition.detail else ""
    register = (
        f"clone it there, or register where it is: dogfood hub register PATH --slug {shlex.quote(repo)}"
    )
    match condition.state:
        case RepoState.PATH_MISSING:
            code, severity = "C-30", FindingSeverity.FAIL
            message = f"the path of '{repo}' is not a checkout{said}"
            hint = f"{register}; if the checkout was removed: dogfood hub forget PATH"
        case RepoState.NOT_HERE:
            code, severity = "C-30", FindingSeverity.FAIL if named else FindingSeverity.INFO
            message, hint = f"'{repo}' has no path on this machine", register
        case RepoState.GIT_UNUSABLE:
            code, severity = "C-31", FindingSeverity.WARN
            message = f"git cannot be used on '{repo}'{said}"
            hint = "git 2.30 or newer must run here and trust the directory (see git's safe.directory)"
        case RepoState.NOT_A_WORK_TREE:
            code, message = "C-31", f"no git work tree at the path of '{repo}'{said}"
            hint = "files here are read, but never written and committed"
        case RepoState.IN_OPERATION:
            what = condition.detail or "an operation"
            message = f"{what} is in progress in '{repo}' — nothing is written until it is over"
            hint = "finish or abort it, then run fix again"
        case RepoState.DETACHED if writeback_due:
            message = f"'{repo}' is not on a branch — skipping writeback"
            hint = "check out a branch, then run fix again"
        case RepoState.UNBORN if fixing and writeback_due:
            message = f"'{repo}' has no commit yet — skipping writeback"
            hint = "make a first commit, then run fix again"
        case _ if condition.is_behind:
            code, reason, hint = "C-14", "behind", "git pull --ff-only"
            if condition.ahead > 0:
                reason, hint = "diverged", "git pull --rebase"
            message = behind_message(repo)
        case _:
            return None
    return Finding(code=code, severity=severity, repo=repo, reason=reason, message=message, hint=hint)


def _held(
    code: str,
    repo: str,
    path: str,
    message: str,
    *,
    reason: str,
    hint: str = "",
    severity: FindingSeverity = FindingSeverity.WARN,
) -> Finding:
    """Return the finding on a file or, without a `path`, a checkout that is left as it is."""
    return Finding(
        code=code,
        severity=severity,
        repo=repo,
        path=path,
        reason=reason,
        message=message,
        hint=hint,
        action=Action.HELD,
    )


_OTHER_KINDS: Mapping[FileState, str] = {
    FileState.SYMLINK: "is a symbolic link",
    FileState.NOT_A_FILE: "is not a regular file",
    FileState.FOREIGN: "belongs to another repository inside this one",
}


def file_finding(state: FileState, repo: str, path: str, *, fixing: bool) -> Finding | None:
    """Return the finding on a workplan file that cannot follow the hub. Call it only if the file should."""
    if state is FileState.CLEAN:
        return None
    if state in _OTHER_KINDS:
        code, reason = "C-33", state.value
        message = f"workplan {_OTHER_KINDS[state]} — skipping writeback"
        hint = "register the repository that owns the file, or put a regular file here"
    else:
        code, reason = "C-14", "dirty"
        message = "workplan has uncommitted changes — skipping writeback"
        named = shlex.quote(path)
        hints = {
            FileState.UNTRACKED: f"commit the file: git add -- {named}",
            FileState.IGNORED: f"git ignores the file; if it is a workplan: git add --force -- {named}",
            FileState.CONFLICTED: "resolve the conflict and commit",
            FileState.HIDDEN: f"git update-index --no-assume-unchanged --no-skip-worktree -- {named}",
        }
        drop = f"git restore --staged --worktree -- {named}"
        hint = hints.get(state, f"commit the changes, or drop them: {drop}")
    severity = FindingSeverity.WARN if fixing else FindingSeverity.INFO
    return _held(code, repo, path, message, reason=reason, hint=hint, severity=severity)


CHECKOUT_ERRORS = (HarnessError, OSError)
"""Errors that stop the work on one checkout, and not on the others."""


class SettingsError(HarnessError):
    """The dogfood.yaml of a checkout is invalid, or names another hub; `cause` is the error."""

    def __init__(self, cause: HubUsageError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def checkout_finding(repo: str, error: Exception) -> Finding:
    """Return the finding on a checkout whose check or fix failed."""
    if isinstance(error, LockError):
        reason = "locked" if isinstance(error, CheckoutLockedError) else "no_lock"
        return _held("C-36", repo, "", f"'{repo}' is skipped: {error}", reason=reason)
    if isinstance(error, SettingsError):
        is_wrong_hub = isinstance(error.cause, WrongHubError)
        code, reason = ("C-26", "wrong_hub") if is_wrong_hub else ("C-27", "settings")
        hint = "this repository is not checked until you correct this"
        severity = FindingSeverity.FAIL
        return _held(code, repo, PROJECT_FILE, str(error), reason=reason, hint=hint, severity=severity)
    message = f"the checkout of '{repo}' could not be checked to the end: {error}"
    return _held("C-31", repo, "", message, reason="failed")


def unreadable_file_finding(repo: str, path: str, error: HarnessError, *, fixing: bool) -> Finding:
    severity = FindingSeverity.WARN if fixing else FindingSeverity.INFO
    message = "git cannot judge the workplan — skipping writeback"
    return _held("C-33", repo, path, message, reason="unreadable", hint=str(error), severity=severity)


def race_finding(case: Case, tries: int) -> Finding:
    """Return the finding on a change of the hub that other programs always preceded."""
    message = f"DB task '{case.title}' was changed by others {tries} times meanwhile — left as it is"
    return case.finding("C-34", FindingSeverity.WARN, message, hint="run fix again")


def refused_edit_finding(case: Case, why: str) -> Finding:
    """Return the finding on a task whose status cannot be edited; the others of its file can."""
    message = f"writeback failed: {_WHY_NOT_WRITTEN[Reason.REFUSED]}"
    return case.finding("C-33", FindingSeverity.WARN, message, hint=why, reason="refused")


def refused_path_finding(case: Case, error: HubUsageError) -> Finding:
    """Return the finding on a task whose file has a path that the hub cannot store."""
    message = "the hub cannot store the path of the task's file"
    return case.finding("C-34", FindingSeverity.WARN, message, hint=str(error), reason="refused_by_hub")


_WHY_NOT_WRITTEN = {
    Reason.CHANGED: "the file changed while it was checked",
    Reason.UNREADABLE: "the file cannot be read, or git cannot judge it",
    Reason.REFUSED: "the status cannot be changed without changing something else",
    Reason.HEAD_MOVED: "another commit was checked out meanwhile",
    Reason.NOT_WRITTEN: "the file cannot be written",
    Reason.COMMIT_FAILED: "git did not commit",
    Reason.TIMED_OUT: "git did not commit in time",
    Reason.NOT_AS_INTENDED: "the commit contains something other than the change of the status; nothing was undone",
}


def writeback_finding(result: WritebackResult, repo: str, path: str) -> Finding | None:
    """Return the finding on a writeback that failed, None for one that succeeded."""
    if result.reason is None:
        return None
    if result.reason is Reason.STATE:
        return file_finding(result.state, repo, path, fixing=True)
    restored = "; the file was restored" if result.restored else ""
    message = f"writeback failed: {_WHY_NOT_WRITTEN[result.reason]}{restored}"
    held = _held("C-33", repo, path, message, reason=result.reason.value, hint=result.detail)
    return replace(held, commit=result.commit)
