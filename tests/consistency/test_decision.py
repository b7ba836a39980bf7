from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.consistency.decision import Decision, DecisionKind, Policy, SameRank, decide
from pytest_dogfood.consistency.hub.model import Block, HubTask, Status, position
from pytest_dogfood.consistency.task_findings import Action, Case, FindingSeverity
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

CALM = RepoCondition(state=RepoState.UP_TO_DATE)
BEHIND = RepoCondition.measured(ahead=0, behind=3)
DETACHED = RepoCondition(state=RepoState.DETACHED)

NAMES = [status.value for status in Status]
TABLE = (
    "=FFFF",
    "W=LFF",
    "WL=FF",
    "WWW=L",
    "WWWL=",
)  # a row for each status of the hub, a column for each of the file
CELLS = [(hub, file, cell) for (hub, file), cell in zip(product(NAMES, NAMES), "".join(TABLE), strict=True)]
KINDS = {
    "=": DecisionKind.AGREE,
    "F": DecisionKind.FILE_AHEAD,
    "W": DecisionKind.HUB_AHEAD,
    "L": DecisionKind.LATE_FILE,
}


def task(status: str = "todo", **others: Any) -> HubTask:
    given = {"id": "u1", "repo": "atlas", "task_id": "X-T1", "title": "Dig", "source_path": "p.md", **others}
    return HubTask(status=status, **given)


def block(status: str | None = "todo", **others: Any) -> Block:
    return Block(status=status, **{"path": "p.md", "line": 7, "task_id": "X-T1", "title": "Dig it", **others})


def decided(
    hub: HubTask | None, file: Block | None, condition: RepoCondition = CALM, **others: Any
) -> Decision:
    seen = others.pop("seen", None)
    case = Case(repo="atlas", hub=hub, block=file, condition=condition)
    return decide(case, seen_in_history=seen, policy=Policy(**others))


def said(decision: Decision) -> tuple[str, str, str] | None:
    if not decision.findings:
        return None
    found = decision.findings[0]
    return found.code, found.severity.value, found.action.value


@pytest.mark.parametrize("hub, file, cell", CELLS)
def test_each_pair_of_statuses_has_its_move(hub: str, file: str, cell: str) -> None:
    decision = decided(task(hub), block(file))
    assert decision.kind is KINDS[cell]
    assert decision.hub_status == (file if cell == "F" else None)
    assert decision.file_status == (hub if cell in "WL" else None)
    expected = {"F": ("C-11", "FAIL", "hub_update"), "=": None}
    assert said(decision) == expected.get(cell, ("C-13", "WARN", "writeback"))


@pytest.mark.parametrize("hub, file, cell", CELLS)
def test_without_writeback_the_hub_still_follows_and_the_file_stays(hub: str, file: str, cell: str) -> None:
    decision = decided(task(hub), block(file), writeback=False)
    assert (decision.kind, decision.file_status) == (KINDS[cell], None)
    assert decision.hub_status == (file if cell == "F" else None)
    assert said(decision) == {"F": ("C-11", "FAIL", "hub_update"), "=": None}.get(
        cell, ("C-13", "WARN", "none")
    )


@pytest.mark.parametrize("hub, file, cell", CELLS)
def test_behind_the_remote_both_sides_stay(hub: str, file: str, cell: str) -> None:
    decision = decided(task(hub), block(file), BEHIND)
    assert (decision.kind, decision.hub_status, decision.file_status) == (KINDS[cell], None, None)
    assert said(decision) == {"F": ("C-11", "FAIL", "held"), "=": None}.get(cell, ("C-13", "WARN", "held"))


@pytest.mark.parametrize(
    "same_rank, seen, kind, action",
    [
        (SameRank.HISTORY, None, DecisionKind.LATE_FILE, Action.WRITEBACK),
        (SameRank.HISTORY, True, DecisionKind.LATE_FILE, Action.WRITEBACK),
        (SameRank.HISTORY, False, DecisionKind.TIE, Action.HELD),
        (SameRank.HUB, False, DecisionKind.LATE_FILE, Action.WRITEBACK),
        (SameRank.HUB, True, DecisionKind.LATE_FILE, Action.WRITEBACK),
        (SameRank.HOLD, True, DecisionKind.TIE, Action.HELD),
        (SameRank.HOLD, None, DecisionKind.TIE, Action.HELD),
    ],
)
def test_a_tie_is_broken_by_history_or_as_the_user_wishes(
    same_rank: SameRank,
    seen: bool | None,  # noqa: FBT001
    kind: DecisionKind,
    action: Action,
) -> None:
    decision = decided(task("in_progress"), block("blocked"), seen=seen, same_rank=same_rank)
    assert (decision.kind, decision.findings[0].action) == (kind, action)
    assert (decision.findings[0].code, decision.findings[0].reason) == ("C-13", "same_rank")
    assert decision.hub_status is None


