"""Journeys from what the tables read: one per combination of a matrix, its placeholders replaced.

Shell text, `env:`, `cwd:` and what is expected are left alone: the values are variables too, and are expanded there
when a step runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.fileformat.builder import (
    Defaults,
    read_acted_steps,
    read_seed_files,
    read_steps,
    read_tokens,
)
from pytest_dogfood.fileformat.nodes import Findings, Placed, ScalarNode, shown
from pytest_dogfood.fileformat.scalars import InnerPath
from pytest_dogfood.fileformat.shapes import Fields
from pytest_dogfood.fileformat.vocabulary import PLAIN_NAME
from pytest_dogfood.journey import (
    TOKEN_PATTERN,
    Expectation,
    Journey,
    JourneyId,
    Mark,
    Save,
    Step,
    StreamExpectation,
    Token,
)

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class PlaceholderFiller:
    """Puts the values of one combination in place of placeholders."""

    def __init__(self, matrix: Mapping[str, str], findings: Findings) -> None:
        self._matrix = matrix
        self._findings = findings

    def name(self, at: Placed, text: str) -> str:
        """Fill a name, in which `${…}` can be nothing but a placeholder: an unknown one is reported."""
        for name in dict.fromkeys(_PLACEHOLDER.findall(text)) if "${" in text else ():
            if name not in self._matrix:
                known = ", ".join(self._matrix)
                hint = f"the matrix holds {known}" if known else "the journey has no `matrix:`"
                self._findings.add(at, "unknown-placeholder", f"nothing stands for ${{{name}}}", hint=hint)
        return self.text(text)

    def text(self, text: str) -> str:
        """Fill any other text; what the matrix does not hold stays as it is."""
        if not self._matrix or "${" not in text:
            return text
        return _PLACEHOLDER.sub(lambda found: self._matrix.get(found[1], found[0]), text)

    def pattern(self, pattern: str) -> str:
        """Fill a regular expression, which then finds the value as it is."""
        if not self._matrix or "${" not in pattern:
            return pattern
        values = {name: f"(?:{re.escape(value)})" for name, value in self._matrix.items()}
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), pattern)

    def value(self, value: Any) -> Any:  # noqa: ANN401 - the author may write any value there
        """Fill every text within lists and mappings, but for keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(inner) for inner in value)
        return value

    def files(self, at: Placed, files: Mapping[str, str]) -> Mapping[str, str]:
        """Fill the paths and texts of files to seed; a path must still be inside of the working directory."""
        if not files or not any("${" in part for file in files.items() for part in file):
            return files
        filled: dict[str, str] = {}
        for path, content in files.items():
            name = self.name(at, path)
            InnerPath().read(ScalarNode(name, at.line, at.column, plain=False), self._findings)
            if name in filled:
                message = f"the matrix gives two files to seed the path {name!r}"
                self._findings.add(at, "duplicate-key", message, hint="rename one of them")
            filled[name] = self.text(content)
        return filled

    def marks(self, marks: Iterable[Mark]) -> tuple[Mark, ...]:
        return tuple(
            [replace(mark, args=self.value(mark.args), kwargs=self.value(mark.kwargs)) for mark in marks]
        )

    def steps(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if not steps or (not self._matrix and not any(step.seed_files for step in steps)):
            return steps
        return tuple([self._step(step) for step in steps])

    def _step(self, step: Step) -> Step:
        files = self.files(step.location, step.seed_files)
        if not self._matrix:
            return step
        return replace(
            step,
            seed_files=files,
            intent=self.text(step.intent),
            run=tuple(map(self.text, step.run)) if isinstance(step.run, tuple) else step.run,
            shell=self.value(step.shell),
            stdin=self.value(step.stdin),
            expect=self._expectation(step.expect),
            save=tuple([self._save(save) for save in step.save]),
            expect_cmd_re=self.pattern(step.expect_cmd_re),
            expect_text=self.text(step.expect_text),
            expect_state=self.text(step.expect_state),
        )

    def _expectation(self, expect: Expectation) -> Expectation:
        """Fill what is not expanded when the step runs: the words of a judge, and JMESPath expressions."""
        return replace(
            expect,
            text=self.text(expect.text),
            stdout=self._stream(expect.stdout),
            stderr=self._stream(expect.stderr),
        )

    def _stream(self, stream: StreamExpectation | None) -> StreamExpectation | None:
        if stream is None or not stream.json:
            return stream
        return replace(
            stream, json={self.text(expression): value for expression, value in stream.json.items()}
        )

    def _save(self, save: Save) -> Save:
        pattern = None if save.pattern is None else self.pattern(save.pattern)
        return replace(save, pattern=pattern, json=self.value(save.json))


MAX_COMBINATIONS = 1000
"""More journeys than this out of one matrix are a mistake in it."""

_AS_READ = frozenset(("tier", "gating", "use", "timeout", "estimate"))
"""Keys whose values go into the journey just as they are."""


class FileContext(Struct, frozen=True, kw_only=True):
    """What the file says about all of its journeys. `stem` names a journey that has no id of its own."""

    feature: str = ""
    defaults: Defaults
    stem: str = ""


def read_journeys(fields: Fields, findings: Findings, around: FileContext) -> list[Journey]:
    """Return the journey, or one for each combination of its matrix."""
    _report_missing_parts(fields, findings)
    return [_journey(fields, values, findings, around) for values in _combinations(fields, findings)]


def _report_missing_parts(fields: Fields, findings: Findings) -> None:
    if not fields.wrote("steps"):
        hint = "add `steps:`, a list of what the user does"
        findings.add(fields.node, "no-steps", "a journey without steps", hint=hint)


def _combinations(fields: Fields, findings: Findings) -> list[dict[str, str]]:
    matrix: Mapping[str, Sequence[str]] = fields.get("matrix", {})
    if not matrix:
        return [{}]
    if math.prod(len(values) for values in matrix.values()) > MAX_COMBINATIONS:
        message = f"the matrix gives more than {MAX_COMBINATIONS:,} journeys"
        findings.add(
            fields.key("matrix"), "matrix-too-large", message, hint="leave out what need not be combined"
        )
        return [{}]
    own: Mapping[str, str] = fields.get("env", {})
    for name in matrix:
        if name in own:
            message = f"the variable {name!r} stands under `matrix` and under `env`"
            findings.add(fields.key("matrix"), "conflicting-keys", message, hint="rename one of them")
    return [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())] or [{}]


