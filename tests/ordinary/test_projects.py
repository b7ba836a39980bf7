"""Random projects, really run in many ways, come to what the one model of each says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.ordinary.projects import complaints, ways_for

FIRST = 16
GRAPHS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6"))
"""Which projects are run, and how many: together these go every way.

`python -m tests.ordinary.projects --seeds N` repeats number N.
"""


@pytest.mark.parametrize(
    "seed, way", [(seed, way) for seed in range(FIRST, FIRST + GRAPHS) for way in ways_for(seed)]
)
def test_a_random_project_comes_to_the_same_whatever_the_way(seed: int, way: str, short_root: Path) -> None:
    assert complaints(seed, way, short_root) == []
