"""Which block belongs to which task of the hub, and what becomes of both. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency import task_findings
from pytest_dogfood.consistency.hub.model import Block, HubTask, Status, parse_status, position
from pytest_dogfood.consistency.task_findings import Action, Case, Finding
from pytest_dogfood.git.work_tree import RepoCondition


class Pair(Struct, frozen=True, kw_only=True):
    """The two sides of one task; one of them may be missing."""

    hub: HubTask | None
    block: Block | None


class RepoContents(Struct, frozen=True, kw_only=True):
    """All that is seen of a repository in this checkout and in the hub.

    `tasks` are the repository's, deleted ones too; `elsewhere` those of other repositories that some block
    names, by id. `unreadable` are paths of workplans of which nothing is known.
    """

    repo: str
    condition: RepoCondition
    blocks: Sequence[Block]
    tasks: Sequence[HubTask]
    elsewhere: Mapping[str, HubTask] = field(default_factory=dict)
    unreadable: Collection[str] = ()
    has_workplans: bool = True


class Matching(Struct, frozen=True, kw_only=True):
    """Pairs to decide about, in the order of the files, and what is held because it cannot be told what it is."""

    pairs: tuple[Pair, ...] = ()
    findings: tuple[Finding, ...] = ()


def match(contents: RepoContents) -> Matching:
    """Find the pairs. A block that is held here (C-25, C-26) is in none, nor is the task that it names."""
    live = [task for task in contents.tasks if not task.deleted]
    if live and not contents.has_workplans:
        behind = contents.condition.is_behind
        return Matching(findings=(task_findings.no_workplans(contents.repo, len(live), behind=behind),))
    index = _Index(contents)
    twins = _twins(contents.blocks)
    held = {_place(block) for group in twins for block in group}
    pairs, findings = [], [_duplicate(contents, index, group) for group in twins]
    for block in contents.blocks:
        if block.problem:
            pairs.append(Pair(hub=index.named_by(block), block=block))
        elif _place(block) in held:
            continue
        elif mismatch := index.mismatch(block):
            findings.append(_mismatch(contents, index, block, *mismatch))
        else:
            pairs.append(Pair(hub=index.named_by(block), block=block))
    pairs.extend(Pair(hub=task, block=None) for task in index.without_block(contents))
    return Matching(pairs=tuple(pairs), findings=tuple(findings))


class _Index:
    def __init__(self, contents: RepoContents) -> None:
        self._by_hub_id = {task.id: task for task in contents.tasks}
        self._by_task_id = {task.task_id: task for task in contents.tasks}
        self._elsewhere = contents.elsewhere

    def named_by(self, block: Block) -> HubTask | None:
        """Return the task that a block names: by the hub's id if it has one, otherwise by its own."""
        if block.hub_id in self._by_hub_id:
            return self._by_hub_id[block.hub_id]
        return self._by_task_id.get(block.task_id)

    def of_id(self, task_id: str) -> HubTask | None:
        return self._by_task_id.get(task_id)

    def mismatch(self, block: Block) -> tuple[str, str] | None:
        """Return why the hub's id in a block cannot be right, and what to do."""
        if block.hub_id is None:
            return None
        if stranger := self._elsewhere.get(block.hub_id):
            owner = f"'{stranger.task_id}' of repo '{stranger.repo}'"
            return (
                f"state_hub_task_id of '{block.task_id}' belongs to {owner}",
                "remove state_hub_task_id from the block, or restore the one it had",
            )
        named, known = self._by_hub_id.get(block.hub_id), self._by_task_id.get(block.task_id)
        if named is not None and named.task_id != block.task_id:
            message = f"state_hub_task_id of '{block.task_id}' belongs to '{named.task_id}'"
            return message, "was the block copied, or its id changed? one of the two is wrong"
        if named is None and known is not None:
            message = f"the hub knows '{block.task_id}' under another id ({known.id})"
            return message, "is this the right hub? if so, correct state_hub_task_id in the block"
        return None

    def without_block(self, contents: RepoContents) -> Iterator[HubTask]:
        """Yield the tasks that no block names in any way, and whose file is not merely unreadable."""
        ids = {block.task_id for block in contents.blocks}
        hub_ids = {block.hub_id for block in contents.blocks}
        for task in sorted(contents.tasks, key=lambda task: task.task_id):
            named = task.task_id in ids or task.id in hub_ids
            if not (task.deleted or named or task.source_path in contents.unreadable):
                yield task


def _twins(blocks: Iterable[Block]) -> list[tuple[Block, ...]]:
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


def _duplicate(contents: RepoContents, index: _Index, group: tuple[Block, ...]) -> Finding:
    first = group[0]
    same = f"id '{first.task_id}'" if len({block.task_id for block in group}) == 1 else "state_hub_task_id"
    places = ", ".join(f"{block.path}:{block.line}" for block in group)
    hint = "give each block an id of its own; until then none of them is synchronised"
    case = Case(repo=contents.repo, hub=index.named_by(first), block=first, condition=contents.condition)
    return case.held("C-25", f"{same} occurs {len(group)} times: {places}", hint)


def _mismatch(contents: RepoContents, index: _Index, block: Block, message: str, hint: str) -> Finding:
    """Return the item of a block about the task that its own id means, with the hub's id that stands in it."""
    case = Case(repo=contents.repo, hub=index.of_id(block.task_id), block=block, condition=contents.condition)
    return replace(case.held("C-26", message, hint), hub_id=block.hub_id or "")


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
