"""Single tasks brought to where somebody says they are, by `hub set` and `hub import`; never back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from pytest_dogfood.consistency.hub.imports import ImportedTask
from pytest_dogfood.consistency.hub.model import RANK, Status, parse_status, position
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.hub.entries import Stamp
from pytest_dogfood.hub.errors import HubUsageError, RefusedError
from pytest_dogfood.hub.tasks import HubTask

RETRIES = 3


class Taken(StrEnum):
    """What became of a task of a file."""

    CREATED = "created"
    MOVED = "moved"
    SAME = "same"
    KEPT = "kept"
    REFUSED = "refused"


class Result(Struct, frozen=True, kw_only=True):
    """One task of a file, what became of it, and why where that is not what the file says."""

    task: ImportedTask
    taken: Taken
    why: str = ""


def only_task(hub: Hub, name: str, repo: str | None = None) -> HubTask:
    """Give the one task that a name means; raises HubUsageError for none and for several."""
    found = hub.find(name, repo=repo)
    if not found:
        within = f" of '{repo}'" if repo is not None else ""
        raise HubUsageError(f"no task '{name}'{within} in the hub; see them all: dogfood hub tasks")
    if len(found) > 1:
        where = ", ".join(task.repo for task in found)
        raise HubUsageError(
            f"several repositories have a task '{name}' ({where}); say which one: --repo NAME"
        )
    return found[0]


def set_forward(hub: Hub, task: HubTask, status: Status, *, stamp: Stamp) -> bool:
    """Bring a task to a status of the same or a higher rank; False if it has that status already.

    Raises RefusedError where that would be a step back, and where the task goes on changing meanwhile.
    """
    for seen in _as_it_is(hub, task):
        there = parse_status(seen.status)
        if there is None or seen.deleted:
            raise RefusedError(f"'{task.task_id}' stays as it is: {_unusable(seen)}")
        if there is status:
            return False
        if RANK[status] < RANK[there]:
            raise RefusedError(
                f"'{task.task_id}' is {there.value} and does not go back to {status.value}; to have it done again: "
                f"dogfood consistency reopen {task.task_id} --to {status.value} --reason TEXT"
            )
        if hub.set_status(seen, status, stamp=stamp):
            return True
    raise _always_changing(task)


def set_deleted(hub: Hub, task: HubTask, *, deleted: bool, stamp: Stamp) -> bool:
    """Mark a task as deleted, or take the mark away; False if it is so already. Nothing of it is lost.

    Raises RefusedError where the task goes on changing meanwhile.
    """
    for seen in _as_it_is(hub, task):
        if seen.deleted is deleted:
            return False
        if hub.set_deleted(seen, deleted=deleted, stamp=stamp):
            return True
    raise _always_changing(task)


def take_in(hub: Hub, tasks: Iterable[ImportedTask], *, stamp: Stamp) -> Iterator[Result]:
    """Create the tasks the hub does not know, move those that are further in the file, and keep all others."""
    known: dict[str, dict[str, HubTask]] = {}
    for task in tasks:
        if task.repo not in known:
            hub.add_repo(task.repo)
            known[task.repo] = {each.task_id: each for each in hub.tasks(task.repo)}
        seen = known[task.repo].get(task.task_id)
        made = seen or _made(hub, task, stamp)
        yield made if isinstance(made, Result) else _moved(hub, task, made, stamp)


def _made(hub: Hub, task: ImportedTask, stamp: Stamp) -> Result | HubTask:
    wanted = HubTask(
        id=task.hub_id,
        repo=task.repo,
        task_id=task.task_id,
        title=task.title,
        status=task.status.value,
        reopen_count=task.reopen_count,
        source_path=task.path,
    )
    if hub.create_task(wanted, stamp=stamp) is not None:
        return Result(task=task, taken=Taken.CREATED)
    meanwhile = hub.find(task.task_id, repo=task.repo)
    if meanwhile:
        return meanwhile[0]
    return Result(task=task, taken=Taken.REFUSED, why=f"the hub has another task with the id {task.hub_id}")


def _moved(hub: Hub, task: ImportedTask, found: HubTask, stamp: Stamp) -> Result:
    target = position(task.status, task.reopen_count)
    for seen in _as_it_is(hub, found):
        there = parse_status(seen.status)
        if there is None or seen.deleted:
            return Result(task=task, taken=Taken.KEPT, why=_unusable(seen))
        if task.hub_id and task.hub_id != seen.id:
            return Result(task=task, taken=Taken.REFUSED, why=f"the hub has it with another id, {seen.id}")
        if (there, seen.reopen_count) == (task.status, task.reopen_count):
            return Result(task=task, taken=Taken.SAME)
        if position(there, seen.reopen_count) >= target or RANK[task.status] < RANK[there]:
            why = f"it is {_standing(there, seen)} in the hub{_way_back(task, there, seen)}"
            return Result(task=task, taken=Taken.KEPT, why=why)
        if hub.compare_and_set(seen, task.status, reopen_count=task.reopen_count, stamp=stamp):
            return Result(task=task, taken=Taken.MOVED, why=f"was {_standing(there, seen)}")
    return Result(task=task, taken=Taken.REFUSED, why="others changed it meanwhile; import the file again")


def _way_back(task: ImportedTask, there: Status, seen: HubTask) -> str:
    """Say what only a person may do, where the file knows of a reopen that the hub has not seen."""
    if task.reopen_count <= seen.reopen_count or RANK[task.status] >= RANK[there]:
        return ""
    again = f"dogfood consistency reopen {task.task_id} --to {task.status.value} --reason TEXT"
    return f", and only a reopen leads back: {again}"


def _as_it_is(hub: Hub, task: HubTask) -> Iterator[HubTask]:
    """Give the task as it was seen, and then, as long as somebody asks for more, as it is by now."""
    yield task
    for _ in range(RETRIES):
        yield hub.task(task.id) or task


def _always_changing(task: HubTask) -> RefusedError:
    return RefusedError(f"'{task.task_id}' was changed by others {RETRIES + 1} times meanwhile; try again")


def _standing(status: Status, task: HubTask) -> str:
    return f"{status.value} (reopened: {task.reopen_count})" if task.reopen_count else status.value


def _unusable(task: HubTask) -> str:
    if task.deleted:
        return "it was deleted in the hub"
    return f"the hub has an unknown status, '{task.status}'; a newer program may have written it"
