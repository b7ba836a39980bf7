from __future__ import annotations

from typing import Any

import pytest

from pytest_dogfood.consistency.decision import Matching, RepoContents, match
from pytest_dogfood.consistency.hub.model import Block, HubTask
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

CALM = RepoCondition(state=RepoState.UP_TO_DATE)


def task(task_id: str, hub_id: str, **others: Any) -> HubTask:
    return HubTask(**{"id": hub_id, "repo": "atlas", "task_id": task_id, "status": "todo", **others})


def block(task_id: str, line: int = 1, hub_id: str | None = None, **others: Any) -> Block:
    return Block(
        **{"path": "p.md", "line": line, "task_id": task_id, "hub_id": hub_id, "status": "todo", **others}
    )


def matched(
    blocks: list[Block], tasks: list[HubTask], condition: RepoCondition = CALM, **others: Any
) -> Matching:
    return match(RepoContents(repo="atlas", condition=condition, blocks=blocks, tasks=tasks, **others))


def pairs(matching: Matching) -> list[tuple[str | None, int | None]]:
    return [
        (pair.hub.id if pair.hub else None, pair.block.line if pair.block else None)
        for pair in matching.cases
    ]


def items(matching: Matching) -> list[str]:
    return [f"{found.code} {found.severity} {found.action}" for found in matching.findings]


def test_a_block_finds_its_task_by_the_id_of_the_hub_or_by_its_own() -> None:
    found = matched([block("T1", 1, "u1"), block("T2", 2)], [task("T2", "u2"), task("T1", "u1")])
    assert (pairs(found), items(found)) == ([("u1", 1), ("u2", 2)], [])


def test_what_one_side_lacks_is_a_pair_of_one() -> None:
    found = matched([block("T9", 4, "u9")], [task("T2", "u2"), task("T1", "u1")])
    assert pairs(found) == [(None, 4), ("u1", None), ("u2", None)]


def test_a_task_that_moved_to_another_file_is_still_the_same() -> None:
    found = matched([block("T1", path="new.md")], [task("T1", "u1", source_path="old.md")])
    assert (pairs(found), items(found)) == ([("u1", 1)], [])


def test_a_deleted_task_is_matched_but_not_missed() -> None:
    found = matched([block("T1")], [task("T1", "u1", deleted=True), task("T2", "u2", deleted=True)])
    assert pairs(found) == [("u1", 1)]


@pytest.mark.parametrize(
    "blocks",
    [
        [block("T1", 1), block("T1", 5, path="q.md")],
        [block("T1", 1, "u1"), block("T1", 5, "u2", path="q.md")],
        [block("T1", 1, "u1"), block("T1", 5, "u1", path="q.md")],
        [block("T1", 1, "u1"), block("T2", 5, "u1", path="q.md")],
    ],
)
def test_of_duplicates_all_are_held_and_all_places_named(blocks: list[Block]) -> None:
    found = matched(blocks, [task("T1", "u1"), task("T2", "u2")])
    assert items(found) == ["C-25 FAIL held"]
    assert "p.md:1, q.md:5" in found.findings[0].message
    assert not [pair for pair in found.cases if pair.block]


def test_a_duplicate_does_not_hold_the_others() -> None:
    found = matched([block("T1", 1), block("T1", 2), block("T3", 3)], [])
    assert (pairs(found), items(found)) == ([(None, 3)], ["C-25 FAIL held"])


def test_an_unusable_block_makes_its_namesake_ambiguous() -> None:
    found = matched([block("T1", 1), block("T1", 2, problem="no status")], [task("T1", "u1")])
    assert (pairs(found), items(found)) == ([("u1", 2)], ["C-25 FAIL held"])


def test_unusable_blocks_without_a_name_are_no_duplicates() -> None:
    found = matched([block("", 1, problem="a"), block("", 2, problem="b")], [])
    assert (pairs(found), items(found)) == ([(None, 1), (None, 2)], [])


@pytest.mark.parametrize(
    "named, text",
    [
        (block("T1", hub_id="u2"), "state_hub_task_id of 'T1' belongs to 'T2'"),
        (block("T7", hub_id="u1"), "state_hub_task_id of 'T7' belongs to 'T1'"),
        (block("T1", hub_id="u9"), "the hub knows 'T1' under another id (u1)"),
        (block("T1", hub_id="u5"), "state_hub_task_id of 'T1' belongs to 'O1' of repo 'other'"),
        (block("T7", hub_id="u5"), "state_hub_task_id of 'T7' belongs to 'O1' of repo 'other'"),
    ],
)
def test_a_block_whose_identity_contradicts_the_hub_is_held(named: Block, text: str) -> None:
    elsewhere = {"u5": task("O1", "u5", repo="other")}
    found = matched([named], [task("T1", "u1"), task("T2", "u2")], elsewhere=elsewhere)
    assert items(found) == ["C-26 FAIL held"]
    (said,) = found.findings
    assert (said.message, said.task_id, said.hub_id) == (text, named.task_id, named.hub_id)
    assert not [pair for pair in found.cases if pair.block]


def test_a_block_with_the_id_of_another_task_is_not_reported_as_that_task() -> None:
    tasks = [task("T1", "u1", status="todo", title="One"), task("T2", "u2", status="done", title="Two")]
    (said,) = matched([block("T1", hub_id="u2", status="blocked")], tasks).findings
    assert (said.task_id, said.title, said.db_status, said.file_status) == ("T1", "One", "todo", "blocked")


def test_a_task_that_a_held_block_names_is_not_reported_as_missing() -> None:
    assert pairs(matched([block("T1", hub_id="u2")], [task("T1", "u1"), task("T2", "u2")])) == []


def test_the_tasks_of_an_unreadable_file_are_not_reported_as_missing() -> None:
    tasks = [task("T1", "u1", source_path="bad.md"), task("T2", "u2", source_path="p.md")]
    assert pairs(matched([], tasks, unreadable={"bad.md"})) == [("u2", None)]


@pytest.mark.parametrize(
    "condition, item",
    [(CALM, "C-38 FAIL held"), (RepoCondition.measured(ahead=0, behind=1), "C-38 INFO none")],
)
def test_a_checkout_without_any_workplan_is_one_item(condition: RepoCondition, item: str) -> None:
    found = matched([], [task("T1", "u1"), task("T2", "u2")], condition, has_workplans=False)
    assert (pairs(found), items(found)) == ([], [item])


def test_without_tasks_there_need_be_no_workplan() -> None:
    assert matched([], [task("T1", "u1", deleted=True)], has_workplans=False) == Matching()
