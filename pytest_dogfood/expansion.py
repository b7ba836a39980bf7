"""Variables in what a step expects: `$name` and `${name}` stand for values, `$$` for a dollar, all else for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from pytest_dogfood.journey import Expectation, StreamExpectation

# Texts, which `re` compiles and keeps when they are first needed: most runs need none of them.
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = rf"\$(?:(?P<dollar>\$)|(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})"
_ALONE = rf"\$(?:{_NAME}|\{{{_NAME}\}})"
# What is escaped, and what stands in a set such as `[$abc]`, means a dollar there and no variable.
_IN_PATTERN = rf"(?s)\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\$\$|\$(?:(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})"


class Written(Struct, frozen=True):
    """A text under `expect:` in which variables count; `where` says whose it is, for people.

    An empty variable in a text that `needs_value` would make a check that checks nothing.
    """

    where: str
    text: str
    needs_value: bool = False
    pattern: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that stand in it, in that order."""
        found = re.finditer(_IN_PATTERN if self.pattern else _VARIABLE, self.text) if "$" in self.text else ()
        return tuple(dict.fromkeys(name for one in found if (name := one["plain"] or one["braced"])))


def written_in(expect: Expectation) -> Iterator[Written]:
    """Give every text of an expectation in which variables count."""
    for name, stream in (("stdout", expect.stdout), ("stderr", expect.stderr)):
        if stream is not None:
            yield from _in_stream(name, stream)
    for file in expect.files:
        yield Written("files", file.path)
        name = f"file {file.path}"
        yield from (Written(f"{name} contains", text, needs_value=True) for text in file.contains)
        if file.equals is not None:
            yield Written(f"{name} equals", file.equals)


def _in_stream(name: str, stream: StreamExpectation) -> Iterator[Written]:
    yield from (Written(f"{name} contains", text, needs_value=True) for text in stream.contains)
    yield from (Written(f"{name} not_contains", text, needs_value=True) for text in stream.not_contains)
    yield from (Written(f"{name} matches", text, needs_value=True, pattern=True) for text in stream.matches)
    if stream.equals is not None:
        yield Written(f"{name} equals", stream.equals)
    for expression, value in stream.json.items():
        yield from (Written(f"{name} json {expression}", text) for text in _texts_in(value))


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON is any of its types
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(inner)


def problem_with(expect: Expectation, variables: Mapping[str, str]) -> str:
    """Say which variable an expectation names that has no value, or an empty one where it would check nothing."""
    for written in written_in(expect):
        for name in written.variables:
            value = variables.get(name)
            if value is None:
                return (
                    f"{written.where} {written.text!r} names ${name}, which is not set; "
                    "set it with `env:` or save it in an earlier step, or write $$ for a dollar sign"
                )
            if not value and written.needs_value:
                return f"{written.where} {written.text!r} names ${name}, which is empty, so that it checks nothing"
    return ""


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put values in place of variables; a name without a value stays as it is."""
    if "$" not in text:
        return text
    return re.sub(
        _VARIABLE,
        lambda found: "$" if found["dollar"] else variables.get(found["plain"] or found["braced"], found[0]),
        text,
    )


def expanded_pattern(pattern: str, variables: Mapping[str, str]) -> str:
    """Put values in place of variables in a regular expression, each to be found as it is."""
    if "$" not in pattern:
        return pattern

    def value(found: re.Match[str]) -> str:
        name = found["plain"] or found["braced"]
        # A group of its own: what stands next to it must neither repeat its end alone nor become a part of it.
        return f"(?:{re.escape(variables[name])})" if name and name in variables else found[0]

    return re.sub(_IN_PATTERN, value, pattern)


def variable_alone(text: str) -> bool:
    """Whether a text is one variable and nothing else, so that it may stand for a number as well."""
    return re.fullmatch(_ALONE, text) is not None
