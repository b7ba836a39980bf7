"""Fix: what it may write in which repository, and that trouble in one place stays there."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pytest_dogfood.consistency.check import CheckOptions, check
from pytest_dogfood.consistency.task_findings import Action, FindingSeverity
from tests.consistency.machines import Desk, World, codes, finding, plan, state, upstream_moves_on
from tests.support.checkouts import PLAN

Worlds = Callable[..., World]


def test_a_repository_that_is_behind_is_left_alone(both: tuple[World, Desk]) -> None:
    made, desk = both
    upstream_moves_on(made)
    before = state(desk)
    report = desk.fix()
    assert sorted(codes(report)) == ["C-11", "C-13", "C-14", "C-20"]
    said = finding(report, code="C-14")
    assert (
        said.message
        == "Repo 'shop' is behind remote — pull before fixing to avoid clobbering remote progress"
    )
    assert said.severity is FindingSeverity.WARN
    assert state(desk) == before


def test_a_repository_that_has_diverged_is_left_alone(both: tuple[World, Desk]) -> None:
    made, desk = both
    upstream_moves_on(made)
    desk.clone.commit("mine\n", "MINE.md")
    before = state(desk)
    assert finding(desk.fix(), code="C-14").reason == "diverged"
    assert state(desk) == before


def test_being_merely_ahead_is_not_behind(both: tuple[World, Desk]) -> None:
    _, desk = both
    desk.clone.commit("mine\n", "MINE.md")
    assert all(each.fixed for each in desk.fix().findings)


def test_an_unreachable_remote_is_judged_by_what_was_fetched_last(both: tuple[World, Desk]) -> None:
    made, desk = both
    upstream_moves_on(made)
    (made.farm.root / "origin.git").rename(made.farm.root / "gone.git")
    report = desk.fix()
    assert all(each.fixed for each in report.findings)
    assert report.git["fetch"]["result"] == "failed"  # type: ignore[index]


def test_a_merge_in_progress_stops_all_writes(both: tuple[World, Desk]) -> None:
    _, desk = both
    (desk.clone.path / ".git/MERGE_HEAD").write_text(desk.clone.head + "\n")
    before = state(desk)
    assert "C-32" in codes(desk.fix())
    assert state(desk) == before


def test_without_a_branch_only_the_hub_is_written(both: tuple[World, Desk]) -> None:
    _, desk = both
    desk.clone.git("checkout", "--quiet", "--detach")
    head = desk.clone.head
    report = desk.fix()
    assert {each.code: each.fixed for each in report.findings} == {
        "C-32": False,
        "C-11": True,
        "C-13": False,
        "C-20": True,
    }
    assert (desk.clone.head, desk.statuses()["X-W"][0]) == (head, "todo")


def test_a_dirty_file_gives_its_news_and_is_not_written(both: tuple[World, Desk]) -> None:
    _, desk = both
    desk.edit("X-new", "in_progress")
    head, before = desk.clone.head, desk.clone.plan.read_bytes()
    report = desk.fix()
    said = finding(report, code="C-14")
    assert (said.reason, said.message) == ("dirty", "workplan has uncommitted changes — skipping writeback")
    assert finding(report, code="C-13").hint == ""
    assert desk.task("X-new").status == "in_progress"
    assert finding(report, "X-W").action is Action.HELD
    assert (desk.clone.head, desk.clone.plan.read_bytes()) == (head, before)


def test_the_commit_has_exactly_this_message_and_one_path(both: tuple[World, Desk]) -> None:
    made, desk = both
    done = finding(desk.fix(), "X-W")
    subject, _, dated, change = desk.clone.out("show", "--no-patch", "--format=%B", done.commit).split("\n")
    assert subject == "chore(consistency): sync task status from DB [auto]"
    assert dated.startswith("Updated by fix-consistency on 20")
    assert change == "- X-W: todo → done"
    assert desk.clone.out("show", "--format=", "--name-only", done.commit) == PLAN
    (record,) = made.hub.writebacks()
    assert (record.commit, record.from_status, record.to_status) == (done.commit, "todo", "done")


def test_each_file_has_a_commit_of_its_own(world: Worlds) -> None:
    made = world(T1="todo", T2="todo")
    for task_id in ("X-T1", "X-T2", "Y-T1"):
        made.create(task_id, "done")
    desk = made.desk("here")
    desk.clone.commit(plan({"Y-T1": "todo"}), "workplans/Y-WP-2.md")
    desk.push()
    desk.fix()
    assert desk.clone.out("rev-list", "--count", "@{upstream}..HEAD") == "2"
    assert codes(desk.fix()) == []


def test_a_failing_hook_is_reported_and_the_file_restored(both: tuple[World, Desk]) -> None:
    _, desk = both
    desk.clone.hook("pre-commit", "echo no commits on Fridays >&2; exit 1")
    before = desk.clone.plan.read_bytes()
    report = desk.fix()
    said = finding(report, code="C-33")
    assert "no commits on Fridays" in said.hint
    assert desk.clone.plan.read_bytes() == before
    assert finding(report, "X-F").fixed
    assert not finding(report, "X-W").fixed


def test_a_status_that_cannot_be_edited_keeps_no_other_back(world: Worlds) -> None:
    made = world(T1="todo")
    made.create("X-T1", "done")
    made.create("X-T2", "done")
    desk = made.desk("here")
    strange = '\n```task\nid: X-T2\nstatus: "to\\x64o"\n```\n'
    desk.clone.commit(plan({"X-T1": "todo"}) + strange)
    report = desk.fix()
    assert (finding(report, "X-T1").fixed, finding(report, "X-T2", "C-33").reason) == (True, "refused")
    assert desk.statuses()["X-T1"] == ("done", 0)


def test_an_id_in_the_block_becomes_the_hubs(world: Worlds) -> None:
    hub_id = "5f0c2f0e-8a0e-4d39-9f8e-000000000001"
    made = world(T1="todo")
    desk = made.desk("here")
    block = f"\n```task\nid: Y-T1\nstate_hub_task_id: {hub_id}\nstatus: todo\n```\n"
    desk.clone.commit(plan({}) + block)
    before = desk.clone.plan.read_bytes()
    assert desk.fix().findings[0].hub_id == hub_id
    assert desk.task("Y-T1").id == hub_id
    assert desk.clone.plan.read_bytes() == before
    assert codes(desk.fix()) == []


def test_a_link_is_read_and_never_written_through(both: tuple[World, Desk]) -> None:
    made, desk = both
    outside = made.farm.root / "outside.md"
    desk.clone.plan.rename(outside)
    desk.clone.plan.symlink_to(outside)
    (desk.clone.path / "workplans/dangling.md").symlink_to("nowhere")
    desk.clone.git("add", ".")
    desk.commit()
    before = outside.read_bytes()
    report = desk.fix()
    assert finding(report, code="C-33").reason == "symlink"
    assert finding(report, code="C-27").path == "workplans/dangling.md"
    assert finding(report, "X-F").fixed
    assert (outside.read_bytes(), desk.clone.plan.is_symlink()) == (before, True)


@pytest.mark.skipif(not os.geteuid(), reason="nothing is read-only for root")
def test_a_read_only_directory_is_reported_and_nothing_lost(both: tuple[World, Desk]) -> None:
    _, desk = both
    before = desk.clone.plan.read_bytes()
    desk.clone.plan.parent.chmod(0o555)
    try:
        report = desk.fix()
    finally:
        desk.clone.plan.parent.chmod(0o755)
    assert finding(report, code="C-33").reason == "not_written"
    assert (desk.clone.plan.read_bytes(), desk.clone.git("status", "--porcelain")) == (before, b"")


def test_a_dry_run_says_the_same_and_writes_nothing(both: tuple[World, Desk]) -> None:
    made, desk = both
    before = (state(desk), sorted((desk.clone.path / ".git").iterdir()))
    (dry,) = check(made.hub, made.hub.checkouts(), CheckOptions(fixing=True))
    assert (state(desk), sorted((desk.clone.path / ".git").iterdir())) == before
    real = desk.fix()
    assert codes(dry) == codes(real)
    assert [each.action for each in dry.findings] == [each.action for each in real.findings]
    assert not any(each.fixed for each in dry.findings)


def test_without_a_git_work_tree_the_hub_still_learns(world: Worlds) -> None:
    made = world(T1="done")
    desk = made.desk("here")
    (desk.clone.path / ".git").rename(made.farm.root / "away")
    report = desk.fix()
    assert sorted(codes(report)) == ["C-20", "C-31"]
    assert desk.task("X-T1").status == "done"
