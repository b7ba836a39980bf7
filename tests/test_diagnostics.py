"""How findings are put into text."""

from __future__ import annotations

import pytest

from pytest_dogfood.diagnostics import Diagnostic, Location, in_text, seconds_in_words


def finding(line: int, code: str, hint: str) -> Diagnostic:
    return Diagnostic(location=Location("a.yaml", line), code=code, message="wrong", hint=hint)


def told(*findings: Diagnostic) -> list[tuple[int, bool]]:
    """Return the line of each finding in turn, and whether its hint is told."""
    return [(found.location.line or 0, "hint: " in text) for found, text in in_text(findings)]


def test_a_hint_is_told_behind_the_last_of_those_in_a_row() -> None:
    assert told(*(finding(line, "code", "do it") for line in (1, 2, 3))) == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_hint_is_told_once_whatever_stands_between() -> None:
    same = [finding(line, "code", "do it") for line in (1, 3, 5, 6)]
    others = [finding(line, "other", "do that") for line in (2, 4)]
    mixed = sorted([*same, *others], key=lambda found: found.location)
    assert [line for line, is_told in told(*mixed) if is_told] == [1, 2]


def test_another_hint_or_code_is_told_by_itself() -> None:
    assert told(finding(1, "a", "x"), finding(2, "a", "y"), finding(3, "b", "x")) == [
        (1, True),
        (2, True),
        (3, True),
    ]


def test_a_name_that_is_meant_is_suggested_at_each_place_but_those_in_a_row() -> None:
    slips = [finding(line, "code", "did you mean 'port'?") for line in (1, 3, 4)]
    mixed = sorted([*slips, finding(2, "other", "do that")], key=lambda found: found.location)
    assert [line for line, is_told in told(*mixed) if is_told] == [1, 2, 4]


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (0.00465, "under 0.1 s"),
        (0.05, "0.1 s"),
        (0.5, "0.5 s"),
        (2, "2 s"),
        (12.34, "12.3 s"),
        (1234.56, "1234.6 s"),
    ],
)
def test_durations_have_at_most_one_decimal(seconds: float, words: str) -> None:
    assert seconds_in_words(seconds) == words
