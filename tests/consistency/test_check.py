"""Check: what it says beside the decision table, and that it changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.consistency.check import CheckOptions, RepoReport, check
from pytest_dogfood.consistency.task_findings import Action, FindingSeverity
from tests.consistency.machines import REPO, Desk, World, codes, finding, plan, stamp


def seen(desk: Desk) -> dict[str, object]:
    """Return all that check must leave as it is."""
    files = sorted(path for path in desk.clone.path.rglob("*") if path.is_file())
    return {
        "files": {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in files
            if "refs/remotes" not in str(path) and "/objects/" not in str(path) and "packed" not in path.name
        },
        "rows": (desk.hub.tasks(), desk.hub.events(), desk.hub.writebacks(), desk.hub.checkouts()),
    }


def test_check_leaves_everything_byte_identical(world: Callable[..., World]) -> None:
    made = world(T1="todo", T2="done", T3="todo")
    made.create("X-T1", "done")
    other = made.desk("other")
    other.edit("X-T3", "done")
    other.commit()
    desk = made.desk("here")
    other.push()
    before = seen(desk)
    report = desk.check()
    assert (codes(report), report.findings[0].severity) == (
        ["C-14", "C-13", "C-20", "C-20"],
        FindingSeverity.INFO,
    )
    assert seen(desk) == before


def test_offline_nothing_is_fetched(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    desk, other = made.desk("here"), made.desk("other")
    other.edit("X-T1", "done")
    other.commit()
    other.push()
    assert codes(desk.check(offline=True)) == ["C-20"]
    assert codes(desk.check()) == ["C-14", "C-20"]


def test_a_reopen_on_one_side_is_said_and_held(world: Callable[..., World]) -> None:
    made = world(T1="done", T2="todo")
    made.create("X-T1", "done")
    made.create("X-T2", "done")
    desk = made.desk("here")
    desk.edit("X-T2", "todo", reopened=1)
    desk.commit()
    desk.reopen("X-T1", hub_only=True)
    before = (made.hub.tasks(), desk.statuses())
    for report in (desk.check(), desk.fix()):
        assert codes(report) == ["C-28", "C-28"]
        assert {each.action for each in report.findings} == {Action.HELD}
    assert [
        (task.status, file) for task, file in zip(made.hub.tasks(), desk.statuses().values(), strict=True)
    ]
    assert desk.statuses() == before[1]
    assert [task.status for task in made.hub.tasks()] == ["todo", "done"]
    accepted = desk.fix(accept_reopen=True)
    assert finding(accepted, "X-T2").fixed
    assert (desk.task("X-T2").status, desk.task("X-T2").reopen_count) == ("todo", 1)
    assert [(each.source, bool(each.reason)) for each in made.hub.events(regressions=True)] == [
        ("reopen", True)
    ] * 2


UNUSABLE = {
    "C-22": "```task\nid: X-A\nstatus: finished\n```\n",
    "C-24": "```task\nid: X-A\nid: X-B\nstatus: todo\n```\n",
    "C-25": "```task\nid: X-A\nstatus: todo\n```\n\n```task\nid: X-A\nstatus: done\n```\n",
}


@pytest.mark.parametrize("code", UNUSABLE)
def test_what_is_wrong_with_a_block_is_said_and_the_others_go_on(
    world: Callable[..., World], code: str
) -> None:
    made = world(T1="todo")
    made.create("X-A", "in_progress")
    desk = made.desk("here")
    desk.clone.commit(plan({"X-T1": "done"}) + "\n" + UNUSABLE[code])
    report = desk.fix()
    assert sorted(codes(report)) == ["C-20", code]
    assert finding(report, "X-T1").fixed
    assert not finding(report, "X-A").fixed
    assert desk.task("X-A").status == "in_progress"


def test_tasks_without_blocks_and_deleted_tasks_are_reported(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    for task_id, status in (("X-T1", "todo"), ("X-open", "todo"), ("X-shut", "done")):
        made.create(task_id, status)
    desk = made.desk("here")
    assert made.hub.set_deleted(desk.task("X-T1"), deleted=True, stamp=stamp())
    report = desk.fix()
    said = {each.task_id: (each.code, each.severity) for each in report.findings}
    assert said == {
        "X-T1": ("C-29", FindingSeverity.WARN),
        "X-open": ("C-21", FindingSeverity.WARN),
        "X-shut": ("C-21", FindingSeverity.INFO),
    }
    assert {task.task_id: task.status for task in made.hub.tasks()}["X-open"] == "todo"


def test_a_checkout_without_workplans_is_one_item(world: Callable[..., World]) -> None:
    made = world(T1="todo", T2="todo")
    desk = made.desk("here")
    desk.fix()
    desk.clone.git("rm", "--quiet", "-r", "workplans")
    desk.commit()
    assert codes(desk.fix()) == ["C-38"]


def test_an_unreadable_file_holds_its_tasks_only(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    desk.fix()
    desk.clone.commit(b"\xff\xfe" + plan({"X-T1": "done"}).encode("utf-16-le"))
    desk.clone.commit(plan({"X-T9": "done"}), "notes/A-WP-2.md")
    report = desk.fix()
    assert codes(report) == ["C-20", "C-27"]
    assert desk.task("X-T1").status == "todo"


def test_a_task_that_moved_to_another_file_is_recorded_there(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    desk.fix()
    desk.clone.git("mv", "workplans/X-WP-0001.md", "workplans/other.md")
    desk.commit()
    assert codes(desk.check()) == ["C-37"]
    assert codes(desk.fix()) == ["C-37"]
    assert desk.task("X-T1").source_path == "workplans/other.md"
    assert codes(desk.fix()) == []


def test_workplans_of_other_repositories_inside_this_one_are_not_ours(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    made.farm.checkout("here/vendor").commit(plan({"Y-T1": "todo"}), "docs/Y-WP-1.md")
    assert desk.check().task_ids == ("X-T1",)


def test_a_settings_file_says_where_workplans_are(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    desk.clone.commit("consistency:\n  workplans: [plans/]\n", "dogfood.yaml")
    desk.clone.commit(plan({"Y-T1": "todo"}), "plans/deep/y.md")
    assert desk.check().task_ids == ("Y-T1",)
    desk.clone.commit("consistency:\n  workplan: [plans/]\n", "dogfood.yaml")
    (said,) = desk.check().findings
    assert (said.code, said.path) == ("C-27", "dogfood.yaml")
    assert "did you mean 'workplans'?" in said.message
    desk.clone.commit("consistancy:\n  workplans: [plans/]\n", "dogfood.yaml")
    (said,) = desk.check().findings
    assert (said.code, said.severity) == ("C-27", "FAIL")
    assert "dogfood.yaml:1:1: unknown key 'consistancy' in dogfood.yaml" in said.message
    assert "did you mean 'consistency'?" in said.message


def test_another_repository_in_the_place_of_the_registered_one_is_refused(
    world: Callable[..., World],
) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    (made.farm.root / "here").rename(made.farm.root / "away")
    made.farm.checkout("here").commit(plan({"X-T1": "done"}))
    report = desk.fix()
    assert codes(report) == ["C-30"]
    assert "another repository" in report.findings[0].message
    assert not made.hub.tasks()


def test_a_checkout_that_is_gone_does_not_stop_the_others(world: Callable[..., World]) -> None:
    made = world(T1="todo")
    made.desk("gone")
    here = made.desk("here")
    (made.farm.root / "gone").rename(made.farm.root / "elsewhere")
    reports = list(check(made.hub, made.hub.checkouts(), CheckOptions(offline=True)))
    assert {Path(report.path).name: codes(report) for report in reports} == {
        "gone": ["C-30"],
        "here": ["C-20"],
    }
    assert reports[1].path == os.fspath(here.clone.path.resolve())


def test_reports_name_every_task_that_was_looked_at(world: Callable[..., World]) -> None:
    made = world(T1="todo", T2="done")
    desk = made.desk("here")
    desk.fix()
    report = desk.check()
    assert report == RepoReport(
        repo=REPO, path=str(desk.clone.path), findings=(), task_ids=("X-T1", "X-T2"), git=report.git
    )
