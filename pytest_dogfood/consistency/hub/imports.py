"""Changes tasks for `hub set` and `hub import`; reads JSON and CSV files, and reports every mistake with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from pytest_dogfood.consistency.hub.model import (
    RANK,
    HubTask,
    HubUsageError,
    RefusedError,
    Stamp,
    Status,
    parse_status,
    parse_uuid,
    position,
    suggest_status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.fileformat.nodes import (
    Findings,
    ListNode,
    MapNode,
    Position,
    ScalarNode,
    described,
    is_null,
)
from pytest_dogfood.fileformat.syntax import read_json

REQUIRED = ("repo", "task_id", "status")
OPTIONAL = ("title", "reopen_count", "hub_id", "path")
RETRIES = 3
_CODE = "import"

_Record: TypeAlias = tuple[int, Mapping[str, str | None]]
"""The line of a task in a file, and its values; a value is None if it was reported as invalid."""


class ImportOutcome(StrEnum):
    """The result of the import of one task."""

    CREATED = "created"
    MOVED = "moved"
    SAME = "same"
    KEPT = "kept"
    REFUSED = "refused"


class ImportResult(Struct, frozen=True, kw_only=True):
    """One task of a file, its line, the result, and why that differs from the file if it does."""

    line: int
    task: HubTask
    outcome: ImportOutcome
    why: str = ""


def parse_tasks(content: bytes, *, path: str) -> tuple[tuple[int, HubTask], ...]:
    """Return the tasks of a file, each with its line; without a `hub_id` in the file its id is empty.

    A `.json` file, or text that looks like JSON, is read as JSON, anything else as CSV with a header line.

    Raises HubUsageError with all mistakes in the file.
    """
    findings = Findings(path)
    records: Iterable[_Record] = ()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add(Position(line, 0), _CODE, f"not UTF-8: {error.reason}")
    else:
        is_json = path.casefold().endswith(".json") or text.lstrip()[:1] in {"[", "{"}
        records = _json_records(text, findings) if is_json else _csv_records(text, findings)
    tasks: list[tuple[int, HubTask]] = []
    first: dict[tuple[str, ...], int] = {}
    for line, values in records:
        task = _parse_task(line, values, findings)
        if task is None:
            continue
        tasks.append((line, task))
        for key in ((task.repo, task.task_id), (task.id,)):
            if key in first:
                said = f"{'/'.join(key)} is already in line {first[key]}"
                findings.add(Position(line, 0), _CODE, said)
            elif key != ("",):
                first[key] = line
    if found := findings.sorted():
        # Without a code: only people read them.
        problems = (
            f"{each.location.path}:{each.location.line}: {each.message}"
            + (f" ({each.hint})" if each.hint else "")
            for each in found
        )
        raise HubUsageError("\n".join(("nothing was imported", *problems)))
    return tuple(tasks)


def _json_records(text: str, findings: Findings) -> Iterator[_Record]:
    root = read_json(text, findings)
    if isinstance(root, MapNode) and "tasks" in root.entries:
        root = root.entries["tasks"][1]  # what `dogfood hub tasks --format json` prints
    if root is None:
        return
    if not isinstance(root, ListNode):
        said = f"expected a list of tasks, or a mapping with `tasks`, not {described(root)}"
        findings.add(root, _CODE, said)
        return
    for item in root.items:
        if not isinstance(item, MapNode):
            findings.add(item, _CODE, f"a task is a mapping, not {described(item)}")
            continue
        values: dict[str, str | None] = {}
        for name in (*REQUIRED, *OPTIONAL):
            if name in item.entries:
                node = item.entries[name][1]
                values[name] = node.value if isinstance(node, ScalarNode) else None
                if is_null(node):
                    values[name] = ""
                elif values[name] is None:
                    findings.add(node, _CODE, f"{name} is a single value, not {described(node)}")
        yield item.line, values


def _csv_records(text: str, findings: Findings) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    line = 1
    try:
        for row in reader:
            begun, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if names and len(row) == len(names):
                yield begun, dict(zip(names, row, strict=True))
            elif names:
                said = f"{len(row)} values, but the first line names {len(names)}"
                findings.add(Position(begun, 0), _CODE, said)
            else:
                names = [name.strip() for name in row]
                missing = [name for name in REQUIRED if name not in names]
                twice = sorted({name for name in names if name and names.count(name) > 1})
                if missing:
                    hint = "the first line names the columns, separated by commas: repo,task_id,status,title"
                    findings.add(Position(begun, 0), _CODE, f"no column {', '.join(missing)}", hint=hint)
                if twice:
                    findings.add(Position(begun, 0), _CODE, f"two columns are named {', '.join(twice)}")
                if missing or twice:
                    return
    except csv.Error as error:
        findings.add(Position(line, 0), _CODE, f"not CSV: {error}")
        return
    if not names:
        findings.add(Position(1, 0), _CODE, "the file is empty")


def _parse_task(line: int, values: Mapping[str, str | None], findings: Findings) -> HubTask | None:
    at = Position(line, 0)
    said = {name: (values.get(name) or "").strip() for name in (*REQUIRED, *OPTIONAL)}
    for name in REQUIRED:
        if not said[name] and values.get(name, "") is not None:
            findings.add(at, _CODE, f"{name} is missing")
    status = parse_status(said["status"])
    if said["status"] and status is None:
        findings.add(at, _CODE, f"unknown status '{said['status']}'", hint=suggest_status(said["status"]))
    count = said["reopen_count"] or "0"
    if not (count.isascii() and count.isdigit() and len(count) < 9):
        findings.add(at, _CODE, f"reopen_count is a whole number from 0, not '{count}'")
        count = "0"
    hub_id = parse_uuid(said["hub_id"]) or ""
    if said["hub_id"] and not hub_id:
        findings.add(at, _CODE, f"hub_id is a UUID, not '{said['hub_id']}'")
    if status is None or not said["repo"] or not said["task_id"]:
        return None
    return HubTask(
        id=hub_id,
        repo=said["repo"],
        task_id=said["task_id"],
        title=said["title"],
        status=status.value,
        reopen_count=int(count),
        source_path=said["path"],
    )


def set_status_with_retries(hub: Hub, task: HubTask, status: Status, *, stamp: Stamp) -> bool:
    """Set a status of the same or a higher rank, again if the task changed meanwhile; False if it has that status.

    Raises RefusedError for a lower rank, and if the task changes on every try.
    """
    for seen in _current(hub, task):
        there = parse_status(seen.status)
        if there is None or seen.deleted:
            raise RefusedError(f"'{task.task_id}' was not changed: {_unusable(seen)}")
        if there is status:
            return False
        if RANK[status] < RANK[there]:
            raise RefusedError(
                f"'{task.task_id}' is {there.value} and is not set back to {status.value}; to do it again: "
                f"dogfood consistency reopen {task.task_id} --to {status.value} --reason TEXT"
            )
        if hub.set_status(seen, status, stamp=stamp):
            return True
    raise _too_many_changes(task)


def set_deleted_with_retries(hub: Hub, task: HubTask, *, deleted: bool, stamp: Stamp) -> bool:
    """Mark a task as deleted, or restore it, again if it changed meanwhile; False if that is done already.

    Raises RefusedError if the task changes on every try.
    """
    for seen in _current(hub, task):
        if seen.deleted is deleted:
            return False
        if hub.set_deleted(seen, deleted=deleted, stamp=stamp):
            return True
    raise _too_many_changes(task)


def import_tasks(hub: Hub, tasks: Iterable[tuple[int, HubTask]], *, stamp: Stamp) -> Iterator[ImportResult]:
    """Create the tasks that the hub does not have, move those that are further in the file, and keep all others."""
    known: dict[str, dict[str, HubTask]] = {}
    for line, task in tasks:
        if task.repo not in known:
            known[task.repo] = {each.task_id: each for each in hub.tasks(task.repo)}
        outcome, why = ImportOutcome.CREATED, ""
        seen = known[task.repo].get(task.task_id)
        if seen is None and hub.create_task(task, stamp=stamp) is None:
            outcome, why = ImportOutcome.REFUSED, f"the hub has another task with the id {task.id}"
            seen = next(iter(hub.find_tasks(task.task_id, repo=task.repo)), None)
        if seen is not None:
            outcome, why = _move(hub, task, seen, stamp)
        yield ImportResult(line=line, task=task, outcome=outcome, why=why)


def _move(hub: Hub, task: HubTask, found: HubTask, stamp: Stamp) -> tuple[ImportOutcome, str]:
    wanted = Status(task.status)
    for seen in _current(hub, found):
        there = parse_status(seen.status)
        if there is None or seen.deleted:
            return ImportOutcome.KEPT, _unusable(seen)
        if task.id and task.id != seen.id:
            return ImportOutcome.REFUSED, f"the hub has it with another id, {seen.id}"
        if (there, seen.reopen_count) == (wanted, task.reopen_count):
            return ImportOutcome.SAME, ""
        standing = f"{there.value} (reopened: {seen.reopen_count})" if seen.reopen_count else there.value
        goes_back = RANK[wanted] < RANK[there]
        if position(there, seen.reopen_count) >= position(wanted, task.reopen_count) or goes_back:
            why = f"it is {standing} in the hub"
            if goes_back and task.reopen_count > seen.reopen_count:  # the hub has not seen the reopen
                again = f"dogfood consistency reopen {task.task_id} --to {task.status} --reason TEXT"
                why += f", and only a reopen leads back: {again}"
            return ImportOutcome.KEPT, why
        if hub.move_forward(seen, wanted, reopen_count=task.reopen_count, stamp=stamp):
            return ImportOutcome.MOVED, f"was {standing}"
    return ImportOutcome.REFUSED, "others changed it meanwhile; import the file again"


def _current(hub: Hub, task: HubTask) -> Iterator[HubTask]:
    """Yield the task as it was read, and then, for each further attempt, as it is in the hub."""
    yield task
    for _ in range(RETRIES):
        yield hub.task(task.id) or task


def _too_many_changes(task: HubTask) -> RefusedError:
    return RefusedError(f"'{task.task_id}' was changed by others {RETRIES + 1} times meanwhile; try again")


def _unusable(task: HubTask) -> str:
    if task.deleted:
        return "it was deleted in the hub"
    return f"the hub has an unknown status, '{task.status}'; a newer program may have written it"