def _journey(fields: Fields, matrix: dict[str, str], findings: Findings, around: FileContext) -> Journey:
    values = fields.values
    get = values.get
    at = fields.value("id") if fields.wrote("id") else fields.value("journey_id")
    name = JourneyId(_name(get("id", around.stem), matrix))
    own_env: Mapping[str, str] = {**matrix, **get("env", {})}
    defaults = around.defaults
    if own_env or "shell" in values or "cwd" in values:
        defaults = defaults.overlaid_with(Defaults(shell=get("shell"), cwd=get("cwd"), env=own_env))
    filler = PlaceholderFiller(matrix, findings)
    tokens: dict[str, Any] = {
        key: read_tokens([_filled(node, filler, findings) for node in get(key, ())], findings)
        for key in ("requires", "establishes", "invalidates")
        if key in values
    }
    _report_contradictions(fields, tokens, findings)
    locks_at = fields.value("locks") if fields.wrote("locks") else fields.value("lock")
    source = filler.value(get("source", {}))
    as_read: dict[str, Any] = {key: value for key, value in values.items() if key in _AS_READ}
    return Journey(
        id=name,
        location=findings.location(at),
        path=findings.path,
        nodeid=f"{findings.path}::{name}",
        steps=filler.steps(read_acted_steps(get("steps", ()), fields.value("steps"), findings, defaults)),
        feature=around.feature,
        rationale=filler.text(get("rationale", "")),
        modality=filler.text(get("modality", "")),
        marks=filler.marks(get("marks", ())),
        locks=tuple([filler.name(locks_at, name) for name in get("locks", ())]),
        source={"ref": source} if isinstance(source, str) else source,
        env=own_env,
        workdir=_workdir(fields, filler, findings),
        seed_files=filler.files(fields.key("seed_files"), read_seed_files(fields, findings)),
        cleanup=filler.steps(read_steps(get("cleanup", ()), fields.value("cleanup"), findings, defaults)),
        matrix=matrix,
        **as_read,
        **tokens,
    )


def _name(base: str, matrix: Mapping[str, str]) -> str:
    return f"{base}[{'-'.join(matrix.values())}]" if matrix else base


def _filled(node: ScalarNode, filler: PlaceholderFiller, findings: Findings) -> ScalarNode:
    """Put the values of the matrix into a token; what it gives must be a token still."""
    if "$" not in node.value:
        return node
    token = filler.name(node, node.value)
    if "$" not in token and not TOKEN_PATTERN.fullmatch(token.removesuffix(":*")):
        message = f"the matrix turns {shown(node.value)} into {shown(token)}, which is no token"
        findings.add(node, "bad-token", message, hint="put the value behind the colon: `db-ready:${os}`")
    return ScalarNode(token, node.line, node.column, plain=False)


def _workdir(fields: Fields, filler: PlaceholderFiller, findings: Findings) -> str | None:
    name: str | None = fields.get("workdir")
    node = fields.value("workdir") if fields.wrote("workdir") else fields.value("sandbox")
    if name is None or "${" not in name or not isinstance(node, ScalarNode):
        return name
    return PLAIN_NAME.read(ScalarNode(filler.name(node, name), node.line, node.column, plain=False), findings)


def _report_contradictions(
    fields: Fields, tokens: Mapping[str, Mapping[Token, Location]], findings: Findings
) -> None:
    established = tokens.get("establishes", ())
    for other in ("requires", "invalidates"):
        for token in established:
            if token in tokens.get(other, ()):
                message = f"the journey {other} {token!r} and establishes it too"
                hint = "it holds only once the journey has passed: keep one of the two"
                findings.add(fields.key(other), "conflicting-tokens", message, hint=hint)
