"""Tasks taken in from elsewhere, by `hub set` and `hub import`: files of JSON or CSV, every mistake with its line."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.hub.model import (
    RANK,
    HubTask,
    RefusedError,
    Stamp,
    Status,
    nearest,
    parse_status,
    position,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.diagnostics import Diagnostic, InvalidProjectError, errors_among
from pytest_dogfood.fileformat.nodes import (
    Findings,
    ListNode,
    MapNode,
    Node,
    Place,
    ScalarNode,
    described,
    is_null,
)
from pytest_dogfood.fileformat.syntax import read_json

REQUIRED = ("repo", "task_id", "status")
OPTIONAL = ("title", "reopen_count", "hub_id", "path")
_CODE = "import"


class ImportedTask(Struct, frozen=True, kw_only=True):
    """A task as a file has it; `hub_id` is empty where the file has none."""

    line: int
    repo: str
    task_id: str
    status: Status
    title: str = ""
    reopen_count: int = 0
    hub_id: str = ""
    path: str = ""


class _Record(Struct, frozen=True, kw_only=True):
    """What stands in a file about one task; a value is None if it has been found to be unusable already."""

    line: int
    values: Mapping[str, str | None]


def read_tasks_file(path: Path) -> tuple[ImportedTask, ...]:
    """Read a whole file, a `.json` or what looks like JSON as JSON, anything else as CSV with a line of names.

    Raises InvalidProjectError with everything that is wrong with it, and OSError.
    """
    return parse_tasks(path.read_bytes(), path=str(path))


def parse_tasks(content: bytes, *, path: str) -> tuple[ImportedTask, ...]:
    """Read a file's content; raises InvalidProjectError with everything that is wrong with it."""
    findings = Findings(path)
    tasks = [task for record in _records(content, findings) if (task := _task(record, findings)) is not None]
    _refuse_repetitions(tasks, findings)
    if errors_among(findings.in_order()):
        raise InvalidProjectError(findings.in_order())
    return tuple(tasks)


def problems_in_words(found: tuple[Diagnostic, ...]) -> tuple[str, ...]:
    """Return each problem as lines for people, without a code: nothing else reads them."""
    return tuple(
        f"{one.location.path}:{one.location.line}: {one.message}" + (f" ({one.hint})" if one.hint else "")
        for one in found
    )


def _records(content: bytes, findings: Findings) -> Iterator[_Record]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add(Place(line, 0), _CODE, f"not UTF-8: {error.reason}")
        return
    is_json = findings.path.casefold().endswith(".json") or text.lstrip()[:1] in {"[", "{"}
    yield from _json_records(text, findings) if is_json else _csv_records(text, findings)


def _json_records(text: str, findings: Findings) -> Iterator[_Record]:
    root = read_json(text, findings)
    if isinstance(root, MapNode) and "tasks" in root.entries:
        root = root.entries["tasks"][1]  # what `dogfood hub tasks --format json` prints
    if not isinstance(root, ListNode):
        if root is not None:
            findings.add(
                root, _CODE, f"a list of tasks is expected, or a mapping with `tasks`, not {described(root)}"
            )
        return
    for item in root.items:
        if isinstance(item, MapNode):
            yield _Record(line=item.line, values=_values(item, findings))
        else:
            findings.add(item, _CODE, f"a task is a mapping, not {described(item)}")


def _values(item: MapNode, findings: Findings) -> dict[str, str | None]:
    known = {name: item.entries[name][1] for name in (*REQUIRED, *OPTIONAL) if name in item.entries}
    return {name: _scalar(name, node, findings) for name, node in known.items()}


def _scalar(name: str, node: Node, findings: Findings) -> str | None:
    if isinstance(node, ScalarNode):
        return "" if is_null(node) else node.value
    findings.add(node, _CODE, f"{name} is a single value, not {described(node)}")
    return None


def _csv_records(text: str, findings: Findings) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            findings.add(Place(line, 0), _CODE, f"not CSV: {error}")
            return
        if row is None:
            break
        if not any(cell.strip() for cell in row):
            continue
        if not names:
            names = [name.strip() for name in row]
            if not _names_are_right(names, line, findings):
                return
        elif len(row) != len(names):
            findings.add(Place(line, 0), _CODE, f"{len(row)} values, but the first line names {len(names)}")
        else:
            yield _Record(line=line, values=dict(zip(names, row, strict=True)))
    if not names:
        findings.add(Place(1, 0), _CODE, "the file is empty")


