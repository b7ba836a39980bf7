"""Runs git so that it never asks, never hangs and leaves no processes; fetches."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Mapping
from copy import copy
from enum import StrEnum
from math import ceil
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.output import read_output, read_tail
from pytest_dogfood.execution.process import Command, run

_log = logging.getLogger(__name__)

_READ_LIMIT = 64 * 1024 * 1024
_MARKER = "DOGFOOD_GIT_CALL"

_NEVER_ASK: Mapping[str, str] = {
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_EDITOR": ":",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
# They change what a path means, and git refuses to combine them with --literal-pathspecs.
_PATHSPECS = frozenset(f"GIT_{how}_PATHSPECS" for how in ("LITERAL", "GLOB", "NOGLOB", "ICASE"))


class GitError(HarnessError):
    """Git failed to return a value that it must be able to return."""


class Limits(Struct, frozen=True, kw_only=True):
    """The seconds that git may take; `grace` is the time between SIGTERM and SIGKILL."""

    fetch: float = 15.0
    commit: float = 60.0
    other: float = 30.0
    grace: float = 5.0


DEFAULT_LIMITS = Limits()


class GitResult(Struct, frozen=True, kw_only=True):
    """How a call of git ended. Use `out` only if `ok` is true; `err` is for people."""

    status: int
    out: bytes
    err: str
    timed_out: bool

    @property
    def ok(self) -> bool:
        return self.status == 0 and not self.timed_out

    @property
    def text(self) -> str:
        """Return one value, such as a name or a path, without the newline at its end."""
        return os.fsdecode(self.out.removesuffix(b"\n"))

    @property
    def records(self) -> tuple[str, ...]:
        """Return the records that a command with `-z` printed."""
        return tuple(os.fsdecode(each) for each in self.out.split(b"\0")[:-1])

    def error_text(self, lines: int = 20) -> str:
        """Return the last lines of git's errors, or how it ended if there are none."""
        said = "\n".join(self.err.rstrip().splitlines()[-lines:])
        ended = (
            "git was ended at its time limit" if self.timed_out else f"git ended with status {self.status}"
        )
        return f"{ended}\n{said}".rstrip() if self.timed_out or not said else said


