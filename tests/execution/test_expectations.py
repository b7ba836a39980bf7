from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_dogfood.execution.expectations import (
    MAX_JSON,
    SavedValue,
    excerpt,
    exit_words,
    mismatches,
    saved_values,
)
from pytest_dogfood.journey import Expectation, FileExpectation, Save, Step, StreamExpectation
from tests.support.fakes import SECRET, FakeSeen
from tests.support.strategies import ANYWHERE

VALUES = {"id": "7", "paid": "true", "tea": "tea", "half": "1.50", "key": SECRET}
HOSTILE = "a" * 60 + "!"
ORDER = json.dumps({"id": 7, "paid": True, "items": ["tea"]})


def step(expect: Expectation | None = None, *save: Save) -> Step:
    return Step(location=ANYWHERE, run="true", expect=expect or Expectation(), save=save)


def judged(expect: Expectation, seen: FakeSeen) -> list[str]:
    return [str(one) for one in mismatches(step(expect), seen)]


def out(**keys: Any) -> Expectation:
    return Expectation(stdout=StreamExpectation(**keys))


def file(**keys: Any) -> Expectation:
    return Expectation(files=(FileExpectation(path="a.txt", **keys),))


@pytest.mark.parametrize(
    "expect, seen",
    [
        (Expectation(), FakeSeen()),
        (Expectation(exit=3), FakeSeen(status=3)),
        (Expectation(exit="nonzero"), FakeSeen(status=-9)),
        (Expectation(text="prose judges nothing"), FakeSeen(stdout="else")),
        (out(contains=("b", "a")), FakeSeen(stdout="a b")),
        (out(not_contains=("c",)), FakeSeen(stdout="a b")),
        (out(matches=(r"^b\d$",)), FakeSeen(stdout="a\nb7\nc")),
        (out(equals=""), FakeSeen()),
        (out(equals="a\n"), FakeSeen(stdout="a\n")),
        (
            out(json={"id": "$id", "paid": "$paid", "items": ["$tea"]}),
            FakeSeen(stdout=ORDER, environment=VALUES),
        ),
        (out(json={"@": "$half"}), FakeSeen(stdout="1.5", environment=VALUES)),
        (out(contains=("$tea",), not_contains=("$id",)), FakeSeen(stdout="tea", environment=VALUES)),
        (out(matches=("^${tea}$",), equals="$tea\n"), FakeSeen(stdout="tea\n", environment=VALUES)),
        (
            Expectation(files=(FileExpectation(path="$tea/$$", contains=("$id",), equals="$id"),)),
            FakeSeen(files={"tea/$": "7"}, environment=VALUES),
        ),
        (out(json={"id": 7, "paid": True, "items[0]": "tea", "none": None}), FakeSeen(stdout=ORDER)),
        (Expectation(stderr=StreamExpectation(contains=("oops",))), FakeSeen(stderr="oops")),
        (file(), FakeSeen(files={"a.txt": ""})),
        (file(exists=False), FakeSeen()),
        (file(contains=("x",), equals="xy"), FakeSeen(files={"a.txt": "xy"})),
    ],
)
def test_what_is_as_expected_gives_no_mismatch(expect: Expectation, seen: FakeSeen) -> None:
    assert judged(expect, seen) == []


