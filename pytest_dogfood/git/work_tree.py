"""A work tree: its top, its git directories, and the lock that one fix at a time holds on it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.command import Git


class RepoState(StrEnum):
    """The states of a repository. An unreachable remote is not a state: the last known counts decide."""

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


class RepoCondition(Struct, frozen=True, kw_only=True):
    """A state and its numbers. `detail` names the operation in progress, or has git's message."""

    state: RepoState
    ahead: int = 0
    behind: int = 0
    detail: str = ""

    @classmethod
    def measured(cls, *, ahead: int, behind: int) -> RepoCondition:
        """Return the condition of a branch with an upstream."""
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
        """Return whether the hub may follow the files of this checkout."""
        return self.state in _WRITES_HUB and not self.is_behind

    @property
    def writes_file(self) -> bool:
        """Return whether the files of this checkout may follow the hub."""
        return self.state in _WRITES_BOTH and not self.is_behind


_WRITES_BOTH = frozenset({RepoState.UP_TO_DATE, RepoState.AHEAD, RepoState.NO_UPSTREAM})
_WRITES_HUB = _WRITES_BOTH | {RepoState.DETACHED, RepoState.UNBORN, RepoState.NOT_A_WORK_TREE}

LOCK_NAME = "dogfood-consistency.lock"
DEFAULT_TIMEOUT = 30.0


class LockError(HarnessError):
    """The lock of a checkout cannot be acquired."""


class CheckoutLockedError(LockError):
    """Another fix held the lock until the timeout."""


@contextmanager
def checkout_lock(git_dir: Path, *, timeout: float = DEFAULT_TIMEOUT) -> Iterator[Path]:
    """Hold the lock of the work tree whose git directory this is, waiting for it up to `timeout` seconds.

    Raises CheckoutLockedError if another process kept it, LockError if it cannot be acquired at all. Its file is not
    removed, because another process may be waiting for it.
    """
    path = git_dir / LOCK_NAME
    if not git_dir.is_dir():  # filelock would create it
        raise LockError(f"cannot lock {path}: there is no such directory")
    lock = FileLock(path, timeout=max(timeout, 0.0))
    try:
        lock.acquire()
    except Timeout:
        raise CheckoutLockedError(
            f"another fix has held {path} for longer than {timeout:g} s; "
            "run again once it is done, or wait longer: --lock-timeout SECONDS"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise LockError(f"cannot lock {path}: {error}; make the git directory writable") from error
    try:
        yield path
    finally:
        lock.release()


_OLDEST = (2, 30)
_OPERATIONS: Mapping[str, str] = {
    "rebase-merge": "a rebase",
    "rebase-apply/applying": "applying patches (git am)",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "sequencer": "a cherry-pick or revert",
    "BISECT_LOG": "a bisection",
}


class LockFile(Struct, frozen=True, kw_only=True):
    """A lock file of a running git, or of one that was killed; we never remove it."""

    path: Path
    seconds: float

    def __str__(self) -> str:
        return f"{self.path} (for {self.seconds:.0f} s)"


class WorkTree(Struct, frozen=True, kw_only=True):
    """A work tree. `prefix` leads from its top to the registered directory: empty, or with a slash at its end.

    `git_dir` is this work tree's own; `common_dir` is the one it shares with the repository's other work trees.
    """

    top: Path
    prefix: str
    git_dir: Path
    common_dir: Path

    def operation(self) -> str:
        """Return the operation in progress, such as "a merge"; empty if there is none."""
        found = (name for marker, name in _OPERATIONS.items() if os.path.lexists(self.git_dir / marker))
        return next(found, "")

    def lock_files(self, branch: str = "") -> tuple[LockFile, ...]:
        """Return the lock files here of a running git, or of one that was killed."""
        paths = {self.common_dir / f"refs/heads/{branch}.lock"} if branch else set()
        for directory in (self.git_dir, self.common_dir):
            with suppress(OSError):
                paths.update(path for path in directory.glob("*.lock") if path.name != LOCK_NAME)
        found = []
        for path in sorted(paths):
            with suppress(OSError):  # it may be removed meanwhile
                found.append(LockFile(path=path, seconds=max(time.time() - path.lstat().st_mtime, 0.0)))
        return tuple(found)


def find_work_tree(git: Git) -> WorkTree | RepoCondition:
    """Return the work tree of git's directory, or the condition that explains why there is none."""
    said = git.value("version")  # never translated, and kept in this form for programs
    numbers = re.match(r"git version (\d+)\.(\d+)", said)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        return RepoCondition(state=RepoState.GIT_UNUSABLE, detail=f"{said} is older than 2.30")
    kind = git.read("rev-parse", "--is-bare-repository", "--is-inside-work-tree")
    if not kind.ok:
        # The exit status is the same if there is no repository and if git refuses one.
        if _is_repository_around(git.directory.resolve()):
            return RepoCondition(state=RepoState.GIT_UNUSABLE, detail=kind.error_text())
        return RepoCondition(state=RepoState.NOT_A_WORK_TREE)
    bare, inside = kind.text.splitlines()
    if inside != "true" and bare == "true":
        detail = f"{git.directory} is a bare repository, without files"
        return RepoCondition(state=RepoState.PATH_MISSING, detail=detail)
    if inside != "true":
        detail = f"{git.directory} is inside a git directory"
        return RepoCondition(state=RepoState.NOT_A_WORK_TREE, detail=detail)
    asked = ("--show-toplevel", "--show-prefix", "--absolute-git-dir", "--git-common-dir")
    told = git.value("rev-parse", *asked).split("\n")
    if len(told) != len(asked):  # a path has a newline in it
        told = [git.value("rev-parse", each) for each in asked]
    top, prefix, git_dir, common_dir = told
    # The last may be relative to the directory in which git ran.
    return WorkTree(
        top=Path(top), prefix=prefix, git_dir=Path(git_dir), common_dir=git.directory / common_dir
    )


def _is_repository_around(here: Path) -> bool:
    """Return whether this directory or one above it looks like a repository, with files or bare."""
    device = here.stat().st_dev
    for directory in (here, *here.parents):
        if directory.stat().st_dev != device:
            return False  # git does not look beyond a mount point either
        link = directory / ".git"
        if link.is_file() or (link / "HEAD").exists():
            return True
        if all((directory / name).exists() for name in ("HEAD", "objects", "refs")):
            return True
    return False
