"""Random projects whose chains fall into parts come to the same, really run, with any number of workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.split_runs import Trial, differences

PROJECTS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6")) // 2
"""How many random projects are really run here; tests/campaigns/split_runs.py runs more of them in more ways."""


@pytest.mark.parametrize("seed", [5, *range(101, 100 + PROJECTS)])
def test_in_each_state_the_same_journeys_run_before_an_item_whatever_the_workers(
    seed: int, short_root: Path
) -> None:
    trial = Trial.draw(seed, short_root)
    alone, together = trial.run(0), trial.run(3)
    for seen in (alone, together):
        assert list(trial.complaints(seen)) == [], (seen.log, seen.text)
    assert list(differences(trial.histories(alone), trial.histories(together))) == []


def test_after_a_crash_the_parts_that_are_left_begin_anew(short_root: Path) -> None:
    trial = Trial.draw(5, short_root)
    (crashed, *_) = sorted(one for one, outcome in trial.expected.items() if outcome == "passed")
    seen = trial.run(2, crash=crashed)
    assert f"while running '{trial.project.scene.graph().journeys[crashed].nodeid}'" in seen.text
    assert list(trial.complaints(seen, crashed=crashed)) == [], (seen.log, seen.text)
