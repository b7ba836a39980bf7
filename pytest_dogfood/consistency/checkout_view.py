"""What is seen of one checkout, what is decided about each of its tasks, and the report that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency.decision import DEFAULT_POLICY, Decision, Pair, Policy
from pytest_dogfood.consistency.hub.model import Checkout
from pytest_dogfood.consistency.preferences import Preferences
from pytest_dogfood.consistency.task_findings import Finding
from pytest_dogfood.consistency.workplan import Document
from pytest_dogfood.git.repository import Repository, Survey


class Progress(Protocol):
    """Is told what a run is busy with."""

    def begin(self, repo: str) -> None:
        """Another checkout, of this repository, is being looked at."""

    def advance(self, done: int, total: int) -> None:
        """So many of the changes that the hub is to be told of in this checkout are made."""


class NullProgress:
    """Shows no progress."""

    def begin(self, repo: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int) -> None:
        """Say nothing."""


SILENT: Progress = NullProgress()


class RepoReport(Struct, frozen=True, kw_only=True):
    """What is to be said of one checkout. `task_ids` are all tasks that were looked at, with or without findings.

    `path` is empty for a repository that has no checkout on this machine; `git` is what was measured.
    """

    repo: str
    path: str = ""
    findings: tuple[Finding, ...] = ()
    task_ids: tuple[str, ...] = ()
    git: Mapping[str, object] = field(default_factory=dict)


class CheckOptions(Struct, frozen=True, kw_only=True):
    """How to look. `fixing` words the findings for `fix`; `named` are repositories the user named."""

    offline: bool = False
    fixing: bool = False
    policy: Policy = DEFAULT_POLICY
    named: frozenset[str] = frozenset()


class DecidedTask(Struct, frozen=True, kw_only=True):
    """One task, what was decided about it, and the items for the report."""

    pair: Pair
    decision: Decision
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, pair: Pair, decision: Decision) -> DecidedTask:
        return cls(pair=pair, decision=decision, findings=decision.findings)

    def with_first(self, **changes: object) -> DecidedTask:
        """Change the finding that is about the write."""
        first, *others = self.findings
        return replace(self, findings=(replace(first, **changes), *others))

    def with_more(self, *findings: Finding) -> DecidedTask:
        return replace(self, findings=(*self.findings, *findings))


class CheckoutContext(Struct, frozen=True, kw_only=True):
    """A checkout to work in: what the hub knows of it, its git, and how its dogfood.yaml wants it treated."""

    checkout: Checkout
    repository: Repository
    preferences: Preferences


class CheckoutView(Struct, frozen=True, kw_only=True):
    """All that is seen of a checkout, and what is decided about each of its tasks."""

    context: CheckoutContext
    question: CheckOptions
    survey: Survey
    documents: Mapping[str, Document] = field(default_factory=dict)
    decided: tuple[DecidedTask, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def checkout(self) -> Checkout:
        return self.context.checkout

    @property
    def repository(self) -> Repository:
        return self.context.repository

    @property
    def preferences(self) -> Preferences:
        return self.context.preferences

    @property
    def policy(self) -> Policy:
        return replace(self.question.policy, same_rank=self.preferences.same_rank)

    def report(self) -> RepoReport:
        """Return the report, in which the items stand in the order of the files."""
        found = [*self.findings, *(finding for each in self.decided for finding in each.findings)]
        sides = ((each.pair.block, each.pair.hub) for each in self.decided)
        ids = (side.task_id for pair in sides for side in pair if side is not None and side.task_id)
        return RepoReport(
            repo=self.checkout.repo,
            path=self.checkout.path,
            findings=tuple(sorted(dict.fromkeys(found), key=lambda each: (each.path, each.line))),
            task_ids=tuple(dict.fromkeys([*ids, *(each.task_id for each in found if each.task_id)])),
            git=self.survey.to_json(),
        )
