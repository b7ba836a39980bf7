"""Files of tasks from elsewhere: taken in without loss, or refused with all their mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pytest_dogfood.consistency.hub.imports import (
    ImportOutcome,
    ImportResult,
    import_tasks,
    parse_tasks,
    set_status_with_retries,
)
from pytest_dogfood.consistency.hub.model import HubTask, HubUsageError, RefusedError, Source, Stamp, Status
from pytest_dogfood.consistency.hub.store import Hub

CSV = b'\xef\xbb\xbfrepo,task_id,status,title\r\nshop,T1,todo,"Sell,\r\nbuy"\r\n\r\nshop,T2,done,\r\n'
KEY = "3f2b8c1e-0000-4000-8000-000000000001"


def problems(content: bytes, path: str) -> list[str]:
    with pytest.raises(HubUsageError) as refused:
        parse_tasks(content, path=path)
    first, *found = str(refused.value).splitlines()
    assert first == "nothing was imported"
    return found


def test_csv_is_read_with_the_lines_its_records_begin_at() -> None:
    assert parse_tasks(CSV, path="tasks.csv") == (
        (2, HubTask(id="", repo="shop", task_id="T1", status="todo", title="Sell,\r\nbuy")),
        (5, HubTask(id="", repo="shop", task_id="T2", status="done")),
    )


@pytest.mark.parametrize("wrapped", [True, False])
def test_json_is_read_as_a_list_or_as_hub_tasks_prints_it(wrapped: bool) -> None:  # noqa: FBT001 - a table row
    task = {
        "repo": "shop",
        "task_id": "T1",
        "status": "done",
        "title": None,
        "reopen_count": 2,
        "hub_id": KEY,
    }
    content = json.dumps({"version": 1, "tasks": [task]} if wrapped else [task]).encode()
    assert parse_tasks(content, path="tasks") == (
        (1, HubTask(id=KEY, repo="shop", task_id="T1", status="done", reopen_count=2)),
    )


def test_all_problems_of_a_csv_file_are_told_at_once() -> None:
    rows = ["task_id,repo,status,reopen_count", "T1,shop,finished,", "T2,,todo,-1", "T3,shop"]
    content = "\n".join([*rows, "T4,shop,done,", "T4,shop,done,"]).encode()
    assert problems(content, "t.csv") == [
        "t.csv:2: unknown status 'finished' (did you mean 'done'?)",
        "t.csv:3: reopen_count is a whole number from 0, not '-1'",
        "t.csv:3: repo is missing",
        "t.csv:4: 2 values, but the first line names 4",
        "t.csv:6: shop/T4 is already in line 5",
    ]


def test_all_problems_of_a_json_file_are_told_at_once() -> None:
    wrong = '{"repo": "s", "task_id": ["T1"], "status": "Todo"}'
    content = f'[\n{wrong},\n7,\n{{"repo": "s", "task_id": "T", "hub_id": "x"}}\n]'.encode()
    assert problems(content, "t.json") == [
        "t.json:2: unknown status 'Todo' (did you mean 'todo'?)",
        "t.json:2: task_id is a single value, not a list",
        "t.json:3: a task is a mapping, not '7'",
        "t.json:4: hub_id is a UUID, not 'x'",
        "t.json:4: status is missing",
    ]


@pytest.mark.parametrize(
    "path,content,problem",
    [
        ("t.csv", b"", "t.csv:1: the file is empty"),
        ("t.csv", b"repo;task_id;status\n", "t.csv:1: no column repo, task_id, status"),
        ("t.csv", b"repo,task_id,status,repo\n", "t.csv:1: two columns are named repo"),
        ("t.csv", b'repo,task_id,status\nshop,"T1,todo\n', "t.csv:2: not CSV"),
        ("t.csv", b"repo,task_id,status\nshop,\xff,todo\n", "t.csv:2: not UTF-8"),
        ("t.json", b"[\n{]", "t.json:2: not JSON"),
        ("t.json", b'{"repo": "shop"}', "t.json:1: expected a list of tasks"),
    ],
)
def test_a_file_that_is_something_else_is_refused(path: str, content: bytes, problem: str) -> None:
    (found,) = problems(content, path)
    assert found.startswith(problem)


def taken(hub: Hub, stamp: Stamp, *tasks: tuple[int, HubTask]) -> list[ImportOutcome]:
    return [result.outcome for result in import_tasks(hub, tasks, stamp=stamp)]


def a_task(
    status: Status, task_id: str = "T1", *, reopen_count: int = 0, hub_id: str = ""
) -> tuple[int, HubTask]:
    return 1, HubTask(id=hub_id, repo="shop", task_id=task_id, status=status.value, reopen_count=reopen_count)


def test_an_import_creates_moves_and_keeps_but_never_goes_back(
    hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    add_task(hub, "T1", "in_progress")
    why = stamp(Source.IMPORT)
    steps = [Status.TODO, Status.BLOCKED, Status.IN_PROGRESS, Status.DONE, Status.CANCELLED, Status.TODO]
    assert taken(hub, why, *(a_task(status) for status in steps)) == [
        ImportOutcome.KEPT,
        ImportOutcome.KEPT,
        ImportOutcome.SAME,
        ImportOutcome.MOVED,
        ImportOutcome.KEPT,
        ImportOutcome.KEPT,
    ]
    assert taken(hub, why, a_task(Status.DONE, "T2")) == [ImportOutcome.CREATED]
    assert [(task.task_id, task.status) for task in hub.tasks()] == [("T1", "done"), ("T2", "done")]
    assert hub.events(regressions=True) == ()


def test_a_file_that_knows_of_a_reopen_leads_nothing_back_without_one(
    sqlite_hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    add_task(sqlite_hub, "T1", status="done")
    (result,) = import_tasks(sqlite_hub, [a_task(Status.TODO, reopen_count=1)], stamp=stamp(Source.IMPORT))
    assert result.outcome is ImportOutcome.KEPT
    assert result.why.endswith("dogfood consistency reopen T1 --to todo --reason TEXT")
    assert sqlite_hub.events(regressions=True) == ()


def test_what_one_hub_prints_another_takes_in_whole(sqlite_hub: Hub, stamp: Callable[..., Stamp]) -> None:
    task = a_task(Status.BLOCKED, reopen_count=2, hub_id=KEY)
    assert taken(sqlite_hub, stamp(Source.IMPORT), task, task) == [ImportOutcome.CREATED, ImportOutcome.SAME]
    (found,) = sqlite_hub.tasks()
    assert (found.id, found.reopen_count, found.status) == (KEY, 2, "blocked")


def test_ids_that_contradict_the_hub_are_refused_and_the_rest_goes_on(
    sqlite_hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    there = add_task(sqlite_hub, "T1")
    other = a_task(Status.DONE, "T2", hub_id=there.id)
    mismatch = a_task(Status.DONE, "T1", hub_id=KEY)
    results: list[ImportResult] = list(
        import_tasks(sqlite_hub, [other, mismatch, a_task(Status.DONE, "T3")], stamp=stamp(Source.IMPORT))
    )
    assert [result.outcome for result in results] == [
        ImportOutcome.REFUSED,
        ImportOutcome.REFUSED,
        ImportOutcome.CREATED,
    ]
    assert results[0].why == f"the hub has another task with the id {there.id}"
    assert sqlite_hub.task(there.id) == there


def test_what_the_hub_deleted_or_does_not_understand_is_kept(
    sqlite_hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    add_task(sqlite_hub, "T1", "paused")
    gone = add_task(sqlite_hub, "T2")
    assert sqlite_hub.set_deleted(gone, deleted=True, stamp=stamp(Source.API))
    tasks = (a_task(Status.DONE, "T1"), a_task(Status.DONE, "T2"))
    assert taken(sqlite_hub, stamp(Source.IMPORT), *tasks) == [ImportOutcome.KEPT, ImportOutcome.KEPT]


def test_a_task_that_moved_since_it_was_seen_is_looked_at_again(
    sqlite_hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    seen = add_task(sqlite_hub)
    assert sqlite_hub.move_forward(seen, Status.IN_PROGRESS, stamp=stamp())
    assert set_status_with_retries(sqlite_hub, seen, Status.BLOCKED, stamp=stamp(Source.API))
    assert sqlite_hub.move_forward(sqlite_hub.tasks()[0], Status.DONE, stamp=stamp())
    with pytest.raises(RefusedError, match="is done and is not set back to blocked"):
        set_status_with_retries(sqlite_hub, seen, Status.BLOCKED, stamp=stamp(Source.API))


def test_a_task_with_a_status_from_a_newer_program_is_not_set(
    sqlite_hub: Hub, add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    task = add_task(sqlite_hub, status="paused")
    with pytest.raises(RefusedError, match="unknown status, 'paused'"):
        set_status_with_retries(sqlite_hub, task, Status.DONE, stamp=stamp(Source.API))
