"""Compares the result of a step with its expectations, and describes each mismatch, a time limit included."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.fileformat.expected_text import (
    TooSlow,
    expanded,
    expanded_pattern,
    search,
    variable_alone,
)
from pytest_dogfood.journey import Expectation, FileExpectation, Save, Step, StreamExpectation

MAX_OUTPUT = 8 * 1024 * 1024
"""The most bytes of an output that assertions read."""

MAX_JSON = MAX_OUTPUT // 2
"""The most characters of JSON that JMESPath searches, because it has no time limit."""

LONGEST_DIFF = 60
"""The most lines of a diff that are shown."""

Stream = Literal["stdout", "stderr"]


class TooLarge(Exception):  # noqa: N818 - an answer of the delegate, not an error of the program
    """An output or a file is larger than assertions read; the text says how large."""


class CommandInStep(Struct, frozen=True):
    """The one of a step's commands that failed, or was running at the time limit; `where` is its place in the step."""

    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class Observation(Protocol):
    """The result of a step that has run. `text` and `file` raise TooLarge beyond MAX_OUTPUT bytes."""

    status: int
    timed_out: bool
    seconds: float
    limit: float
    ended_at: CommandInStep | None
    """The command that failed, or that was running at the time limit, if that is known."""
    environment: Mapping[str, str]
    """The variables of the step, without those that it saves itself."""

    @property
    def left(self) -> float:
        """The seconds that searches in its outputs may still take."""

    def text(self, stream: Stream) -> str: ...

    def mask(self, text: str) -> str:
        """Mask secrets; call this before you cut a text, so that no part of a secret stays."""

    def file(self, path: str) -> str | None:
        """Return the text of a file, or None if there is none (the empty string for a directory)."""

    def tail(self, stream: Stream) -> str: ...

    def masked_tail(self, stream: Stream) -> str:
        """Return the last bytes of an output as printable text, secrets masked; also before `finish`."""

    def learn(self, secrets: Sequence[str]) -> None:
        """Add secret values that the step has printed, to mask them from now on."""

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        """Drop cached texts, and outputs that must not be shown; called once, after the comparison."""


class Mismatch(Struct, frozen=True):
    """One expectation that was not met, for people: what was compared, the expected and the actual value.

    `brief` describes it in a few words, and `diff` line by line, if that is clearer.
    """

    what: str
    expected: str
    actual: str
    brief: str = ""
    diff: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.brief or f"{self.what}: expected {self.expected}, got {self.actual}"


class SavedValue(Struct, frozen=True):
    name: str
    value: str
    secret: bool


WITHHELD = "*** (hidden, because it may hold a secret that this step saves)"
"""Replaces an output in which an unknown part must be hidden."""

TOO_SLOW = "no result within the step's time limit: the expression takes too long on this text"
"""Replaces the result of a search that has not ended."""


def compare(
    step: Step, seen: Observation
) -> tuple[tuple[Mismatch, ...], tuple[SavedValue, ...], frozenset[Stream]]:
    """Compare a step's result with its expectations, and take the values that it saves, even if it failed.

    Return the mismatches, the values, and the outputs that must not be shown: a secret should have been saved from
    them, and was not found.
    """
    # First the values, even of a step that has failed: quotes from its output must not show a secret either.
    values, unsaved = saved_values(step, seen)
    seen.learn([one.value for one in values if one.secret])
    found = {one.name for one in values}
    withheld = frozenset(save.stream for save in step.save if save.secret and save.name not in found)
    return mismatches(step, seen, withheld=withheld) or unsaved, values, withheld


def saved_values(step: Step, seen: Observation) -> tuple[tuple[SavedValue, ...], tuple[Mismatch, ...]]:
    """Take the values that a step saves, and report those that were not found."""
    values: list[SavedValue] = []
    problems: list[Mismatch] = []
    hidden = any(save.secret for save in step.save)
    for save in step.save:
        try:
            text = seen.text(save.stream)
            quoted = WITHHELD if hidden else excerpt(seen.mask(text))
            found = _saved(save, text, quoted, seen.left)
        except TooLarge as error:
            found = Mismatch(f"save {save.name}", "an output that is small enough to search", str(error))
        if isinstance(found, Mismatch):
            problems.append(found)
        else:
            values.append(SavedValue(save.name, found, save.secret))
    return tuple(values), tuple(problems)