@pytest.mark.parametrize(
    "expect, seen, words",
    [
        (Expectation(), FakeSeen(status=2), "exit 2, expected 0"),
        (Expectation(), FakeSeen(status=-9), "exit -9 (ended by signal 9), expected 0"),
        (Expectation(exit="nonzero"), FakeSeen(), "exit 0, expected any other"),
        (out(contains=("b",)), FakeSeen(stdout="a"), "stdout: expected to contain 'b', got 'a'"),
        (out(contains=("b",)), FakeSeen(), "stdout: expected to contain 'b', got nothing"),
        (out(not_contains=("b",)), FakeSeen(stdout="abc"), "stdout: expected not to contain 'b', got 'abc'"),
        (out(matches=("^b$",)), FakeSeen(stdout="ab"), "stdout: expected to match '^b$', got 'ab'"),
        (out(equals="a"), FakeSeen(stdout="a\n"), "stdout: expected 'a', got 'a\\n'"),
        (out(json={"id": 8}), FakeSeen(stdout=ORDER), "stdout, JMESPath id: expected 8, got 7"),
        (out(json={"paid": 1}), FakeSeen(stdout=ORDER), "stdout, JMESPath paid: expected 1, got true"),
        (out(json={"no": "x"}), FakeSeen(stdout=ORDER), 'stdout, JMESPath no: expected "x", got null'),
        (out(json={"id": 8}), FakeSeen(stdout="hello"), "stdout: expected JSON, got 'hello'"),
        (out(json={"id": 8}), FakeSeen(stdout="[" * 100_000), "stdout: expected JSON, got "),
        (out(json={"id": "7"}), FakeSeen(stdout=ORDER), 'stdout, JMESPath id: expected "7", got 7'),
        (
            out(json={"id": "$tea"}),
            FakeSeen(stdout=ORDER, environment=VALUES),
            'stdout, JMESPath id: expected "tea"',
        ),
        (
            out(json={"id": "${id}0"}),
            FakeSeen(stdout=ORDER, environment=VALUES),
            'stdout, JMESPath id: expected "70"',
        ),
        (
            out(json={"paid": "$id"}),
            FakeSeen(stdout='{"paid": true}', environment=VALUES),
            "stdout, JMESPath paid",
        ),
        (out(json={"@": [1]}), FakeSeen(stdout="[true]"), "stdout, JMESPath @: expected [1], got [true]"),
        (out(json={"@": {"a": 1}}), FakeSeen(stdout="{}"), 'stdout, JMESPath @: expected {"a": 1}, got {}'),
        (
            out(json={"max_by(@, &a)": 1}),
            FakeSeen(stdout='[{"a": 1}, {"a": "b"}]'),
            "stdout, JMESPath max_by",
        ),
        (out(json={"&a": 1}), FakeSeen(stdout="{}"), "stdout, JMESPath &a: expected 1, got no JSON value"),
        (
            out(json={"@": 1}),
            FakeSeen(stdout="1" + " " * MAX_JSON),
            "output: expected at most 8388608 bytes to search, got 4194305 characters of JSON",
        ),
        (
            out(not_contains=("$tea",)),
            FakeSeen(stdout="a tea", environment=VALUES),
            "stdout: expected not to contain",
        ),
        (
            out(matches=("$tea",)),
            FakeSeen(environment=VALUES),
            "stdout: expected to match '(?:tea)', got nothing",
        ),
        (
            out(matches=("^(a|aa)+$",)),
            FakeSeen(stdout=HOSTILE, left=0.1),
            "stdout: expected to match '^(a|aa)+$', got no result within the step's time limit",
        ),
        (file(), FakeSeen(), "file a.txt: expected to exist, got none"),
        (file(exists=False), FakeSeen(files={"a.txt": ""}), "file a.txt: expected not to exist, got a file"),
        (
            file(contains=("x",)),
            FakeSeen(files={"a.txt": "y"}),
            "file a.txt: expected to contain 'x', got 'y'",
        ),
        (file(equals="x"), FakeSeen(files={"a.txt": "y"}), "file a.txt: expected 'x', got 'y'"),
        (Expectation(), FakeSeen(timed_out=True), "timed out after 5 s (killed)"),
        (
            out(contains=("x",)),
            FakeSeen(too_large=("stdout",)),
            "output: expected at most 8388608 bytes to search, got 9 MB of stdout",
        ),
    ],
)
def test_what_is_not_as_expected_says_what_should_and_what_did_come(
    expect: Expectation, seen: FakeSeen, words: str
) -> None:
    (found,) = judged(expect, seen)
    assert found.startswith(words)


def test_everything_that_is_wrong_is_said() -> None:
    expect = Expectation(exit=0, stdout=StreamExpectation(contains=("a", "b"), equals="ab"))
    assert len(judged(expect, FakeSeen(status=1, stdout="c"))) == 4


def test_a_secret_is_hidden_where_the_output_is_shown() -> None:
    seen = FakeSeen(stdout=f"key={SECRET}")
    (found,) = judged(out(contains=("ready",)), seen)
    assert found == "stdout: expected to contain 'ready', got 'key=***'"


