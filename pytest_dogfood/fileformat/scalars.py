"""Shapes of values that are written as text: durations, tokens, paths, expressions, commands and marks."""

from __future__ import annotations

import re
import warnings
from typing import Any, Literal

from msgspec import Struct

from pytest_dogfood.fileformat.expected_text import unrolled_size
from pytest_dogfood.fileformat.nodes import Findings, ListNode, MapNode, Node, ScalarNode, is_null, shown
from pytest_dogfood.fileformat.shapes import (
    CHECKS_NOTHING,
    ByKind,
    ListOf,
    MapOf,
    Positioned,
    Text,
    WholeNumber,
    Word,
    one_or_many,
    read_text,
    refuse,
    refuse_empty,
)
from pytest_dogfood.journey import JOURNEY_ID_PATTERN, MARK_PATTERN, Mark

MAX_REPETITIONS = 1_000_000
LOWEST_STATUS, HIGHEST_STATUS = -64, 255
MAX_SECONDS = 366 * 24 * 3600.0
BLOCK_HINT = "put shell text in quotes, or write `run: |` and the command on the next line, indented"

DURATION_AMOUNT = r"\d+(?:\.\d+)?|\.\d+"
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
"""The seconds in each unit; a number without a unit is in seconds."""

_DURATION = re.compile(rf"({DURATION_AMOUNT})({'|'.join(DURATION_UNITS)})?", re.ASCII)
_CHARACTER_SET = r"(?s)\[\^?\]?(?:\\.|[^]\\])*\]"
_ASKS_AROUND = r"[\^$]|\\[AZbB0-9]|\(\?(?:[=!<(]|P=)"
_OF_A_SHELL = re.compile(r"\$\$|(\$\{[A-Za-z_][A-Za-z0-9_]*[^}A-Za-z0-9_][^}]*\}?)")
_CORE_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_CORE_PREFIXED = re.compile(r"0(o[0-7]+|x[0-9a-fA-F]+)")
_CORE_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_CORE_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Duration(Struct, frozen=True, kw_only=True):
    """Seconds as a number, or a number with a unit: `90`, `1.5`, `500ms`, `90s`, `2m`, `1h`."""

    zero: bool = False
    expected: str = "a duration"

    def read(self, node: Node, findings: Findings) -> float | None:
        hint = "seconds as a number, or with a unit: 90, 1.5, 500ms, 90s, 2m, 1h"
        if not isinstance(node, ScalarNode) or is_null(node):
            refuse(node, self.expected, findings, hint)
            return None
        match = _DURATION.fullmatch(node.value)
        if match is None:
            message = f"expected {self.expected}, not {shown(node.value)}"
        elif not node.plain and match[2] is None:
            message, hint = f"{shown(node.value)} is text", "write it without quotes"
        elif not 0 <= (seconds := float(match[1]) * DURATION_UNITS.get(match[2], 1.0)) <= MAX_SECONDS:
            message, hint = f"{shown(node.value)} is longer than a year", ""
        elif not seconds and not self.zero:
            message, hint = "a duration must be longer than zero", "leave the key out for no limit"
        else:
            return seconds
        findings.add(node, "bad-duration", message, hint=hint)
        return None


class ExitStatus(Struct, frozen=True):
    """The exit status of a command, or minus the number of the signal that ended it; or `nonzero`."""

    expected: str = "an exit status: an integer or nonzero"

    def read(self, node: Node, findings: Findings) -> int | Literal["nonzero"] | None:
        if isinstance(node, ScalarNode) and node.value == "nonzero":
            return "nonzero"
        hint = f"from {LOWEST_STATUS} to {HIGHEST_STATUS}"
        limits = WholeNumber(least=LOWEST_STATUS, most=HIGHEST_STATUS, expected=self.expected, hint=hint)
        return limits.read(node, findings)


