"""The syntax tree of a file: scalars, lists and mappings with their places, and the builder of the tree."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic, Location, Severity, in_order_of_place

MAX_FINDINGS = 1000
"""The most findings that are collected in one file."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""The unquoted spellings of null in YAML 1.2."""


class Position(NamedTuple):
    line: int
    column: int


# Nodes are made by the hundred thousand: msgspec's structs cost a tenth of what frozen dataclasses do.
class ScalarNode(Struct, eq=False, gc=False):
    """Text as written, its type not yet decided; `plain` means that it was not in quotes."""

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
Placed: TypeAlias = Node | Position | Location
"""Anything with a place in a file; `line` and `column` count from 1."""


_NAMES_ITS_KEY = {"unknown-key", "missing-key", "conflicting-keys", "duplicate-key", "too-many-errors"}
"""Codes of messages on a key, or on the whole file, that need no key before them."""


class Findings(Struct, eq=False):
    """Collects the findings on one file: reading a node never raises."""

    path: str
    found: list[Diagnostic] = []
    _named: int = 0

    def add(
        self, at: Placed, code: str, message: str, *, hint: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        """Add a finding at its place. Beyond the limit, a last one reports that, and others are dropped."""
        if len(self.found) > MAX_FINDINGS:
            return
        if len(self.found) == MAX_FINDINGS:
            code, message = "too-many-errors", f"more than {MAX_FINDINGS} mistakes: stopped counting"
            hint, severity = "", Severity.ERROR
        self.found.append(
            Diagnostic(location=self.location(at), code=code, message=message, hint=hint, severity=severity)
        )

    def name_key(self, key: str, since: int) -> None:
        """Put the key before each message on its value, from number `since` on, unless it names a nearer key."""
        for number in range(max(since, self._named), len(self.found)):
            one = self.found[number]
            if one.code not in _NAMES_ITS_KEY:
                self.found[number] = replace(one, message=f"{key}: {one.message}")
        self._named = len(self.found)

    def forget(self) -> None:
        """Drop all findings so far, if a single one replaces them."""
        self.found.clear()
        self._named = 0

    def location(self, at: Placed) -> Location:
        return Location(self.path, at.line, at.column)

    def sorted(self) -> tuple[Diagnostic, ...]:
        return in_order_of_place(self.found)


def is_null(node: Node) -> bool:
    """Return whether a node is empty or an unquoted null."""
    return isinstance(node, ScalarNode) and node.plain and node.value in NULLS


def shown(text: str) -> str:
    """Quote an invalid value for a message, without the middle if it is long."""
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-15:]}")


def described(node: Node) -> str:
    """Describe a node, to follow the word "not" in a message."""
    match node:
        case ScalarNode():
            return shown(node.value) if node.plain else f"the text {shown(node.value)}"
        case ListNode():
            return "a list"
        case MapNode():
            return "a mapping"


MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_ALIASED_NODES = 100_000

_TAG_PREFIX = "tag:yaml.org,2002:"


class _Open(NamedTuple):
    node: ListNode | MapNode
    children: list[Node]
    anchor: str | None
    count_before: int


