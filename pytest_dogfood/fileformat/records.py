"""Mappings with a closed set of keys: the tables that the format consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.fileformat.nodes import Findings, MapNode, Node, Placed, shown
from pytest_dogfood.fileformat.shapes import Key, refuse, refuse_empty


class Fields:
    """The values of a record that was read, under the names of its table; what was refused is absent."""

    __slots__ = ("node", "values")

    def __init__(self, node: MapNode, values: dict[str, Any]) -> None:
        self.node = node
        self.values = values

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - each key has a type of its own
        return self.values.get(name, default)

    def wrote(self, name: str) -> bool:
        """Whether the key stands there, be its value right or wrong."""
        return name in self.node.entries

    def key(self, name: str) -> Placed:
        """Give the place of a key that was written, else that of the whole record."""
        entry = self.node.entries.get(name)
        return entry[0] if entry else self.node

    def value(self, name: str) -> Node:
        """Give the node under a key that was written, else the whole record."""
        entry = self.node.entries.get(name)
        return entry[1] if entry else self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A mapping that takes the keys of its table and no others. `elsewhere` says where a misplaced key belongs.

    With `empty_code` it must hold something.
    """

    name: str
    description: str
    keys: Mapping[str, Key]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    empty_code: str = ""
    _required: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        required = tuple(name for name, key in self.keys.items() if key.required)
        object.__setattr__(self, "_required", required)

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
                findings.add(
                    key_node,
                    "unknown-key",
                    f"unknown key {shown(name)} in {self.name}",
                    hint=self._hint(name),
                )
                continue
            if key.alias_of and key.alias_of in node.entries:
                message = f"{name!r} and {key.alias_of!r} mean the same: give one of them"
                findings.add(key_node, "conflicting-keys", message)
                continue
            value = key.shape.read(value_node, findings)
            if value is not None:
                values[key.alias_of or name] = value
        self._report_missing(node, findings)
        return Fields(node, values)

    def _report_missing(self, node: MapNode, findings: Findings) -> None:
        for name in self._required:
            if name not in node.entries and not self._has_alias(node, name):
                hint = "".join(f"for example `{name}: {example}`" for example in self.keys[name].examples[:1])
                findings.add(node, "missing-key", f"{self.name} needs the key {name!r}", hint=hint)

    def _has_alias(self, node: MapNode, name: str) -> bool:
        return any(key.alias_of == name and alias in node.entries for alias, key in self.keys.items())

    def _hint(self, name: str) -> str:
        if name in self.elsewhere:
            return self.elsewhere[name]
        near = did_you_mean(name, self.keys) if len(name) <= 40 else ""
        return near or f"known keys: {', '.join(self.keys)}"