def _saved(save: Save, text: str, quoted: str, seconds: float) -> str | Mismatch:
    what = f"save {save.name}"
    if save.pattern is not None:
        try:
            match = search(save.pattern, text, seconds=seconds)
        except TooSlow:
            return Mismatch(what, f"{save.stream} to match {save.pattern!r}", TOO_SLOW)
        if match is None:
            return Mismatch(what, f"{save.stream} to match {save.pattern!r}", quoted)
        found: str | None = match[match.re.groups and 1]
    else:
        try:
            value = _search(save.json or "@", _parsed(text))
        except ValueError:
            return Mismatch(what, f"JSON on {save.stream}", quoted)
        if value is None:
            return Mismatch(what, f"a value at JMESPath {save.json}", "null")
        found = value if isinstance(value, str) else _dumped(value)
    if found is None or "\0" in found:
        return Mismatch(what, "text that fits a variable", "nothing" if found is None else "a NUL byte")
    return found


def mismatches(
    step: Step, seen: Observation, *, withheld: Collection[Stream] = frozenset()
) -> tuple[Mismatch, ...]:
    """Return all expectations that were not met, without quotes of withheld outputs; empty if the step succeeded."""
    if seen.timed_out:
        limit = f"{round(seen.limit, 2):g} s"
        brief = f"timed out after {limit} (killed)"
        return (Mismatch("time", f"an end within {limit}", brief, brief),)
    try:
        return tuple(_mismatches(step.expect, seen, withheld))
    except TooLarge as error:
        return (Mismatch("output", f"at most {MAX_OUTPUT} bytes to search", str(error)),)


def _mismatches(expect: Expectation, seen: Observation, withheld: Collection[Stream]) -> Iterator[Mismatch]:
    if expect.exit == "nonzero":
        if seen.status == 0:
            yield Mismatch("exit status", "anything but 0", "0", "exit 0, expected any other")
    elif seen.status != expect.exit:
        came = exit_words(seen.status)
        yield Mismatch("exit status", str(expect.exit), came, f"exit {came}, expected {expect.exit}")
    expected: dict[Stream, StreamExpectation | None] = {"stdout": expect.stdout, "stderr": expect.stderr}
    for name, stream in expected.items():
        for wrong in _stream(name, stream, seen) if stream is not None else ():
            yield replace(wrong, actual=WITHHELD) if name in withheld else wrong
    for file in expect.files:
        yield from _file(file, seen)


def exit_words(status: int) -> str:
    """Return an exit status in words; a negative one is the signal that ended the command."""
    return str(status) if status >= 0 else f"{status} (ended by signal {-status})"


def _stream(name: Stream, expect: StreamExpectation, seen: Observation) -> Iterator[Mismatch]:
    text = seen.text(name)
    quoted = excerpt(seen.mask(text))
    yield from _missing(name, expect.contains, text, seen)
    for written in expect.not_contains:
        part = expanded(written, seen.environment)
        if part in text:
            start, margin = text.index(part), 60
            before, after = seen.mask(text[:start]), seen.mask(text[start + len(part) :])
            around = repr(before[-margin:] + seen.mask(part) + after[:margin])
            yield Mismatch(name, f"not to contain {seen.mask(part)!r}", around)
    for written in expect.matches:
        pattern = expanded_pattern(written, seen.environment)
        try:
            actual = "" if search(pattern, text, seconds=seen.left) else quoted
        except TooSlow:
            actual = TOO_SLOW
        if actual:
            yield Mismatch(name, f"to match {seen.mask(pattern)!r}", actual)
    yield from _unequal(name, expect.equals, text, seen)
    if not expect.json:
        return
    try:
        document = _parsed(text)
    except ValueError:
        yield Mismatch(name, "JSON", quoted)
        return
    for expression, value in expect.json.items():
        found = _search(expression, document)
        if not _is_as_expected(value, found, seen.environment):
            yield Mismatch(
                f"{name}, JMESPath {expression}",
                seen.mask(expanded(json.dumps(value), seen.environment)),
                excerpt(seen.mask(_dumped(found)), raw=True),
            )


