"""Fetches what the remote has by now, into remote-tracking refs and nowhere else, whatever is configured besides."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from pytest_dogfood.git.command import Git

_log = logging.getLogger(__name__)

QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
# A configuration may ask for more than following: tags removed, local branches moved or pruned.
_FETCH = (
    *(*QUIET, "fetch", "--quiet", "--no-tags", "--no-prune-tags"),
    *("--no-recurse-submodules", "--no-write-fetch-head", "--refmap="),
)
_TRACKING = "refs/remotes/"


class FetchResult(StrEnum):
    """What became of the fetch. The states do not depend on it: what was last fetched decides."""

    NOT_TRIED = "not_tried"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class Fetch(Struct, frozen=True, kw_only=True):
    result: FetchResult = FetchResult.NOT_TRIED
    remote: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        return {"result": self.result.value, "remote": self.remote, "detail": self.detail}


def fetch(git: Git, remote: str, *, limit: float) -> Fetch:
    """Fetch from a remote what is tracked of it; never raises for what the remote or the configuration is like."""
    if remote.startswith("-"):
        return Fetch(result=FetchResult.FAILED, remote=remote, detail="not the name of a remote")
    refspecs = tracking_only(git.read("config", "-z", "--get-all", f"remote.{remote}.fetch").records)
    if not refspecs:
        detail = f"remote.{remote}.fetch leads to no remote-tracking branches, {_TRACKING}"
        return Fetch(result=FetchResult.FAILED, remote=remote, detail=detail)
    answer = git.reach(*_FETCH, remote, *refspecs, limit=limit)
    if answer.ok:
        return Fetch(result=FetchResult.DONE, remote=remote)
    result = FetchResult.TIMED_OUT if answer.timed_out else FetchResult.FAILED
    _log.debug("fetch from %s in %s: %s", remote, git.directory, answer.complaint())
    return Fetch(result=result, remote=remote, detail=answer.complaint())


def tracking_only(refspecs: Iterable[str]) -> tuple[str, ...]:
    """Give those refspecs that write remote-tracking refs, with what is excluded from all; none if none does."""
    asked = tuple(refspecs)
    kept = [each for each in asked if each.rpartition(":")[2].startswith(_TRACKING) and ":" in each]
    excluded = [each for each in asked if each.startswith("^")]
    return (*kept, *excluded) if kept else ()
