"""What a file says before anybody asks what it means: scalars, lists and mappings with their places."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from pytest_dogfood.diagnostics import Diagnostic, Location, Severity, in_order_of_place

MAX_FINDINGS = 1000
"""A file with more mistakes than this is not a journey file at all; nobody reads on."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""How YAML 1.2 spells "no value" without quotes."""


class Placed(Protocol):
    """Whatever stands somewhere in a file; `line` and `column` count from 1."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class Place(NamedTuple):
    line: int
    column: int


# Nodes are made by the hundred thousand: msgspec's structs cost a tenth of what frozen dataclasses do.
class ScalarNode(Struct, eq=False, gc=False):
    """Text as written, its type not yet decided; `plain` tells whether it stood there without quotes."""

    value: str
    line: int
    column: int
    plain: bool


class ListNode(Struct, eq=False):
    items: list[Node]
    line: int
    column: int


class MapNode(Struct, eq=False):
    """Unique keys in the order of the file, each with the node of the key and the node of the value."""

    entries: dict[str, tuple[ScalarNode, Node]]
    line: int
    column: int


Node: TypeAlias = ScalarNode | ListNode | MapNode


class Findings:
    """Collects what is wrong with one file; nobody who reads a node raises."""

    __slots__ = ("_found", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: list[Diagnostic] = []

    def add(
        self, at: Placed, code: str, message: str, *, hint: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        """Remember a finding at its place. The one too many says so, those after it are dropped."""
        if len(self._found) > MAX_FINDINGS:
            return
        if len(self._found) == MAX_FINDINGS:
            code, message, hint = (
                "too-many-errors",
                f"more than {MAX_FINDINGS} mistakes: stopped counting",
                "",
            )
            severity = Severity.ERROR
        self._found.append(
            Diagnostic(location=self.location(at), code=code, message=message, hint=hint, severity=severity)
        )

    def forget(self) -> None:
        """Drop what was found, where one sentence says it all."""
        self._found.clear()

    def location(self, at: Placed) -> Location:
        return Location(self.path, at.line, at.column)

    def in_order(self) -> tuple[Diagnostic, ...]:
        return in_order_of_place(self._found)


def is_null(node: Node) -> bool:
    """Whether nothing stands there: no value at all, or YAML's word for it without quotes."""
    return isinstance(node, ScalarNode) and node.plain and node.value in NULLS


def shown(text: str) -> str:
    """Quote an offending value for a message, the long middle left out."""
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-15:]}")


def described(node: Node) -> str:
    """Name what stands there, to follow the word "not" in a message."""
    match node:
        case ScalarNode():
            return shown(node.value) if node.plain else f"the text {shown(node.value)}"
        case ListNode():
            return "a list"
        case MapNode():
            return "a mapping"
