"""The rule that everybody writes first: what the file says goes into the hub, and nobody asks how old the file is."""

from __future__ import annotations

from sqlalchemy import literal

from pytest_dogfood.consistency import check, task_findings
from pytest_dogfood.consistency.decision import (
    DEFAULT_POLICY,
    Decision,
    DecisionKind,
    Policy,
    decide as decide_by_position,
)
from pytest_dogfood.consistency.hub import store
from pytest_dogfood.consistency.hub.model import Status
from pytest_dogfood.consistency.task_findings import Action, Case
from pytest_dogfood.git.work_tree import RepoCondition


def take_over() -> None:
    """Have `fix` follow this rule in the whole process; all else of it stays as it is."""
    vars(check)["decide"] = decide
    vars(store)["rank"] = lambda _status: literal(-1)  # lower than all: the database refuses nothing
    RepoCondition.writes_hub = property(lambda _condition: True)  # type: ignore[assignment,method-assign]


def decide(case: Case, *, seen_in_history: bool | None = None, policy: Policy = DEFAULT_POLICY) -> Decision:
    hub, block = case.hub, case.block
    if hub is None or block is None:
        return decide_by_position(case, seen_in_history=seen_in_history, policy=policy)
    if hub.status == block.status:
        return Decision(case=case, kind=DecisionKind.AGREE)
    return Decision(
        case=case,
        kind=DecisionKind.FILE_AHEAD,
        hub_status=Status(block.status or ""),
        hub_reopen_count=hub.reopen_count,
        findings=(task_findings.file_ahead(case, Action.HUB_UPDATE),),
    )
