"""JSON text -> nodes with positions. YAML is not quite a superset: tabs and surrogate pairs are JSON only."""

from __future__ import annotations

import json
import re

from pytest_dogfood.fileformat.nodes import Findings, Node, Place
from pytest_dogfood.fileformat.trees import Tree

_PIECE = re.compile(
    r'(?P<newline>\n)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[{}\[\]])|(?P<plain>[^\s{}\[\]",:]+)'
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read_json(text: str, findings: Findings) -> Node | None:
    """Give the document, or None with the reason among the findings."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        findings.add(Place(error.lineno, error.colno), "not-json", f"not JSON: {error.msg}")
        return None
    except ValueError as error:
        findings.add(Place(1, 1), "not-json", f"not JSON: {error}")
        return None
    except RecursionError:
        pass  # The tree below counts levels too, and knows the place.
    tree = Tree(findings)
    _feed(tree, text, findings)
    return tree.root


def _feed(tree: Tree, text: str, findings: Findings) -> None:
    line, line_start = 1, 0
    for piece in _PIECE.finditer(text):
        column = piece.start() - line_start + 1
        written = piece.group()
        match piece.lastgroup:
            case "newline":
                line, line_start = line + 1, piece.end()
            case "text":
                value = json.loads(written)
                if _SURROGATE.search(value):
                    findings.add(
                        Place(line, column), "not-json", "half of a surrogate pair, which is no character"
                    )
                tree.add_scalar(value, line, column, False)
            case "plain":
                tree.add_scalar(written, line, column, True)
            case _:
                _bracket(tree, written, line, column)
        if tree.refused:
            return
    tree.finish()


def _bracket(tree: Tree, written: str, line: int, column: int) -> None:
    if written == "{":
        tree.open_mapping(line, column)
    elif written == "[":
        tree.open_list(line, column)
    else:
        tree.close()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
