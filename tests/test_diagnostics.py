"""How findings are put into text."""

from __future__ import annotations

from pytest_dogfood.diagnostics import Diagnostic, Location, in_text


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