def test_news_in_the_file_are_held_with_the_way_out() -> None:
    decision = decided(task("done"), block("cancelled"), seen=False)
    assert decision.findings[0].hint == "dogfood consistency resolve X-T1 --take file|hub --reason TEXT"
    assert (decision.hub_status, decision.file_status) == (None, None)


def test_the_text_of_a_prevented_regression_is_exact() -> None:
    decision = decided(task("done"), block("todo"))
    assert decision.findings[0].message == (
        "DB task 'Dig' is ahead of file (db=done, file=todo) — skipped to prevent regression"
    )


def test_a_finding_names_the_place_and_both_sides() -> None:
    found = decided(task("done"), block("todo", hub_id="u1")).findings[0].to_json()
    assert {key: found[key] for key in ("repo", "path", "line", "task_id", "hub_id", "title")} == {
        "repo": "atlas",
        "path": "p.md",
        "line": 7,
        "task_id": "X-T1",
        "hub_id": "u1",
        "title": "Dig",
    }
    assert (found["db_status"], found["file_status"], found["fixed"]) == ("done", "todo", False)


@pytest.mark.parametrize("hub, file", list(product(NAMES, NAMES)))
def test_a_reopen_in_the_hub_alone_is_held_whatever_the_ranks(hub: str, file: str) -> None:
    decision = decided(task(hub, reopen_count=2), block(file, reopened=1), accept_reopen=True)
    assert said(decision) == ("C-28", "WARN", "held")
    assert (decision.kind, decision.hub_status, decision.file_status) == (DecisionKind.HELD, None, None)


@pytest.mark.parametrize("hub, file", list(product(NAMES, NAMES)))
def test_a_reopen_in_the_file_alone_is_held_until_it_is_accepted(hub: str, file: str) -> None:
    sides = task(hub), block(file, reopened=1)
    assert said(decided(*sides)) == ("C-28", "WARN", "held")
    accepted = decided(*sides, accept_reopen=True)
    assert said(accepted) == ("C-28", "WARN", "hub_update")
    assert (accepted.kind, accepted.hub_status, accepted.hub_reopen_count) == (DecisionKind.REOPEN, file, 1)


def test_a_reopen_is_not_accepted_from_a_stale_checkout() -> None:
    decision = decided(task("done"), block("todo", reopened=1), BEHIND, accept_reopen=True)
    assert (said(decision), decision.hub_status) == (("C-28", "WARN", "held"), None)


@pytest.mark.parametrize("status", NAMES)
def test_a_task_that_the_hub_lacks_is_created_as_the_file_has_it(status: str) -> None:
    decision = decided(None, block(status, reopened=2, hub_id="u9"))
    assert said(decision) == ("C-20", "FAIL", "create")
    assert (decision.kind, decision.hub_status, decision.hub_reopen_count) == (DecisionKind.CREATE, status, 2)
    assert decision.findings[0].hub_id == "u9"


def test_no_task_is_created_from_a_stale_checkout() -> None:
    decision = decided(None, block("done"), BEHIND)
    assert (said(decision), decision.hub_status) == (("C-20", "FAIL", "held"), None)


@pytest.mark.parametrize(
    "hub, file, codes",
    [
        (task("todo", deleted=True), block("done"), ["C-29 WARN"]),
        (task("odd", deleted=True), block("odd"), ["C-29 WARN"]),
        (task("todo", deleted=True), None, []),
        (None, None, []),
        (task("todo"), block("odd"), ["C-22 FAIL"]),
        (task("todo"), block(None), ["C-22 FAIL"]),
        (None, block("odd"), ["C-22 FAIL"]),
        (task("odd"), block("todo"), ["C-23 FAIL"]),
        (task("odd"), None, ["C-23 FAIL"]),
        (task("odd"), block("odd"), ["C-22 FAIL", "C-23 FAIL"]),
        (task("done"), block("todo", problem="no id"), ["C-24 FAIL"]),
        (task("todo", deleted=True), block("todo", problem="no id"), ["C-24 FAIL"]),
        (None, block(None, problem="no id", task_id=""), ["C-24 FAIL"]),
    ],
)
def test_a_side_that_is_missing_or_unusable_has_its_items_and_no_write(
    hub: HubTask | None, file: Block | None, codes: list[str]
) -> None:
    decision = decided(hub, file)
    assert [f"{found.code} {found.severity}" for found in decision.findings] == codes
    assert (decision.hub_status, decision.file_status, decision.new_path) == (None, None, "")


