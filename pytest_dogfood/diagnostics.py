"""Findings on a project: the place, a message for people, a code for tools."""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


# Made by the hundred thousand: a struct costs a seventh of what a frozen dataclass does.
class Location(Struct, frozen=True, order=True):
    """A place in a file: `path` relative to pytest's rootdir, `line` and `column` counted from 1, 0 if unknown."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.path, *numbers])


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Diagnostic(Struct, frozen=True, kw_only=True):
    """One finding: the place, a message, a hint what to do next, and a code that never changes."""

    location: Location
    code: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        first = f"{self.location}: {self.message} [{self.code}]"
        return f"{first}\n    hint: {self.hint}" if self.hint else first


def error(place: Location, code: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(location=place, code=code, message=message, hint=hint)


def warning(place: Location, code: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(location=place, code=code, message=message, hint=hint, severity=Severity.WARNING)


def remark(place: Location, code: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(location=place, code=code, message=message, hint=hint, severity=Severity.INFO)


class InvalidProjectError(Exception):
    """The project's files contradict the rules or each other; `diagnostics` holds every finding."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = in_order_of_place(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n".join(text for _, text in in_text(self.diagnostics))


class HarnessError(Exception):
    """The harness could not do its part. Never the product's failure; reported as an error, not as a failure.

    `why` is the reason that dependents of the journey report; empty if the journey could not be run.
    """

    why = ""


class PinnedPlanError(Exception):
    """A plan file that no run can follow: one message for each thing that is wrong with it."""


class NoActor(Exception):  # noqa: N818 - a reason to skip
    """A step has no command, and there is no actor to decide one."""


class UnansweredProbeError(HarnessError):
    """A journey passed, but the probes of its tokens could not be run."""

    def __init__(self, text: str, *, tokens: Iterable[str]) -> None:
        super().__init__(text)
        names = ", ".join(map(repr, tokens))
        self.why = f"passed, but the probe of {names} cannot be run"


@contextmanager
def to_harness_error(doing: str) -> Iterator[None]:
    """Turn an OSError while `doing` something into a harness error."""
    try:
        yield
    except OSError as error:
        raise HarnessError(f"cannot {doing}: {error.strerror or error}") from error


def in_order_of_place(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by place and drop duplicates, so that the same files always give the same text."""
    unique = dict.fromkeys(diagnostics)
    return tuple(sorted(unique, key=lambda found: (found.location, found.code, found.message)))


DID_YOU_MEAN = "did you mean"
"""The beginning of a hint that suggests a name."""


def in_text(diagnostics: Sequence[Diagnostic]) -> Iterator[tuple[Diagnostic, str]]:
    """Yield findings, each with its text; a hint that several have is shown once, after the first group of them.

    A suggested name is the exception: two misspellings of the same word each need it.
    """
    given: set[tuple[str, str]] = set()
    for number, found in enumerate(diagnostics):
        hint = (found.code, found.hint)
        is_last_in_row = all(
            hint != (other.code, other.hint) for other in diagnostics[number + 1 : number + 2]
        )
        is_told = is_last_in_row and (hint not in given or found.hint.startswith(DID_YOU_MEAN))
        yield found, str(found if is_told else replace(found, hint=""))
        if is_last_in_row:
            given.add(hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the nearest known word, or the empty string if none is near."""
    near = nearest(word, known)
    return f"{DID_YOU_MEAN} {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return the known word most like another, or the empty string; `likeness` is from 0 to 1, as difflib's."""
    near = get_close_matches(word, sorted(set(known)), n=1, cutoff=likeness)
    return near[0] if near else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 journey`, `2 journeys`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Return text without control characters and line breaks: titles and file names may contain anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def seconds_in_words(seconds: float) -> str:
    """Return a duration to a tenth of a second: `2 s`, `0.5 s`, `under 0.1 s`."""
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def errors_among(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the errors, which forbid a run, without warnings and remarks."""
    return tuple(found for found in diagnostics if found.severity is Severity.ERROR)
