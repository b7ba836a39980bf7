"""What one look at the checkouts has shown, as checks with names: one process takes it, and tells the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.hub.findings import Finding

REPOSITORY = "repository"
"""The name of what is to be said of a repository as a whole."""


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at, a task, a file or a repository; `checkout` is the directory it is in."""

    group: str
    name: str
    checkout: str
    findings: tuple[Finding, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """All checks of a run, or, in `error`, why there are none."""

    checks: tuple[Check, ...] = ()
    error: str = ""

    def to_json(self) -> str:
        checks = [
            [check.group, check.name, check.checkout, [each.to_json() for each in check.findings]]
            for check in self.checks
        ]
        # Escaped, because file names need not be UTF-8, and what goes to another process has to be.
        return json.dumps({"checks": checks, "error": self.error}, ensure_ascii=True)

    def restricted_to(self, names: Iterable[str]) -> Snapshot:
        """Give the snapshot with only the checks of these names, which are `GROUP` or `GROUP::NAME`."""
        wanted = set(names)
        kept = (check for check in self.checks if {check.group, f"{check.group}::{check.name}"} & wanted)
        return replace(self, checks=tuple(kept))

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Give the snapshot that `to_json` wrote."""
        read: dict[str, Any] = json.loads(text)
        checks = (
            Check(group=group, name=name, checkout=checkout, findings=tuple(map(Finding.from_json, findings)))
            for group, name, checkout, findings in read["checks"]
        )
        return cls(checks=tuple(checks), error=read["error"])


def checks_of(
    repo: str, checkout: str, task_ids: Iterable[str], findings: Iterable[Finding], *, alone: bool
) -> Iterator[Check]:
    """Give the checks of one checkout; `alone` says that it is the only one of its repository."""
    found: dict[str, list[Finding]] = {REPOSITORY: [], **{printable(task): [] for task in task_ids}}
    for finding in findings:
        found.setdefault(printable(finding.task_id or finding.path or REPOSITORY), []).append(finding)
    group = printable(repo if alone else f"{repo}@{checkout}")
    for name, about in found.items():
        yield Check(group=group, name=name, checkout=checkout, findings=tuple(about))


def printable(text: str) -> str:
    """Give a text as a node id can hold it: ids of tasks and names of files may contain anything."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
