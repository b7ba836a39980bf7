"""Durations come from the last run, else from estimates, else from the committed file; nonsense is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION, weights
from pytest_dogfood.session.durations import (
    COMMITTED,
    LONGEST,
    read_durations,
    valid_durations,
    write_durations,
)
from tests.support.strategies import new_journey

A = "made.journey.yaml::a"


@pytest.mark.parametrize(
    "seen, estimate, committed, expected",
    [
        ({A: 1.5}, 2.0, {A: 3.0}, 1.5),
        ({}, 2.0, {A: 3.0}, 2.0),
        ({}, 0.0, {A: 3.0}, 0.0),
        ({}, None, {A: 3.0}, 3.0),
        ({}, None, {}, UNKNOWN_DURATION),
    ],
)
def test_the_last_run_counts_before_the_estimate_and_that_before_the_committed_file(
    seen: Mapping[str, float], estimate: float | None, committed: Mapping[str, float], expected: float
) -> None:
    journey = replace(new_journey("a"), estimate=estimate)
    assert weights([journey], seen=seen, committed=committed) == {A: expected}


def test_what_nobody_knows_weighs_as_much_as_the_usual() -> None:
    journeys = [new_journey(name) for name in "abcd"]
    seen = {journey.nodeid: seconds for journey, seconds in zip(journeys, (1.0, 2.0, 9.0), strict=False)}
    assert weights(journeys, seen=seen, committed={})[journeys[3].nodeid] == 2.0


def test_there_need_be_no_committed_file(tmp_path: Path) -> None:
    assert read_durations(tmp_path / COMMITTED) == {}


@settings(max_examples=50, deadline=None)
@given(durations=st.dictionaries(st.text(), st.floats(0, LONGEST)))
def test_what_is_written_is_read_again_to_the_millisecond(
    tmp_path_factory: pytest.TempPathFactory, durations: dict[str, float]
) -> None:
    path = tmp_path_factory.getbasetemp() / COMMITTED
    write_durations(path, durations)
    assert read_durations(path) == {name: round(seconds, 3) for name, seconds in durations.items()}


def test_the_written_file_has_one_line_per_item_in_their_order(tmp_path: Path) -> None:
    write_durations(tmp_path / COMMITTED, {"b": 2.0, "a": 1.00049})
    lines = (tmp_path / COMMITTED).read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if "." in line] == ['"a": 1.0,', '"b": 2.0']


def test_what_is_known_of_other_items_of_the_run_stays(tmp_path: Path) -> None:
    write_durations(tmp_path / COMMITTED, {"a": 1.0, "b": 2.0, "gone": 3.0})
    write_durations(tmp_path / COMMITTED, {"a": 5.0}, known=["a", "b", "new"])
    assert read_durations(tmp_path / COMMITTED) == {"a": 5.0, "b": 2.0}


def test_the_file_is_written_for_others_to_read_and_its_directory_is_made(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        write_durations(tmp_path / "new" / COMMITTED, {})
    finally:
        os.umask(umask)
    assert (tmp_path / "new" / COMMITTED).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "cannot be read"),
        ("[]", "Expected `object`"),
        ("[" * 100_000, "cannot be read"),
        ('{"version": 1}', "missing required field `durations`"),
        ('{"version": 2, "durations": {}}', "has version 2; this version reads up to 1"),
        ('{"version": 1, "durations": {"a": "long"}}', "Expected `float`"),
        ('{"version": 1, "durations": {"a": NaN}}', "cannot be read"),
        ('{"version": 1, "durations": {"a": -1}}', "-1 seconds for a is not a duration"),
        ('{"version": 1, "durations": {"a": 1e300}}', "is not a duration"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / COMMITTED).write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match=words):
        read_durations(tmp_path / COMMITTED)


def test_a_directory_in_place_of_the_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / COMMITTED).mkdir()
    with pytest.raises(HarnessError, match="cannot be read: Is a directory"):
        read_durations(tmp_path / COMMITTED)


@pytest.mark.parametrize("cached", [None, [], "a", 3, {"a": "1"}, {"a": None}, {"a": [1]}, {"a": True}])
def test_a_cache_of_other_shapes_counts_as_empty(cached: Any) -> None:
    assert valid_durations(cached) == {}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e308", "1" + "0" * 400])
def test_numbers_in_the_cache_that_are_no_durations_are_left_out(number: str) -> None:
    assert valid_durations(json.loads(f'{{"bad": {number}, "good": 1}}')) == {"good": 1.0}