def _missing(name: str, parts: Iterable[str], text: str, seen: Observation) -> Iterator[Mismatch]:
    for written in parts:
        part = expanded(written, seen.environment)
        if part not in text:
            yield Mismatch(name, f"to contain {seen.mask(part)!r}", excerpt(seen.mask(text)))


def _unequal(name: str, written: str | None, text: str, seen: Observation) -> Iterator[Mismatch]:
    if written is None or text == (whole := expanded(written, seen.environment)):
        return
    expected, actual = seen.mask(whole), seen.mask(text)
    diff: tuple[str, ...] = ()
    if "\n" in expected.rstrip("\n") or "\n" in actual.rstrip("\n"):
        from difflib import unified_diff

        pairs = unified_diff(expected.splitlines(), actual.splitlines(), lineterm="", n=2)
        diff = tuple(list(pairs)[2 : 2 + LONGEST_DIFF])
    yield Mismatch(name, repr(expected), excerpt(actual), f"{name} differs" if diff else "", diff)


def _is_as_expected(expected: Any, actual: Any, variables: Mapping[str, str]) -> bool:  # noqa: ANN401 - JSON
    """Compare values of JSON; a text that is one variable alone also stands for a number or boolean of that text."""
    match expected:
        case str():
            text = expanded(expected, variables)
            return bool(actual == text) or (variable_alone(expected) and _is_written_as(text, actual))
        case list():
            return (
                isinstance(actual, list)
                and len(actual) == len(expected)
                and all(_is_as_expected(*pair, variables) for pair in zip(expected, actual, strict=True))
            )
        case dict():
            return (
                isinstance(actual, dict)
                and actual.keys() == expected.keys()
                and all(_is_as_expected(expected[key], actual[key], variables) for key in expected)
            )
        case _:
            return bool(actual == expected) and isinstance(actual, bool) is isinstance(expected, bool)


def _is_written_as(text: str, actual: object) -> bool:
    """Return whether `text` is a JSON spelling of a number or boolean: 1.5 may be written 1.5 or 1.50."""
    if not isinstance(actual, int | float):
        return False
    try:
        read = _parsed(text)
    except ValueError:
        return False
    return bool(read == actual) and isinstance(read, bool) is isinstance(actual, bool)


def _parsed(text: str) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Read JSON; raises ValueError if the text is not JSON, and TooLarge."""
    if len(text) > MAX_JSON:
        raise TooLarge(f"{len(text)} characters of JSON, of which at most {MAX_JSON} are read")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _search(expression: str, document: Any) -> Any:  # noqa: ANN401 - JSON is any of its types
    import jmespath

    try:
        return jmespath.search(expression, document)
    # Its own errors are ValueErrors; its functions let others through, as max_by does for values of several types.
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        return f"no value: {error}"


def _dumped(value: object) -> str:
    """Return a value as JSON, or a note that it is not JSON, such as the JMESPath expression `&name`."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return f"no JSON value: {type(value).__name__}"


def _file(expect: FileExpectation, seen: Observation) -> Iterator[Mismatch]:
    text = seen.file(expanded(expect.path, seen.environment))
    name = f"file {expect.path}"
    if (text is not None) is not expect.exists:
        words = ("to exist", "none") if expect.exists else ("not to exist", "a file")
        yield Mismatch(name, *words)
    if text is not None:
        yield from _missing(name, expect.contains, text, seen)
        yield from _unequal(name, expect.equals, text, seen)


def excerpt(text: str, *, raw: bool = False) -> str:
    """Return the end of a text on one line, quoted unless `raw`, with the number of characters left out."""
    if not text:
        return "nothing"
    most = 300
    shown = text[-most:] if raw else repr(text[-most:])
    return f"{shown} (after {len(text) - most} other characters)" if len(text) > most else shown
