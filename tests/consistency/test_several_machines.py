"""Machines with clones of one remote and one hub: small scenes; test_histories has the long ones."""

from __future__ import annotations

from collections.abc import Callable

from pytest_dogfood.consistency.task_findings import FindingSeverity
from tests.consistency.machines import World, codes, finding, plan, state
from tests.support.checkouts import PLAN

Worlds = Callable[..., World]


def test_two_machines_that_write_back_the_same_converge(world: Worlds) -> None:
    made = world(T1="todo")
    here, there = made.desk("here"), made.desk("there")
    here.fix()
    here.set("X-T1", "done")
    assert finding(here.fix(), "X-T1").fixed
    there.clone.git("config", "user.name", "Bo")  # within one second, the commits would be one and the same
    assert finding(there.fix(), "X-T1").fixed
    assert here.push()
    assert not there.push()
    assert finding(there.fix(), code="C-14").hint == "git pull --rebase"
    assert there.pull()
    assert there.clone.head == here.clone.head
    assert codes(there.fix()) == []


def test_a_status_that_a_fix_has_written_and_not_committed_is_said_until_it_is(world: Worlds) -> None:
    made = world(T1="todo", T2="done")
    desk = made.desk("here")
    desk.fix()
    desk.set("X-T1", "done")
    desk.edit("X-T1", "done")  # as by a fix that died before its commit: see test_fix_killed
    before = state(desk)
    said = finding(desk.fix())
    assert (said.code, said.reason, said.severity) == ("C-14", "dirty", FindingSeverity.WARN)
    assert said.message == "workplan has uncommitted changes — skipping writeback"
    assert said.hint.endswith(f"git restore --staged --worktree -- {PLAN}")
    assert finding(desk.check()).severity is FindingSeverity.INFO
    assert state(desk) == before
    desk.clone.git(*said.hint.partition(": git ")[2].split())
    assert finding(desk.fix(), "X-T1").commit == desk.clone.head


def test_of_what_somebody_writes_and_the_hub_learns_from_them_nothing_is_said(world: Worlds) -> None:
    made = world(T1="todo", T2="done")
    desk = made.desk("here")
    desk.edit("X-T1", "in_progress")
    desk.fix()
    desk.edit("X-T1", "done")
    assert finding(desk.fix()).fixed
    assert codes(desk.fix()) == codes(desk.check()) == []


def test_of_other_changes_to_a_file_that_agrees_nothing_is_said(world: Worlds) -> None:
    made = world(T1="todo")
    desk = made.desk("here")
    desk.fix()
    desk.clone.write(desk.clone.plan.read_text() + "More words.\n")
    assert codes(desk.fix()) == []


def test_nothing_is_said_of_a_file_that_was_never_committed(world: Worlds) -> None:
    made = world(T1="todo")
    made.create("Y-T1", "done")
    desk = made.desk("here")
    desk.fix()
    desk.clone.write(plan({"Y-T1": "done"}), "workplans/Y-WP-2.md")
    desk.clone.git("add", ".")
    assert codes(desk.fix()) == []