def test_a_secret_is_hidden_around_what_should_not_be_there() -> None:
    seen = FakeSeen(stdout=f"{SECRET} error {SECRET}")
    assert judged(out(not_contains=("error",)), seen) == [
        "stdout: expected not to contain 'error', got '*** error ***'"
    ]


@pytest.mark.parametrize(
    "expect",
    [
        out(contains=("$key",)),
        out(matches=("$key",)),
        out(equals="$key"),
        out(json={"id": "$key"}),
        file(contains=("$key",)),
        file(equals="$key"),
    ],
)
def test_a_secret_that_is_expected_is_hidden(expect: Expectation) -> None:
    seen = FakeSeen(stdout=ORDER, files={"a.txt": "x"}, environment=VALUES)
    (found,) = judged(expect, seen)
    assert "***" in found
    assert SECRET not in found


def test_a_secret_that_should_not_be_there_is_hidden() -> None:
    seen = FakeSeen(stdout=f"a {SECRET} b", environment=VALUES)
    assert judged(out(not_contains=("$key",)), seen) == [
        "stdout: expected not to contain '***', got 'a *** b'"
    ]


def test_a_secret_is_judged_by_its_real_text() -> None:
    assert judged(out(contains=(SECRET,)), FakeSeen(stdout=SECRET)) == []


@pytest.mark.parametrize(
    "save, value",
    [
        (Save(name="x", pattern=r"id=(\d+)"), "42"),
        (Save(name="x", pattern=r"id=\d+"), "id=42"),
        (Save(name="x", pattern="^second$"), "second"),
        (Save(name="x", stream="stderr", json="id"), "7"),
        (Save(name="x", stream="stderr", json="items[0]"), "tea"),
        (Save(name="x", stream="stderr", json="items"), '["tea"]'),
        (Save(name="x", stream="stderr", json="paid"), "true"),
    ],
)
def test_a_value_is_taken_from_the_stream(save: Save, value: str) -> None:
    seen = FakeSeen(stdout="id=42\nsecond", stderr=ORDER)
    assert saved_values(step(None, save), seen) == ((SavedValue("x", value, secret=False),), ())


@pytest.mark.parametrize(
    "save, seen, words",
    [
        (Save(name="x", pattern="b"), FakeSeen(stdout="a"), "save x: expected stdout to match 'b', got 'a'"),
        (Save(name="x", json="id"), FakeSeen(stdout="a"), "save x: expected JSON on stdout, got 'a'"),
        (
            Save(name="x", json="no"),
            FakeSeen(stdout=ORDER),
            "save x: expected a value at JMESPath no, got null",
        ),
        (
            Save(name="x", pattern="a(b)?"),
            FakeSeen(stdout="a"),
            "save x: expected text that fits a variable, got",
        ),
        (
            Save(name="x", pattern=".+"),
            FakeSeen(stdout="a\0b"),
            "save x: expected text that fits a variable, got a",
        ),
        (
            Save(name="x", pattern="a"),
            FakeSeen(too_large=("stdout",)),
            "save x: expected an output that is small enough to search",
        ),
        (
            Save(name="x", pattern="^(a|aa)+$"),
            FakeSeen(stdout=HOSTILE, left=0.1),
            "save x: expected stdout to match '^(a|aa)+$', got no result within the step's time limit",
        ),
    ],
)
def test_a_value_that_cannot_be_had_says_why(save: Save, seen: FakeSeen, words: str) -> None:
    values, (problem,) = saved_values(step(None, save), seen)
    assert values == ()
    assert str(problem).startswith(words)


def test_a_step_that_saves_a_secret_shows_nothing_of_its_output() -> None:
    secret = Save(name="key", pattern="key=(.*)", secret=True)
    _, (problem,) = saved_values(step(None, secret), FakeSeen(stdout="password=abc"))
    assert "abc" not in str(problem)


def test_a_long_text_shows_its_end_and_how_much_came_before() -> None:
    assert excerpt("a" * 400 + "end") == repr("a" * 297 + "end") + " (after 103 other characters)"


@pytest.mark.parametrize("status, words", [(0, "0"), (3, "3"), (-15, "-15 (ended by signal 15)")])
def test_an_exit_status_is_said_in_words(status: int, words: str) -> None:
    assert exit_words(status) == words
