"""What the state of a repository or of a workplan file allows, and the item it puts into the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from pytest_dogfood.hub.findings import Action, Finding, Severity


class RepoState(StrEnum):
    """The states of a repository. An unreachable remote is none: the last known counts decide."""

    UP_TO_DATE = "up_to_date"
    AHEAD = "ahead"
    BEHIND = "behind"
    DIVERGED = "diverged"
    NO_UPSTREAM = "no_upstream"
    DETACHED = "detached"
    UNBORN = "unborn"
    IN_OPERATION = "in_operation"
    NOT_A_WORK_TREE = "not_a_work_tree"
    GIT_UNUSABLE = "git_unusable"
    PATH_MISSING = "path_missing"
    NOT_HERE = "not_here"


class FileState(StrEnum):
    """The states of a workplan file in its checkout."""

    CLEAN = "clean"
    MODIFIED = "modified"
    STAGED = "staged"
    UNTRACKED = "untracked"
    IGNORED = "ignored"
    CONFLICTED = "conflicted"
    HIDDEN = "hidden"  # assume-unchanged or skip-worktree is set
    SYMLINK = "symlink"
    NOT_A_FILE = "not_a_file"
    FOREIGN = "foreign"  # of a nested repository or a submodule


_WRITES_BOTH = frozenset({RepoState.UP_TO_DATE, RepoState.AHEAD, RepoState.NO_UPSTREAM})
_WRITES_HUB = _WRITES_BOTH | {RepoState.DETACHED, RepoState.UNBORN, RepoState.NOT_A_WORK_TREE}


class RepoCondition(Struct, frozen=True, kw_only=True):
    """A state and its numbers. `detail` names the operation in progress, or says what git said."""

    state: RepoState
    ahead: int = 0
    behind: int = 0
    detail: str = ""

    @classmethod
    def measured(cls, *, ahead: int, behind: int) -> RepoCondition:
        """Give the condition of a branch with an upstream."""
        states = {
            (False, False): RepoState.UP_TO_DATE,
            (True, False): RepoState.AHEAD,
            (False, True): RepoState.BEHIND,
            (True, True): RepoState.DIVERGED,
        }
        return cls(state=states[ahead > 0, behind > 0], ahead=ahead, behind=behind)

    @property
    def is_behind(self) -> bool:
        return self.behind > 0 or self.state in {RepoState.BEHIND, RepoState.DIVERGED}

    @property
    def writes_hub(self) -> bool:
        """Say whether the hub may follow the files of this checkout."""
        return self.state in _WRITES_HUB and not self.is_behind

    @property
    def writes_file(self) -> bool:
        """Say whether the files of this checkout may follow the hub."""
        return self.state in _WRITES_BOTH and not self.is_behind


_CLEAN_UP: Mapping[RepoState, str] = MappingProxyType(
    {
        RepoState.DETACHED: "check out a branch, then run fix again",
        RepoState.UNBORN: "make a first commit, then run fix again",
    }
)
_WORDS: Mapping[FileState, str] = MappingProxyType(
    {
        FileState.SYMLINK: "is a symbolic link",
        FileState.NOT_A_FILE: "is not a regular file",
        FileState.FOREIGN: "belongs to another repository inside this one",
    }
)


def behind_message(repo: str) -> str:
    return f"Repo '{repo}' is behind remote — pull before fixing to avoid clobbering remote progress"


def repo_finding(
    condition: RepoCondition, repo: str, *, fixing: bool, writeback_due: bool = False, named: bool = False
) -> Finding | None:
    """Give the item of a repository's state, if it has one.

    `fixing` is False in `check`; `writeback_due` says that some file is to follow the hub; `named` that the
    user named this repository.
    """
    alert = Severity.WARN if fixing else Severity.INFO
    match condition.state:
        case RepoState.IN_OPERATION:
            return _operation(condition, repo, alert)
        case RepoState.NOT_A_WORK_TREE | RepoState.GIT_UNUSABLE:
            return _git(condition, repo, alert)
        case RepoState.PATH_MISSING | RepoState.NOT_HERE:
            return _place(condition, repo, named=named)
        case RepoState.UNBORN if not fixing:
            return None
        case RepoState.DETACHED | RepoState.UNBORN if writeback_due:
            return _no_branch(condition, repo, alert)
        case _:
            return _behind(condition, repo, alert) if condition.is_behind else None


def file_finding(state: FileState, repo: str, path: str, *, fixing: bool, detail: str = "") -> Finding | None:
    """Give the item of a workplan file that cannot follow the hub. Only to be asked where that is due."""
    alert = Severity.WARN if fixing else Severity.INFO
    if state is FileState.CLEAN:
        return None
    if state in _WORDS:
        return Finding(
            code="C-33",
            severity=alert,
            repo=repo,
            path=path,
            reason=state.value,
            message=f"workplan {_WORDS[state]} — skipping writeback",
            hint=detail or "register the repository that owns the file, or put a regular file here",
            action=Action.HELD,
        )
    return Finding(
        code="C-14",
        severity=alert,
        repo=repo,
        path=path,
        reason="dirty",
        message="workplan has uncommitted changes — skipping writeback",
        hint=_dirty_hint(state, path),
        action=Action.HELD,
    )


def _dirty_hint(state: FileState, path: str) -> str:
    named = shlex.quote(path)
    hints = {
        FileState.UNTRACKED: f"commit the file: git add -- {named}",
        FileState.IGNORED: f"git ignores the file; if it is a workplan: git add --force -- {named}",
        FileState.CONFLICTED: "resolve the conflict and commit",
        FileState.HIDDEN: f"git update-index --no-assume-unchanged --no-skip-worktree -- {named}",
    }
    return hints.get(state, f"commit the changes, or drop them: git restore --staged --worktree -- {named}")


def _behind(condition: RepoCondition, repo: str, severity: Severity) -> Finding:
    diverged = condition.ahead > 0
    return Finding(
        code="C-14",
        severity=severity,
        repo=repo,
        reason="diverged" if diverged else "behind",
        message=behind_message(repo),
        hint="git pull --rebase" if diverged else "git pull --ff-only",
    )


def _operation(condition: RepoCondition, repo: str, severity: Severity) -> Finding:
    what = condition.detail or "an operation"
    return Finding(
        code="C-32",
        severity=severity,
        repo=repo,
        reason=RepoState.IN_OPERATION.value,
        message=f"{what} is in progress in '{repo}' — nothing is written until it is over",
        hint="finish or abort it, then run fix again",
    )


def _no_branch(condition: RepoCondition, repo: str, severity: Severity) -> Finding:
    where = "is not on a branch" if condition.state is RepoState.DETACHED else "has no commit yet"
    return Finding(
        code="C-32",
        severity=severity,
        repo=repo,
        reason=condition.state.value,
        message=f"'{repo}' {where} — skipping writeback",
        hint=_CLEAN_UP[condition.state],
    )


def _git(condition: RepoCondition, repo: str, alert: Severity) -> Finding:
    unusable = condition.state is RepoState.GIT_UNUSABLE
    what = "git cannot be used on" if unusable else "no git work tree at the path of"
    said = f": {condition.detail}" if condition.detail else ""
    return Finding(
        code="C-31",
        severity=Severity.WARN if unusable else alert,
        repo=repo,
        reason=condition.state.value,
        message=f"{what} '{repo}'{said}",
        hint=(
            "git 2.30 or newer must run here and trust the directory (see git's safe.directory)"
            if unusable
            else "files here are read, but never written and committed"
        ),
    )


def _place(condition: RepoCondition, repo: str, *, named: bool) -> Finding:
    missing = condition.state is RepoState.PATH_MISSING
    said = f": {condition.detail}" if condition.detail else ""
    return Finding(
        code="C-30",
        severity=Severity.FAIL if missing or named else Severity.INFO,
        repo=repo,
        reason=condition.state.value,
        message=f"the path of '{repo}' is not a checkout{said}"
        if missing
        else f"'{repo}' has no path on this machine",
        hint=f"clone it there, or register where it is: dogfood hub register PATH --slug {shlex.quote(repo)}"
        + ("; a checkout that is no more: dogfood hub forget PATH" if missing else ""),
    )
