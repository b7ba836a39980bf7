"""Fix among others: fixers, agents, a hub that goes away, other checkouts, and a pull before it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.consistency import fix as fixing
from pytest_dogfood.consistency.check import CheckOptions, open_checkout
from pytest_dogfood.consistency.decision import Policy
from pytest_dogfood.consistency.fix import PULL_FAILED, fix
from pytest_dogfood.consistency.hub.model import (
    HubTask,
    HubUnreachable,
    HubUsageError,
    RefusedError,
    Stamp,
    Status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.task_findings import Action, FindingSeverity
from pytest_dogfood.git.work_tree import checkout_lock
from tests.consistency.machines import Desk, World, codes, finding, state, upstream_moves_on

Worlds = Callable[..., World]


def test_a_held_lock_skips_the_repository(both: tuple[World, Desk]) -> None:
    _, desk = both
    before = state(desk)
    with checkout_lock(desk.clone.path / ".git"):
        report = desk.fix(wait=0)
    assert (codes(report), report.findings[0].severity) == (["C-36"], FindingSeverity.WARN)
    assert state(desk) == before


FIXER = "import sys; from pytest_dogfood.cli.main import main; sys.exit(main(sys.argv[1:]))"


def test_two_fixers_at_once_make_one_commit(
    world: Worlds, monkeypatch: pytest.MonkeyPatch, data_directory: Path
) -> None:
    made = world(T1="todo", T2="done")
    made.create("X-T1", "done")
    desk = made.desk("here")
    data_directory.mkdir()
    machine_id = "22222222-2222-4222-8222-222222222222"
    (data_directory / "machine-id").write_text(machine_id)
    monkeypatch.setenv("DOGFOOD_HUB", f"sqlite:///{made.farm.root}/hub.sqlite")
    with closing(sqlite3.connect(made.farm.root / "hub.sqlite")) as database:
        database.execute("UPDATE checkouts SET machine_id = ?", [machine_id])
        database.commit()
    command = [sys.executable, "-c", FIXER, "consistency", "fix", "--repo", "shop"]
    started = [subprocess.Popen(command, cwd=desk.clone.path, stdout=subprocess.PIPE) for _ in range(2)]
    said = [fixer.communicate()[0].decode() for fixer in started]
    assert [fixer.returncode for fixer in started] == [0, 0]
    assert sorted("fixed" in each for each in said) == [False, True]
    assert desk.clone.out("rev-list", "--count", "@{upstream}..HEAD") == "1"
    assert len(made.hub.events()) == 2


class Disturbed(Hub):
    """A hub in which somebody else is faster, as often as they are told."""

    disturbances = 0

    def move_forward(
        self, seen: HubTask, status: Status, *, stamp: Stamp, reopen_count: int | None = None
    ) -> bool:
        if self.disturbances:
            self.disturbances -= 1
            task = self.task(seen.id)
            assert task is not None
            other = Status.BLOCKED if task.status == "in_progress" else Status.IN_PROGRESS
            assert self.set_status(task, other, stamp=stamp)
        return super().move_forward(seen, status, stamp=stamp, reopen_count=reopen_count)


@pytest.fixture
def disturbed(world: Worlds) -> tuple[Disturbed, Desk]:
    made = world(T1="done")
    made.create("X-T1", "todo")
    hub = Disturbed.open(f"sqlite:///{made.farm.root}/hub.sqlite")
    desk = made.desk("here")
    return hub, Desk(clone=desk.clone, hub=hub, machine=desk.machine)


def test_who_loses_a_race_decides_again(disturbed: tuple[Disturbed, Desk]) -> None:
    hub, desk = disturbed
    hub.disturbances = fixing.RETRIES
    assert all(each.fixed for each in desk.fix().findings)
    assert desk.task("X-T1").status == "done"


def test_who_loses_every_race_gives_up(disturbed: tuple[Disturbed, Desk]) -> None:
    hub, desk = disturbed
    hub.disturbances = fixing.RETRIES + 1
    report = desk.fix()
    assert sorted(codes(report)) == ["C-11", "C-34"]
    assert finding(report, code="C-11").is_left
    assert desk.fix().findings[0].fixed


class Leaving(Hub):
    """A hub that goes away after some writes."""

    left = 1

    def move_forward(
        self, seen: HubTask, status: Status, *, stamp: Stamp, reopen_count: int | None = None
    ) -> bool:
        if not self.left:
            raise HubUnreachable("gone")
        self.left -= 1
        return super().move_forward(seen, status, stamp=stamp, reopen_count=reopen_count)


def test_a_hub_that_goes_away_leaves_a_report_and_nothing_half_done(world: Worlds) -> None:
    made = world(T1="done", T2="done", T3="todo")
    for task_id, status in (("X-T1", "todo"), ("X-T2", "todo"), ("X-T3", "done")):
        made.create(task_id, status)
    desk = made.desk("here")
    hub = Leaving.open(f"sqlite:///{made.farm.root}/hub.sqlite")
    reports = fix(hub, hub.checkouts(), desk.fix_options())
    report = next(reports)
    with pytest.raises(HubUnreachable):
        next(reports)
    assert [each.fixed for each in report.findings] == [True, False, False]
    assert all(each.fixed for each in desk.fix().findings)
    assert len(made.hub.events()) == 5


class Choosy(Hub):
    """A hub that takes neither new tasks nor paths."""

    def record_path(self, key: str, path: str) -> None:
        raise HubUsageError(f"{path} of {key} is too long")

    def create_task(self, task: HubTask, *, stamp: Stamp) -> HubTask | None:
        raise HubUsageError(f"{task.task_id} is not to {stamp.actor}'s taste")


def test_a_hub_that_refuses_a_value_does_not_stop_the_others(both: tuple[World, Desk]) -> None:
    made, desk = both
    hub = Choosy.open(f"sqlite:///{made.farm.root}/hub.sqlite")
    report = Desk(clone=desk.clone, hub=hub, machine=desk.machine).fix()
    refused = finding(report, "X-new")
    assert (refused.is_left, refused.action) == (True, Action.HELD)
    assert refused.hint == "X-new is not to tester's taste"
    assert {each.task_id for each in report.findings if each.reason == "refused_by_hub"} == {
        *("X-F", "X-W", "X-new")
    }
    assert finding(report, "X-F", "C-11").fixed
    assert finding(report, "X-W", "C-13").fixed


def test_several_checkouts_of_one_machine_are_fixed_one_after_another(world: Worlds) -> None:
    made = world(T1="todo")
    made.create("X-T1", "done")
    here, there = made.desk("here"), made.desk("there")
    reports = tuple(fix(made.hub, made.hub.checkouts(), here.fix_options()))
    assert [each.repo for each in reports] == ["shop", "shop"]
    assert here.statuses() == there.statuses() == {"X-T1": ("done", 0)}


def test_pulling_comes_first_where_that_is_asked_for(both: tuple[World, Desk]) -> None:
    made, desk = both
    upstream_moves_on(made)
    assert all(each.fixed for each in desk.fix(pull=True).findings)
    assert (desk.clone.path / "README.md").exists()


def test_a_pull_that_fails_is_said_and_the_gate_holds(both: tuple[World, Desk]) -> None:
    made, desk = both
    upstream_moves_on(made)
    desk.clone.commit("mine\n", "MINE.md")
    said: list[str] = []
    fix_options = desk.fix_options(policy=Policy(), pull=True)
    (report,) = fix(made.hub, made.hub.checkouts("here"), replace(fix_options, notice=said.append))
    assert said[0] == PULL_FAILED
    assert "fast-forward" in "".join(said[1:])
    assert PULL_FAILED == "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway"
    assert finding(report, code="C-14").reason == "diverged"


def test_the_time_limits_of_the_repository_hold_from_the_lock_on(world: Worlds) -> None:
    desk = world(T1="todo").desk("here")
    desk.clone.write("consistency: {git_timeout: 2m, fetch_timeout: 500ms}\n", "dogfood.yaml")
    (checkout,) = desk.hub.checkouts(desk.machine.id)
    limits = open_checkout(desk.hub, checkout, CheckOptions()).repository.limits
    assert (limits.other, limits.fetch) == (120, 0.5)


def test_settings_that_are_wrong_keep_everything_as_it_is(both: tuple[World, Desk]) -> None:
    _, desk = both
    desk.clone.write("consistency: {git_timeout: soon, worplans: x}\n", "dogfood.yaml")
    before = state(desk)
    report = desk.fix(pull=True)
    assert (codes(report), report.findings[0].reason) == (["C-27"], "settings")
    assert "did you mean 'workplans'?" in report.findings[0].message
    assert "not 'soon'" in report.findings[0].message
    assert state(desk) == before
    with pytest.raises(RefusedError, match="unknown"):
        desk.reopen("X-W")
