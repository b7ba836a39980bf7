"""The shapes of values, as data: text, choice, list, mapping, record.

`read` returns the value, or adds findings and returns None. No shape has None as a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.fileformat.nodes import (
    NULLS,
    Findings,
    ListNode,
    MapNode,
    Node,
    Placed,
    ScalarNode,
    described,
    is_null,
    shown,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

CHECKS_NOTHING = "checks-nothing"
"""The code of an assertion that checks nothing."""

MAX_COUNT = 10_000
INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)


class Shape(Protocol[T_co]):
    @property
    def expected(self) -> str:
        """The expected value in a message, such as "a number"."""

    def read(self, node: Node, findings: Findings) -> T_co | None: ...


def refuse(node: Node, expected: str, findings: Findings, hint: str = "") -> None:
    """Report a value of a wrong type, or a missing one."""
    if is_null(node):
        findings.add(node, "missing-value", f"a value is missing: expected {expected}", hint=hint)
    else:
        findings.add(node, "wrong-type", f"expected {expected}, not {described(node)}", hint=hint)


def read_text(
    node: Node, findings: Findings, expected: str, *, empty: bool = False, if_empty: str = ""
) -> str | None:
    """Return the text of a scalar, whatever type YAML would give it; report an invalid one.

    `if_empty` is the hint for empty text where that is not allowed.
    """
    if not isinstance(node, ScalarNode):
        refuse(node, expected, findings, "put it in quotes, or under `|`, if it is meant as text")
    elif node.plain and node.value in NULLS:
        refuse(node, expected, findings, 'write "" for empty text' if empty else "")
    elif not node.value and not empty:
        message = f"a value is missing: expected {expected}, not empty text"
        findings.add(node, "missing-value", message, hint=if_empty)
    elif "\0" in node.value:
        findings.add(node, "nul-byte", f"a NUL byte in {expected}", hint="no command or file takes it")
    else:
        return node.value
    return None


class Text(Struct, frozen=True, kw_only=True):
    """Text exactly as written: `no`, `1.20` and `12:30` are text.

    With `number_hint` a plain number is refused: the hint says how to write what was probably meant.
    """

    empty: bool = False
    expected: str = "text"
    number_hint: str = ""

    def read(self, node: Node, findings: Findings) -> str | None:
        value = read_text(node, findings, self.expected, empty=self.empty)
        if (
            not value
            or not self.number_hint
            or not (isinstance(node, ScalarNode) and node.plain and INTEGER.fullmatch(value))
        ):
            return value
        message = f"expected {self.expected}, not {shown(value)}"
        findings.add(node, "wrong-type", message, hint=self.number_hint)
        return None


class Word(Struct, frozen=True):
    """Text that must match a pattern as a whole."""

    pattern: re.Pattern[str]
    code: str
    expected: str
    hint: str = ""

    def read(self, node: Node, findings: Findings) -> str | None:
        value = read_text(node, findings, self.expected)
        if value is None or self.pattern.fullmatch(value):
            return value
        findings.add(node, self.code, f"expected {self.expected}, not {shown(value)}", hint=self.hint)
        return None


class Flag(Struct, frozen=True):
    expected: str = "true or false"

    def read(self, node: Node, findings: Findings) -> bool | None:
        if isinstance(node, ScalarNode) and node.plain and node.value in {"true", "false"}:
            return node.value == "true"
        refuse(node, self.expected, findings, "write true or false, in small letters and without quotes")
        return None


class WholeNumber(Struct, frozen=True, kw_only=True):
    """A whole number between two limits; by default a count of at least one."""

    least: int = 1
    most: int = MAX_COUNT
    expected: str = f"a whole number from 1 to {MAX_COUNT:,}"
    hint: str = ""

    def read(self, node: Node, findings: Findings) -> int | None:
        if not isinstance(node, ScalarNode) or not INTEGER.fullmatch(node.value):
            refuse(node, self.expected, findings)
        elif not node.plain:
            refuse(node, self.expected, findings, f"write {node.value} without quotes")
        elif not self.least <= int(node.value) <= self.most:
            message = f"expected {self.expected}, not {node.value}"
            findings.add(node, "out-of-range", message, hint=self.hint)
        else:
            return int(node.value)
        return None


class Choice(Struct, Generic[T], frozen=True, kw_only=True):
    """One of a few words, each for a value."""

    options: Mapping[str, T]

    @property
    def expected(self) -> str:
        words = list(self.options)
        return f"one of {', '.join(words)}" if len(words) > 1 else words[0]

    def read(self, node: Node, findings: Findings) -> T | None:
        word = read_text(node, findings, self.expected)
        if word is None or word in self.options:
            return None if word is None else self.options[word]
        hint = did_you_mean(word, self.options)
        findings.add(node, "unknown-word", f"expected {self.expected}, not {shown(word)}", hint=hint)
        return None


def one_of(*words: str) -> Choice[str]:
    return Choice(options={word: word for word in words})


def refuse_empty(node: Node, code: str, expected: str, findings: Findings) -> None:
    """Report a list or a mapping that must not be empty."""
    if code == CHECKS_NOTHING:
        hint = "write what is expected, or remove the key"
        findings.add(node, code, f"it is empty and checks nothing: expected {expected}", hint=hint)
    else:
        findings.add(node, code, f"it is empty: expected {expected}")


class ListOf(Struct, Generic[T], frozen=True):
    """A list, or a single item if `alone`; with `empty_code` a list must not be empty."""

    item: Shape[T]
    expected: str = "a list"
    empty_code: str = ""
    alone: bool = False

    def read(self, node: Node, findings: Findings) -> tuple[T, ...] | None:
        if isinstance(node, ListNode) and (node.items or not self.empty_code):
            read = self.item.read
            values = [read(item, findings) for item in node.items]
            return tuple([value for value in values if value is not None])
        if self.alone and not isinstance(node, ListNode):
            value = self.item.read(node, findings)
            return None if value is None else (value,)
        if self.empty_code and (is_null(node) or isinstance(node, ListNode)):
            refuse_empty(node, self.empty_code, self.expected, findings)
        else:
            refuse(node, self.expected, findings)
        return None


def one_or_many(item: Shape[T], empty_code: str = "") -> ListOf[T]:
    return ListOf(item, f"{item.expected} or a list", empty_code, alone=True)


class MapOf(Struct, Generic[T], frozen=True, kw_only=True):
    """A mapping from the author's names, which must match `key`; with `empty_code` it must not be empty."""

    key: Shape[str]
    value: Shape[T]
    expected: str = "a mapping"
    empty_code: str = ""

    def read(self, node: Node, findings: Findings) -> dict[str, T] | None:
        if not isinstance(node, MapNode):
            refuse(node, self.expected, findings)
            return None
        if self.empty_code and not node.entries:
            refuse_empty(node, self.empty_code, self.expected, findings)
            return None
        result: dict[str, T] = {}
        for key_node, value_node in node.entries.values():
            key = self.key.read(key_node, findings)
            value = self.value.read(value_node, findings)
            if key is not None and value is not None:
                result[key] = value
        return result


