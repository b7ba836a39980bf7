"""Where a checkout is: its top, what lies between that and the registered path, and its git directories."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.repository_findings import RepoCondition, RepoState
from pytest_dogfood.git.command import Git
from pytest_dogfood.hub.checkoutlock import LOCK_NAME

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


class Place(Struct, frozen=True, kw_only=True):
    """A work tree. `prefix` leads from its top to the registered directory: empty, or with a slash at its end.

    `git_dir` is this work tree's own; `common_dir` is the one it shares with the repository's other work trees.
    """

    top: Path
    prefix: str
    git_dir: Path
    common_dir: Path

    def operation(self) -> str:
        """Name what is in progress here, such as "a merge"; empty if nothing is."""
        found = (name for marker, name in _OPERATIONS.items() if os.path.lexists(self.git_dir / marker))
        return next(found, "")


class LockFile(Struct, frozen=True, kw_only=True):
    """A lock of git's. It may be of a git that runs, or of one that died; we never remove it."""

    path: Path
    seconds: float

    def __str__(self) -> str:
        return f"{self.path} (for {self.seconds:.0f} s)"


def locate(git: Git) -> Place | RepoCondition:
    """Find the work tree that git's directory belongs to, or say why there is none to work with."""
    if (old := _too_old(git)) is not None:
        return old
    kind = git.read("rev-parse", "--is-bare-repository", "--is-inside-work-tree")
    if not kind.ok:
        return _no_repository(git.directory, kind.complaint())
    bare, inside = kind.text.splitlines()
    if inside == "true":
        return _place(git)
    if bare == "true":
        return RepoCondition(
            state=RepoState.PATH_MISSING, detail=f"{git.directory} is a bare repository, without files"
        )
    return RepoCondition(state=RepoState.NOT_A_WORK_TREE, detail=f"{git.directory} is inside a git directory")


def lock_files(place: Place, branch: str = "") -> tuple[LockFile, ...]:
    """Give the locks that git holds here, or that a git which was killed has left."""
    found = dict.fromkeys(_locks(place, branch))
    return tuple(each for path in sorted(found) if (each := _aged(path)) is not None)


def _locks(place: Place, branch: str) -> Iterator[Path]:
    for directory in (place.git_dir, place.common_dir):
        with suppress(OSError):
            yield from (path for path in directory.glob("*.lock") if path.name != LOCK_NAME)
    if branch:
        yield place.common_dir / f"refs/heads/{branch}.lock"


def _aged(path: Path) -> LockFile | None:
    try:
        return LockFile(path=path, seconds=max(time.time() - path.lstat().st_mtime, 0.0))
    except OSError:
        return None  # it went away while we looked


def _place(git: Git) -> Place:
    asked = ("--show-toplevel", "--show-prefix", "--absolute-git-dir", "--git-common-dir")
    told = git.value("rev-parse", *asked).split("\n")
    if len(told) != len(asked):  # a path has a newline in it
        told = [git.value("rev-parse", each) for each in asked]
    top, prefix, git_dir, common_dir = told
    # The last is not always absolute: it is relative to where git was asked.
    return Place(top=Path(top), prefix=prefix, git_dir=Path(git_dir), common_dir=git.directory / common_dir)


def _too_old(git: Git) -> RepoCondition | None:
    # Never translated, and kept in this form for programs.
    said = git.value("version")
    numbers = re.match(r"git version (\d+)\.(\d+)", said)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        return RepoCondition(state=RepoState.GIT_UNUSABLE, detail=f"{said} is older than 2.30")
    return None


def _no_repository(directory: Path, said: str) -> RepoCondition:
    """Tell where there is no repository from where git refuses one, for which it has the same exit status."""
    here = directory.resolve()
    device = here.stat().st_dev  # git does not look beyond a mount point either
    above = takewhile(lambda each: each.stat().st_dev == device, (here, *here.parents))
    refused = any(_looks_like_a_repository(each) for each in above)
    return (
        RepoCondition(state=RepoState.GIT_UNUSABLE, detail=said)
        if refused
        else RepoCondition(state=RepoState.NOT_A_WORK_TREE)
    )


def _looks_like_a_repository(directory: Path) -> bool:
    link = directory / ".git"
    return link.is_file() or (link / "HEAD").exists() or _looks_bare(directory)


def _looks_bare(directory: Path) -> bool:
    return all((directory / name).exists() for name in ("HEAD", "objects", "refs"))
