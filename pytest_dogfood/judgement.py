"""Compares what a step was expected to do with what was seen; decides, and touches nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import Literal
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import Expectation
from pytest_dogfood.journey import FileExpectation
from pytest_dogfood.journey import Save
from pytest_dogfood.journey import Step
from pytest_dogfood.journey import StreamExpectation

READABLE = 8 * 1024 * 1024
"""Bytes of output that assertions read at most."""

Stream = Literal["stdout", "stderr"]


class TooMuchToJudge(Exception):  # noqa: N818 - an answer of the delegate, not an error of the program
    """An output or a file is larger than assertions read; says how large."""


class Seen(Protocol):
    """What is to be judged. Both readers raise TooMuchToJudge beyond READABLE bytes."""

    @property
    def status(self) -> int: ...

    @property
    def timed_out(self) -> bool: ...

    @property
    def limit(self) -> float: ...

    def text(self, stream: Stream) -> str: ...

    def mask(self, text: str) -> str:
        """Hide what is secret; asked before a text is cut, so that no part of a secret is left over."""

    def file(self, path: str) -> str | None:
        """Give the text of a file, or None if there is none (the empty string for a directory)."""


class Mismatch(Struct, frozen=True):
    """One expectation that was not met, for people: what was looked at, what should and what did come."""

    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.actual}"


class SavedValue(Struct, frozen=True):
    name: str
    value: str
    secret: bool


WITHHELD = "***, for a secret that this step saves may be in it"
"""Stands for an output of which nobody knows what to hide in it."""


def withheld_streams(step: Step, saved: Iterable[SavedValue]) -> frozenset[Stream]:
    """Name the outputs that must not be shown: a secret was to be taken from them, and it was not found."""
    found = {one.name for one in saved}
    return frozenset(save.stream for save in step.save if save.secret and save.name not in found)


def mismatches(step: Step, seen: Seen, *, withheld: Collection[Stream] = frozenset()) -> tuple[Mismatch, ...]:
    """Give everything that is not as expected, quoting nothing of what is withheld; empty if the step succeeded."""
    if seen.timed_out:
        return (Mismatch("time", f"an end within {round(seen.limit, 2):g} s", "none: the step was ended"),)
    try:
        return tuple(_all(step.expect, seen, withheld))
    except TooMuchToJudge as error:
        return (Mismatch("output", f"at most {READABLE} bytes to look through", str(error)),)


def saved_values(step: Step, seen: Seen) -> tuple[tuple[SavedValue, ...], tuple[Mismatch, ...]]:
    """Take the values a step saves, and say which could not be had."""
    values: list[SavedValue] = []
    problems: list[Mismatch] = []
    hidden = any(save.secret for save in step.save)
    for save in step.save:
        try:
            text = seen.text(save.stream)
            shown = WITHHELD if hidden else excerpt(seen.mask(text))
            found = _saved(save, text, shown)
        except TooMuchToJudge as error:
            problems.append(Mismatch(f"save {save.name}", "output to look through", str(error)))
            continue
        if isinstance(found, Mismatch):
            problems.append(found)
        else:
            values.append(SavedValue(save.name, found, save.secret))
    return tuple(values), tuple(problems)


def _all(expect: Expectation, seen: Seen, withheld: Collection[Stream]) -> Iterator[Mismatch]:
    if expect.exit == "nonzero":
        if seen.status == 0:
            yield Mismatch("exit status", "anything but 0", "0")
    elif seen.status != expect.exit:
        yield Mismatch("exit status", str(expect.exit), exit_words(seen.status))
    expected: dict[Stream, StreamExpectation | None] = {"stdout": expect.stdout, "stderr": expect.stderr}
    for name, stream in expected.items():
        if stream is None:
            continue
        for wrong in _stream(name, stream, seen):
            yield replace(wrong, actual=WITHHELD) if name in withheld else wrong
    for file in expect.files:
        yield from _file(file, seen)


def exit_words(status: int) -> str:
    """Say an exit status; a negative one is the signal that ended the command."""
    return str(status) if status >= 0 else f"{status} (ended by signal {-status})"


def _stream(name: Stream, expect: StreamExpectation, seen: Seen) -> Iterator[Mismatch]:
    text = seen.text(name)
    shown = excerpt(seen.mask(text))
    for part in expect.contains:
        if part not in text:
            yield Mismatch(name, f"to contain {part!r}", shown)
    for part in expect.not_contains:
        if part in text:
            yield Mismatch(name, f"not to contain {part!r}", _around(text, part, seen))
    for pattern in expect.matches:
        if not re.search(pattern, text, re.MULTILINE):
            yield Mismatch(name, f"to match {pattern!r}", shown)
    if expect.equals is not None and text != expect.equals:
        yield Mismatch(name, repr(expect.equals), shown)
    if expect.json:
        yield from _json(name, expect, text, seen)


def _json(name: Stream, expect: StreamExpectation, text: str, seen: Seen) -> Iterator[Mismatch]:
    document = _parsed(text)
    if isinstance(document, _NotJson):
        yield Mismatch(name, "JSON", excerpt(seen.mask(text)))
        return
    for expression, value in expect.json.items():
        actual = _search(expression, document.value)
        if actual != value or isinstance(actual, bool) is not isinstance(value, bool):
            yield Mismatch(
                f"{name}, JMESPath {expression}",
                json.dumps(value),
                excerpt(seen.mask(json.dumps(actual)), raw=True),
            )


class _NotJson(Struct, frozen=True):
    pass


class _Json(Struct, frozen=True):
    value: Any


def _parsed(text: str) -> _Json | _NotJson:
    try:
        return _Json(json.loads(text))
    except (ValueError, RecursionError):
        return _NotJson()


def _search(expression: str, document: Any) -> Any:  # noqa: ANN401 - JSON is any of its types
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(expression, document)
    except JMESPathError as error:
        return f"no value: {error}"


def _file(expect: FileExpectation, seen: Seen) -> Iterator[Mismatch]:
    text = seen.file(expect.path)
    name = f"file {expect.path}"
    if (text is not None) is not expect.exists:
        words = ("to exist", "none") if expect.exists else ("not to exist", "a file")
        yield Mismatch(name, *words)
    if text is None:
        return
    for part in expect.contains:
        if part not in text:
            yield Mismatch(name, f"to contain {part!r}", excerpt(seen.mask(text)))
    if expect.equals is not None and text != expect.equals:
        yield Mismatch(name, repr(expect.equals), excerpt(seen.mask(text)))


def _saved(save: Save, text: str, shown: str) -> str | Mismatch:
    what = f"save {save.name}"
    if save.pattern is not None:
        match = re.search(save.pattern, text, re.MULTILINE)
        if match is None:
            return Mismatch(what, f"{save.stream} to match {save.pattern!r}", shown)
        found = match[match.re.groups and 1]
    else:
        document = _parsed(text)
        if isinstance(document, _NotJson):
            return Mismatch(what, f"JSON on {save.stream}", shown)
        value = _search(save.json or "@", document.value)
        if value is None:
            return Mismatch(what, f"a value at JMESPath {save.json}", "null")
        found = value if isinstance(value, str) else json.dumps(value)
    if found is None or "\0" in found:
        return Mismatch(what, "text that fits a variable", "nothing" if found is None else "a NUL byte")
    return found


def excerpt(text: str, *, most: int = 300, raw: bool = False) -> str:
    """Show the end of a text on one line, quoted, with what was left out as a number."""
    shown = text if raw else repr(text[-most:])
    if len(text) > most:
        shown = (text[-most:] if raw else shown) + f" (after {len(text) - most} other characters)"
    return shown if text else "nothing"


def _around(text: str, part: str, seen: Seen, *, margin: int = 60) -> str:
    start = text.index(part)
    before, after = seen.mask(text[:start]), seen.mask(text[start + len(part) :])
    return repr(before[-margin:] + part + after[:margin])