class ByKind(Struct, Generic[T], frozen=True, kw_only=True):
    """Different shapes for text, list and mapping; None if that kind is not allowed."""

    expected: str
    scalar: Shape[T] | None = None
    sequence: Shape[T] | None = None
    mapping: Shape[T] | None = None

    def read(self, node: Node, findings: Findings) -> T | None:
        if isinstance(node, ScalarNode):
            shape = None if is_null(node) else self.scalar
        else:
            shape = self.sequence if isinstance(node, ListNode) else self.mapping
        if shape is not None:
            return shape.read(node, findings)
        refuse(node, self.expected, findings)
        return None


class Positioned(Struct, frozen=True):
    """The inner shape's text, together with its place."""

    inner: Shape[str]

    @property
    def expected(self) -> str:
        return self.inner.expected

    def read(self, node: Node, findings: Findings) -> ScalarNode | None:
        value = self.inner.read(node, findings)
        return node if value is not None and isinstance(node, ScalarNode) else None


class Key(Struct, frozen=True):
    """One key of a record: the shape of its value, and its description for the reference."""

    shape: Shape[Any]
    description: str
    examples: tuple[str, ...] = ()
    required: bool = False
    alias_of: str = ""


class Fields(Struct, eq=False):
    """The values of a parsed record by the names of its table; invalid values are absent."""

    node: MapNode
    values: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - each key has a type of its own
        return self.values.get(name, default)

    def wrote(self, name: str) -> bool:
        """Return whether the key was written, even if its value is invalid."""
        return name in self.node.entries

    def key(self, name: str) -> Placed:
        """Return the place of a key that was written, else that of the whole record."""
        entry = self.node.entries.get(name)
        return entry[0] if entry else self.node

    def value(self, *names: str) -> Node:
        """Return the node under the first of these keys that was written, else the whole record."""
        for name in names:
            if entry := self.node.entries.get(name):
                return entry[1]
        return self.node


class Shorthand(Struct, frozen=True):
    """A value that is written alone and means a record with this one key."""

    key: str
    value: Shape[Any]

    @property
    def expected(self) -> str:
        return self.value.expected

    def read(self, node: Node, findings: Findings) -> Fields | None:
        value = self.value.read(node, findings)
        if value is None:
            return None
        key = ScalarNode(self.key, node.line, node.column, plain=True)
        return Fields(MapNode({self.key: (key, node)}, node.line, node.column), {self.key: value})


class Record(Struct, frozen=True, kw_only=True, dict=True):
    """A mapping with only the keys of its table. `elsewhere` says where a misplaced key belongs.

    With `empty_code` it must not be empty.
    """

    name: str
    description: str
    keys: Mapping[str, Key]
    elsewhere: Mapping[str, str] = {}
    empty_code: str = ""

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(name for name, key in self.keys.items() if key.required)

    @property
    def expected(self) -> str:
        return f"{self.name} (a mapping)"

    def read(self, node: Node, findings: Findings) -> Fields | None:
        if not isinstance(node, MapNode):
            refuse(node, self.expected, findings)
            return None
        if self.empty_code and not node.entries:
            refuse_empty(node, self.empty_code, self.expected, findings)
            return None
        values: dict[str, Any] = {}
        keys = self.keys
        for name, (key_node, value_node) in node.entries.items():
            key = keys.get(name)
            if key is None:
                near = did_you_mean(name, keys) if len(name) <= 40 else ""
                hint = self.elsewhere.get(name) or near or f"known keys: {', '.join(keys)}"
                message = f"unknown key {shown(name)} in {self.name}"
                findings.add(key_node, "unknown-key", message, hint=hint)
            elif key.alias_of and key.alias_of in node.entries:
                message = f"{name!r} and {key.alias_of!r} mean the same: give one of them"
                findings.add(key_node, "conflicting-keys", message)
            else:
                before = len(findings.found)
                value = key.shape.read(value_node, findings)
                if value is not None:
                    values[key.alias_of or name] = value
                if len(findings.found) > before:
                    findings.name_key(name, before)
        for name in self._required:
            aliases = (alias for alias, key in keys.items() if key.alias_of == name)
            if name not in node.entries and not any(alias in node.entries for alias in aliases):
                hint = "".join(f"for example `{name}: {example}`" for example in keys[name].examples[:1])
                findings.add(node, "missing-key", f"{self.name} needs the key {name!r}", hint=hint)
        return Fields(node, values)
