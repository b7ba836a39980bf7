"""The ways a task may move, on both databases, and those it may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_dogfood.consistency.hub.model import RANK, HubTask, Machine, Source, Stamp, Status
from pytest_dogfood.consistency.hub.store import Hub

HERE = Machine(id="here", host="host")

Add = Callable[..., HubTask]
MakeStamp = Callable[..., Stamp]
Move = tuple[str, Status, int, bool]


@pytest.mark.parametrize("there", Status)
@pytest.mark.parametrize("wanted", Status)
def test_moving_forward_needs_a_higher_rank(
    sqlite_hub: Hub, add_task: Add, stamp: MakeStamp, there: Status, wanted: Status
) -> None:
    task = add_task(sqlite_hub, status=there.value)
    moved = sqlite_hub.move_forward(task, wanted, stamp=stamp())
    assert moved is (RANK[wanted] > RANK[there])
    assert sqlite_hub.find_tasks(task.id)[0].status == (wanted if moved else there)


@pytest.mark.parametrize("there", Status)
@pytest.mark.parametrize("wanted", Status)
def test_set_status_and_resolve_move_within_a_rank(
    sqlite_hub: Hub, add_task: Add, stamp: MakeStamp, there: Status, wanted: Status
) -> None:
    first, second = add_task(sqlite_hub, "T1", there.value), add_task(sqlite_hub, "T2", there.value)
    was_set = sqlite_hub.set_status(first, wanted, stamp=stamp(Source.API))
    resolved = sqlite_hub.resolve(second, wanted, stamp=stamp(Source.RESOLVE, "agreed"))
    assert was_set is (RANK[wanted] >= RANK[there])
    assert resolved is (RANK[wanted] == RANK[there])


def test_what_changed_meanwhile_is_not_overwritten(hub: Hub, add_task: Add, stamp: MakeStamp) -> None:
    task = add_task(hub)
    assert hub.move_forward(task, Status.BLOCKED, stamp=stamp())
    assert not hub.move_forward(task, Status.DONE, stamp=stamp())
    assert [event.to_status for event in hub.events(task.id)] == ["todo", "blocked"]


def test_an_unknown_status_in_the_hub_is_never_overwritten(hub: Hub, add_task: Add, stamp: MakeStamp) -> None:
    task = add_task(hub, status="paused")
    assert not hub.move_forward(task, Status.DONE, stamp=stamp())
    assert not hub.set_status(task, Status.DONE, stamp=stamp())
    assert hub.task(task.id) == task


def test_a_reopen_lowers_the_rank_with_a_reason(hub: Hub, add_task: Add, stamp: MakeStamp) -> None:
    task = add_task(hub, status="done")
    assert hub.reopen(task, Status.TODO, stamp=stamp(Source.REOPEN, "still broken"))
    reopened = hub.task(task.id)
    assert reopened is not None
    assert (reopened.status, reopened.reopen_count, reopened.version) == ("todo", 1, 2)
    (event,) = hub.events(regressions=True)
    assert (event.source, event.reason) == ("reopen", "still broken")


def test_a_deliberate_move_without_a_reason_cannot_be_stamped(stamp: MakeStamp) -> None:
    for source in (Source.REOPEN, Source.RESOLVE):
        with pytest.raises(ValueError, match="needs a reason"):
            stamp(source, " ")


def test_a_count_from_a_file_may_be_taken_over(hub: Hub, add_task: Add, stamp: MakeStamp) -> None:
    task = add_task(hub, status="done")
    accepted = stamp(Source.REOPEN, "recorded in the file")
    assert hub.move_forward(task, Status.BLOCKED, reopen_count=3, stamp=accepted)
    assert not hub.move_forward(task, Status.DONE, reopen_count=2, stamp=stamp())
    assert [found.reopen_count for found in hub.tasks()] == [3]


def test_a_deleted_task_keeps_everything_and_can_be_restored(
    hub: Hub, add_task: Add, stamp: MakeStamp
) -> None:
    task = add_task(hub, status="blocked")
    assert hub.set_deleted(task, deleted=True, stamp=stamp(Source.API))
    assert not hub.move_forward(task, Status.DONE, stamp=stamp())  # who saw it before it was deleted
    (deleted,) = hub.tasks()
    assert deleted.deleted
    assert not hub.set_deleted(deleted, deleted=True, stamp=stamp(Source.API))
    assert hub.set_deleted(deleted, deleted=False, stamp=stamp(Source.API))
    assert [(event.version, event.to_status) for event in hub.events()] == [
        (1, "blocked"),
        (2, "blocked"),
        (3, "blocked"),
    ]


def test_a_history_holds_what_a_task_was_since_its_last_reopen(
    hub: Hub, add_task: Add, stamp: MakeStamp
) -> None:
    task = add_task(hub, status="todo")
    hub.move_forward(task, Status.CANCELLED, stamp=stamp())
    assert hub.histories("shop") == {task.id: {"todo", "cancelled"}}
    (cancelled,) = hub.tasks()
    hub.reopen(cancelled, Status.IN_PROGRESS, stamp=stamp(Source.REOPEN, "again"))
    assert hub.histories("shop") == {task.id: {"in_progress"}}
    assert hub.histories("other") == {}
