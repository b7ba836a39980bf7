"""Suites written for pytest-dependency: run by it and by us they come out the same, by us in whatever way they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from tests.support.dependency_suites import ORDERED_HERE, SUITE

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]
Told = dict[str, str]

WORDS = "PASSED|FAILED|SKIPPED|XFAIL|XPASS|ERROR"
LINE = re.compile(
    rf"^(?:\[gw\d+\] \[ *\d+%\] (?P<first>{WORDS}) )?(?P<nodeid>[\w/.]+::\S+?)(?: (?P<then>{WORDS})\b.*)?$"
)
SHUFFLED = "--randomly-seed=7"


def told(result: pytest.RunResult) -> Told:
    """Return what the lines of -v say of each test, its teardown behind it if that has failed."""
    found: Told = {}
    for match in filter(None, map(LINE.match, map(str.rstrip, result.outlines))):
        word = match["first"] or match["then"]
        if word:
            found[match["nodeid"]] = f"{found.get(match['nodeid'], '')} {word}".strip()
    return found


@pytest.fixture(scope="module")
def suite(inner: Make) -> Inner:
    return inner(SUITE)


@pytest.fixture(scope="module")
def original(suite: Inner) -> pytest.RunResult:
    return suite.typed("-v", "-p", "no:randomly", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def ours(suite: Inner) -> pytest.RunResult:
    return suite.dogfood("-v")


def test_the_same_passes_and_the_same_skips(original: pytest.RunResult, ours: pytest.RunResult) -> None:
    expected = told(original) | dict.fromkeys(ORDERED_HERE, "PASSED")
    assert len(expected) > 90
    assert told(ours) == expected


@pytest.mark.parametrize(
    "arguments",
    [(SHUFFLED,), ("-n2", SHUFFLED), ("-n2", "--dist=loadscope")],
    ids=["shuffled", "shuffled workers", "another dist"],
)
def test_however_it_is_run(suite: Inner, ours: pytest.RunResult, arguments: tuple[str, ...]) -> None:
    assert told(suite.dogfood("-v", *arguments)) == told(ours)


def test_also_where_the_original_is_kept_out(suite: Inner, ours: pytest.RunResult) -> None:
    result = suite.dogfood("-v", without=["dependency"])
    assert told(result) == told(ours)
    assert "pytest-dependency does nothing" not in result.stdout.str()


def test_all_shards_together_do_the_same(suite: Inner, ours: pytest.RunResult) -> None:
    shards = [told(suite.dogfood("-v", f"--dogfood-shard={number}/2", SHUFFLED)) for number in (1, 2)]
    assert all(shards)
    assert not shards[0].keys() & shards[1].keys()
    assert shards[0] | shards[1] == told(ours)


def test_what_is_selected_comes_out_as_ever_and_brings_what_it_needs(
    suite: Inner, ours: pytest.RunResult
) -> None:
    result = suite.dogfood("-v", "-k", "test_after_logout or test_receipt or test_stop or test_read")
    outcomes = told(result)
    assert outcomes.items() <= told(ours).items()
    assert [nodeid for nodeid in outcomes if nodeid.startswith("api")] == [
        "api/test_auth.py::test_auth",
        "api/test_orders.py::test_order",
        "api/test_orders.py::test_pay",
        "api/test_orders.py::test_receipt",
    ]
    result.stdout.fnmatch_lines(["not selected, but run as a prerequisite: *"])


def test_the_header_says_which_of_the_two_acts(original: pytest.RunResult, ours: pytest.RunResult) -> None:
    original.stdout.fnmatch_lines(["dogfood: off, * pytest-dependency reads the dependency marks"])
    ours.stdout.fnmatch_lines(
        ["dogfood: runs tests by their dependency marks; pytest-dependency is off in this run"]
    )


@pytest.mark.parametrize(
    "line",
    [
        "deferred: 1 test, because test_login.py::TestLogin::test_wrong_password failed",
        "deferred: 1 test, because test_endings.py::test_teardown passed, but its teardown failed",
        "deferred: 1 test, because test_endings.py::test_xfail failed, as its xfail mark expects",
        "deferred: 1 test, because 'test_nobody' is not the name of a test with a dependency mark in test_endings.py*",
        "deferred: 1 test, because 'test_unmarked' is not the name *; it is there, but has no mark: *",
        "deferred: 1 test, because 't' is not the name *; *: write depends=[[]'test_skip']",
        "deferred: 1 test, because test_endings.py::test_on_itself -> *::test_on_itself waits for itself",
        "deferred: 3 tests, because test_endings.py::test_on_one_another -> *::test_on_each_other -> *wait for *",
        "deferred: 1 test, because 'api/test_auth.py::test_auth' is not the name * with scope='session'*",
    ],
)
def test_every_skip_is_given_its_reason(ours: pytest.RunResult, line: str) -> None:
    ours.stdout.fnmatch_lines([line])
