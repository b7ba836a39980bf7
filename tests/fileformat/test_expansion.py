"""What stands for a variable in what a step expects, and what stands for itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.fileformat.expected_text import (
    expanded,
    expanded_pattern,
    problem_with,
    search,
    variable_alone,
)
from pytest_dogfood.journey import Expectation, FileExpectation, StreamExpectation

VALUES = {"n": "17", "dot": "a.b", "empty": "", "dollar": "$n", "A_1": "x", "both": "2,1"}


@pytest.mark.parametrize(
    "text,meant",
    [
        ("id $n", "id 17"),
        ("id ${n}0", "id 170"),
        ("$n$n", "1717"),
        ("$A_1", "x"),
        ("$$n", "$n"),
        ("$$$n", "$17"),
        ("$$", "$"),
        ("costs $5", "costs $5"),
        ("ends with $", "ends with $"),
        ("${", "${"),
        ("${}", "${}"),
        ("${1}", "${1}"),
        ("${n", "${n"),
        ("$dollar", "$n"),
        ("[$empty]", "[]"),
    ],
)
def test_a_variable_stands_for_its_value_and_a_lone_dollar_for_itself(text: str, meant: str) -> None:
    assert expanded(text, VALUES) == meant


@pytest.mark.parametrize(
    "pattern,text,found",
    [
        ("^id $n$", "id 17", True),
        ("$dot", "a.b", True),
        ("$dot", "acb", False),
        ("^$n+$", "1717", True),
        ("^a$", "a", True),
        ("a$$", "a", True),
        (r"\$n", "$n", True),
        (r"\$n", "17", False),
        (r"\\$n", r"\17", True),
        ("^[$n]+$", "$n", True),
        ("^[^$n]+$", "17", True),
        ("^[]$n]+$", "]$", True),
        ("x{$n}", "x{17}", True),
        ("x{$both}", "x{2,1}", True),
        (r"(a)\1$n", "aa17", True),
        ("(?x) $dollar", "$n", True),
    ],
)
def test_a_value_in_a_pattern_is_found_as_it_is(pattern: str, text: str, found: bool) -> None:  # noqa: FBT001 - a column
    assert bool(search(expanded_pattern(pattern, VALUES), text, seconds=5)) is found


@given(st.text(), st.sampled_from(["$v", "^${v}$", "(?i)$v", "(?x) $v", "a?$v", "x{$v}|$v", "($v)*$v"]))
def test_whatever_the_value_the_pattern_compiles_and_finds_it(value: str, pattern: str) -> None:
    meant = expanded_pattern(pattern, {"v": value})
    re.compile(meant)
    assert search(meant, value, seconds=5)


@pytest.mark.parametrize(
    "text,alone", [("$n", True), ("${n}", True), ("$n ", False), ("$$", False), ("$n$n", False)]
)
def test_a_text_may_be_one_variable_alone(text: str, alone: bool) -> None:  # noqa: FBT001 - a column
    assert variable_alone(text) is alone


def out(**keys: object) -> Expectation:
    return Expectation(stdout=StreamExpectation(**keys))  # type: ignore[arg-type]


def file(**keys: object) -> Expectation:
    return Expectation(files=(FileExpectation(**{"path": "a", **keys}),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "expect,where",
    [
        (out(contains=("a", "$no")), "stdout contains '$no'"),
        (out(not_contains=("$no",)), "stdout not_contains '$no'"),
        (out(matches=("^${no}$",)), "stdout matches '^${no}$'"),
        (out(equals="$no\n"), r"stdout equals '$no\n'"),
        (out(json={"a.b": "$no"}), "stdout json a.b '$no'"),
        (out(json={"a": {"b": [1, "x $no"]}}), "stdout json a 'x $no'"),
        (Expectation(stderr=StreamExpectation(contains=("$no",))), "stderr contains '$no'"),
        (file(path="$no/a"), "files '$no/a'"),
        (file(contains=("$no",)), "file a contains '$no'"),
        (file(equals="$no"), "file a equals '$no'"),
    ],
)
def test_a_variable_that_is_not_set_is_a_problem(expect: Expectation, where: str) -> None:
    assert problem_with(expect, VALUES).startswith(f"{where} names $no, which is not set")


@pytest.mark.parametrize(
    "expect",
    [
        out(contains=("$empty",)),
        out(not_contains=("$empty",)),
        out(matches=("$empty",)),
        out(contains=("id=$empty",)),
        file(contains=("$empty",)),
    ],
)
def test_an_empty_variable_is_a_problem_where_it_would_check_nothing(expect: Expectation) -> None:
    assert "names $empty, which is empty, so that it checks nothing" in problem_with(expect, VALUES)


@pytest.mark.parametrize(
    "expect",
    [
        Expectation(),
        out(equals="$empty"),
        out(json={"a": "$empty"}),
        file(equals="$empty"),
        out(contains=("$n", "$5", "$$no", "${")),
        out(matches=(r"\$no", "[$no]", "a$")),
        out(json={"no": 1, "$no": None, "a": {"$no": True}}),
        Expectation(text="$no"),
    ],
)
def test_what_needs_no_value_is_no_problem(expect: Expectation) -> None:
    assert problem_with(expect, VALUES) == ""