class Regex(Struct, frozen=True, kw_only=True):
    """A Python regular expression that compiles.

    `max_groups` limits its groups; if it `checks`, it must not match every text.
    """

    max_groups: int | None = None
    checks: bool = False
    expected: str = "a regular expression"

    def read(self, node: Node, findings: Findings) -> str | None:
        text = read_text(node, findings, self.expected)
        if text is None:
            return None
        try:
            # Compiling warns about what may change; projects that turn warnings into errors must not fail here.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pattern = re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            findings.add(node, "bad-regex", f"not a regular expression: {shown(text)}: {error}")
            return None
        code, hint = "bad-regex", ""
        if unrolled_size(text) > MAX_REPETITIONS:
            message = f"{shown(text)} repeats parts more than {MAX_REPETITIONS:,} times"
            hint = "use fewer, or `+` or `*`"
        elif self.checks and _matches_every_text(pattern):
            code, message = CHECKS_NOTHING, f"{shown(text)} matches every text and checks nothing"
            hint = "write the text that must be found"
        elif self.max_groups is not None and pattern.groups > self.max_groups:
            message = f"{pattern.groups} groups in {shown(text)}: only one can hold the value"
            hint = "keep one group; write the others as (?:...)"
        else:
            return text
        findings.add(node, code, message, hint=hint)
        return None


def _matches_every_text(pattern: re.Pattern[str]) -> bool:
    """Return whether a pattern matches the empty text, without anchors or other conditions."""
    rest = re.sub(_CHARACTER_SET, "", pattern.pattern.removeprefix("^"))
    return pattern.match("") is not None and not re.search(_ASKS_AROUND, rest)


class ExpectedText(Struct, frozen=True, kw_only=True):
    """Text in which variables are expanded: `$name` and `${name}`, but no other shell syntax."""

    empty: bool = False
    expected: str = "text"

    def read(self, node: Node, findings: Findings) -> str | None:
        nothing = 'to expect nothing at all, write {equals: ""}'
        text = read_text(node, findings, self.expected, empty=self.empty, if_empty=nothing)
        found = next(filter(None, _OF_A_SHELL.findall(text or "")), "")
        if not found:
            return text
        message = f"{shown(found)} is not expanded under `expect:`"
        hint = "write $name or ${name}, or $${ for the literal text"
        findings.add(node, "shell-expansion", message, hint=hint)
        return None


class JmesPath(Struct, frozen=True, kw_only=True):
    """A JMESPath expression that compiles."""

    expected: str = "a JMESPath expression"

    def read(self, node: Node, findings: Findings) -> str | None:
        text = read_text(node, findings, self.expected)
        if text is None:
            return None
        import jmespath

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                jmespath.compile(text)
        except (jmespath.exceptions.JMESPathError, ValueError, RecursionError) as error:
            why = str(error).strip().partition("\n")[0]
            findings.add(node, "bad-jmespath", f"not a JMESPath expression: {shown(text)}: {why}")
            return None
        return text


class InnerPath(Struct, frozen=True, kw_only=True):
    """A relative path that stays inside its directory."""

    expected: str = "a relative path"

    def read(self, node: Node, findings: Findings) -> str | None:
        path = read_text(node, findings, self.expected)
        if path is None:
            return None
        parts = path.split("/")
        if path.startswith("/"):
            problem = "it is absolute"
        elif ".." in parts:
            problem = "it contains `..`"
        elif parts[-1] in {"", "."}:
            problem = "it names a directory"
        else:
            return path
        hint = "name a file inside the journey's working directory"
        findings.add(
            node, "bad-path", f"{shown(path)} cannot be the path of a file here: {problem}", hint=hint
        )
        return None


