"""The same histories under the rule that the file's status always wins: they go back, and the tests see it."""

from __future__ import annotations

from tests.consistency.simulation_process import simulation

HISTORIES = 10


def test_under_the_naive_rule_at_least_nine_histories_of_ten_go_back() -> None:
    with simulation("--naive") as tell:
        outcomes = [tell(seed) for seed in range(HISTORIES)]
    assert sum(outcome.went_back for outcome in outcomes) >= 0.9 * HISTORIES
    assert all("went back from" in outcome.trouble for outcome in outcomes if outcome.went_back)
