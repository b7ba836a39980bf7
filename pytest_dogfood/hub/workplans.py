"""Bytes -> the task blocks of a workplan, each with the place of its status; what cannot be read says why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pytest_dogfood.hub.fields import LOADER
from pytest_dogfood.hub.fields import Fields
from pytest_dogfood.hub.findings import Action
from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.tasks import Block

BOM = "\ufeff"

# CommonMark knows these line ends and no other; `str.splitlines` knows ten.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_TASK = re.compile(r"[ \t]*task(?:[ \t]|\Z)")
_ANY_TASK_FENCE = re.compile(r"(?:```|~~~)[ \t]*task")
_OPENING_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})[ \t]*task(?:[ \t]|\Z)")
_WORKPLAN_LINE = re.compile(r"type[ \t]*:[ \t]*[\"']?workplan[\"']?[ \t]*(?:#.*)?")
_GUESS = re.compile(r"\s*[\"']?(id|state_hub_task_id)[\"']?\s*:\s*[\"']?([^\s\"'#]+)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A block and what an editor needs: its fields with their places in the text. A problem leaves it none."""

    block: Block
    fields: Fields = Fields()  # noqa: RUF009  (an immutable value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that was read. `text` is the decoded `content`, with its BOM if it has one.

    A file that is no workplan has no entries. `unreadable` says why the whole file is held. `nested` are the
    lines of task fences in lists and block quotes, which are not read.
    """

    path: str
    content: bytes
    text: str = ""
    is_workplan: bool = False
    entries: tuple[Entry, ...] = ()
    nested: tuple[int, ...] = ()
    unreadable: str = ""

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(entry.block for entry in self.entries)

    def findings(self, repo: str) -> tuple[Finding, ...]:
        """Give what is to be said of the file itself; what is wrong with a block is decided with its task."""
        if self.unreadable:
            return (unreadable_file(repo, self.path, self.unreadable),)
        return tuple(_nested_finding(repo, self.path, line) for line in self.nested)


def unreadable_file(repo: str, path: str, why: str) -> Finding:
    return Finding(
        code="C-27",
        severity=Severity.FAIL,
        repo=repo,
        path=path,
        message=f"workplan cannot be read: {why}",
        hint="no task of this file is changed until it can be",
        action=Action.HELD,
    )


def _nested_finding(repo: str, path: str, line: int) -> Finding:
    return Finding(
        code="C-24",
        severity=Severity.INFO,
        repo=repo,
        path=path,
        line=line,
        reason="nested",
        message="a task block inside a list or a block quote is not read",
        hint="move it to the left margin if it is meant to be a task",
    )


def parse(content: bytes, *, path: str, loader: type[Any] = LOADER) -> Document:
    """Read a file. Never raises: what cannot be read is said in the document."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _undecodable(content, path, error)
    lines = _lines(text)
    end = _front_matter_end(lines)
    head = [_bare(line) for line in lines[: end if end is not None else None]]
    if (
        not head
        or head[0].text.removeprefix(BOM).rstrip() != "---"
        or not _is_workplan(head[1:], closed=end is not None)
    ):
        return Document(path=path, content=content, text=text)
    if end is None:
        why = "its front matter is never closed by a line '---'"
        return Document(path=path, content=content, text=text, is_workplan=True, unreadable=why)
    entries, nested = _read_body(lines, end + 1, path, loader)
    return Document(path=path, content=content, text=text, is_workplan=True, entries=entries, nested=nested)
