"""Reads a task fence: its text as fields, each with its place, and the block that they form.

PyYAML's events show what its data does not: duplicate keys, aliases, and where a scalar begins and ends.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec import Struct, field
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from pytest_dogfood.consistency.hub.model import Block

LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Several times faster if libyaml is installed."""

MAX_CHARACTERS = 32_768
"""A longer text is not a task. The parser's time is quadratic in the depth of brackets: minutes for 300,000 of them."""

_NODES = (ScalarEvent, CollectionStartEvent)
YamlEvent = tuple[str, str]
"""An event without its place: its kind and, for a scalar, the value."""


class UnusableError(ValueError):
    """The text of a block cannot be used; the message says why."""


class SourceLine(NamedTuple):
    """A line of a block: where its text begins in the whole file, and the text without indentation of the fence."""

    start: int
    text: str


class TaskField(Struct, frozen=True, kw_only=True):
    """A scalar and the place of its characters in the whole file: inside the quotes, if there are any.

    `event` counts the events before it. `is_verbatim` is False if the text differs from the value (escapes, tags,
    several lines): then it cannot be replaced by another value.
    """

    value: str
    key_start: int
    start: int
    end: int
    event: int
    is_plain: bool
    is_verbatim: bool

    @property
    def is_null(self) -> bool:
        return not self.value or (self.is_plain and self.value in {"~", "null", "Null", "NULL"})


class TaskFields(Struct, frozen=True, kw_only=True):
    """A block's scalars by their keys, and all events, to compare two versions of a file."""

    scalars: Mapping[str, TaskField] = field(default_factory=dict)
    nested: frozenset[str] = frozenset()
    is_flow: bool = False
    events: tuple[YamlEvent, ...] = ()


def read_fields(lines: Sequence[SourceLine], *, first_line: int) -> TaskFields:
    """Read a block. `first_line` is the number of the first of `lines`. Raises UnusableError."""
    source = _Source(lines)
    if len(source.text) > MAX_CHARACTERS:
        raise UnusableError(f"it is longer than {MAX_CHARACTERS} characters")
    try:
        events = list(yaml.parse(source.text, Loader=LOADER))
    except yaml.MarkedYAMLError as error:
        # The line where the problem began: it often ends only with the block.
        mark = error.context_mark or error.problem_mark
        said = ", ".join(filter(None, (error.context, error.problem)))
        raise UnusableError(f"line {first_line + mark.line}: {said}" if mark else said) from None
    except yaml.YAMLError as error:
        raise UnusableError(str(error).splitlines()[0]) from None
    if sum(isinstance(event, DocumentStartEvent) for event in events) > 1:
        raise UnusableError("it holds several YAML documents")
    if any(isinstance(event, AliasEvent) for event in events):
        raise UnusableError("it uses a YAML alias")
    first = next((event for event in events if isinstance(event, _NODES)), None)
    if first is not None and not isinstance(first, MappingStartEvent):
        raise UnusableError("it is not a mapping of fields")
    return _fields(events, source)


class _Source:
    """The text that is parsed, and the mapping from its characters back to those of the file."""

    def __init__(self, lines: Sequence[SourceLine]) -> None:
        self._lines = lines
        # One character each: tabs become spaces, because YAML does not allow tabs in an indentation.
        self.text = "".join(line.text.replace("\t", " ") + "\n" for line in lines)
        self._starts = list(accumulate((len(line.text) + 1 for line in lines), initial=0))

    def origin(self, index: int) -> int:
        line = min(bisect_right(self._starts, index), len(self._lines)) - 1
        return self._lines[line].start + index - self._starts[line]


def _fields(events: Sequence[yaml.Event], source: _Source) -> TaskFields:
    scalars: dict[str, TaskField] = {}
    nested: set[str] = set()
    nodes = list(_outer_nodes(events))
    for key_at, value_at in zip(nodes[::2], nodes[1::2], strict=True):
        key, value = events[key_at], events[value_at]
        if not isinstance(key, ScalarEvent):
            raise UnusableError("a key is not a plain text")
        if key.value in scalars or key.value in nested:
            raise UnusableError(f"the key '{key.value}' occurs twice")
        if isinstance(value, ScalarEvent):
            scalars[key.value] = _field(key, value, value_at, source)
        else:
            nested.add(key.value)
    return TaskFields(
        scalars=scalars,
        nested=frozenset(nested),
        is_flow=any(isinstance(event, MappingStartEvent) and event.flow_style for event in events[:3]),
        events=tuple((type(event).__name__, getattr(event, "value", "")) for event in events),
    )


def _outer_nodes(events: Sequence[yaml.Event]) -> Iterator[int]:
    """Yield the positions of the outer mapping's keys and values, in turn."""
    depth = 0
    for at, event in enumerate(events):
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, _NODES):
            if depth == 1:
                yield at
            depth += isinstance(event, CollectionStartEvent)