def _names_are_right(names: list[str], line: int, findings: Findings) -> bool:
    missing = [name for name in REQUIRED if name not in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if missing:
        hint = "the first line names the columns, separated by commas: repo,task_id,status,title"
        findings.add(Place(line, 0), _CODE, f"no column {', '.join(missing)}", hint=hint)
    if twice:
        findings.add(Place(line, 0), _CODE, f"two columns are named {', '.join(twice)}")
    return not missing and not twice


def _task(record: _Record, findings: Findings) -> ImportedTask | None:
    at = Place(record.line, 0)
    for name in REQUIRED:
        if (value := record.values.get(name, "")) is not None and not value.strip():
            findings.add(at, _CODE, f"{name} is missing")
    values = {name: (record.values.get(name) or "").strip() for name in (*REQUIRED, *OPTIONAL)}
    status = _status(values["status"], at, findings)
    count = _count(values["reopen_count"], at, findings)
    hub_id = _uuid(values["hub_id"], at, findings)
    if status is None or not values["repo"] or not values["task_id"]:
        return None
    return ImportedTask(
        line=record.line,
        repo=values["repo"],
        task_id=values["task_id"],
        status=status,
        title=values["title"],
        reopen_count=count,
        hub_id=hub_id,
        path=values["path"],
    )


def _status(text: str, at: Place, findings: Findings) -> Status | None:
    status = parse_status(text)
    if text and status is None:
        findings.add(at, _CODE, f"unknown status '{text}'", hint=_meant(text))
    return status


def _count(text: str, at: Place, findings: Findings) -> int:
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 9:
        return int(text)
    findings.add(at, _CODE, f"reopen_count is a whole number from 0, not '{text}'")
    return 0


def _meant(text: str) -> str:
    meant = nearest(text)
    return f"did you mean '{meant}'?" if meant else "one of " + ", ".join(known.value for known in Status)


def _uuid(text: str, at: Place, findings: Findings) -> str:
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        findings.add(at, _CODE, f"hub_id is a UUID, not '{text}'")
        return ""


def _refuse_repetitions(tasks: list[ImportedTask], findings: Findings) -> None:
    first: dict[tuple[str, ...], ImportedTask] = {}
    for task in tasks:
        keys = [(task.repo, task.task_id), (task.hub_id,)] if task.hub_id else [(task.repo, task.task_id)]
        for key in keys:
            if key in first:
                said = f"{'/'.join(key)} stands in line {first[key].line} already"
                findings.add(Place(task.line, 0), _CODE, said)
            first.setdefault(key, task)


RETRIES = 3


class ImportOutcome(StrEnum):
    """What became of a task of a file."""

    CREATED = "created"
    MOVED = "moved"
    SAME = "same"
    KEPT = "kept"
    REFUSED = "refused"


class Result(Struct, frozen=True, kw_only=True):
    """One task of a file, what became of it, and why where that is not what the file says."""

    task: ImportedTask
    taken: ImportOutcome
    why: str = ""


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


def import_tasks(hub: Hub, tasks: Iterable[ImportedTask], *, stamp: Stamp) -> Iterator[Result]:
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
        return Result(task=task, taken=ImportOutcome.CREATED)
    meanwhile = hub.find(task.task_id, repo=task.repo)
    if meanwhile:
        return meanwhile[0]
    return Result(
        task=task, taken=ImportOutcome.REFUSED, why=f"the hub has another task with the id {task.hub_id}"
    )


def _moved(hub: Hub, task: ImportedTask, found: HubTask, stamp: Stamp) -> Result:
    target = position(task.status, task.reopen_count)
    for seen in _as_it_is(hub, found):
        there = parse_status(seen.status)
        if there is None or seen.deleted:
            return Result(task=task, taken=ImportOutcome.KEPT, why=_unusable(seen))
        if task.hub_id and task.hub_id != seen.id:
            return Result(
                task=task, taken=ImportOutcome.REFUSED, why=f"the hub has it with another id, {seen.id}"
            )
        if (there, seen.reopen_count) == (task.status, task.reopen_count):
            return Result(task=task, taken=ImportOutcome.SAME)
        if position(there, seen.reopen_count) >= target or RANK[task.status] < RANK[there]:
            why = f"it is {_standing(there, seen)} in the hub{_way_back(task, there, seen)}"
            return Result(task=task, taken=ImportOutcome.KEPT, why=why)
        if hub.compare_and_set(seen, task.status, reopen_count=task.reopen_count, stamp=stamp):
            return Result(task=task, taken=ImportOutcome.MOVED, why=f"was {_standing(there, seen)}")
    return Result(
        task=task, taken=ImportOutcome.REFUSED, why="others changed it meanwhile; import the file again"
    )


def _way_back(task: ImportedTask, there: Status, seen: HubTask) -> str:
    """Return what only a person may do, where the file knows of a reopen that the hub has not seen."""
    if task.reopen_count <= seen.reopen_count or RANK[task.status] >= RANK[there]:
        return ""
    again = f"dogfood consistency reopen {task.task_id} --to {task.status.value} --reason TEXT"
    return f", and only a reopen leads back: {again}"


def _as_it_is(hub: Hub, task: HubTask) -> Iterator[HubTask]:
    """Yield the task as it was seen, and then, as long as somebody asks for more, as it is by now."""
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
