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
IN_GIT = {
    "pre-commit": {"the file"},
    "reference-transaction prepared": {"the file"},
    "reference-transaction committed": {"the commit"},
    "post-index-change": {"the file", "the commit"},  # git does not say whether it comes before the commit
    "post-commit": {"the commit"},
}


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
    assert [(each.at, each.reached) for each in found if each.at.startswith("before ")] == BY_ITSELF


def test_a_git_that_is_killed_too_has_written_the_file_or_committed_it(found: Sequence[Found]) -> None:
    reached = {each.at: each.reached for each in found}
    assert [at for at, may_be in IN_GIT.items() if reached[f"with git in its {at}"] not in may_be] == []


def test_a_git_that_goes_on_commits(found: Sequence[Found]) -> None:
    reached = {each.at: each.reached for each in found if each.at.startswith("while ")}
    assert reached == {f"while git goes on from its {at}": "the commit" for at in IN_GIT}


def test_the_next_fix_does_what_is_left(found: Sequence[Found]) -> None:
    assert {(each.reached, each.next_fix) for each in found} == {
        ("nothing", ("C-13", "C-11")),
        ("the hub", ("C-13",)),
        ("the file", ("C-14",)),  # somebody has to look: it is not committed
        ("the commit", ()),
    }
