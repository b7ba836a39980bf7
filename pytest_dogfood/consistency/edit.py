"""New statuses in the bytes of a workplan, and not one other byte changed: or the edit is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from pytest_dogfood.consistency.hub.model import Status
from pytest_dogfood.consistency.task_block import Entry, Event
from pytest_dogfood.consistency.workplan import Document, parse
from pytest_dogfood.git.commit import EditRefusedError

_SCALAR = "ScalarEvent"


def with_statuses(document: Document, statuses: Mapping[str, Status]) -> bytes:
    """Return the file with these statuses, by task id. Raises EditRefusedError; all of it is done, or nothing."""
    edits = [_status_edit(document, task_id, status) for task_id, status in statuses.items()]
    return _applied(document, edits)


def with_reopening(document: Document, task_id: str, status: Status, count: int) -> bytes:
    """Return the file with a reopen of the task recorded: its status, and `reopened: <count>`.

    Where there is no such field yet, a line is put after that of the status. Raises EditRefusedError.
    """
    entry = _entry(document, task_id)
    edits = [_status_edit(document, task_id, status)]
    if "reopened" in entry.fields.scalars:
        edits.append(_replacement(document, entry, "reopened", str(count)))
    else:
        edits.append(_insertion(document, entry, f"reopened: {count}"))
    return _applied(document, edits)


class _Edit(Struct, frozen=True, kw_only=True):
    """A span of characters and what is to stand there; `events` are what one event of a reading turns into."""

    start: int
    end: int
    text: str
    entry: Entry
    at: int
    events: tuple[Event, ...]


def _entry(document: Document, task_id: str) -> Entry:
    found = [entry for entry in document.entries if entry.block.task_id == task_id]
    if len(found) != 1:
        raise EditRefusedError(document.path, f"{len(found)} blocks have this id", task_id=task_id)
    if found[0].block.problem:
        raise EditRefusedError(document.path, found[0].block.problem, task_id=task_id)
    return found[0]


def _status_edit(document: Document, task_id: str, status: Status) -> _Edit:
    return _replacement(document, _entry(document, task_id), "status", status.value)


def _replacement(document: Document, entry: Entry, key: str, text: str) -> _Edit:
    found = entry.fields.scalars.get(key)
    if found is None or not found.is_verbatim or document.text[found.start : found.end] != found.value:
        reason = f"the value of '{key}' is not a plain or quoted word in one piece"
        raise EditRefusedError(document.path, reason, task_id=entry.block.task_id)
    replaced = ((_SCALAR, text),)
    return _Edit(start=found.start, end=found.end, text=text, entry=entry, at=found.event, events=replaced)


def _insertion(document: Document, entry: Entry, line: str) -> _Edit:
    """Put a line below the status, with the indentation of its key and the line end that it has itself."""
    status = entry.fields.scalars["status"]
    indentation = document.text[_line_start(document.text, status.key_start) : status.key_start]
    if entry.fields.is_flow or indentation.strip(" \t"):
        reason = "there is no line of its own to put 'reopened' after; write the fields on separate lines"
        raise EditRefusedError(document.path, reason, task_id=entry.block.task_id)
    line_end = _line_end(document.text, status.end)
    after = line_end[1]
    key, _, value = line.partition(": ")
    return _Edit(
        start=after,
        end=after,
        text=indentation + line + document.text[slice(*line_end)],
        entry=entry,
        at=status.event + 1,
        events=((_SCALAR, key), (_SCALAR, value)),
    )


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _line_end(text: str, at: int) -> tuple[int, int]:
    """Return where the line's end begins and where the next line does."""
    begin = min(found for found in (text.find("\n", at), text.find("\r", at), len(text)) if found >= 0)
    return begin, begin + (2 if text.startswith("\r\n", begin) else 1)


def _applied(document: Document, edits: Iterable[_Edit]) -> bytes:
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    content = document.content
    for edit in reversed(ordered):
        start, end = _in_bytes(document.text, edit.start), _in_bytes(document.text, edit.end)
        content = content[:start] + edit.text.encode() + content[end:]
    _check(document, ordered, content)
    return content


def _in_bytes(text: str, at: int) -> int:
    return at if text.isascii() else len(text[:at].encode())


def _check(document: Document, edits: Sequence[_Edit], content: bytes) -> None:
    """Read the new bytes as anybody would, and compare. Raises EditRefusedError."""
    if _outside(document.text, [(edit.start, edit.end) for edit in edits]) != _outside(
        content.decode(), _new_spans(edits)
    ):
        raise EditRefusedError(document.path, "bytes outside the edited values would change")
    again = parse(content, path=document.path)
    if [_reading(entry) for entry in again.entries] != [
        _expected(entry, edits) for entry in document.entries
    ]:
        raise EditRefusedError(document.path, "the file would not read back as intended")
    if len(again.nested) != len(document.nested):
        raise EditRefusedError(document.path, "other parts of the file would be read in another way")


def _outside(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    pieces, after = [], 0
    for start, end in spans:
        pieces.append(text[after:start])
        after = end
    return [*pieces, text[after:]]


def _new_spans(edits: Iterable[_Edit]) -> list[tuple[int, int]]:
    spans, shift = [], 0
    for edit in edits:
        start = edit.start + shift
        spans.append((start, start + len(edit.text)))
        shift += len(edit.text) - (edit.end - edit.start)
    return spans


def _reading(entry: Entry) -> tuple[str, bool, tuple[Event, ...]]:
    return entry.block.task_id, bool(entry.block.problem), entry.fields.events


def _expected(entry: Entry, edits: Sequence[_Edit]) -> tuple[str, bool, tuple[Event, ...]]:
    events = list(entry.fields.events)
    for edit in sorted(
        (edit for edit in edits if edit.entry is entry), key=lambda edit: edit.at, reverse=True
    ):
        kept = 0 if edit.start == edit.end else 1
        events[edit.at : edit.at + kept] = edit.events
    return entry.block.task_id, bool(entry.block.problem), tuple(events)