class Command(Struct, frozen=True, kw_only=True):
    """Shell text, or an argv without a shell."""

    expected: str = "a command (text, or a list of words)"

    def read(self, node: Node, findings: Findings) -> str | tuple[str, ...] | None:
        hint = "write what the user types"
        if isinstance(node, MapNode):
            refuse(node, self.expected, findings, BLOCK_HINT)
        elif isinstance(node, ListNode):
            if node.items:
                return _read_argv(node, findings)
            findings.add(node, "empty-run", "the command is empty", hint=hint)
        elif is_null(node) or not node.value.strip():
            findings.add(node, "empty-run", "the command is empty", hint=hint)
        elif all(line.startswith("#") for line in map(str.strip, node.value.split("\n")) if line):
            hint += "; a comment for people goes under `intent:`"
            findings.add(node, "empty-run", "the command has only comments, so it does nothing", hint=hint)
        else:
            return read_text(node, findings, self.expected)
        return None


def _read_argv(node: ListNode, findings: Findings) -> tuple[str, ...] | None:
    first = node.items[0]
    if isinstance(first, ListNode) or (isinstance(first, ScalarNode) and first.value.startswith("-")):
        message = "YAML reads this shell test as a list"
        findings.add(node, "shell-test-as-list", message, hint=BLOCK_HINT)
        return None
    words = [read_text(item, findings, "a word", empty=item is not first) for item in node.items]
    return None if None in words else tuple([word for word in words if word is not None])


class FreeMap(Struct, frozen=True, kw_only=True):
    """JMESPath expressions with values of any type, resolved by YAML 1.2's core schema; not empty."""

    expected: str = "a mapping from JMESPath expressions to values"

    def read(self, node: Node, findings: Findings) -> dict[str, Any] | None:
        if not isinstance(node, MapNode):
            refuse(node, self.expected, findings, 'the expression "@" is the whole value: {"@": [1, 2]}')
            return None
        if not node.entries:
            refuse_empty(node, CHECKS_NOTHING, self.expected, findings)
            return None
        read = [(JmesPath().read(key, findings), value) for key, value in node.entries.values()]
        return {key: resolve_value(value) for key, value in read if key is not None}


class MarkShape(Struct, frozen=True, kw_only=True):
    """A pytest mark: its name, or a mapping from its name to arguments."""

    expected: str = "a mark: its name, or `name: arguments`"

    def read(self, node: Node, findings: Findings) -> Mark | None:
        hint = "one mark per list item, such as `- skip: {reason: why}`"
        key, given = node, None
        if isinstance(node, MapNode) and len(node.entries) == 1:
            ((key, value),) = node.entries.values()
            given = resolve_value(value)
        elif not isinstance(node, ScalarNode):
            refuse(node, self.expected, findings, hint)
            return None
        name = read_text(key, findings, self.expected)
        if name is None:
            return None
        if not MARK_PATTERN.fullmatch(name):
            findings.add(key, "bad-name", f"expected {self.expected}, not {shown(name)}", hint=hint)
            return None
        kwargs = given if isinstance(given, dict) else {}
        args = kwargs.pop("args", []) if isinstance(given, dict) else given
        if not isinstance(args, list):
            args = [] if given is None else [args]
        return Mark(name=name, args=tuple(args), kwargs=kwargs)


def resolve_value(node: Node) -> Any:  # noqa: ANN401 - the author may write any value here
    """Return the value of a node by YAML 1.2's core schema, and so by JSON."""
    if isinstance(node, MapNode):
        return {name: resolve_value(value) for name, (_, value) in node.entries.items()}
    if isinstance(node, ListNode):
        return [resolve_value(item) for item in node.items]
    if is_null(node):
        return None
    text = node.value
    if not node.plain:
        return text
    return _CORE_FLAGS[text] if text in _CORE_FLAGS else _number_or_text(text)


def _number_or_text(text: str) -> int | float | str:
    # int() refuses very long numbers: those are left as text.
    if _CORE_INTEGER.fullmatch(text) and len(text) <= 4000:
        return int(text)
    if _CORE_PREFIXED.fullmatch(text):
        return int(text, 0)
    if _CORE_SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return float(text) if _CORE_FLOAT.fullmatch(text) else text


