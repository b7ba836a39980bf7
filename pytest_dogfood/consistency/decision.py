"""What becomes of a task that the hub and a workplan know: one total function of two sides, and no clock."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.consistency import task_findings
from pytest_dogfood.consistency.hub.model import Status, parse_status, position
from pytest_dogfood.consistency.repository_findings import RepoCondition
from pytest_dogfood.consistency.task_findings import Case
from pytest_dogfood.hub.findings import Action, Finding
from pytest_dogfood.hub.tasks import Block, HubTask

__all__ = ["Block", "Decision", "HubTask", "Move", "Policy", "SameRank", "decide"]


class SameRank(StrEnum):
    """What counts where both sides have the same rank but different statuses."""

    HISTORY = "history"
    HUB = "hub"
    HOLD = "hold"


class Policy(Struct, frozen=True, kw_only=True):
    """What the user asked for. `writeback` is False under `--no-writeback`."""

    same_rank: SameRank = SameRank.HISTORY
    accept_reopen: bool = False
    writeback: bool = True


class Move(StrEnum):
    """The kind of a decision: what `fix` would do if the repository allowed every write."""

    AGREE = "agree"
    FILE_AHEAD = "file_ahead"
    HUB_AHEAD = "hub_ahead"
    LATE_FILE = "late_file"
    NEWS = "news"
    CREATE = "create"
    REOPEN = "reopen"
    REPORT = "report"
    HELD = "held"


class Decision(Struct, frozen=True, kw_only=True):
    """What to do. `hub_status` and `file_status` are set only where that write is due and allowed.

    `hub_reopen_count` belongs to `hub_status`. `new_path` is to be recorded in the hub when it is not empty.
    `finding` is about the write, if there is one; those in `also` stand beside it.
    """

    move: Move
    hub_status: Status | None = None
    hub_reopen_count: int = 0
    file_status: Status | None = None
    new_path: str = ""
    finding: Finding | None = None
    also: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.also if self.finding is None else (self.finding, *self.also)

    @property
    def is_writeback_due(self) -> bool:
        """Say whether the file is to follow the hub, be it allowed here or not."""
        return self.move in {Move.HUB_AHEAD, Move.LATE_FILE}


DEFAULT_POLICY = Policy()


def decide(
    hub: HubTask | None,
    block: Block | None,
    *,
    repo: str,
    condition: RepoCondition,
    seen_in_history: bool | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> Decision:
    """Decide about one task.

    `seen_in_history` says whether the file's status occurs in the task's events of the current reopen count;
    None if there are no such events.
    """
    case = Case(repo=repo, hub=hub, block=block, condition=condition)
    if block is None:
        return Decision(move=Move.AGREE) if hub is None or hub.deleted else _without_block(case, hub)
    if block.problem:
        return Decision(move=Move.HELD, finding=task_findings.unusable(case, block.problem))
    if hub is not None and hub.deleted:
        return Decision(move=Move.HELD, finding=task_findings.deleted_in_hub(case))
    if unknown := task_findings.unknown_statuses(case):
        return Decision(move=Move.HELD, finding=unknown[0], also=unknown[1:])
    if hub is None:
        return _creation(case, block)
    decided = _of_two(case, hub, block, policy, seen_in_history=seen_in_history)
    return _with_place(case, hub, block, decided)


def _without_block(case: Case, hub: HubTask) -> Decision:
    status = parse_status(hub.status)
    if status is None:
        return Decision(move=Move.HELD, finding=task_findings.unknown_statuses(case)[0])
    return Decision(move=Move.REPORT, finding=task_findings.missing_in_files(case, status))


def _creation(case: Case, block: Block) -> Decision:
    if not case.condition.writes_hub:
        return Decision(move=Move.CREATE, finding=task_findings.missing_in_hub(case, Action.HELD))
    return Decision(
        move=Move.CREATE,
        hub_status=Status(block.status or ""),
        hub_reopen_count=block.reopened,
        finding=task_findings.missing_in_hub(case, Action.CREATE),
    )


def _of_two(
    case: Case, hub: HubTask, block: Block, policy: Policy, *, seen_in_history: bool | None
) -> Decision:
    in_hub, in_file = Status(hub.status), Status(block.status or "")
    there, here = position(in_hub, hub.reopen_count), position(in_file, block.reopened)
    counts = f"db count={hub.reopen_count}, file count={block.reopened}"
    if here.reopen_count > there.reopen_count:
        return _reopened_in_file(case, block, counts, accept=policy.accept_reopen)
    if here.reopen_count < there.reopen_count:
        return Decision(move=Move.HELD, finding=task_findings.reopened_in_hub(case, counts))
    if here > there:
        return _file_ahead(case, block)
    if here < there:
        return _hub_ahead(case, in_hub, policy, move=Move.HUB_AHEAD)
    if in_file is in_hub:
        return Decision(move=Move.AGREE)
    return _tied(case, in_hub, policy, seen_in_history=seen_in_history)


def _reopened_in_file(case: Case, block: Block, counts: str, *, accept: bool) -> Decision:
    if not (accept and case.condition.writes_hub):
        return Decision(move=Move.HELD, finding=task_findings.reopened_in_file(case, counts, Action.HELD))
    return Decision(
        move=Move.REOPEN,
        hub_status=Status(block.status or ""),
        hub_reopen_count=block.reopened,
        finding=task_findings.reopened_in_file(case, counts, Action.HUB_UPDATE),
    )


def _file_ahead(case: Case, block: Block) -> Decision:
    if not case.condition.writes_hub:
        return Decision(move=Move.FILE_AHEAD, finding=task_findings.file_ahead(case, Action.HELD))
    return Decision(
        move=Move.FILE_AHEAD,
        hub_status=Status(block.status or ""),
        hub_reopen_count=block.reopened,
        finding=task_findings.file_ahead(case, Action.HUB_UPDATE),
    )


def _tied(case: Case, in_hub: Status, policy: Policy, *, seen_in_history: bool | None) -> Decision:
    if _is_late(policy.same_rank, seen_in_history=seen_in_history):
        return _hub_ahead(case, in_hub, policy, move=Move.LATE_FILE)
    return Decision(move=Move.NEWS, finding=task_findings.news_in_file(case))


def _hub_ahead(case: Case, in_hub: Status, policy: Policy, *, move: Move) -> Decision:
    reason = "same_rank" if move is Move.LATE_FILE else ""
    if not policy.writeback:
        return Decision(move=move, finding=task_findings.hub_ahead(case, Action.NONE, reason=reason))
    if not case.condition.writes_file:
        return Decision(move=move, finding=task_findings.hub_ahead(case, Action.HELD, reason=reason))
    finding = task_findings.hub_ahead(case, Action.WRITEBACK, reason=reason)
    return Decision(move=move, file_status=in_hub, finding=finding)


def _is_late(same_rank: SameRank, *, seen_in_history: bool | None) -> bool:
    """Say whether the file merely missed a change; otherwise it carries news the hub has not seen."""
    if same_rank is SameRank.HISTORY:
        return seen_in_history is not False
    return same_rank is SameRank.HUB


def _with_place(case: Case, hub: HubTask, block: Block, decided: Decision) -> Decision:
    """Have the block's path recorded if it is another one; of a task that is held nothing is written."""
    if hub.source_path == block.path:
        return decided
    recorded = case.condition.writes_hub and decided.move not in {Move.HELD, Move.NEWS}
    decided = replace(decided, new_path=block.path if recorded else "")
    if not hub.source_path:
        return decided
    moved = task_findings.moved(case, hub.source_path, Action.HUB_UPDATE if recorded else Action.NONE)
    return replace(decided, also=(*decided.also, moved))
