"""Matches blocks with tasks of the hub, and decides what to do about both. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency import task_findings
from pytest_dogfood.consistency.hub.model import Block, HubTask, Status, position
from pytest_dogfood.consistency.task_findings import Action, Case, Finding, FindingSeverity
from pytest_dogfood.git.work_tree import RepoCondition


class RepoContents(Struct, frozen=True, kw_only=True):
    """Everything that was read of a repository, in this checkout and in the hub.

    `tasks` are the repository's, deleted ones too; `elsewhere` those of other repositories that a block
    names, by id. `unreadable` are the paths of workplans that cannot be read.
    """

    repo: str
    condition: RepoCondition
    blocks: Sequence[Block]
    tasks: Sequence[HubTask]
    elsewhere: Mapping[str, HubTask] = field(default_factory=dict)
    unreadable: Collection[str] = ()
    has_workplans: bool = True

    def case(self, hub: HubTask | None, block: Block | None) -> Case:
        return Case(repo=self.repo, hub=hub, block=block, condition=self.condition)


class Matching(Struct, frozen=True, kw_only=True):
    """Cases to decide about, in the order of the files, and findings about blocks whose task is not certain."""

    cases: tuple[Case, ...] = ()
    findings: tuple[Finding, ...] = ()


def match(contents: RepoContents) -> Matching:
    """Find the two sides of each task. A block that is held here (C-25, C-26) is in no case, nor is its task."""
    live = [task for task in contents.tasks if not task.deleted]
    if live and not contents.has_workplans:
        behind = contents.condition.is_behind
        return Matching(findings=(task_findings.no_workplans(contents.repo, len(live), behind=behind),))
    by_hub_id = {task.id: task for task in contents.tasks}
    by_task_id = {task.task_id: task for task in contents.tasks}

    def case_of(block: Block) -> Case:
        # By the hub's id if the block has one that the hub knows, otherwise by its own.
        return contents.case(by_hub_id.get(block.hub_id or "") or by_task_id.get(block.task_id), block)

    groups = _duplicates(contents.blocks)
    held = {_place(block) for group in groups for block in group}
    cases, findings = [], [_duplicate(case_of(group[0]), group) for group in groups]
    for block in contents.blocks:
        if block.problem:
            cases.append(case_of(block))
        elif _place(block) not in held:
            named, known = by_hub_id.get(block.hub_id or ""), by_task_id.get(block.task_id)
            if mismatch := _mismatch(contents, block, named, known):
                findings.append(mismatch)
            else:
                cases.append(case_of(block))
    ids = {block.task_id for block in contents.blocks}
    hub_ids = {block.hub_id for block in contents.blocks}
    cases.extend(
        contents.case(task, None)
        for task in sorted(live, key=lambda task: task.task_id)
        # No block names it, and its file is not just unreadable.
        if not (task.task_id in ids or task.id in hub_ids or task.source_path in contents.unreadable)
    )
    return Matching(cases=tuple(cases), findings=tuple(findings))


def _duplicates(blocks: Iterable[Block]) -> list[tuple[Block, ...]]:
    """Return the groups of blocks that share an id or a hub id, each group once."""
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        for key in (("id", block.task_id), ("hub", block.hub_id or "")):
            if key[1]:
                groups.setdefault(key, []).append(block)
    several = {tuple(map(_place, group)): tuple(group) for group in groups.values() if len(group) > 1}
    return list(several.values())


def _place(block: Block) -> tuple[str, int]:
    return block.path, block.line


def _duplicate(case: Case, group: tuple[Block, ...]) -> Finding:
    same = f"id '{group[0].task_id}'" if len({block.task_id for block in group}) == 1 else "state_hub_task_id"
    places = ", ".join(f"{block.path}:{block.line}" for block in group)
    message = f"{same} occurs {len(group)} times: {places}"
    hint = "give each block an id of its own; until then none of them is synchronised"
    return case.finding("C-25", FindingSeverity.FAIL, message, hint=hint)


def _mismatch(
    contents: RepoContents, block: Block, named: HubTask | None, known: HubTask | None
) -> Finding | None:
    """Return a finding on a block with a wrong hub id, for the task that its own id means.

    `named` is the task of the repository that has the hub id, `known` the one that has the block's own.
    """
    if block.hub_id is None:
        return None
    if stranger := contents.elsewhere.get(block.hub_id):
        owner = f"'{stranger.task_id}' of repo '{stranger.repo}'"
        message = f"state_hub_task_id of '{block.task_id}' belongs to {owner}"
        hint = "remove state_hub_task_id from the block, or restore the one it had"
    elif named is not None and named.task_id != block.task_id:
        message = f"state_hub_task_id of '{block.task_id}' belongs to '{named.task_id}'"
        hint = "if the block was copied, remove its state_hub_task_id; if its id was changed, restore the id"
    elif named is None and known is not None:
        message = f"the hub knows '{block.task_id}' under another id ({known.id})"
        hint = "if this is the right hub, correct state_hub_task_id in the block"
    else:
        return None
    found = contents.case(known, block).finding("C-26", FindingSeverity.FAIL, message, hint=hint)
    return replace(found, hub_id=block.hub_id)


class SameRank(StrEnum):
    """What counts if both sides have the same rank but different statuses."""

    HISTORY = "history"
    HUB = "hub"
    HOLD = "hold"


class Policy(Struct, frozen=True, kw_only=True):
    """The user's options for decisions. `writeback` is False under `--no-writeback`."""

    same_rank: SameRank = SameRank.HISTORY
    accept_reopen: bool = False
    writeback: bool = True


