"""The same histories as on SQLite, with a hub that is a database of a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consistency.simulation_process import HISTORIES, Tell, simulation


@pytest.fixture(scope="module")
def tell(postgres_server: str) -> Iterator[Tell]:
    with simulation("--server", postgres_server) as started:
        yield started


@pytest.mark.parametrize("seed", range(0, HISTORIES, 3))
def test_in_any_history_nothing_goes_back_and_all_agree_in_the_end(tell: Tell, seed: int) -> None:
    outcome = tell(seed)
    assert not outcome.trouble, outcome.story("--server URL ")
