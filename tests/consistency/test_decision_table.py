"""The decision table in a real repository with a real hub: what check says, and what fix does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from pytest_dogfood.consistency.hub.model import Status
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.task_findings import Action, FindingSeverity
from tests.consistency.machines import World, finding
from tests.support.checkouts import Farm, isolated

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
        return self.hub.only_task(task_id).status


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
    assert (said.code, said.severity, said.fixed) == ("C-11", FindingSeverity.FAIL, False)
    done = finding(made.fixed, name(in_hub, in_file))
    assert (done.code, done.severity, done.fixed) == ("C-11", FindingSeverity.FAIL, True)
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
    assert {(each.code, each.severity) for each in (said, done)} == {("C-13", FindingSeverity.WARN)}
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
    assert done.hint == f"dogfood consistency resolve {task_id} --take file|hub --reason TEXT"
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


def test_every_pair_of_statuses_is_in_the_table() -> None:
    assert [cell[:2] for cell in CELLS] == list(product(map(str, Status), repeat=2))
