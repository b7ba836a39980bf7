"""Reads scripts as journeys of one step: the `# dogfood:` lines of the leading comment are the keys.

Each line is read as a YAML document, so that one mistake does not hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice

from pytest_dogfood.fileformat.builder import Defaults
from pytest_dogfood.fileformat.nodes import (
    MAX_FINDINGS,
    Findings,
    ListNode,
    MapNode,
    Node,
    Position,
    ScalarNode,
    report_duplicate,
    shown,
)
from pytest_dogfood.fileformat.shapes import Fields, ListOf, Record, refuse
from pytest_dogfood.fileformat.syntax import FILE_START, read_yaml
from pytest_dogfood.fileformat.tables import JOURNEY, SINGLE_JOURNEY, STEP_RECORD
from pytest_dogfood.journey import Script

MAX_HEADER = 1000
"""The most lines of a script that are searched for its header; without a limit, a hostile script would take minutes."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LINE = re.compile(rb"(?P<before>[ \t]*#[ \t]+dogfood:[ \t]*)(?P<said>.*)", re.DOTALL)
_ALIKE = re.compile(
    rb"^(?:#+|//+|--+)[ \t]*(?P<word>[a-z_-]{5,9})[ \t]*:?[ \t{]*(?P<key>[a-z_]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
KEYS_OF_THE_STEP = ("intent", "expect", "expect_exit", "save", "until", "stdin", "timeout")
"""Keys of a step that a script may have; the others are keys of the journey as well, or for actors."""

NOT_IN_A_SCRIPT = {
    "run": "the script itself is the command",
    "steps": "a script is a journey of one step; several steps go into a journey file",
    "shell": "the first line of a script, `#!`, names its interpreter",
    "defaults": "write `env:`, `cwd:` or `timeout:` itself; values for several scripts belong in a dogfood.yaml",
}
HEADER = Record(
    name="a script's header",
    description="The keys of a journey and of its only step, each on a line of the script's leading comment.",
    keys={
        **{name: STEP_RECORD.keys[name] for name in KEYS_OF_THE_STEP},
        **{name: key for name, key in SINGLE_JOURNEY.keys.items() if name not in NOT_IN_A_SCRIPT},
    },
    elsewhere={**JOURNEY.elsewhere, **NOT_IN_A_SCRIPT},
)

_OUR_VARIABLE = re.compile(rb"\bDOGFOOD_[A-Z0-9_]+")
_USED = re.compile(r"(?<!\\)\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})", re.ASCII)
OUR_SETTING = re.compile(r"(?:(?<![${\w])|(?<=\{)(?=\w+[^}\w]))(DOGFOOD_\w+)", re.ASCII)
"""A variable that shell text sets: the bare name after `export`, `read` or `for` or before `=`; `${NAME:-word}`."""

# Patterns as text: `re` compiles them only if they are needed.
_READS = r"(?:^|[;&({!]|\b(?:then|do|else|if|while|until)\b)\s*read\b"
_REDIRECTS_OR_PIPES = r"<|(?<!\|)\|(?!\|)"
_FEEDS_A_BLOCK = r"(?m)^[ \t]*(?:\}|\)|done\b)[^\n#]*<|\|\s*(?:while\b|\{|\()|\bexec[ \t]*\d*<"


def _without_comment(line: str) -> str:
    """Return a line of shell text up to its comment; text before a quotation mark may be quoted, and stays."""
    if line.lstrip().startswith("#"):
        return ""
    end = max(map(line.rfind, "\"'`")) + 1
    found = re.search(r"[ \t]#", line[end:])
    return line if found is None else line[: end + found.start()]


def reads_input(text: str) -> bool:
    """Return whether shell text seems to use the shell's `read` on its own standard input."""
    if "read" not in text or re.search(_FEEDS_A_BLOCK, text):
        return False
    lines = (_without_comment(line) for line in text.split("\n") if "read" in line)
    return any(re.search(_READS, line) and not re.search(_REDIRECTS_OR_PIPES, line) for line in lines)


def read_script(content: bytes, findings: Findings, defaults: Defaults) -> Fields:
    """Return the fields of the journey that a script defines."""
    header = _read_header(content, findings)
    fields = HEADER.read(header, findings) or Fields(header, {})
    named = dict.fromkeys(name.decode() for name in _OUR_VARIABLE.findall(content))
    is_shell = re.match(rb"#![^\n]*sh\b", content) is not None
    text = content.decode(errors="replace") if is_shell else ""
    script = Script(
        path=findings.path,
        variables=tuple(named),
        uses=_variables_used(text) if is_shell else None,
        reads=reads_input(text),
    )
    of_step = {name: value for name, value in fields.values.items() if name in KEYS_OF_THE_STEP}
    step = Fields(
        _with(header, "run", ScalarNode(findings.path, *FILE_START, plain=False)), {**of_step, "run": script}
    )
    values = {**fields.values, "steps": (step,)}
    if not fields.wrote("cwd") and defaults.cwd is None:
        values["cwd"] = "$DOGFOOD_DIR"
    return Fields(_with(header, "steps", ListNode([step.node], *FILE_START)), values)


def _variables_used(text: str) -> Mapping[str, int]:
    """Return the first line of each variable that shell text uses, without DOGFOOD_ ones that it sets."""
    used: dict[str, int] = {}
    own: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        code = _without_comment(line) if "$" in line or "DOGFOOD_" in line else ""
        own.update(OUR_SETTING.findall(code))
        for found in _USED.finditer(code):
            used.setdefault(found["plain"] or found["braced"], number)
    return {name: number for name, number in used.items() if name not in own}


def _with(node: MapNode, name: str, value: Node) -> MapNode:
    key = ScalarNode(name, node.line, node.column, plain=True)
    return MapNode({**node.entries, name: (key, value)}, node.line, node.column)


def _read_header(content: bytes, findings: Findings) -> MapNode:
    """Return the keys of the header, and report invalid lines and lines that only look like part of the header."""
    _report_shebang(content, findings)
    lines = content.removeprefix(BYTE_ORDER_MARK).split(b"\n", MAX_HEADER)[:MAX_HEADER]
    entries: dict[str, tuple[ScalarNode, Node]] = {}
    header: set[int] = set()
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
        if found := _LINE.match(line):
            header.add(number)
            for key, value in _read_line(found, number, findings):
                if key.value in entries:
                    report_duplicate(key, entries[key.value][0], findings)
                else:
                    entries[key.value] = (key, _split(key, value))
    _report_unread(content, header, findings)
    return MapNode(entries, *FILE_START)


def _report_shebang(content: bytes, findings: Findings) -> None:
    """Report a first line with which the system cannot start the file."""
    first = content.partition(b"\n")[0]
    at, hint = FILE_START, "begin it with `#!/usr/bin/env bash`, or with another interpreter"
    if not content.strip():
        findings.add(FILE_START, "empty-file", "the file is empty")
        return
    if not content.startswith(b"#!"):
        message = "this file names no interpreter: it does not begin with `#!`"
        if content.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"#!"):
            message = "this file names no interpreter, because there is text before `#!`"
            hint = "remove blanks, empty lines and a byte order mark from its beginning"
    elif b"\r" in first:
        at = Position(1, first.index(b"\r") + 1)
        message = "a carriage return, which to the system is part of the interpreter's name"
        hint = "save it with Unix line ends; in git, add `*.sh text eol=lf` to .gitattributes"
    elif b"/" not in (first[2:].split() or [b""])[0]:
        message = f"no path of an interpreter after `#!`, but {shown(first[2:].decode(errors='replace'))}"
    else:
        return
    findings.add(at, "bad-shebang", message, hint=hint)


def _read_line(line: re.Match[bytes], number: int, findings: Findings) -> Iterable[tuple[ScalarNode, Node]]:
    """Return the keys and values of a line after its `# dogfood:`, read as YAML with their places in the file."""
    before, said = len(line["before"]), line["said"].rstrip()
    try:
        text = said.decode()
    except UnicodeDecodeError as error:
        place = Position(number, before + len(said[: error.start].decode()) + 1)
        findings.add(place, "not-utf8", f"not UTF-8: {error.reason}", hint="save the file as UTF-8")
        return ()
    node: Node | None = ScalarNode("", number, before + 1, plain=True)
    if text and not text.startswith("#"):
        hint = "a key and its value must be on one line; put text in quotes"
        node = read_yaml("\n" * (number - 1) + " " * before + text, findings, hint=hint)
    if isinstance(node, MapNode):
        return node.entries.values()
    if node is not None:
        colon = isinstance(node, ScalarNode) and ":" in node.value
        hint = "put a space after the colon" if colon else "as in `# dogfood: requires: logged-in`"
        refuse(node, "a key and its value", findings, hint)
    return ()


def _split(key: ScalarNode, value: Node) -> Node:
    """Return `a, b` as a list if the key takes one, such as `requires: a, b`."""
    known = HEADER.keys.get(key.value)
    takes_list = known is not None and isinstance(known.shape, ListOf) and known.shape.alone
    if not (takes_list and isinstance(value, ScalarNode) and value.plain and "," in value.value):
        return value
    items: list[Node] = []
    column = value.column
    for part in value.value.split(","):
        word = part.strip()
        items.append(ScalarNode(word, value.line, column + part.find(word), plain=True))
        column += len(part) + 1
    return ListNode(items, value.line, value.column)


def _report_unread(content: bytes, header: Collection[int], findings: Findings) -> None:
    """Report lines that were meant for the header, and would be ignored silently."""
    line, at = 1, 0
    for found in islice(_ALIKE.finditer(content), MAX_FINDINGS):
        line, at = line + content.count(b"\n", at, found.start()), found.start()
        if line in header:
            continue
        if _LINE.match(found[0]):
            message = "this line is not read: it is after the leading comment"
            hint = "move it into the leading comment"
        elif found["key"].decode().lower() in HEADER.keys and get_close_matches(
            found["word"].decode().lower(), ["dogfood"], cutoff=0.8
        ):
            message = f"{shown(found[0].decode())} is not read"
            hint = "lines of the header begin with exactly `# dogfood: `"
        else:
            continue
        findings.add(Position(line, 1), "unread-header", message, hint=hint)
