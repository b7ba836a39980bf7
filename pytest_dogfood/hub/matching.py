"""Which block belongs to which task of the hub: identity first, so that no decision is made about the wrong one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency import task_findings
from pytest_dogfood.consistency.repository_findings import RepoCondition
from pytest_dogfood.consistency.task_findings import Case
from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.tasks import Block, HubTask


class Pair(Struct, frozen=True, kw_only=True):
    """The two sides of one task; one of them may be missing."""

    hub: HubTask | None
    block: Block | None


class Sight(Struct, frozen=True, kw_only=True):
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
    """Pairs to decide about, in the order of the files, and what is held because nobody can tell what it is."""

    pairs: tuple[Pair, ...] = ()
    findings: tuple[Finding, ...] = ()


def match(sight: Sight) -> Matching:
    """Find the pairs. A block that is held here (C-25, C-26) is in none, nor is the task that it names."""
    live = [task for task in sight.tasks if not task.deleted]
    if live and not sight.has_workplans:
        behind = sight.condition.is_behind
        return Matching(findings=(task_findings.no_workplans(sight.repo, len(live), behind=behind),))
    index = _Index(sight)
    twins = _twins(sight.blocks)
    held = {_place(block) for group in twins for block in group}
    pairs, findings = [], [_duplicate(sight, index, group) for group in twins]
    for block in sight.blocks:
        if block.problem:
            pairs.append(Pair(hub=index.named_by(block), block=block))
        elif _place(block) in held:
            continue
        elif mismatch := index.mismatch(block):
            findings.append(_mismatch(sight, index, block, *mismatch))
        else:
            pairs.append(Pair(hub=index.named_by(block), block=block))
    pairs.extend(Pair(hub=task, block=None) for task in index.without_block(sight))
    return Matching(pairs=tuple(pairs), findings=tuple(findings))


class _Index:
    def __init__(self, sight: Sight) -> None:
        self._by_hub_id = {task.id: task for task in sight.tasks}
        self._by_task_id = {task.task_id: task for task in sight.tasks}
        self._elsewhere = sight.elsewhere

    def named_by(self, block: Block) -> HubTask | None:
        """Give the task that a block names: by the hub's id if it has one, otherwise by its own."""
        if block.hub_id in self._by_hub_id:
            return self._by_hub_id[block.hub_id]
        return self._by_task_id.get(block.task_id)

    def of_id(self, task_id: str) -> HubTask | None:
        return self._by_task_id.get(task_id)

    def mismatch(self, block: Block) -> tuple[str, str] | None:
        """Say why the hub's id in a block cannot be right, and what to do."""
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

    def without_block(self, sight: Sight) -> Iterator[HubTask]:
        """Give the tasks that no block names in any way, and whose file is not merely unreadable."""
        ids = {block.task_id for block in sight.blocks}
        hub_ids = {block.hub_id for block in sight.blocks}
        for task in sorted(sight.tasks, key=lambda task: task.task_id):
            named = task.task_id in ids or task.id in hub_ids
            if not (task.deleted or named or task.source_path in sight.unreadable):
                yield task


def _twins(blocks: Iterable[Block]) -> list[tuple[Block, ...]]:
    """Give the groups of blocks that share an id or a hub id, each group once."""
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        for key in (("id", block.task_id), ("hub", block.hub_id or "")):
            if key[1]:
                groups.setdefault(key, []).append(block)
    several = {tuple(map(_place, group)): tuple(group) for group in groups.values() if len(group) > 1}
    return list(several.values())


def _place(block: Block) -> tuple[str, int]:
    return block.path, block.line


def _duplicate(sight: Sight, index: _Index, group: tuple[Block, ...]) -> Finding:
    first = group[0]
    same = f"id '{first.task_id}'" if len({block.task_id for block in group}) == 1 else "state_hub_task_id"
    places = ", ".join(f"{block.path}:{block.line}" for block in group)
    hint = "give each block an id of its own; until then none of them is synchronised"
    case = Case(repo=sight.repo, hub=index.named_by(first), block=first, condition=sight.condition)
    return case.held("C-25", f"{same} occurs {len(group)} times: {places}", hint)


def _mismatch(sight: Sight, index: _Index, block: Block, message: str, hint: str) -> Finding:
    """Give the item of a block about the task that its own id means, with the hub's id that stands in it."""
    case = Case(repo=sight.repo, hub=index.of_id(block.task_id), block=block, condition=sight.condition)
    return replace(case.held("C-26", message, hint), hub_id=block.hub_id or "")