class DecisionKind(StrEnum):
    """What `fix` would do if the repository allowed every write."""

    AGREE = "agree"
    FILE_AHEAD = "file_ahead"
    HUB_AHEAD = "hub_ahead"
    LATE_FILE = "late_file"
    TIE = "tie"
    CREATE = "create"
    REOPEN = "reopen"
    REPORT = "report"
    HELD = "held"


class Decision(Struct, frozen=True, kw_only=True):
    """One task, what to do about it, and what to report about it.

    `hub_status` and `file_status` are set only if that write is due and allowed; then the first of `findings` is
    about the write. `hub_reopen_count` belongs to `hub_status`. `new_path`, unless it is empty, is recorded in the hub.
    """

    case: Case
    kind: DecisionKind
    hub_status: Status | None = None
    hub_reopen_count: int = 0
    file_status: Status | None = None
    new_path: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def is_writeback_due(self) -> bool:
        """Return whether the file should follow the hub, even if that is not allowed here."""
        return self.kind in {DecisionKind.HUB_AHEAD, DecisionKind.LATE_FILE}

    def with_first(self, **changes: object) -> Decision:
        """Change the finding that is about the write."""
        first, *others = self.findings
        return replace(self, findings=(replace(first, **changes), *others))

    def with_more(self, *findings: Finding) -> Decision:
        return replace(self, findings=(*self.findings, *findings))


DEFAULT_POLICY = Policy()


def decide(case: Case, *, seen_in_history: bool | None = None, policy: Policy = DEFAULT_POLICY) -> Decision:
    """Decide about one task.

    `seen_in_history` says whether the file's status occurs in the task's events of the current reopen count;
    None if there are no such events.
    """
    hub, block = case.hub, case.block
    held: tuple[Finding, ...] = ()
    if block is not None and block.problem:
        held = (task_findings.unusable(case, block.problem),)
    elif hub is None or not hub.deleted:
        held = task_findings.unknown_statuses(case)
    elif block is not None:
        held = (task_findings.deleted_in_hub(case),)
    if held:
        return Decision(case=case, kind=DecisionKind.HELD, findings=held)
    if block is None:
        if hub is None or hub.deleted:
            return Decision(case=case, kind=DecisionKind.AGREE)
        finding = task_findings.missing_in_files(case)
        return Decision(case=case, kind=DecisionKind.REPORT, findings=(finding,))
    if hub is None:
        return _hub_follows(case, block, DecisionKind.CREATE, task_findings.missing_in_hub)
    return _with_path(_compare(case, hub, block, policy, seen_in_history=seen_in_history), hub, block)


def _compare(
    case: Case, hub: HubTask, block: Block, policy: Policy, *, seen_in_history: bool | None
) -> Decision:
    in_hub, in_file = Status(hub.status), Status(block.status or "")
    there, here = position(in_hub, hub.reopen_count), position(in_file, block.reopened)
    if here.reopen_count != there.reopen_count:
        if here < there:
            finding = task_findings.reopened_in_hub(case)
        elif policy.accept_reopen and case.condition.writes_hub:
            return _hub_follows(case, block, DecisionKind.REOPEN, task_findings.reopened_in_file)
        else:
            finding = task_findings.reopened_in_file(case, Action.HELD)
        return Decision(case=case, kind=DecisionKind.HELD, findings=(finding,))
    if here > there:
        return _hub_follows(case, block, DecisionKind.FILE_AHEAD, task_findings.file_ahead)
    kind = DecisionKind.HUB_AHEAD
    if here == there:
        if in_file is in_hub:
            return Decision(case=case, kind=DecisionKind.AGREE)
        late = policy.same_rank is SameRank.HUB
        if policy.same_rank is SameRank.HISTORY:
            late = seen_in_history is not False
        if not late:  # the file has a change that the hub has not seen, and did not just miss one
            return Decision(case=case, kind=DecisionKind.TIE, findings=(task_findings.tie(case),))
        kind = DecisionKind.LATE_FILE
    action = Action.HELD if policy.writeback else Action.NONE
    if policy.writeback and case.condition.writes_file:
        action = Action.WRITEBACK
    reason = "same_rank" if kind is DecisionKind.LATE_FILE else ""
    return Decision(
        case=case,
        kind=kind,
        file_status=in_hub if action is Action.WRITEBACK else None,
        findings=(task_findings.hub_ahead(case, action, reason=reason),),
    )


def _hub_follows(
    case: Case, block: Block, kind: DecisionKind, finding: Callable[[Case, Action], Finding]
) -> Decision:
    if not case.condition.writes_hub:
        return Decision(case=case, kind=kind, findings=(finding(case, Action.HELD),))
    return Decision(
        case=case,
        kind=kind,
        hub_status=Status(block.status or ""),
        hub_reopen_count=block.reopened,
        findings=(finding(case, Action.HUB_UPDATE if case.hub is not None else Action.CREATE),),
    )


def _with_path(decision: Decision, hub: HubTask, block: Block) -> Decision:
    """Record the block's path if it has changed, unless the task is held."""
    if hub.source_path == block.path:
        return decision
    held = decision.kind in {DecisionKind.HELD, DecisionKind.TIE}
    recorded = decision.case.condition.writes_hub and not held
    decision = replace(decision, new_path=block.path if recorded else "")
    if not hub.source_path:
        return decision
    action = Action.HUB_UPDATE if recorded else Action.NONE
    return decision.with_more(task_findings.moved(decision.case, hub.source_path, action))
