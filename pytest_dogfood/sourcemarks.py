"""What a Python file says of tokens, read off its text: it need not be imported for that."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from msgspec import Struct

from pytest_dogfood.journey import TOKEN_PATTERN, Token, base_of, means_every_instance

ESTABLISHING = frozenset({"establishes", "dogfood_establishes", "provides"})
REQUIRING = frozenset({"requires", "dogfood_requires"})
_QUOTED = re.compile(r"""["']([a-z0-9][^"'\s]*)["']""")


class SourceMarks(Struct, frozen=True, kw_only=True):
    """The tokens that the marks of a file name, and all that it names in any way.

    `establishes_more` and `requires_more` say that some mark names a token in a way that only an import would show.
    """

    establishes: frozenset[Token] = frozenset()
    requires: frozenset[Token] = frozenset()
    mentions: frozenset[Token] = frozenset()
    establishes_more: bool = False
    requires_more: bool = False

    def may_establish(self, token: Token) -> bool:
        """Whether a test or fixture of the file may establish a token, or one of the instances that it means."""
        if self.establishes_more or token in self.establishes:
            return True
        return means_every_instance(token) and base_of(token) in map(base_of, self.establishes)


def read_marks(text: str) -> SourceMarks:
    """Read the marks of a file. Of one that is no Python, each token that it mentions may be established."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        mentioned = _tokens(_QUOTED.findall(text))
        return SourceMarks(establishes=mentioned, mentions=mentioned)
    nodes = list(ast.walk(tree))
    names = _Names(nodes)
    establishes, establishes_more = names.tokens_of(ESTABLISHING)
    requires, requires_more = names.tokens_of(REQUIRING)
    return SourceMarks(
        establishes=establishes,
        requires=requires,
        mentions=_tokens(_text_of(node) for node in nodes),
        establishes_more=establishes_more,
        requires_more=requires_more,
    )


class _Names:
    """What the names in a file stand for, as far as its text shows."""

    def __init__(self, nodes: Collection[ast.AST]) -> None:
        self._calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._loose = [node for node in nodes if isinstance(node, ast.Attribute) and _is_mark(node)]
        self._constants: dict[str, tuple[str, ...] | None] = {}
        self._aliases: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._note(node.targets[0], node.value)
            elif isinstance(node, ast.ImportFrom):
                self._aliases.update({one.asname: one.name for one in node.names if one.asname})

    def _note(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        texts = _texts_in(value)
        if texts is not None:
            same = self._constants.setdefault(target.id, texts) == texts
            self._constants[target.id] = texts if same else None  # which one counts only an import shows
        elif isinstance(value, ast.Attribute) and _is_mark(value):
            self._aliases[target.id] = value.attr
            self._loose.remove(value)

    def tokens_of(self, words: frozenset[str]) -> tuple[frozenset[Token], bool]:
        """Give the tokens that calls of these words name, and whether some call or alias may name others."""
        called = [call for call in self._calls if self._name_of(call.func) in words]
        functions = [call.func for call in called]
        texts = [self._texts(argument) for call in called for argument in call.args]
        unclear = None in texts or any(mark.attr in words and mark not in functions for mark in self._loose)
        return _tokens(text for some in texts if some is not None for text in some), unclear

    def _name_of(self, function: ast.expr) -> str:
        if isinstance(function, ast.Attribute):
            return function.attr
        return self._aliases.get(function.id, function.id) if isinstance(function, ast.Name) else ""

    def _texts(self, argument: ast.expr) -> tuple[str, ...] | None:
        value = argument.value if isinstance(argument, ast.Starred) else argument
        if isinstance(value, ast.Name):
            return self._constants.get(value.id)
        return _texts_in(value)


def _is_mark(node: ast.Attribute) -> bool:
    """Whether an attribute is one of pytest's marks: `pytest.mark.requires`, or `mark.requires`."""
    holder = node.value
    return getattr(holder, "attr", getattr(holder, "id", "")) == "mark"


def _texts_in(value: ast.expr) -> tuple[str, ...] | None:
    """Give the texts of a literal, one or a list of them; None for anything else."""
    parts = value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]
    texts = tuple(_text_of(part) for part in parts)
    return None if None in texts else tuple(text for text in texts if text is not None)


def _text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _tokens(texts: Collection[str | None] | Iterator[str | None]) -> frozenset[Token]:
    return frozenset(
        Token(text) for text in texts if text is not None and TOKEN_PATTERN.fullmatch(text.removesuffix(":*"))
    )
