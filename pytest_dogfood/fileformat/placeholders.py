"""Placeholders of a matrix: `${name}` in the texts of a journey stands for the value that it has there.

Shell text, `env:`, `cwd:` and what is expected are left alone: the values are variables too, and are expanded there
when a step runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from pytest_dogfood.fileformat.nodes import Findings, Placed, ScalarNode
from pytest_dogfood.fileformat.scalars import InnerPath
from pytest_dogfood.journey import Expectation, Mark, Save, Step, StreamExpectation

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Filler:
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
