"""Puts new statuses into the bytes of a workplan and changes no other byte, or refuses the edit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from pytest_dogfood.consistency.hub.model import Status
from pytest_dogfood.consistency.task_block import ParsedBlock, YamlEvent
from pytest_dogfood.consistency.workplan import Document, parse
from pytest_dogfood.git.commit import EditRefusedError

_SCALAR = "ScalarEvent"


def with_statuses(document: Document, statuses: Mapping[str, Status]) -> bytes:
    """Return the file with these statuses, by task id. Raises EditRefusedError unless all of them can be set."""
    edits = [
        _replacement(document, _entry(document, task_id), "status", status.value)
        for task_id, status in statuses.items()
    ]
    return _applied(document, edits)


def with_reopening(document: Document, task_id: str, status: Status, count: int) -> bytes:
    """Return the file with a reopen of the task recorded: its status, and `reopened: <count>`.

    A missing field is inserted as a line after that of the status. Raises EditRefusedError.
    """
    entry = _entry(document, task_id)
    edits = [_replacement(document, entry, "status", status.value)]
    if "reopened" in entry.fields.scalars:
        edits.append(_replacement(document, entry, "reopened", str(count)))
    else:
        edits.append(_insertion(document, entry, "reopened", str(count)))
    return _applied(document, edits)


class _Edit(Struct, frozen=True, kw_only=True):
    """A span of characters and its new text; `events` replace one event of the parsed file."""

    start: int
    end: int
    text: str
    entry: ParsedBlock
    at: int
    events: tuple[YamlEvent, ...]


def _entry(document: Document, task_id: str) -> ParsedBlock:
    found = [entry for entry in document.entries if entry.block.task_id == task_id]
    if len(found) != 1:
        raise EditRefusedError(document.path, f"{len(found)} blocks have this id", task_id=task_id)
    if found[0].block.problem:
        raise EditRefusedError(document.path, found[0].block.problem, task_id=task_id)
    return found[0]


def _replacement(document: Document, entry: ParsedBlock, key: str, text: str) -> _Edit:
    found = entry.fields.scalars.get(key)
    if found is None or not found.is_verbatim or document.text[found.start : found.end] != found.value:
        reason = f"the value of '{key}' is not a plain or quoted word in one piece"
        raise EditRefusedError(document.path, reason, task_id=entry.block.task_id)
    replaced = ((_SCALAR, text),)
    return _Edit(start=found.start, end=found.end, text=text, entry=entry, at=found.event, events=replaced)


def _insertion(document: Document, entry: ParsedBlock, key: str, value: str) -> _Edit:
    """Insert a field below the status, with the status's indentation and line end."""
    text, status = document.text, entry.fields.scalars["status"]
    line_start = max(text.rfind("\n", 0, status.key_start), text.rfind("\r", 0, status.key_start)) + 1
    indentation = text[line_start : status.key_start]
    if entry.fields.is_flow or indentation.strip(" \t"):
        reason = f"'{key}' needs a line of its own after the status; write the fields on separate lines"
        raise EditRefusedError(document.path, reason, task_id=entry.block.task_id)
    ends = (text.find("\n", status.end), text.find("\r", status.end), len(text))
    line_end = min(found for found in ends if found >= 0)
    after = line_end + (2 if text.startswith("\r\n", line_end) else 1)
    return _Edit(
        start=after,
        end=after,
        text=f"{indentation}{key}: {value}{text[line_end:after]}",
        entry=entry,
        at=status.event + 1,
        events=((_SCALAR, key), (_SCALAR, value)),
    )


def _applied(document: Document, edits: Iterable[_Edit]) -> bytes:
    """Apply the edits, parse the result, and compare it with the original. Raises EditRefusedError."""
    if document.text.encode() != document.content:
        raise EditRefusedError(document.path, "bytes outside the edited values would change")
    ordered = sorted(edits, key=lambda edit: edit.start)
    pieces, after = [], 0
    for edit in ordered:
        pieces += [document.text[after : edit.start], edit.text]
        after = edit.end
    content = "".join([*pieces, document.text[after:]]).encode()
    again = parse(content, path=document.path)
    events = {id(entry): list(entry.fields.events) for entry in document.entries}
    for edit in reversed(ordered):  # the last first, so that the positions of the others stay valid
        replaced = 0 if edit.start == edit.end else 1
        events[id(edit.entry)][edit.at : edit.at + replaced] = edit.events
    found = [(each.block.task_id, bool(each.block.problem), each.fields.events) for each in again.entries]
    if found != [
        (each.block.task_id, bool(each.block.problem), tuple(events[id(each)])) for each in document.entries
    ]:
        raise EditRefusedError(document.path, "the file would not read back as intended")
    if len(again.nested) != len(document.nested):
        raise EditRefusedError(document.path, "other parts of the file would be read differently")
    return content