def _field(key: ScalarEvent, value: ScalarEvent, at: int, source: _Source) -> TaskField:
    quotes = 1 if value.style in {"'", '"'} else 0
    begin, end = _extent(value)
    begin, end = begin + quotes, end - quotes
    return TaskField(
        value=value.value,
        key_start=source.origin(_extent(key)[0]),
        start=source.origin(begin),
        end=source.origin(end),
        event=at,
        is_plain=not value.style,
        is_verbatim=bool(value.value) and source.text[begin:end] == value.value,
    )


def _extent(event: yaml.Event) -> tuple[int, int]:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        raise TypeError("the loader gives no marks")
    return start.index, end.index


_OPENING_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})[ \t]*task(?:[ \t]|\Z)")
_GUESS = re.compile(r"\s*[\"']?(id|state_hub_task_id)[\"']?\s*:\s*[\"']?([^\s\"'#]+)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PLAIN = re.compile(r"[^\\`*_\[\]<>&!\r\n]*")
_COUNT = re.compile(r"[0-9]{1,9}")


class ParsedBlock(Struct, frozen=True, kw_only=True):
    """A block, and its fields with their places in the text. One with a problem has no fields."""

    block: Block
    fields: TaskFields = TaskFields()


def read_block(
    token: Token, lines: Sequence[SourceLine], *, number: int, path: str, heading: str
) -> ParsedBlock:
    """Read the block of these lines, fences included; `number` is that of the first."""
    indentation = _indentation(lines[0])
    content = []
    for line in lines[1:]:
        # As many spaces as the opening fence has, but no more than there are (CommonMark 4.5).
        off = min(indentation, _indentation(line))
        content.append(SourceLine(line.start + off, line.text[off:]))
    try:
        _check_closed(token, lines)
        fields = read_fields(content[:-1], first_line=number + 1)
        return ParsedBlock(block=_block(fields, number=number, path=path, heading=heading), fields=fields)
    except UnusableError as error:
        problem = str(error)
    # If another block begins inside, the opening fence probably lacks its closing one.
    inside = (number + 1 + at for at, line in enumerate(content) if _OPENING_FENCE.match(line.text))
    if (at := next(inside, None)) is not None:
        problem = f"{problem}; it is not closed before the next block, in line {at}"
    # Named as well as possible, so that its task is held and not reported as missing.
    guesses: dict[str, str] = {}
    for match in filter(None, (_GUESS.match(line.text) for line in content)):
        guesses.setdefault(match[1], match[2])
    hub_id = guesses.get("state_hub_task_id", "").lower()
    return ParsedBlock(
        block=Block(
            path=path,
            line=number,
            task_id=guesses.get("id", ""),
            hub_id=hub_id if _UUID.fullmatch(hub_id) else None,
            problem=problem,
        )
    )


def _indentation(line: SourceLine) -> int:
    return len(line.text) - len(line.text.lstrip(" "))


def _check_closed(token: Token, lines: Sequence[SourceLine]) -> None:
    """Check that the last line is a closing fence: markdown-it ends an open one where the file ends."""
    last = lines[-1].text.rstrip(" \t")
    fence = last.lstrip(" ")
    same = bool(fence) and set(fence) == {token.markup[0]} and len(fence) >= len(token.markup)
    if len(lines) == 1 or not same or len(last) - len(fence) > 3:
        raise UnusableError(f"its fence is never closed by a line '{token.markup}'")


def _block(fields: TaskFields, *, number: int, path: str, heading: str) -> Block:
    task_id = _text(fields, "id")
    if not task_id:
        raise UnusableError("it has no id")
    hub_id = _text(fields, "state_hub_task_id")
    if hub_id and not _UUID.fullmatch(hub_id.lower()):
        raise UnusableError(f"state_hub_task_id '{hub_id}' is not a UUID")
    status, reopened = _value(fields, "status"), _value(fields, "reopened") or "0"
    if not _COUNT.fullmatch(reopened):
        raise UnusableError(f"reopened '{reopened}' is not a number from 0")
    return Block(
        path=path,
        line=number,
        task_id=task_id,
        hub_id=hub_id.lower() or None,
        status=status,
        reopened=int(reopened),
        title=_title(heading, task_id),
    )


def _value(fields: TaskFields, key: str) -> str | None:
    """Return the text of a field; None if it is absent or empty. Raises UnusableError if it is not a scalar."""
    if key in fields.nested:
        raise UnusableError(f"'{key}' is not a single value")
    found = fields.scalars.get(key)
    return found.value if found is not None and found.value else None


def _text(fields: TaskFields, key: str) -> str:
    """Return the text of a field; YAML's null counts as empty."""
    value = _value(fields, key)
    return "" if value is None or fields.scalars[key].is_null else value


_INLINE_MARKDOWN = MarkdownIt("commonmark")


def _title(heading: str, task_id: str) -> str:
    text = heading
    # Most are plain, and parsing markup takes as long as everything else about a block.
    if not _PLAIN.fullmatch(heading):
        tokens = _INLINE_MARKDOWN.parseInline(heading)[0].children or ()
        words = {"text", "code_inline", "text_special"}
        text = "".join(token.content if token.type in words else " " for token in tokens)
    plain = " ".join(text.split())
    label, dash, rest = plain.partition("—")
    return (rest.strip() if dash and label.strip() == task_id.rpartition("-")[2] else plain) or task_id
