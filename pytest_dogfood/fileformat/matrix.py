"""Expands a matrix: makes a journey for each combination, with its values in place of `${name}`.

Shell text, `env:`, `cwd:` and expectations are left alone: the values are variables too, and are expanded there when
a step runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.fileformat.builder import read_locks, read_seed_files
from pytest_dogfood.fileformat.nodes import Findings, Placed, ScalarNode, shown
from pytest_dogfood.fileformat.scalars import PLAIN_NAME, InnerPath
from pytest_dogfood.fileformat.shapes import Fields
from pytest_dogfood.journey import TOKEN_PATTERN, Mark

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_LEFT_ALONE = frozenset(
    (
        *("id", "use", "matrix", "env", "cwd", "feature", "defaults", "capabilities"),
        *("contains", "not_contains", "matches", "equals", "files"),
        *("requires", "establishes", "invalidates", "locks", "workdir"),
    )
)
"""Keys whose values stay unchanged, are expanded when a step runs, or hold names and are filled separately."""

MAX_COMBINATIONS = 1000
"""A matrix with more combinations than this is a mistake."""


def expand_matrix(
    fields: Fields, shell: str | None, findings: Findings
) -> list[tuple[Fields, dict[str, str]]]:
    """Return a journey's fields once for each combination of its matrix, filled with the combination's values.

    `shell` is that of its steps unless it names another.
    """
    matrix: Mapping[str, Sequence[str]] = fields.get("matrix", {})
    if math.prod(len(values) for values in matrix.values()) > MAX_COMBINATIONS:
        message = f"the matrix gives more than {MAX_COMBINATIONS:,} journeys"
        hint = "leave out what need not be combined"
        findings.add(fields.key("matrix"), "matrix-too-large", message, hint=hint)
        matrix = {}
    for name in matrix:
        if name in fields.get("env", {}):
            message = f"the variable {name!r} is under `matrix` and under `env`"
            findings.add(fields.key("matrix"), "conflicting-keys", message, hint="rename one of them")
    combinations = [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())] or [{}]
    return [(PlaceholderFiller(one, findings).fill_journey(fields, shell), one) for one in combinations]


class PlaceholderFiller(Struct, frozen=True):
    """Replaces placeholders by the values of one combination."""

    matrix: Mapping[str, str]
    findings: Findings

    def fill_journey(self, fields: Fields, shell: str | None) -> Fields:
        """Fill the fields of a journey; `shell` is that of its steps unless it names another."""
        written = fields.values
        names: dict[str, Any] = {}
        for key in ("requires", "establishes", "invalidates"):
            if key in written:
                names[key] = tuple([self._token(node) for node in written[key]])
        if "locks" in written:
            at = fields.value("locks", "lock")
            filled = [(self._name(at, name), count) for name, count in read_locks(written["locks"]).items()]
            names["locks"] = dict(sorted(filled, key=itemgetter(1)))  # of two that are now one, the larger
        if "${" in written.get("workdir", ""):
            at = fields.value("workdir", "sandbox")
            name = ScalarNode(self._name(at, written["workdir"]), at.line, at.column, plain=False)
            names["workdir"] = PLAIN_NAME.read(name, self.findings)
        if "shell" not in written and shell is not None:
            names["shell"] = self._text(shell)
        others = self._fill(fields, fields.key("seed_files"))
        return Fields(fields.node, {**others.values, **names})

    def _fill(self, fields: Fields, at: Placed) -> Fields:
        # Without a matrix only names are checked, and a step has none except those of its files.
        if not self.matrix and fields.values.keys().isdisjoint(("steps", "cleanup", "seed_files")):
            return fields
        values = {**fields.values}
        for key, value in values.items():
            if key == "seed_files":
                values[key] = self._files(at, fields)
            elif key in {"stdout", "stderr", "expect_cmd_re"} and isinstance(value, str):
                values[key] = self._pattern(value)
            elif key == "json" and isinstance(value, dict):
                values[key] = {self._text(expression): found for expression, found in value.items()}
            elif key == "expect" and fields.wrote("run") and "text" in value.values:
                pass  # This is a mistake, and reported as it is written.
            elif key not in _LEFT_ALONE and not (key == "run" and isinstance(value, str)):
                values[key] = self._value(value)
        return Fields(fields.node, values)

    def _files(self, at: Placed, fields: Fields) -> Mapping[str, str]:
        """Fill the paths and texts of seed files; a path must still be inside the working directory."""
        files = read_seed_files(fields, self.findings)
        if not any("${" in part for file in files.items() for part in file):
            return files
        filled: dict[str, str] = {}
        for path, content in files.items():
            name = self._name(at, path)
            InnerPath().read(ScalarNode(name, at.line, at.column, plain=False), self.findings)
            if name in filled:
                message = f"the matrix gives two files to seed the path {name!r}"
                self.findings.add(at, "duplicate-key", message, hint="rename one of them")
            filled[name] = self._text(content)
        return filled

    def _token(self, node: ScalarNode) -> ScalarNode:
        """Fill a token; the result must still be a token."""
        if "$" not in node.value:
            return node
        token = self._name(node, node.value)
        if "$" not in token and not TOKEN_PATTERN.fullmatch(token.removesuffix(":*")):
            message = f"the matrix turns {shown(node.value)} into {shown(token)}, which is not a token"
            hint = "put the value after the colon: `db-ready:${os}`"
            self.findings.add(node, "bad-token", message, hint=hint)
        return ScalarNode(token, node.line, node.column, plain=False)

    def _name(self, at: Placed, text: str) -> str:
        """Fill a name, in which `${…}` must be a placeholder: an unknown one is reported."""
        for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
            if name not in self.matrix:
                known = ", ".join(self.matrix)
                hint = f"the matrix holds {known}" if known else "the journey has no `matrix:`"
                self.findings.add(at, "unknown-placeholder", f"${{{name}}} has no value", hint=hint)
        return self._text(text)

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - the author may write any value there
        """Fill every text in lists and mappings, except keys."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Fields):
            return self._fill(value, value.node)
        if isinstance(value, Mark):
            return replace(value, args=self._value(value.args), kwargs=self._value(value.kwargs))
        if isinstance(value, Mapping):
            return {key: self._value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._value(inner) for inner in value)
        return value

    def _text(self, text: str) -> str:
        """Fill any other text; names that are not in the matrix stay as they are."""
        return _PLACEHOLDER.sub(lambda found: self.matrix.get(found[1], found[0]), text)

    def _pattern(self, pattern: str) -> str:
        """Fill a regular expression with patterns that match exactly the values."""
        values = {name: f"(?:{re.escape(value)})" for name, value in self.matrix.items()}
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), pattern)