_ATOM = r"(?:[a-z0-9]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_INSTANCE = r":(?:[A-Za-z0-9_.+-]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_TOKEN_HINT = "tokens are kebab-case, such as `user-logged-in`"  # noqa: S105 - not a secret


def _tokens(instance: str) -> ListOf[ScalarNode]:
    """Return the shape of one token or many, which may contain placeholders; `instance` is a pattern."""
    pattern = re.compile(rf"{_ATOM}(?:-{_ATOM})*(?:{instance})?")
    return one_or_many(
        Positioned(Word(pattern, "bad-token", "a token", hint=f"{_TOKEN_HINT} or `db-ready:linux`"))
    )


TOKENS = _tokens(_INSTANCE)
REQUIRED_TOKENS = _tokens(rf"{_INSTANCE}|:\*")
BASE_TOKEN = Word(
    re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"), "bad-token", "a token without an instance", hint=_TOKEN_HINT
)
JOURNEY_ID = Word(
    JOURNEY_ID_PATTERN,
    "bad-id",
    "a journey id",
    hint="letters, digits, `-`, `_` and `.`; the first is not `-`",
)
PLAIN_NAME = Word(
    re.compile(r"(?!\.\.?$)[^/\0\n]+"),
    "bad-path",
    "the plain name of a directory",
    hint="one name without a slash; it is made below the chain's state",
)
FILE_PATTERN = Word(
    re.compile(r"(?![/~$])(?!(?:.*/)?\.\.(?:/|$)).*[^/]"),
    "bad-path",
    "a pattern of files in the directory of this file or below",
    hint="for files elsewhere, define the token in a dogfood.yaml above them",
)
COUNT = WholeNumber()
LOCKS: ByKind[tuple[str, ...] | dict[str, int]] = ByKind(
    expected="a name, a list of names, or a mapping from names to numbers",
    scalar=one_or_many(Text()),
    sequence=ListOf(Text(), expected="a list of names"),
    mapping=MapOf(
        key=Text(), value=COUNT, expected="a mapping from names to numbers", empty_code="missing-value"
    ),
)
POOLS: MapOf[tuple[str, ...] | int] = MapOf(
    key=Word(
        re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"),
        "bad-name",
        "the name of a pool",
        hint="small letters, digits and `-`, such as `test-account`",
    ),
    value=ByKind(
        expected="a list of names, or how many there are",
        scalar=COUNT,
        sequence=ListOf(
            Word(re.compile(r"\S+"), "bad-name", "the name of a unit", hint="a name has no space"),
            expected="a list of names",
            empty_code="missing-value",
        ),
    ),
    expected="a mapping from names to units",
)
MATRIX_VALUE = Word(re.compile(r"[^\x00-\x1f\x7f]+"), "bad-name", "a value on one line")

_STEERING = (
    *("PATH", "HOME", "IFS", "ENV", "CDPATH", "PS4", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "PWD"),
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT"),
    *("NODE_PATH", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS"),
)
"""Variables that change which programs a later step runs: the product's output must not set them."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME_HINT = "letters, digits and underscores; no digit first"
ENV_NAME = Word(re.compile(r"[^=\s]+"), "bad-name", "a name for a variable")
IDENTIFIER = Word(re.compile(_NAME), "bad-name", "a name", hint=_NAME_HINT)
VARIABLE = Word(
    re.compile(rf"(?!DOGFOOD_){_NAME}"),
    "bad-name",
    "a name for a variable",
    hint=f"{_NAME_HINT}; DOGFOOD_ is taken",
)
SAVED_NAME = Word(
    re.compile(rf"(?!DOGFOOD_|(?:{'|'.join(_STEERING)})$){_NAME}"),
    "bad-name",
    "a name for a value to save",
    hint=f"{_NAME_HINT}; not DOGFOOD_, and not PATH, HOME or another variable that changes what later steps run",
)
