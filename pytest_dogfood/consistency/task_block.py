"""The text of a task block as fields, each with its place: a flat YAML mapping, read event by event.

PyYAML's events show what its data does not: duplicate keys, aliases, and where a scalar begins and ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from msgspec import Struct, field
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Several times faster where libyaml is there."""

MAX_CHARACTERS = 32_768
"""More is no task. The parser takes time quadratic in the depth of brackets: minutes for 300,000 of them."""

_NODES = (ScalarEvent, CollectionStartEvent)
Event = tuple[str, str]
"""What an event says, without its place: its kind and, of a scalar, the value."""


class UnusableError(ValueError):
    """The text of a block cannot be used; the message says why."""


class Line(NamedTuple):
    """A line of a block: where its text begins in the whole file, and the text without indentation of the fence."""

    start: int
    text: str


class Field(Struct, frozen=True, kw_only=True):
    """A scalar and where its characters are in the whole file: inside the quotes, if there are some.

    `event` counts the events before it. `is_verbatim` is False where the text is not the value as it stands
    (escapes, tags, several lines): there is nothing to put another value in place of.
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


class Fields(Struct, frozen=True, kw_only=True):
    """A block's scalars by their keys, and all that was read, for comparing one reading with another."""

    scalars: Mapping[str, Field] = field(default_factory=dict)
    nested: frozenset[str] = frozenset()
    is_flow: bool = False
    events: tuple[Event, ...] = ()


def read_fields(lines: Sequence[Line], *, first_line: int, loader: type[Any] = LOADER) -> Fields:
    """Read a block. `first_line` is the number of the first of `lines`. Raises UnusableError."""
    source = _Source(lines)
    if len(source.text) > MAX_CHARACTERS:
        raise UnusableError(f"it is longer than {MAX_CHARACTERS} characters")
    try:
        events = list(yaml.parse(source.text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise UnusableError(_syntax_problem(error, first_line)) from None
    except yaml.YAMLError as error:
        raise UnusableError(str(error).splitlines()[0]) from None
    _check_shape(events)
    return _fields(events, source)


def _syntax_problem(error: yaml.MarkedYAMLError, first_line: int) -> str:
    """Say what YAML says, with the line where the trouble began: it often ends where the block does."""
    mark = error.context_mark or error.problem_mark
    said = ", ".join(filter(None, (error.context, error.problem)))
    return f"line {first_line + mark.line}: {said}" if mark else said


class _Source:
    """The text that is parsed, and the way from its characters back to those of the file."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        # One character for one: a tab is white space here, which YAML would not have in an indentation.
        self._texts = [line.text.replace("\t", " ") for line in lines]
        self._starts = [0]
        for text in self._texts:
            self._starts.append(self._starts[-1] + len(text) + 1)
        self.text = "".join(text + "\n" for text in self._texts)

    def origin(self, index: int) -> int:
        line = min(bisect_right(self._starts, index), len(self._lines)) - 1
        return self._lines[line].start + index - self._starts[line]


def _check_shape(events: Sequence[yaml.Event]) -> None:
    if sum(isinstance(event, DocumentStartEvent) for event in events) > 1:
        raise UnusableError("it holds several YAML documents")
    if any(isinstance(event, AliasEvent) for event in events):
        raise UnusableError("it uses a YAML alias")
    content = [event for event in events if isinstance(event, _NODES)]
    if content and not isinstance(content[0], MappingStartEvent):
        raise UnusableError("it is not a mapping of fields")


def _fields(events: Sequence[yaml.Event], source: _Source) -> Fields:
    scalars: dict[str, Field] = {}
    nested: set[str] = set()
    for key_at, value_at in _pairs(events):
        key, value = events[key_at], events[value_at]
        if not isinstance(key, ScalarEvent):
            raise UnusableError("a key is not a plain text")
        if key.value in scalars or key.value in nested:
            raise UnusableError(f"the key '{key.value}' occurs twice")
        if isinstance(value, ScalarEvent):
            scalars[key.value] = _field(key, value, value_at, source)
        else:
            nested.add(key.value)
    return Fields(
        scalars=scalars,
        nested=frozenset(nested),
        is_flow=any(isinstance(event, MappingStartEvent) and event.flow_style for event in events[:3]),
        events=tuple((type(event).__name__, getattr(event, "value", "")) for event in events),
    )


def _pairs(events: Sequence[yaml.Event]) -> Iterator[tuple[int, int]]:
    """Give the positions of the outer mapping's keys and of their values."""
    nodes = list(_outer_nodes(events))
    return zip(nodes[::2], nodes[1::2], strict=True)


def _outer_nodes(events: Sequence[yaml.Event]) -> Iterator[int]:
    depth = 0
    for at, event in enumerate(events):
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, _NODES):
            if depth == 1:
                yield at
            depth += isinstance(event, CollectionStartEvent)


def _field(key: ScalarEvent, value: ScalarEvent, at: int, source: _Source) -> Field:
    quotes = 1 if value.style in {"'", '"'} else 0
    begin, end = _extent(value)
    begin, end = begin + quotes, end - quotes
    return Field(
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
