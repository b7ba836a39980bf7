"""Shards partition the project: every item runs on exactly one of them, chains stay whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.cli.main import main

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]


def chain(name: str, length: int) -> str:
    """Describe journeys of which each needs the one before."""
    lines = ["journeys:", f"  - {{id: {name}-0, establishes: [{name}-0-done], steps: [run: 'true']}}"]
    lines += [
        f"  - {{id: {name}-{n}, requires: [{name}-{n - 1}-done], establishes: [{name}-{n}-done], steps: [run: 'true']}}"
        for n in range(1, length)
    ]
    return "\n".join(lines)


FILES = {
    "gate.journey.yaml": """
        journeys:
          - {id: gate, tier: smoke, gating: true, steps: [run: echo gate >> "$DOGFOOD_ROOT/gates"]}
    """,
    "a.journey.yaml": chain("a", 4),
    "b.journey.yaml": chain("b", 3),
    "c.journey.yaml": chain("c", 2),
    "d.journey.yaml": "{journeys: [{id: d, matrix: {n: ['1', '2', '3']}, steps: [run: 'true']}]}",
    "test_one.py": "def test_a(): pass\ndef test_b(): pass",
    "test_two.py": "def test_c(): pass",
}
EVERYTHING = 1 + 4 + 3 + 2 + 3 + 3


@pytest.fixture(scope="module")
def scene(inner: Make) -> Inner:
    return inner(FILES)


def passed(result: pytest.RunResult) -> list[str]:
    return [line.split()[1] for line in result.outlines if line.startswith("PASSED ")]


def ran(result: pytest.RunResult) -> dict[str, int]:
    """Count the outcomes of what a shard ran."""
    return {word: count for word, count in result.parseoutcomes().items() if word != "deselected"}


@pytest.fixture(scope="module")
def shards(scene: Inner) -> list[pytest.RunResult]:
    done = [scene.dogfood("-rA", f"--dogfood-shard={n}/3") for n in (1, 2, 3)]
    shutil.copy(scene.path / "gates", scene.path / "gates-of-three-shards")  # other tests add to it
    return done


def test_together_they_run_every_item_exactly_once(shards: list[pytest.RunResult]) -> None:
    ran = [name for shard in shards for name in passed(shard)]
    assert len(ran) == len(set(ran)) == EVERYTHING
    assert [shard.ret for shard in shards] == [0, 0, 0]


def test_each_shard_has_something_to_do(shards: list[pytest.RunResult]) -> None:
    assert all(len(passed(shard)) >= EVERYTHING // 5 for shard in shards)


@pytest.mark.parametrize("file", ["a.journey.yaml", "b.journey.yaml", "c.journey.yaml", "test_one.py"])
def test_chains_and_files_of_plain_tests_stay_whole(shards: list[pytest.RunResult], file: str) -> None:
    holding = [shard for shard in shards if any(name.startswith(file) for name in passed(shard))]
    assert len(holding) == 1


def test_the_header_names_the_shard(shards: list[pytest.RunResult]) -> None:
    shards[1].stdout.fnmatch_lines(["dogfood: *; shard 2/3*"])


def test_a_gate_of_another_shard_is_replayed_once(scene: Inner, shards: list[pytest.RunResult]) -> None:
    gates = (scene.path / "gates-of-three-shards").read_text(encoding="utf-8").split()
    holding = sum(any("gate" in name for name in passed(shard)) for shard in shards)
    assert holding == 1
    assert len(gates) <= 3


def test_the_partition_is_the_same_in_any_order_and_on_workers(
    scene: Inner, shards: list[pytest.RunResult]
) -> None:
    root = f"dogfood_state_root={scene.state_root}"
    shuffled = scene.typed(
        "--dogfood",
        "-o",
        root,
        "-rA",
        "--dogfood-shard=2/3",
        "--randomly-seed=7",
        "-p",
        "no:cacheprovider",
        "-n2",
    )
    assert sorted(passed(shuffled)) == sorted(passed(shards[1]))


def test_a_selection_is_made_after_the_partition(scene: Inner, shards: list[pytest.RunResult]) -> None:
    chosen = [scene.dogfood("-rA", "-k", "a-1 or d", f"--dogfood-shard={n}/3") for n in (1, 2, 3)]
    for shard, whole in zip(chosen, shards, strict=True):
        assert set(passed(shard)) <= set(passed(whole))
        assert shard.ret == 0
    assert sum(len(passed(shard)) for shard in chosen) == 4


def test_what_is_replayed_for_another_shard_stands_behind_its_gates(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                capabilities: {up: {scope: machine}}
                journeys:
                  - {id: check, tier: smoke, gating: true, estimate: 5, steps: [run: 'false']}
                  - {id: use, tier: smoke, requires: [up], estimate: 5, steps: [run: 'true']}
                  - {id: make, establishes: [up], estimate: 1, steps: [run: touch "$DOGFOOD_ROOT/made"]}
            """
        }
    )
    results = [scene.dogfood(f"--dogfood-shard={number}/3") for number in (1, 2, 3)]
    assert [ran(result) for result in results] == [{"failed": 1}, {"skipped": 1}, {"skipped": 1}]
    assert not (scene.path / "made").exists()


