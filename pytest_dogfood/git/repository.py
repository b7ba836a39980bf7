"""What a checkout is like: how far it is from its upstream, and whether the hub and its files may be written."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.command import DEFAULT_LIMITS, QUIET, Answer, Fetch, Git, GitError, Limits, fetch
from pytest_dogfood.git.work_tree import LockFile, Place, RepoCondition, RepoState, locate, lock_files

# A configuration may ask for more than following: changes stashed, local commits moved.
_PULL = (*QUIET, "pull", "--ff-only", "--no-rebase", "--no-autostash", "--quiet")


class Survey(Struct, frozen=True, kw_only=True):
    """A checkout as it was measured. `head` and `upstream_commit` are commit ids, empty where there is none."""

    condition: RepoCondition
    place: Place | None = None
    head: str = ""
    branch: str = ""
    upstream: str = ""
    upstream_commit: str = ""
    fetch: Fetch = field(default_factory=Fetch)
    shallow: bool = False
    locks: tuple[LockFile, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return what the report shows under `git`."""
        return {
            "state": self.condition.state.value,
            "ahead": self.condition.ahead,
            "behind": self.condition.behind,
            "head": self.head,
            "branch": self.branch,
            "upstream": self.upstream,
            "shallow": self.shallow,
            "fetch": self.fetch.to_json(),
            "locks": [{"path": os.fspath(lock.path), "seconds": int(lock.seconds)} for lock in self.locks],
        }


class _Branch(Struct, frozen=True, kw_only=True):
    name: str = ""
    upstream: str = ""
    remote: str = ""


class Repository:
    """A directory that is registered as the checkout of a repository."""

    __slots__ = ("_environment", "_found", "limits", "path")

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.limits = limits
        self._environment = environment
        self._found: tuple[Git, Place] | None = None

    @property
    def git(self) -> Git:
        """Return git at the top of the work tree. Raises GitError where there is none."""
        return self._located()[0]

    @property
    def place(self) -> Place:
        """Say where the work tree is. Raises GitError where there is none."""
        return self._located()[1]

    def survey(self, *, offline: bool = False) -> Survey:
        """Fetch if that makes sense, and measure. Never raises for what git or the checkout is like.

        Nothing is written but remote-tracking refs, and with `offline` not even they.
        """
        if missing := _no_directory(self.path):
            return Survey(condition=RepoCondition(state=RepoState.PATH_MISSING, detail=missing))
        try:
            found = self._found or self._locate()
            return (
                Survey(condition=found)
                if isinstance(found, RepoCondition)
                else self._measured(*found, offline=offline)
            )
        except HarnessError as error:
            return Survey(condition=RepoCondition(state=RepoState.GIT_UNUSABLE, detail=str(error)))

    def head(self) -> str:
        """Return the id of the commit that is checked out; empty if there is none yet."""
        return _commit(self.git, "HEAD")

    def root_commits(self) -> tuple[str, ...]:
        """Return the first commits of the history, the one that HEAD's first parents lead to first.

        Empty where they cannot be known: without a commit, and in a shallow clone.
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

    def pull(self) -> Answer:
        """Do what `sync` adds: follow the upstream where that needs no merge."""
        return self.git.reach(*_PULL, limit=self.limits.other)

    def locks(self) -> tuple[LockFile, ...]:
        """Return git's locks on the index, on other common files and on the branch that is checked out."""
        return lock_files(self.place, _branch(self.git).name)

    def _located(self) -> tuple[Git, Place]:
        if self._found is None:
            found = self._locate()
            if isinstance(found, RepoCondition):
                said = f": {found.detail}" if found.detail else ""
                raise GitError(f"{self.path} is not a git work tree{said}")
            self._found = found
        return self._found

    def _locate(self) -> tuple[Git, Place] | RepoCondition:
        git = Git(self.path, limits=self.limits, environment=self._environment)
        found = locate(git)
        return found if isinstance(found, RepoCondition) else (git.at(found.top), found)

    def _measured(self, git: Git, place: Place, *, offline: bool) -> Survey:
        self._found = git, place
        branch = _branch(git)
        fetched = Fetch() if offline else self._fetch(git, branch)
        head = _commit(git, "HEAD")
        upstream = _commit(git, branch.upstream) if branch.upstream else ""
        return Survey(
            condition=_condition(git, place, branch, head, upstream),
            place=place,
            head=head,
            branch=branch.name,
            upstream=branch.upstream,
            upstream_commit=upstream,
            fetch=fetched,
            shallow=_is_shallow(git),
            locks=lock_files(place, branch.name),
        )

    def _fetch(self, git: Git, branch: _Branch) -> Fetch:
        if branch.remote in {"", "."} or not branch.upstream:
            return Fetch()
        return fetch(git, branch.remote, limit=self.limits.fetch)


def _no_directory(path: Path) -> str:
    try:
        return "" if stat.S_ISDIR(path.stat().st_mode) else f"{path} is not a directory"
    except OSError as error:
        return f"{path}: {error.strerror}"


def _condition(git: Git, place: Place, branch: _Branch, head: str, upstream: str) -> RepoCondition:
    counts = _counts(git, head, upstream) if head and upstream else (0, 0)
    ahead, behind = counts
    if operation := place.operation():
        return RepoCondition(state=RepoState.IN_OPERATION, ahead=ahead, behind=behind, detail=operation)
    if not branch.name:
        return RepoCondition(state=RepoState.DETACHED)
    if not head:
        return RepoCondition(state=RepoState.UNBORN)
    if not upstream:
        return RepoCondition(state=RepoState.NO_UPSTREAM)
    return RepoCondition.measured(ahead=ahead, behind=behind)


def _counts(git: Git, head: str, upstream: str) -> tuple[int, int]:
    # By their ids: a branch that moves meanwhile must not make the two numbers belong to different commits.
    ahead, behind = git.value("rev-list", "--count", "--left-right", f"{head}...{upstream}").split("\t")
    return int(ahead), int(behind)


def _commit(git: Git, name: str) -> str:
    return git.optional("rev-parse", "--verify", "--quiet", name) or ""


def _branch(git: Git) -> _Branch:
    head = git.optional("symbolic-ref", "--quiet", "HEAD")
    if head is None:
        return _Branch()
    name = head.removeprefix("refs/heads/")
    line = git.value("for-each-ref", "--format=%(upstream)%00%(upstream:remotename)%00", head)
    upstream, remote, *_ = [*line.split("\0"), "", ""]
    return _Branch(name=name, upstream=upstream, remote=remote)


def _is_shallow(git: Git) -> bool:
    return git.value("rev-parse", "--is-shallow-repository") == "true"
