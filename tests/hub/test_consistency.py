"""The decision table in a real repository with a real hub: what check says, and what fix does."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from pytest_dogfood.hub.consistency import examine
from pytest_dogfood.hub.database import Hub
from pytest_dogfood.hub.findings import Action
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.statuses import Status
from pytest_dogfood.hub.taking import only_task
from pytest_dogfood.hub.views import RepoReport
from tests.hub.checkouts import Farm
from tests.hub.checkouts import isolated
from tests.hub.machines import REPO
from tests.hub.machines import Desk
from tests.hub.machines import World
from tests.hub.machines import codes
from tests.hub.machines import finding
from tests.hub.machines import plan
from tests.hub.machines import stamp

TABLE = """
              todo  in_progress  blocked  done  cancelled
todo          =     F            F        F     F
in_progress   W     =            L        F     F
blocked       W     L            =        F     F
done          W     W            W        =     L
cancelled     W     W            W        L     =
"""
HEADER, *ROWS = (line.split() for line in TABLE.strip().splitlines())
CELLS = [(row[0], column, cell) for row in ROWS for column, cell in zip(HEADER, row[1:], strict=True)]
TIES = [(hub, file) for hub, file, cell in CELLS if cell == "L"]


def name(hub: str, file: str, kind: str = "") -> str:
    return f"X-{hub}-{file}{kind}"


class Table:
    """Every cell as a task of one repository, checked and fixed; ties also with a file that is merely late."""

    def __init__(self, farm: Farm, hub: Hub, *, writeback: bool) -> None:
        statuses = {name(in_hub, in_file): in_file for in_hub, in_file, _ in CELLS}
        statuses |= {name(in_hub, in_file, "-late"): in_file for in_hub, in_file in TIES}
        world = World.of(farm, hub, statuses)
        for in_hub, in_file, _ in CELLS:
            world.create(name(in_hub, in_file), in_hub)
        for in_hub, in_file in TIES:
            world.create(name(in_hub, in_file, "-late"), in_file, in_hub)
        self.hub = hub
        self.desk = world.desk("here")
        self.checked = self.desk.check()
        self.untouched = self.desk.clone.git("status", "--porcelain") == b""
        self.fixed = self.desk.fix(writeback=writeback)
        self.files = self.desk.statuses()

    def in_hub(self, task_id: str) -> str:
        return only_task(self.hub, task_id).status


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Farm]]:
    with pytest.MonkeyPatch.context() as patch:

        def make() -> Farm:
            root = tmp_path_factory.mktemp("farm")
            farm = Farm(root=root, environment=isolated(root / "home"))
            for key, value in farm.environment.items():
                patch.setenv(key, value)
            return farm

        yield make


@pytest.fixture(scope="module", params=[True, False], ids=["fix", "no-writeback"])
def table(request: pytest.FixtureRequest, environment: Callable[[], Farm]) -> Iterator[tuple[Table, bool]]:
    farm = environment()
    hub, _ = Hub.create(f"sqlite:///{farm.root}/hub.sqlite")
    with hub:
        yield Table(farm, hub, writeback=request.param), request.param


@pytest.mark.parametrize("in_hub, in_file", [cell[:2] for cell in CELLS if cell[2] == "="])
def test_sides_that_agree_have_no_item(table: tuple[Table, bool], in_hub: str, in_file: str) -> None:
    made, _ = table
    for report in (made.checked, made.fixed):
        assert name(in_hub, in_file) in report.task_ids
        assert name(in_hub, in_file) not in {each.task_id for each in report.findings}


@pytest.mark.parametrize("in_hub, in_file", [cell[:2] for cell in CELLS if cell[2] == "F"])
def test_the_hub_follows_a_file_that_is_ahead(table: tuple[Table, bool], in_hub: str, in_file: str) -> None:
    made, _ = table
    said = finding(made.checked, name(in_hub, in_file))
    assert (said.code, said.severity, said.fixed) == ("C-11", Severity.FAIL, False)
    done = finding(made.fixed, name(in_hub, in_file))
    assert (done.code, done.severity, done.fixed) == ("C-11", Severity.FAIL, True)
    assert made.in_hub(name(in_hub, in_file)) == in_file == made.files[name(in_hub, in_file)][0]


@pytest.mark.parametrize("in_hub, in_file", [cell[:2] for cell in CELLS if cell[2] == "W"])
def test_a_file_follows_the_hub_that_is_ahead(table: tuple[Table, bool], in_hub: str, in_file: str) -> None:
    made, writeback = table
    said, done = finding(made.checked, name(in_hub, in_file)), finding(made.fixed, name(in_hub, in_file))
    message = (
        f"DB task '{name(in_hub, in_file)}' is ahead of file (db={in_hub}, file={in_file})"
        " — skipped to prevent regression"
    )
    assert said.message == done.message == message
    assert {(each.code, each.severity) for each in (said, done)} == {("C-13", Severity.WARN)}
    assert (done.fixed, bool(done.commit)) == (writeback, writeback)
    assert made.in_hub(name(in_hub, in_file)) == in_hub
    assert made.files[name(in_hub, in_file)][0] == (in_hub if writeback else in_file)


@pytest.mark.parametrize("in_hub, in_file", TIES)
def test_a_late_file_follows_over_a_tie(table: tuple[Table, bool], in_hub: str, in_file: str) -> None:
    made, writeback = table
    task_id = name(in_hub, in_file, "-late")
    done = finding(made.fixed, task_id)
    assert (done.code, done.reason, done.fixed) == ("C-13", "same_rank", writeback)
    assert (made.in_hub(task_id), made.files[task_id][0]) == (in_hub, in_hub if writeback else in_file)


@pytest.mark.parametrize("in_hub, in_file", TIES)
def test_a_tie_with_news_is_held(table: tuple[Table, bool], in_hub: str, in_file: str) -> None:
    made, _ = table
    task_id = name(in_hub, in_file)
    done = finding(made.fixed, task_id)
    assert (done.code, done.reason, done.action) == ("C-13", "same_rank", Action.HELD)
    assert done.hint == f"dogfood consistency resolve {task_id} --take file|hub"
    assert (made.in_hub(task_id), made.files[task_id][0]) == (in_hub, in_file)


def test_the_whole_table_is_one_commit_and_checking_wrote_nothing(table: tuple[Table, bool]) -> None:
    made, writeback = table
    assert made.untouched
    assert made.desk.clone.out("rev-list", "--count", "@{upstream}..HEAD") == str(int(writeback))
    assert not made.hub.events(regressions=True)


def test_a_second_fix_writes_nothing(table: tuple[Table, bool]) -> None:
    made, writeback = table
    before = (made.hub.tasks(), made.hub.events(), made.hub.writebacks(), made.desk.clone.head)
    again = made.desk.fix(writeback=writeback)
    assert not any(each.fixed for each in again.findings)
    assert (made.hub.tasks(), made.hub.events(), made.hub.writebacks(), made.desk.clone.head) == before


def seen(desk: Desk) -> dict[str, object]:
    """Give all that check must leave as it is."""
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
    assert (codes(report), report.findings[0].severity) == (["C-14", "C-13", "C-20", "C-20"], Severity.INFO)
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
        "X-T1": ("C-29", Severity.WARN),
        "X-open": ("C-21", Severity.WARN),
        "X-shut": ("C-21", Severity.INFO),
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
    reports = examine(made.hub, made.hub.checkouts(), offline=True)
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


def test_every_pair_of_statuses_is_in_the_table() -> None:
    assert [cell[:2] for cell in CELLS] == list(product(map(str, Status), repeat=2))