def test_a_gate_that_is_expected_to_break_is_open_for_other_shards_too(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                journeys:
                  - {id: known, tier: smoke, gating: true, marks: [xfail], steps: [run: 'false']}
                  - {id: late, steps: [run: 'true']}
            """
        }
    )
    results = [scene.dogfood(f"--dogfood-shard={number}/2") for number in (1, 2)]
    assert [ran(result) for result in results] == [{"xfailed": 1}, {"passed": 1}]


def test_parts_of_a_chain_run_on_several_shards_and_each_has_what_they_need(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                capabilities:
                  filled: {copyable: true}
                  logged-in: {copyable: true}
                journeys:
                  - id: log-in
                    requires: [filled]
                    establishes: [logged-in]
                    estimate: 1
                    steps: [run: cp "$DOGFOOD_STATE/filled" "$DOGFOOD_STATE/session"]
                  - id: feature
                    matrix: {n: ['1', '2', '3', '4', '5', '6']}
                    requires: [logged-in]
                    estimate: 10
                    steps: [run: test -s "$DOGFOOD_STATE/session"]
            """,
            "test_fill.py": """
                import pytest

                @pytest.mark.establishes("filled")
                def test_fill(dogfood_state):
                    (dogfood_state / "filled").write_text("goods")
            """,
        }
    )
    shards = [scene.dogfood("-rA", "-n0", f"--dogfood-shard={number}/2") for number in (1, 2)]
    assert [shard.ret for shard in shards] == [0, 0]
    names = [name.rpartition("::")[2] for shard in shards for name in passed(shard)]
    assert [sum("feature" in name for name in passed(shard)) for shard in shards] == [3, 3]
    assert (names.count("test_fill"), names.count("log-in")) == (2, 1)  # a test cannot be replayed
    merged = scene.path / "merged.json"
    manifests = [str(scene.path / f"dogfood-shard-{number}-of-2.json") for number in (1, 2)]
    assert main(["merge", *manifests, "--json", str(merged)]) == 0
    found = json.loads(merged.read_text(encoding="utf-8"))
    assert not found["unaccounted"]
    assert not found["ran_twice"]


def test_what_failed_last_stays_on_its_shard(inner: Make) -> None:
    scene = inner(
        {
            "test_long.py": "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass",
            "test_one.py": "def test_one(): assert 0",
            "test_two.py": "def test_two(): assert 0",
        }
    )
    scene.dogfood()
    again = [scene.dogfood("--lf", "-n0", f"--dogfood-shard={number}/2") for number in (1, 2)]
    assert [ran(shard).get("failed", 0) for shard in again] == [0, 2]


def test_an_empty_shard_is_green_and_says_so(inner: Make) -> None:
    scene = inner({"a.journey.yaml": "{journeys: [{id: a, steps: [run: 'true']}]}"})
    results = [scene.dogfood("-n0", f"--dogfood-shard={n}/2") for n in (1, 2)]
    assert [result.ret for result in results] == [0, 0]
    assert [ran(result) for result in results] == [{"passed": 1}, {}]
    results[0].stdout.no_fnmatch_line("*has nothing to run*")
    results[1].stdout.fnmatch_lines(["dogfood: shard 2/2 has nothing to run"])


def test_a_run_that_finds_nothing_is_not_taken_for_an_empty_shard(inner: Make) -> None:
    assert inner({}).dogfood("--dogfood-shard=1/2").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("written", ["0/3", "4/3", "a/b", ""])
def test_what_is_no_shard_is_refused(scene: Inner, written: str) -> None:
    result = scene.dogfood(f"--dogfood-shard={written}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--dogfood-shard" in result.stderr.str()


def test_the_ini_file_can_name_the_shard(scene: Inner, shards: list[pytest.RunResult]) -> None:
    assert passed(scene.dogfood("-rA", "-o", "dogfood_shard=3/3")) == passed(shards[2])
