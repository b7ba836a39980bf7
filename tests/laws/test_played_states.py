"""Whatever the workers, durations, crashes, full disks and undeclared needs: what items find in their states."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.run_results import inherited

PROJECTS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "16"))
"""How many random projects are played here; tests/campaigns/played_states.py plays thousands."""


def play(first: int, count: int, rule: str = "") -> subprocess.CompletedProcess[str]:
    """Play projects in a process of its own, because each worker is a fork of it."""
    command = [sys.executable, "-m", "tests.campaigns.played_states", str(first), str(count), rule]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, env=inherited(), capture_output=True, text=True, check=False)


def test_in_each_state_the_same_journeys_run_before_an_item_and_come_to_the_same() -> None:
    done = play(1000, PROJECTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(15, id="a state goes with its last item, also one whose tokens are not copyable"),
        pytest.param(5, id="a state where a replay failed stays, as the result says"),
        pytest.param(24, id="a template that could not be copied goes, too"),
        pytest.param(120, id="a journey is replayed for the whole machine in a directory of its own"),
        pytest.param(340, id="a state goes while copies of what it began with are still used elsewhere"),
        pytest.param(8075, id="a template has nothing of the parts that copy it"),
        pytest.param(2712, id="a template stays as long as a fork below it, or another one, needs it"),
        pytest.param(
            7649, id="a provider for the whole machine leaves nothing in the state of who asks first"
        ),
    ],
)
def test_what_was_once_wrong_is_right(seed: int) -> None:
    done = play(seed, 1)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "rule, seed",
    [
        ("half_copies", 101),
        ("tokens_without_files", 101),
        ("one_state_for_all_parts", 101),
        ("templates_that_go_on", 111),
        ("second_tries_in_the_same_state", 106),
        ("replays_where_items_run", 120),
        ("nothing_removed", 101),
        ("kept_states_removed", 106),
    ],
)
def test_a_broken_rule_is_noticed(rule: str, seed: int) -> None:
    done = play(seed, 1, rule)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"seed {seed}:" in done.stdout