class Tree:
    """The document so far. `refused` becomes true when further reading is useless; the findings say why."""

    __slots__ = ("_aliased", "_anchors", "_count", "_findings", "_open", "_top", "children", "refused")

    def __init__(self, findings: Findings) -> None:
        self.refused = False
        self._findings = findings
        self._top: list[Node] = []
        self.children = self._top
        """The list for the next node: scalars are appended to it directly."""
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        """Nodes with an anchor, and the number of nodes in each of them."""
        self._count = 0
        self._aliased = 0

    @property
    def root(self) -> Node | None:
        return None if self.refused or not self._top else self._top[0]

    def set_tag_or_anchor(self, tag: str | None, anchor: str | None) -> None:
        """Note the tag or anchor of the scalar that was just added."""
        scalar = self.children[-1]
        if tag is not None:
            self._report_tag(tag, scalar)
        if anchor is not None:
            self._anchors[anchor] = (scalar, 1)

    def open(self, node: ListNode | MapNode, tag: str | None = None, anchor: str | None = None) -> None:
        """Begin an empty list or mapping; new nodes go into it until it is closed."""
        self.children.append(node)
        if tag is not None:
            self._report_tag(tag, node)
        self.children = node.items if isinstance(node, ListNode) else []
        self._open.append(_Open(node, self.children, anchor, self._count))
        if len(self._open) > MAX_DEPTH:
            self.refuse(node, "too-deep", f"nested more than {MAX_DEPTH} levels deep")

    def close(self) -> None:
        node, children, anchor, count_before = self._open.pop()
        self._count += len(children)
        self.children = self._open[-1].children if self._open else self._top
        if isinstance(node, MapNode):
            self._fill(node, children)
        if anchor is not None:
            self._anchors[anchor] = (node, self._count - count_before + 1)
        if self._count > MAX_NODES:
            self.refuse(node, "too-large", f"more than {MAX_NODES:,} values", "split it into several files")

    def add_alias(self, name: str, line: int, column: int) -> None:
        """Add the node with the anchor `name` again; without such a node, add the alias as text."""
        at = Position(line, column)
        if any(name == held.anchor for held in self._open):
            self._findings.add(at, "recursive-alias", f"the alias *{name} is inside the node that it names")
        elif name not in self._anchors:
            hint = "quote the text, or write it under `|`, if the star is meant for the shell"
            self._findings.add(at, "unknown-alias", f"no anchor &{name} before this alias", hint=hint)
        else:
            node, size = self._anchors[name]
            self._count_aliased(size, at)
            self.children.append(node)
            # Aliases of aliases nest too; all functions that walk the nodes rely on the cap.
            if not self.refused and len(self._open) + _height(node) > MAX_DEPTH:
                self.refuse(at, "too-deep", f"nested more than {MAX_DEPTH} levels deep by aliases")
            return
        self.children.append(ScalarNode(f"*{name}", line, column, plain=False))

    def finish(self) -> None:
        if not self._top or is_null(self._top[0]):
            self.refuse(self._top[0] if self._top else Position(1, 1), "empty-file", "the file has no data")

    def refuse(self, at: Placed, code: str, message: str, hint: str = "") -> None:
        # The parser may read a few events after the refusal: one reason is enough.
        if not self.refused:
            self._findings.add(at, code, message, hint=hint)
        self.refused = True

    def _fill(self, node: MapNode, children: list[Node]) -> None:
        entries = node.entries
        merged: list[Node] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._findings.add(key, "wrong-type", "a key must be text", hint="put it in quotes")
            elif key.value == "<<" and key.plain:
                merged += value.items if isinstance(value, ListNode) else [value]
            elif key.value in entries:
                report_duplicate(key, entries[key.value][0], self._findings)
            else:
                entries[key.value] = (key, value)
        for mapping in merged:
            if isinstance(mapping, MapNode):
                # Keys of the mapping itself win over those merged into it.
                for name, entry in mapping.entries.items():
                    entries.setdefault(name, entry)
                self._count_aliased(len(mapping.entries), node)
            else:
                self._findings.add(mapping, "wrong-type", "`<<` merges a mapping or a list of mappings")

    def _count_aliased(self, size: int, at: Placed) -> None:
        self._count += size
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            message = f"aliases that explode: they stand for more than {MAX_ALIASED_NODES:,} values"
            self.refuse(at, "too-many-aliases", message)

    def _report_tag(self, tag: str, at: Placed) -> None:
        """Report the tag of the node that was just added, after its key if it is the value of one."""
        in_mapping = bool(self._open) and isinstance(self._open[-1].node, MapNode)
        key = self.children[-2] if in_mapping and len(self.children) % 2 == 0 else None
        name = f"{key.value}: " if isinstance(key, ScalarNode) else ""
        written = f"!!{tag.removeprefix(_TAG_PREFIX)}" if tag.startswith(_TAG_PREFIX) else tag
        message = f"{name}YAML takes {shown(written)} for a tag and drops it"
        hint = (
            "put the text in quotes, or under `|`, if the exclamation mark belongs to it; else remove the tag"
        )
        self._findings.add(at, "yaml-tag", message, hint=hint)


def report_duplicate(key: ScalarNode, first: Placed, findings: Findings) -> None:
    """Report that a key of a mapping was written before, at `first`."""
    message = f"the key {shown(key.value)} occurs here and at {findings.location(first)}"
    findings.add(key, "duplicate-key", message, hint="keep one of the two")


def _height(node: Node) -> int:
    if isinstance(node, ScalarNode):
        return 0
    inner = node.items if isinstance(node, ListNode) else [value for _, value in node.entries.values()]
    return 1 + max(map(_height, inner), default=0)