class Git:
    """Calls git in one directory, with an environment that does not lead it to another repository."""

    def __init__(
        self,
        directory: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.limits = limits
        given = dict(os.environ if environment is None else environment)
        # The desktop's dialogue, git's fallback; GIT_ASKPASS and core.askPass are deliberate choices.
        given.pop("SSH_ASKPASS", None)
        # Git lists the variables that lead it to another repository; none of them may be set when it is asked.
        ours = {name: value for name, value in given.items() if not name.startswith("GIT_")}
        self._environment = {**ours, **_NEVER_ASK}
        named = self.read("rev-parse", "--local-env-vars")
        if named.ok:
            foreign = _PATHSPECS.union(named.text.splitlines())
            ours = {name: value for name, value in given.items() if name not in foreign}
            self._environment = {**ours, **_NEVER_ASK}

    def in_directory(self, directory: Path) -> Git:
        """Return a copy that works in another directory."""
        other = copy(self)
        other.directory = directory
        return other

    def read(self, *arguments: str, stdin: bytes = b"") -> GitResult:
        """Run a command that only reads, without a lock for which another git would wait."""
        return self._call(arguments, stdin, self.limits.other, {"GIT_OPTIONAL_LOCKS": "0"})

    def value(self, *arguments: str) -> str:
        """Return a value that git must know; raises GitError if it does not."""
        answer = self.read(*arguments)
        if not answer.ok:
            raise self._failed(arguments, answer)
        return answer.text

    def optional(self, *arguments: str) -> str | None:
        """Return a value that may not exist: None if git ends with status 1. Raises GitError for any other failure."""
        answer = self.read(*arguments)
        if not answer.ok and (answer.timed_out or answer.status != 1):
            raise self._failed(arguments, answer)
        return answer.text if answer.ok else None

    def write(self, *arguments: str, stdin: bytes = b"", limit: float | None = None) -> GitResult:
        return self._call(arguments, stdin, self.limits.other if limit is None else limit, {})

    def call_remote(self, *arguments: str, limit: float) -> GitResult:
        """Run a command that connects to a remote."""
        more = {}
        chosen = self._environment.keys() & {"GIT_SSH_COMMAND", "GIT_SSH"}
        if not chosen and self.read("config", "--get", "core.sshCommand").status == 1:
            more["GIT_SSH_COMMAND"] = f"ssh -oBatchMode=yes -oConnectTimeout={max(ceil(limit), 1)}"
        return self._call(arguments, b"", limit, more)

    def _failed(self, arguments: tuple[str, ...], answer: GitResult) -> GitError:
        return GitError(f"git {arguments[0]} failed in {self.directory}: {answer.error_text()}")

    def _call(
        self, arguments: tuple[str, ...], stdin: bytes, limit: float, more: Mapping[str, str]
    ) -> GitResult:
        try:
            with tempfile.TemporaryDirectory(prefix="dogfood-git-", ignore_cleanup_errors=True) as place:
                stdout, stderr = Path(place, "out"), Path(place, "err")
                ended = run(
                    Command(
                        argv=("git", *arguments),
                        cwd=self.directory,
                        env={**self._environment, **more, _MARKER: uuid.uuid4().hex},
                        stdin=stdin,
                        timeout=limit,
                        stdout=stdout,
                        stderr=stderr,
                        marker=_MARKER,
                        grace=self.limits.grace,
                    )
                )
                try:
                    out, err = read_output(stdout, _READ_LIMIT), read_tail(stderr)
                except HarnessError as error:
                    raise error.__cause__ or error from None  # the system's error about an output file
                return GitResult(status=ended.status, out=out, err=err, timed_out=ended.timed_out)
        except OSError as error:
            raise HarnessError(f"cannot keep the output of git: {error}; free some space") from error


def checked_out(directory: Path) -> tuple[str, bool]:
    """Return the commit that is checked out, empty if there is none, and whether tracked files differ from it.

    Never raises: there may be no git here, or no repository.
    """
    if not any((parent / ".git").exists() for parent in (directory, *directory.parents)):
        return "", False
    try:
        answer = Git(directory, limits=Limits(other=5.0)).read(
            "status", "--porcelain=v2", "--branch", "--untracked-files=no"
        )
    except HarnessError:
        return "", False
    lines = answer.text.splitlines() if answer.ok else []
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    commit = commits[0] if commits and commits[0] != "(initial)" else ""
    return commit, any(not line.startswith("#") for line in lines)


QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
# A user's configuration may add more to a fetch: remove tags, move or prune local branches.
_FETCH = (
    *(*QUIET, "fetch", "--quiet", "--no-tags", "--no-prune-tags"),
    *("--no-recurse-submodules", "--no-write-fetch-head", "--refmap="),
)
_TRACKING = "refs/remotes/"


class FetchResult(StrEnum):
    """The outcome of the fetch. The states do not depend on it, but on the last fetched commits."""

    NOT_TRIED = "not_tried"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class Fetch(Struct, frozen=True, kw_only=True):
    result: FetchResult = FetchResult.NOT_TRIED
    remote: str = ""
    detail: str = ""


def fetch(git: Git, remote: str, *, limit: float) -> Fetch:
    """Fetch the tracked branches of a remote; never raises, whatever the remote and the configuration are."""
    if remote.startswith("-"):
        return Fetch(result=FetchResult.FAILED, remote=remote, detail="not the name of a remote")
    asked = git.read("config", "-z", "--get-all", f"remote.{remote}.fetch").records
    # Those that write remote-tracking refs, and those that exclude branches from all.
    tracking = [each for each in asked if ":" in each and each.rpartition(":")[2].startswith(_TRACKING)]
    if not tracking:
        detail = f"remote.{remote}.fetch leads to no remote-tracking branches, {_TRACKING}"
        return Fetch(result=FetchResult.FAILED, remote=remote, detail=detail)
    excluded = [each for each in asked if each.startswith("^")]
    answer = git.call_remote(*_FETCH, remote, *tracking, *excluded, limit=limit)
    if answer.ok:
        return Fetch(result=FetchResult.DONE, remote=remote)
    _log.debug("fetch from %s in %s: %s", remote, git.directory, answer.error_text())
    result = FetchResult.TIMED_OUT if answer.timed_out else FetchResult.FAILED
    return Fetch(result=result, remote=remote, detail=answer.error_text())
