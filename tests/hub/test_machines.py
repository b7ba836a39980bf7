"""Several machines with clones of one remote and one hub: nothing goes back, and they agree in the end."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from collections.abc import Sequence

import pytest

from pytest_dogfood.hub.errors import RefusedError
from pytest_dogfood.hub.findings import Action
from pytest_dogfood.hub.statuses import Status
from pytest_dogfood.hub.views import RepoReport
from tests.hub.machines import Desk
from tests.hub.machines import World
from tests.hub.machines import codes
from tests.hub.machines import finding

Worlds = Callable[..., World]

TASKS = ("X-T1", "X-T2", "X-T3")
STEPS = 30
HELD = {"C-13", "C-28"}
HISTORIES = int(os.environ.get("DOGFOOD_TEST_HISTORIES", "6"))


def test_a_stale_workstation_takes_nothing_back_and_catches_up(world: Worlds) -> None:
    made = world(T1="todo", T2="todo", T3="todo")
    stale = made.desk("workstation")
    stale.fix()
    remote = made.desk("remote")
    for task_id in ("X-T1", "X-T2", "X-T3"):
        remote.set(task_id, "done")
    remote.fix()
    assert remote.push()

    report = stale.fix()
    assert codes(report) == ["C-14", "C-13", "C-13", "C-13"]
    assert not any(each.fixed for each in report.findings)
    assert {task.status for task in made.hub.tasks()} == {"done"}

    assert stale.pull()
    assert codes(stale.fix()) == []
    assert stale.clone.plan.read_bytes() == remote.clone.plan.read_bytes()
    assert not made.hub.events(regressions=True)


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


def test_a_crash_between_hub_and_file_is_made_good_by_the_next_run(world: Worlds) -> None:
    made = world(T1="todo", T2="done")
    desk = made.desk("here")
    desk.fix(writeback=False)
    desk.set("X-T1", "done")
    # Died between the file's new bytes and the commit: the file is dirty, and is not touched.
    desk.edit("X-T1", "done")
    assert codes(desk.fix()) == []
    desk.clone.git("restore", ".")
    assert finding(desk.fix(), "X-T1").commit == desk.clone.head


def fixed_twice(desk: Desk, *, accept_reopen: bool = False) -> RepoReport:
    """Fix, and see that a second fix has nothing to do."""
    report = desk.fix(accept_reopen=accept_reopen)
    before = (desk.hub.tasks(), desk.hub.events(), desk.hub.writebacks(), desk.clone.head)
    again = desk.fix(accept_reopen=accept_reopen)
    assert not any(each.fixed for each in again.findings), again.findings
    assert (desk.hub.tasks(), desk.hub.events(), desk.hub.writebacks(), desk.clone.head) == before
    return report


class History:
    """What people and agents do, as a seed has it."""

    def __init__(self, seed: int, desks: Sequence[Desk]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._desks = desks

    def step(self) -> None:
        desk, task_id = self._random.choice(self._desks), self._random.choice(TASKS)
        status = self._random.choice(list(Status))
        doing = self._random.choices(
            [self._edit, self._set, self._fix, self._push, self._pull, self._reopen],
            weights=[5, 5, 4, 4, 4, 2],
        )[0]
        doing(desk, task_id, status)

    def _edit(self, desk: Desk, task_id: str, status: Status) -> None:
        desk.edit(task_id, status.value)
        desk.commit()

    def _set(self, desk: Desk, task_id: str, status: Status) -> None:
        if any(task.task_id == task_id for task in desk.hub.tasks()):
            desk.set(task_id, status.value)

    def _fix(self, desk: Desk, _task_id: str, _status: Status) -> None:
        fixed_twice(desk, accept_reopen=self._random.random() < 0.3)

    def _push(self, desk: Desk, _task_id: str, _status: Status) -> None:
        desk.push()

    def _pull(self, desk: Desk, _task_id: str, _status: Status) -> None:
        desk.pull()

    def _reopen(self, desk: Desk, task_id: str, _status: Status) -> None:
        if any(task.task_id == task_id for task in desk.hub.tasks()):
            try:
                desk.reopen(task_id, Status.TODO, hub_only=self._random.random() < 0.3)
            except RefusedError:
                return


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_in_any_history_nothing_goes_back_and_all_agree_in_the_end(world: Worlds, seed: int) -> None:
    made = world(T1="todo", T2="todo", T3="blocked")
    desks = [made.desk(name) for name in ("a", "b", "c")]
    desks[0].fix()
    history = History(seed, desks)
    for _ in range(STEPS):
        history.step()
    for _ in range(2):
        for desk in desks:
            assert desk.pull()
            fixed_twice(desk)
            assert desk.push()
    for desk in desks:
        assert desk.pull()
    regressions = made.hub.events(regressions=True)
    assert {event.source for event in regressions} <= {"reopen", "resolve"}
    assert all(event.reason for event in regressions)
    assert len({desk.clone.plan.read_bytes() for desk in desks}) == 1
    held = assert_agreement(desks[0])
    in_hub = {task.task_id: (task.status, task.reopen_count) for task in made.hub.tasks()}
    for task_id, in_file in desks[0].statuses().items():
        assert task_id in held or in_hub[task_id] == in_file


def assert_agreement(desk: Desk) -> set[str]:
    """See that all which is left to say is held; gives those tasks."""
    left = desk.check().findings
    assert {each.code for each in left} <= HELD
    assert {each.action for each in left} <= {Action.HELD}
    return {each.task_id for each in left}
