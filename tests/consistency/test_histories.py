"""Several machines, one hub in an SQLite file, and whatever people, agents and crashes do to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consistency.simulation_process import HISTORIES, Tell, simulation


@pytest.fixture(scope="module")
def tell() -> Iterator[Tell]:
    with simulation() as started:
        yield started


@pytest.mark.parametrize("seed", [seed for seed in range(HISTORIES) if seed % 3])
def test_in_any_history_nothing_goes_back_and_all_agree_in_the_end(tell: Tell, seed: int) -> None:
    outcome = tell(seed)
    assert not outcome.trouble, outcome.story()
