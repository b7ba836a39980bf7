"""Scripts as journeys of one step: the header says what a journey's and a step's keys say, the file is what is run."""

from __future__ import annotations

import re

from pytest_dogfood.fileformat.builder import Defaults
from pytest_dogfood.fileformat.nodes import Findings, ListNode, MapNode, Node, ScalarNode
from pytest_dogfood.fileformat.records import Fields, Record
from pytest_dogfood.fileformat.scripttext import read_header
from pytest_dogfood.fileformat.shapes import OneOrMany
from pytest_dogfood.fileformat.tables import JOURNEY, SINGLE_JOURNEY, STEP_RECORD
from pytest_dogfood.journey import Script

OF_THE_STEP = ("intent", "expect", "expect_exit", "save", "until", "stdin", "timeout")
"""Keys of a step that say something about a script; the others are the journey's as well, or an actor's."""

NOT_IN_A_SCRIPT = {
    "run": "the script is what is run",
    "steps": "a script is a journey of one step; several steps go into a journey file",
    "shell": "the first line of a script, `#!`, says what runs it",
    "defaults": "say `env:`, `cwd:` or `timeout:` itself; what several scripts share belongs in a dogfood.yaml",
}
HEADER = Record(
    name="a script's header",
    description="The keys of a journey and of its only step, each on a line of the script's leading comment.",
    keys={
        **{name: STEP_RECORD.keys[name] for name in OF_THE_STEP},
        **{name: key for name, key in SINGLE_JOURNEY.keys.items() if name not in NOT_IN_A_SCRIPT},
    },
    elsewhere={**JOURNEY.elsewhere, **NOT_IN_A_SCRIPT},
)

_OUR_VARIABLE = re.compile(rb"\bDOGFOOD_[A-Z0-9_]+")


def read_script(content: bytes, findings: Findings, defaults: Defaults) -> Fields:
    """Give the fields of the journey that a script is."""
    header = read_header(content, findings, known=HEADER.keys)
    header = MapNode({name: (key, _split(key, value)) for name, (key, value) in header.entries.items()}, 1, 1)
    fields = HEADER.read(header, findings) or Fields(header, {})
    step = _step(fields, findings.path, content)
    values = {**fields.values, "steps": (step,)}
    if not fields.wrote("cwd") and defaults.cwd is None:
        values["cwd"] = "$DOGFOOD_DIR"
    return Fields(_with(header, "steps", ListNode([step.node], 1, 1)), values)


def _step(fields: Fields, path: str, content: bytes) -> Fields:
    named = dict.fromkeys(name.decode() for name in _OUR_VARIABLE.findall(content))
    values = {name: value for name, value in fields.values.items() if name in OF_THE_STEP}
    node = _with(fields.node, "run", ScalarNode(path, 1, 1, plain=False))
    return Fields(node, {**values, "run": Script(path=path, variables=tuple(named))})


def _with(node: MapNode, name: str, value: Node) -> MapNode:
    key = ScalarNode(name, node.line, node.column, plain=True)
    return MapNode({**node.entries, name: (key, value)}, node.line, node.column)


def _split(key: ScalarNode, value: Node) -> Node:
    """Read `requires: a, b` as the list it is meant to be."""
    known = HEADER.keys.get(key.value)
    takes_list = known is not None and isinstance(known.shape, OneOrMany)
    if not (takes_list and isinstance(value, ScalarNode) and value.plain and "," in value.value):
        return value
    items: list[Node] = []
    column = value.column
    for part in value.value.split(","):
        word = part.strip()
        items.append(ScalarNode(word, value.line, column + part.find(word), plain=True))
        column += len(part) + 1
    return ListNode(items, value.line, value.column)
