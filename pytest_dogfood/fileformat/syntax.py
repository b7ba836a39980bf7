"""Parses YAML and JSON: bytes to nodes with positions, and syntax errors.

PyYAML's events are the lowest layer that never recurses, shows duplicate keys and tags, and leaves aliases
unexpanded. Composing with the C loader crashes the process on 100,000 nested brackets.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from yaml.reader import Reader

from pytest_dogfood.fileformat.nodes import Findings, ListNode, MapNode, Node, Position, ScalarNode, Tree

MAX_BYTES = 8 * 1024 * 1024

LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Seven times faster if libyaml is installed."""

LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"

FILE_START = Position(1, 1)
COMMAND_HINT = "shell text that YAML reads as its own is safe under `run: |`, on a line of its own, indented"

_COMMAND_KEY = re.compile(r"(^|[\s{,-])(run|probe|steps|provision|release|cleanup)\s*:(\s|$)")
_UNPRINTABLE = Reader.NON_PRINTABLE
"""Characters that YAML forbids, from the reader that is loaded anyway; compiling such a large set takes 4 ms."""


def read_document(content: bytes, findings: Findings) -> Node | None:
    """Return the only document of a file, or None with the reason in the findings. A `.json` file is JSON."""
    if len(content) > MAX_BYTES:
        message = f"the file has {len(content):,} bytes; at most {MAX_BYTES:,} are read"
        findings.add(FILE_START, "too-large", message, hint="split it into several files")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig", "replace")
        place = _place_in(before, len(before))
        findings.add(place, "not-utf8", f"not UTF-8: {error.reason}", hint="save the file as UTF-8")
        return None
    if (nul := text.find("\0")) >= 0:
        findings.add(_place_in(text, nul), "nul-byte", "a NUL byte, which no text file contains")
        return None
    if not text.strip():
        findings.add(FILE_START, "empty-file", "the file is empty")
        return None
    return read_json(text, findings) if findings.path.endswith(".json") else read_yaml(text, findings)


def read_yaml(text: str, findings: Findings, *, hint: str = "", loader: type[Any] = LOADER) -> Node | None:
    """Return the document, or None with the reason in the findings; `hint` is for text that is not YAML."""
    tree = Tree(findings)
    try:
        _read_events(tree, loader(text))
    except yaml.MarkedYAMLError as error:
        if error.problem == LIBYAML_TOO_DEEP and loader is not yaml.SafeLoader:
            # Since 0.2.6 libyaml has its own, much higher limit, and may reach it first, because it reads ahead.
            return read_yaml(text, findings, hint=hint, loader=yaml.SafeLoader)
        _report_syntax(error, text, findings, hint)
        return None
    except yaml.reader.ReaderError as error:
        found = _UNPRINTABLE.search(text)
        at = _place_in(text, found.start()) if found else FILE_START
        findings.add(at, "not-yaml", f"a character that YAML does not allow: {error.reason}")
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The pure loader raises the errors of int() and chr() about invalid numbers and escapes.
        findings.add(FILE_START, "not-yaml", f"not YAML: {error}")
        return None
    return tree.root


def _read_events(tree: Tree, parser: Any) -> None:  # noqa: ANN401 - PyYAML's loaders share no type
    get_event, children, scalar = parser.get_event, tree.children, yaml.ScalarEvent
    while not tree.refused:
        event = get_event()
        kind = type(event)
        mark = event.start_mark
        # The most frequent first: this loop takes much of the time of collecting.
        if kind is scalar:
            children.append(ScalarNode(event.value, mark.line + 1, mark.column + 1, not event.style))
            if event.tag is not None or event.anchor is not None:
                tree.set_tag_or_anchor(event.tag, event.anchor)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            tree.close()
            children = tree.children
        elif kind is yaml.SequenceStartEvent:
            tree.open(ListNode([], mark.line + 1, mark.column + 1), event.tag, event.anchor)
            children = tree.children
        elif kind is yaml.MappingStartEvent:
            tree.open(MapNode({}, mark.line + 1, mark.column + 1), event.tag, event.anchor)
            children = tree.children
        elif kind is yaml.AliasEvent:
            tree.add_alias(event.anchor, mark.line + 1, mark.column + 1)
        elif kind is yaml.DocumentStartEvent and tree.root is not None:
            hint = "remove the `---`; several journeys go into one list under `journeys:`"
            at = Position(mark.line + 1, mark.column + 1)
            tree.refuse(at, "multiple-documents", "a second YAML document in one file", hint)
        elif kind is yaml.StreamEndEvent:
            tree.finish()
            return


def _report_syntax(error: yaml.MarkedYAMLError, text: str, findings: Findings, hint: str) -> None:
    mark = error.problem_mark or error.context_mark
    at = Position(mark.line + 1, mark.column + 1) if mark else FILE_START
    problem = error.problem or "not YAML"
    message = f"{problem} ({error.context})" if error.context else problem
    lines = text.split("\n")
    if at.line > len(lines):  # the reader has added a line end
        at = Position(len(lines), len(lines[-1]) + 1)
    marks = [found.line for found in (error.problem_mark, error.context_mark) if found]
    # An error in a plain scalar with a command is often noticed only on the line after it.
    near = [lines[number] for line in marks for number in (line, line - 1) if 0 <= number < len(lines)]
    if not hint and any(_COMMAND_KEY.search(line) for line in near):
        hint = COMMAND_HINT
    elif not hint and ("\\t" in message or (mark and "\t" in lines[at.line - 1])):
        hint = "indent with spaces, not tabs"
    findings.add(at, "not-yaml", message, hint=hint)


def _place_in(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


_PIECE = re.compile(
    r'(?P<newline>\n)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<opening>[{\[])|(?P<closing>[}\]])|(?P<plain>[^\s{}\[\]",:]+)'
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read_json(text: str, findings: Findings) -> Node | None:
    """Return the document, or None with the reason in the findings."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        findings.add(Position(error.lineno, error.colno), "not-json", f"not JSON: {error.msg}")
        return None
    except ValueError as error:
        findings.add(Position(1, 1), "not-json", f"not JSON: {error}")
        return None
    except RecursionError:
        pass  # the tree below counts levels too, and knows the place
    tree = Tree(findings)
    _read_json_pieces(tree, text, findings)
    return tree.root


def _read_json_pieces(tree: Tree, text: str, findings: Findings) -> None:
    line, line_start = 1, 0
    for piece in _PIECE.finditer(text):
        at = Position(line, piece.start() - line_start + 1)
        written = piece.group()
        match piece.lastgroup:
            case "newline":
                line, line_start = line + 1, piece.end()
            case "text":
                value = json.loads(written)
                if _SURROGATE.search(value):
                    findings.add(at, "not-json", "half of a surrogate pair, which is not a character")
                tree.children.append(ScalarNode(value, *at, plain=False))
            case "plain":
                tree.children.append(ScalarNode(written, *at, plain=True))
            case "opening":
                tree.open(MapNode({}, *at) if written == "{" else ListNode([], *at))
            case "closing":
                tree.close()
        if tree.refused:
            return
    tree.finish()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
