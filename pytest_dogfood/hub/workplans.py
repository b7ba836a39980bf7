"""Bytes -> the task blocks of a workplan, each with the place of its status; what cannot be read says why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import replace
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
    lines = split_lines(text)
    end = _front_matter_end(lines)
    if not _is_workplan(lines[:end]):
        return Document(path=path, content=content, text=text)
    if end is None:
        why = "its front matter is not closed by a line '---'"
        return Document(path=path, content=content, text=text, is_workplan=True, unreadable=why)
    entries, nested = _read_body(text, lines, end + 1, path, loader)
    return Document(path=path, content=content, text=text, is_workplan=True, entries=entries, nested=nested)


def split_lines(text: str) -> list[Line]:
    """Give the lines, as CommonMark sees them, without their ends."""
    return [Line(found.start(), found.group().rstrip("\r\n")) for found in _LINE.finditer(text)]


def _undecodable(content: bytes, path: str, error: UnicodeDecodeError) -> Document:
    """Hold the file if it is, or may be, a workplan: one in UTF-16 does not look like one."""
    lines = split_lines(content.decode(errors="replace"))
    if b"\0" not in content and not _is_workplan(lines[: _front_matter_end(lines)]):
        return Document(path=path, content=content)
    line = content.count(b"\n", 0, error.start) + 1
    why = f"it is not UTF-8 (byte {error.start}, line {line}: {content[error.start]:#04x})"
    return Document(path=path, content=content, is_workplan=True, unreadable=why)


def _front_matter_end(lines: Sequence[Line]) -> int | None:
    """Give the position of the line that closes the front matter; None if none does."""
    closing = (at for at, line in enumerate(lines) if at and line.text.rstrip() in {"---", "..."})
    return next(closing, None)


def _is_workplan(head: Sequence[Line]) -> bool:
    if not head or head[0].text.removeprefix(BOM).rstrip() != "---":
        return False
    try:
        fields = read_fields(head[1:], first_line=2)
    except Unusable:
        # Front matter that YAML refuses must not make a workplan's tasks vanish.
        return any(_WORKPLAN_LINE.fullmatch(line.text) for line in head)
    kind = fields.scalars.get("type")
    return kind is not None and kind.value == "workplan"


@cache
def _blocks_of_markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").disable("inline")


@cache
def _inline_markdown() -> MarkdownIt:
    return MarkdownIt("commonmark")


def _read_body(
    text: str, lines: Sequence[Line], first: int, path: str, loader: type[Any]
) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
    if first == len(lines) or not _ANY_TASK_FENCE.search(text, lines[first].start):
        return (), ()
    entries: list[Entry] = []
    nested: list[int] = []
    heading = ""
    tokens = _blocks_of_markdown().parse(text[lines[first].start :])
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            heading = tokens[at + 1].content
        elif token.type == "fence" and token.map and _TASK.match(token.info):
            opening = first + token.map[0]
            if token.level:
                nested.append(opening + 1)
            else:
                reader = _BlockReader(path=path, heading=heading, loader=loader)
                entries.append(reader.read(token, lines[opening : first + token.map[1]], opening + 1))
    return tuple(entries), tuple(nested)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BlockReader:
    path: str
    heading: str
    loader: type[Any]

    def read(self, token: Token, lines: Sequence[Line], number: int) -> Entry:
        """Read the block of these lines, fences included; `number` is that of the first."""
        content = [_unindented(line, _indentation(lines[0])) for line in lines[1:]]
        try:
            if not _is_closed(token, lines):
                raise Unusable(f"its fence is never closed by a line '{token.markup}'")
            fields = read_fields(content[:-1], first_line=number + 1, loader=self.loader)
            return Entry(block=self._block(fields, number), fields=fields)
        except Unusable as error:
            problem = _with_cause(str(error), content, number + 1)
            return Entry(
                block=_guessed(content, Block(path=self.path, line=number, task_id="", problem=problem))
            )

    def _block(self, fields: Fields, number: int) -> Block:
        task_id = _text(fields, "id")
        if not task_id:
            raise Unusable("it has no id")
        return Block(
            path=self.path,
            line=number,
            task_id=task_id,
            hub_id=_uuid(_text(fields, "state_hub_task_id")),
            status=_value(fields, "status"),
            reopened=_count(_value(fields, "reopened")),
            title=_title(self.heading, task_id),
        )


def _indentation(line: Line) -> int:
    return len(line.text) - len(line.text.lstrip(" "))


def _unindented(line: Line, indentation: int) -> Line:
    """Take off as many spaces as the opening fence has, but no more than there are (CommonMark 4.5)."""
    off = min(indentation, _indentation(line))
    return Line(line.start + off, line.text[off:])


def _is_closed(token: Token, lines: Sequence[Line]) -> bool:
    """Say whether the last line is a closing fence; markdown-it ends an open one where the file ends."""
    last = lines[-1].text.rstrip(" \t")
    fence = last.lstrip(" ")
    same = bool(fence) and set(fence) == {token.markup[0]} and len(fence) >= len(token.markup)
    return len(lines) > 1 and same and len(last) - len(fence) <= 3


def _with_cause(problem: str, content: Sequence[Line], first_line: int) -> str:
    """Add that another block begins inside, which is what an opening fence without its closing one looks like."""
    inside = (first_line + at for at, line in enumerate(content) if _OPENING_FENCE.match(line.text))
    at = next(inside, None)
    return problem if at is None else f"{problem}; it is not closed before the next block, in line {at}"


def _guessed(content: Sequence[Line], block: Block) -> Block:
    """Name the block as well as possible, so that what it stands for is held and not reported as missing."""
    found: dict[str, str] = {}
    for match in filter(None, (_GUESS.match(line.text) for line in content)):
        found.setdefault(match[1], match[2])
    hub_id = found.get("state_hub_task_id", "").lower()
    return replace(block, task_id=found.get("id", ""), hub_id=hub_id if _UUID.fullmatch(hub_id) else None)


def _value(fields: Fields, key: str) -> str | None:
    """Give the text of a field; None if it is absent or empty. Raises Unusable if it is no scalar."""
    if key in fields.nested:
        raise Unusable(f"'{key}' is not a single value")
    found = fields.scalars.get(key)
    return found.value if found is not None and found.value else None


def _text(fields: Fields, key: str) -> str:
    """Give the text of a field, in which YAML's null is none."""
    value = _value(fields, key)
    return "" if value is None or fields.scalars[key].is_null else value


def _uuid(text: str) -> str | None:
    if text and not _UUID.fullmatch(text.lower()):
        raise Unusable(f"state_hub_task_id '{text}' is not a UUID")
    return text.lower() or None


def _count(text: str | None) -> int:
    if text is not None and not _COUNT.fullmatch(text):
        raise Unusable(f"reopened '{text}' is not a number from 0")
    return int(text or 0)


def _title(heading: str, task_id: str) -> str:
    plain = " ".join("".join(_inline_texts(heading)).split())
    label, dash, rest = plain.partition("—")
    return (rest.strip() if dash and label.strip() == task_id.rpartition("-")[2] else plain) or task_id


def _inline_texts(heading: str) -> Iterator[str]:
    for token in _inline_markdown().parseInline(heading)[0].children or ():
        yield token.content if token.type in {"text", "code_inline", "text_special"} else " "
