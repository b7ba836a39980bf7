"""A fix that is killed before one of its writes, or in the middle of its git: what is there afterwards, and then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from tests.consistency.killed_fixes import Found

BY_ITSELF = [
    ("before the lock", "nothing"),
    ("before git fetch", "nothing"),
    ("before hub: UPDATE tasks", "nothing"),
    ("before hub: INSERT INTO task_events", "nothing"),
    ("before hub: COMMIT", "nothing"),
    ("before hub: INSERT INTO writebacks", "the hub"),  # to see that it can be done; it is taken back
    ("before hub: COMMIT", "the hub"),
    ("before open the new file", "the hub"),
    ("before chmod the new file", "the hub"),
    ("before rename the workplan", "the hub"),
    ("before remove the new file", "the file"),
    ("before git commit", "the file"),
    ("before hub: INSERT INTO writebacks", "the commit"),
    ("before hub: COMMIT", "the commit"),
]
IN_GIT = [
    ("with git in its pre-commit", "the file"),
    ("while git goes on from its pre-commit", "the commit"),
    ("with git in its reference-transaction prepared", "the file"),
    ("while git goes on from its reference-transaction prepared", "the commit"),
    ("with git in its reference-transaction committed", "the commit"),
    ("while git goes on from its reference-transaction committed", "the commit"),
    ("with git in its post-index-change", "the file"),
    ("while git goes on from its post-index-change", "the commit"),
    ("with git in its post-commit", "the commit"),
    ("while git goes on from its post-commit", "the commit"),
]


@pytest.fixture(scope="module")
def found() -> Sequence[Found]:
    """Kill them all; wherever the next fix, after somebody has cleared up, does not do the rest this fails."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.consistency.killed_fixes"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    every = [Found.from_json(line) for line in told.stdout.splitlines()]
    return [one for one, _ in groupby(every)]  # a lock may be written more than once


def test_wherever_a_fix_is_killed_there_is_what_it_had_written_before(found: Sequence[Found]) -> None:
    assert [(each.at, each.reached) for each in found] == BY_ITSELF + IN_GIT


def test_the_next_fix_does_what_is_left(found: Sequence[Found]) -> None:
    assert {(each.reached, each.next_fix) for each in found} == {
        ("nothing", ("C-13", "C-11")),
        ("the hub", ("C-13",)),
        ("the file", ("C-14",)),  # somebody has to look: it is not committed
        ("the commit", ()),
    }
