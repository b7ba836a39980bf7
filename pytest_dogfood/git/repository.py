"""The state of a checkout: its distance from its upstream, and whether the hub and its files may be written."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.command import DEFAULT_LIMITS, QUIET, Fetch, Git, GitError, GitResult, Limits, fetch
from pytest_dogfood.git.tracked_file import GitFile
from pytest_dogfood.git.work_tree import LockFile, RepoCondition, RepoState, WorkTree, find_work_tree

# A user's configuration may add more to a pull: stash changes, rebase local commits.
_PULL = (*QUIET, "pull", "--ff-only", "--no-rebase", "--no-autostash", "--quiet")


class Survey(Struct, frozen=True, kw_only=True):
    """The state of a checkout. `head` and `upstream_commit` are commit ids, empty if there is none."""

    condition: RepoCondition
    head: str = ""
    branch: str = ""
    upstream: str = ""
    upstream_commit: str = ""
    fetch: Fetch = field(default_factory=Fetch)
    shallow: bool = False
    locks: tuple[LockFile, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the values for `git` in the report."""
        return {
            "state": self.condition.state.value,
            "ahead": self.condition.ahead,
            "behind": self.condition.behind,
            "head": self.head,
            "branch": self.branch,
            "upstream": self.upstream,
            "shallow": self.shallow,
            "fetch": to_builtins(self.fetch),
            "locks": [{"path": os.fspath(lock.path), "seconds": int(lock.seconds)} for lock in self.locks],
        }


class Repository:
    """A directory that is registered as the checkout of a repository."""

    def __init__(
        self, path: Path, *, limits: Limits = DEFAULT_LIMITS, environment: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.limits = limits
        self._environment = environment

    @property
    def git(self) -> Git:
        """Return git at the top of the work tree. Raises GitError if there is none."""
        return self._located()[0]

    @property
    def work_tree(self) -> WorkTree:
        """Return the work tree. Raises GitError if there is none."""
        return self._located()[1]

    def file(self, path: str) -> GitFile:
        """Return a file by its path relative to the registered directory. Raises GitError without a work tree."""
        return GitFile(*self._located(), path)

    def survey(self, *, offline: bool = False) -> Survey:
        """Fetch if there is an upstream, and return the state. Never raises, whatever git and the checkout are.

        Nothing is written except remote-tracking refs, and with `offline` not even those.
        """
        try:
            missing = "" if stat.S_ISDIR(self.path.stat().st_mode) else f"{self.path} is not a directory"
        except OSError as error:
            missing = f"{self.path}: {error.strerror}"
        if missing:
            return Survey(condition=RepoCondition(state=RepoState.PATH_MISSING, detail=missing))
        try:
            found = self._place
            if isinstance(found, RepoCondition):
                return Survey(condition=found)
            return self._measured(*found, offline=offline)
        except HarnessError as error:
            return Survey(condition=RepoCondition(state=RepoState.GIT_UNUSABLE, detail=str(error)))

    def head(self) -> str:
        """Return the id of the commit that is checked out; empty if there is none yet."""
        return _commit(self.git, "HEAD")

    def root_commits(self) -> tuple[str, ...]:
        """Return the first commits of the history, beginning with the one to which HEAD's first parents lead.

        Empty if they cannot be known: without a commit, and in a shallow clone.
        """
        if not self.head() or _is_shallow(self.git):
            return ()
        main = self.git.value("rev-list", "--first-parent", "--max-parents=0", "HEAD").splitlines()
        every = self.git.value("rev-list", "--max-parents=0", "HEAD").splitlines()
        return tuple(dict.fromkeys([*main, *sorted(every)]))

    def work_trees(self) -> tuple[str, ...]:
        """Return the paths of all work trees that share this repository."""
        listed = self.git.value("worktree", "list", "--porcelain").splitlines()
        return tuple(line.removeprefix("worktree ") for line in listed if line.startswith("worktree "))

    def pull(self) -> GitResult:
        """Fast-forward to the upstream, for `sync`."""
        return self.git.call_remote(*_PULL, limit=self.limits.other)

    def commits_to_push(self) -> int:
        """Return the number of commits that the upstream does not have, as of the last fetch; 0 if it is not known."""
        with suppress(HarnessError):
            counted = self.git.read("rev-list", "--count", "@{upstream}..HEAD")
            return int(counted.text) if counted.ok else 0
        return 0

    def locks(self) -> tuple[LockFile, ...]:
        """Return git's locks on the index, on other common files and on the branch that is checked out."""
        branch, _, _ = _branch(self.git)
        return self.work_tree.lock_files(branch)

    def _located(self) -> tuple[Git, WorkTree]:
        found = self._place
        if isinstance(found, RepoCondition):
            said = f": {found.detail}" if found.detail else ""
            raise GitError(f"{self.path} is not a git work tree{said}")
        return found

    @cached_property
    def _place(self) -> tuple[Git, WorkTree] | RepoCondition:
        git = Git(self.path, limits=self.limits, environment=self._environment)
        found = find_work_tree(git)
        return found if isinstance(found, RepoCondition) else (git.in_directory(found.top), found)

    def _measured(self, git: Git, work_tree: WorkTree, *, offline: bool) -> Survey:
        branch, upstream, remote = _branch(git)
        fetched = Fetch()
        if upstream and remote not in {"", "."} and not offline:
            fetched = fetch(git, remote, limit=self.limits.fetch)
        head = _commit(git, "HEAD")
        upstream_commit = _commit(git, upstream) if upstream else ""
        ahead = behind = 0
        if head and upstream_commit:
            # By ids: if a branch moves meanwhile, the two numbers must still belong to the same commits.
            counts = git.value("rev-list", "--count", "--left-right", f"{head}...{upstream_commit}")
            ahead, behind = map(int, counts.split("\t"))
        condition = RepoCondition.measured(ahead=ahead, behind=behind)
        if operation := work_tree.operation():
            condition = replace(condition, state=RepoState.IN_OPERATION, detail=operation)
        elif not branch:
            condition = RepoCondition(state=RepoState.DETACHED)
        elif not head:
            condition = RepoCondition(state=RepoState.UNBORN)
        elif not upstream_commit:
            condition = RepoCondition(state=RepoState.NO_UPSTREAM)
        return Survey(
            condition=condition,
            head=head,
            branch=branch,
            upstream=upstream,
            upstream_commit=upstream_commit,
            fetch=fetched,
            shallow=_is_shallow(git),
            locks=work_tree.lock_files(branch),
        )


def _commit(git: Git, name: str) -> str:
    return git.optional("rev-parse", "--verify", "--quiet", name) or ""


def _branch(git: Git) -> tuple[str, str, str]:
    """Return the checked-out branch, its upstream and the upstream's remote; empty if there is none."""
    head = git.optional("symbolic-ref", "--quiet", "HEAD")
    if head is None:
        return "", "", ""
    line = git.value("for-each-ref", "--format=%(upstream)%00%(upstream:remotename)%00", head)
    upstream, remote, *_ = [*line.split("\0"), "", ""]
    return head.removeprefix("refs/heads/"), upstream, remote


def _is_shallow(git: Git) -> bool:
    return git.value("rev-parse", "--is-shallow-repository") == "true"
