"""Finds the tokens in the text of a Python file: files that were not collected are read, not imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import TOKEN_PATTERN, Token, base_of, means_every_instance

ESTABLISHING = frozenset({"establishes", "dogfood_establishes", "provides"})
REQUIRING = frozenset({"requires", "dogfood_requires"})
INVALIDATING = frozenset({"invalidates", "dogfood_invalidates"})
_QUOTED = re.compile(r"""["']([a-z0-9][^"'\s]*)["']""")


class SourceMarks(Struct, frozen=True, kw_only=True):
    """The tokens in the marks of a file, and all tokens that it mentions.

    `establishes_more` and `requires_more` mean that a mark names a token in a way that only an import would show.
    """

    establishes: frozenset[Token] = frozenset()
    requires: frozenset[Token] = frozenset()
    invalidates: frozenset[Token] = frozenset()
    mentions: frozenset[Token] = frozenset()
    establishes_more: bool = False
    requires_more: bool = False

    def may_establish(self, token: Token) -> bool:
        """Return whether a test or fixture of the file may establish a token, or an instance of `token:*`."""
        if self.establishes_more or token in self.establishes:
            return True
        return means_every_instance(token) and base_of(token) in map(base_of, self.establishes)


def read_marks(text: str) -> SourceMarks:
    """Read the marks of a file. If it is not valid Python, it may establish each token that it mentions."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        mentioned = _tokens(_QUOTED.findall(text))
        return SourceMarks(establishes=mentioned, mentions=mentioned)
    nodes = list(ast.walk(tree))
    names = _NamesInSource(nodes)
    establishes, establishes_more = names.tokens_of(ESTABLISHING)
    requires, requires_more = names.tokens_of(REQUIRING)
    return SourceMarks(
        establishes=establishes,
        requires=requires,
        invalidates=names.tokens_of(INVALIDATING)[0],
        mentions=_tokens(_text_of(node) for node in nodes),
        establishes_more=establishes_more,
        requires_more=requires_more,
    )


class _NamesInSource:
    """The meaning of the names in a file, as far as its text shows."""

    def __init__(self, nodes: Collection[ast.AST]) -> None:
        self._calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._bare = [node for node in nodes if isinstance(node, ast.Attribute) and _is_mark(node)]
        self._constants: dict[str, tuple[str, ...] | None] = {}
        self._aliases: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                self._aliases.update({one.asname: one.name for one in node.names if one.asname})
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name):
                    self._note(target.id, node.value)

    def _note(self, name: str, value: ast.expr) -> None:
        texts = _texts_in(value)
        if texts is not None:
            same = self._constants.setdefault(name, texts) == texts
            self._constants[name] = texts if same else None  # only an import shows which one counts
        elif isinstance(value, ast.Attribute) and _is_mark(value):
            self._aliases[name] = value.attr
            self._bare.remove(value)

    def tokens_of(self, words: frozenset[str]) -> tuple[frozenset[Token], bool]:
        """Return the tokens in calls of these names, and whether a call or alias may name others."""
        called = [call for call in self._calls if self._name_of(call.func) in words]
        functions = [call.func for call in called]
        arguments = [
            one.value if isinstance(one, ast.Starred) else one for call in called for one in call.args
        ]
        texts = [
            self._constants.get(one.id) if isinstance(one, ast.Name) else _texts_in(one) for one in arguments
        ]
        unclear = None in texts or any(mark.attr in words and mark not in functions for mark in self._bare)
        return _tokens(text for some in texts if some is not None for text in some), unclear

    def _name_of(self, function: ast.expr) -> str:
        if isinstance(function, ast.Attribute):
            return function.attr
        return self._aliases.get(function.id, function.id) if isinstance(function, ast.Name) else ""


def _is_mark(node: ast.Attribute) -> bool:
    """Return whether an attribute is one of pytest's marks: `pytest.mark.requires`, or `mark.requires`."""
    holder = node.value
    return getattr(holder, "attr", getattr(holder, "id", "")) == "mark"


def _texts_in(value: ast.expr) -> tuple[str, ...] | None:
    """Return the texts of a literal, one or a list of them; None for anything else."""
    parts = value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]
    texts = tuple(text for part in parts if (text := _text_of(part)) is not None)
    return texts if len(texts) == len(parts) else None


def _text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _tokens(texts: Iterable[str | None]) -> frozenset[Token]:
    return frozenset(
        Token(text) for text in texts if text is not None and TOKEN_PATTERN.fullmatch(text.removesuffix(":*"))
    )


_PROVIDES = re.compile(rb"\bprovides\s*\(|import[^\n]*\bprovides\b")
"""`provides` as a call or import: the word alone is in many texts that have nothing to do with tokens."""


def may_establish(path: Path, *more: bytes) -> bool:
    """Return whether a file contains a word without which it establishes nothing, or one of `more`."""
    try:
        content = path.read_bytes()
    except OSError:  # pytest reports it once it collects the file
        return False
    # A search for plain words takes a hundredth of the time of a regular expression.
    if any(word in content for word in (b"establishes", *more)):
        return True
    return b"provides" in content and _PROVIDES.search(content) is not None


def marks_in(path: Path) -> SourceMarks:
    """Read the tokens in a Python file; raises OSError if it is gone."""
    return read_marks(path.read_text(encoding="utf-8", errors="replace"))


_MARKS = re.compile(rb"\bmark\.(dogfood_)?(requires|establishes|invalidates)\b")


def has_marks(path: Path) -> bool:
    """Return whether the text of a file has a mark of this plugin."""
    try:
        return _MARKS.search(path.read_bytes()) is not None
    except OSError:  # it is gone
        return False


def is_test_file(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether a pattern of `python_files` matches: one with a slash is matched against the whole path."""
    return any(
        fnmatch(str(path), f"*/{pattern}") if "/" in pattern else fnmatch(path.name, pattern)
        for pattern in patterns
    )


def offered_in(files: Iterable[Path], tokens: Collection[Token]) -> set[Token]:
    """Return the tokens that the files establish or provide, and those of `tokens` that they may.

    They may if a file mentions the token other than as required or destroyed, or if only an import shows the tokens of
    a mark.
    """
    found: set[Token] = set()
    names = [base_of(token).encode() for token in tokens]
    for path in files:
        try:
            if not may_establish(path, *names):
                continue
            marks = marks_in(path)
        except OSError:  # it is gone
            continue
        found |= marks.establishes
        named = marks.establishes | (marks.mentions - marks.requires - marks.invalidates)
        found.update(filter(replace(marks, establishes=named).may_establish, tokens))
    return found