@pytest.mark.parametrize(
    "status, condition, severity",
    [
        ("todo", CALM, FindingSeverity.WARN),
        ("in_progress", CALM, FindingSeverity.WARN),
        ("blocked", CALM, FindingSeverity.WARN),
        ("done", CALM, FindingSeverity.INFO),
        ("cancelled", CALM, FindingSeverity.INFO),
        ("todo", BEHIND, FindingSeverity.INFO),
        ("todo", RepoCondition(state=RepoState.IN_OPERATION, behind=1), FindingSeverity.INFO),
        ("todo", DETACHED, FindingSeverity.WARN),
    ],
)
def test_a_task_without_a_block_is_only_reported(
    status: str, condition: RepoCondition, severity: FindingSeverity
) -> None:
    decision = decided(task(status), None, condition)
    assert said(decision) == ("C-21", severity.value, "none")
    assert (decision.kind, decision.hub_status) == (DecisionKind.REPORT, None)


@pytest.mark.parametrize(
    "status, hint", [("Done", "did you mean 'done'?"), ("42", "one of todo, in_progress")]
)
def test_an_unknown_status_comes_with_a_suggestion(status: str, hint: str) -> None:
    assert decided(task(), block(status)).findings[0].hint.startswith(hint)


def test_a_detached_head_lets_the_hub_follow_but_not_the_file() -> None:
    assert decided(task("todo"), block("done"), DETACHED).hub_status is Status.DONE
    late = decided(task("done"), block("todo"), DETACHED)
    assert (late.is_writeback_due, late.file_status, said(late)) == (True, None, ("C-13", "WARN", "held"))


def test_a_moved_block_is_mentioned_and_its_path_recorded() -> None:
    decision = decided(task("todo", source_path="old.md"), block("todo"))
    assert (decision.kind, decision.new_path) == (DecisionKind.AGREE, "p.md")
    assert [(found.code, found.severity.value, found.action.value) for found in decision.findings] == [
        ("C-37", "INFO", "hub_update")
    ]


def test_a_moved_block_follows_the_rules_for_its_status_too() -> None:
    decision = decided(task("todo", source_path="old.md"), block("done"))
    assert ([found.code for found in decision.findings], decision.hub_status) == (["C-11", "C-37"], "done")


@pytest.mark.parametrize(
    "hub, file, condition",
    [
        (task("in_progress", source_path="old.md"), block("blocked"), CALM),
        (task("done", source_path="old.md", reopen_count=1), block("todo"), CALM),
        (task("todo", source_path="old.md"), block("todo"), BEHIND),
    ],
)
def test_the_path_of_a_held_task_is_not_recorded(hub: HubTask, file: Block, condition: RepoCondition) -> None:
    decision = decided(hub, file, condition, seen=False)
    assert (decision.new_path, decision.findings[-1].code, decision.findings[-1].action) == (
        "",
        "C-37",
        Action.NONE,
    )


def test_a_path_is_recorded_in_silence_where_there_was_none() -> None:
    decision = decided(task("todo", source_path=""), block("todo"))
    assert (decision.new_path, decision.findings) == ("p.md", ())


STATUSES_OR_NOT = st.sampled_from([*NAMES, "odd", None])


@given(
    hub_status=STATUSES_OR_NOT,
    file_status=STATUSES_OR_NOT,
    file_is_there=st.booleans(),
    reopens=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    state=st.sampled_from(RepoState),
    numbers=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, True, False])),
    same_rank=st.sampled_from(SameRank),
)
def test_every_case_is_decided_and_no_hub_status_is_ever_lowered(
    hub_status: str | None,
    file_status: str | None,
    file_is_there: bool,  # noqa: FBT001
    reopens: tuple[int, int],
    state: RepoState,
    numbers: tuple[int, int],
    flags: tuple[bool, bool, bool, bool | None],
    same_rank: SameRank,
) -> None:
    condition = RepoCondition(state=state, ahead=numbers[0], behind=numbers[1])
    hub = task(hub_status, reopen_count=reopens[0], deleted=flags[2]) if hub_status else None
    file = block(file_status, reopened=reopens[1]) if file_is_there else None
    decision = decided(
        hub, file, condition, seen=flags[3], accept_reopen=flags[0], writeback=flags[1], same_rank=same_rank
    )
    assert isinstance(decision.kind, DecisionKind)
    assert decision.hub_status is None or decision.file_status is None
    assert decision.hub_status is None or condition.writes_hub
    assert decision.file_status is None or (condition.writes_file and flags[1])
    actions = {found.action for found in decision.findings}
    assert (decision.hub_status is not None) == bool(actions & {Action.HUB_UPDATE, Action.CREATE})
    assert (decision.file_status is not None) == (Action.WRITEBACK in actions)
    if decision.hub_status and hub:
        assert position(decision.hub_status, decision.hub_reopen_count) > position(
            Status(hub.status), reopens[0]
        )
