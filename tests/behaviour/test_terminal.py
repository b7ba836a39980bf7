"""What a person reads on the terminal: header, summary, closing line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

SHOP = """
    capabilities:
      till: {probe: test -f "$DOGFOOD_STATE/till"}
    journeys:
      - {id: opens, establishes: [till, door], steps: [{run: touch "$DOGFOOD_STATE/till"}]}
      - {id: sells, requires: [till, door], steps: [{run: "true"}]}
      - {id: looks, steps: [{run: "true"}]}
"""

SUMMARY = re.compile(r"^=+ dogfood =+$", re.MULTILINE)


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def good(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> Run:
    scene = new_scene()
    scene.write("shop.journey.yaml", SHOP)
    return scene.run(request.param)


def test_the_header_counts_journeys_tokens_and_chains_and_names_the_shell(good: Run) -> None:
    header = next(line for line in good.text.splitlines() if line.startswith("dogfood: "))
    assert header.startswith("dogfood: 3 journeys, 2 tokens, 2 chains")
    assert "shell: bash -eo pipefail" in header


def test_where_there_is_nothing_to_say_there_is_no_summary(good: Run) -> None:
    assert not SUMMARY.search(good.text)


def test_the_closing_line_adds_up_journeys_and_tokens(good: Run) -> None:
    assert good.closing_line == (
        "dogfood: 3 journeys = 3 passed; 2 tokens: 1 probed, 1 unverified (no probe)"
    )


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def verbose(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[str, Run]:
    scene = new_scene()
    scene.write("shop.journey.yaml", SHOP)
    return request.param, scene.run(request.param, "-v", "-k", "sells or looks")


def test_verbosely_chains_and_their_workers_are_shown(verbose: tuple[str, Run]) -> None:
    workers, run = verbose
    name = "main" if workers == "-n0" else r"gw\d"
    assert re.search(rf"^chain opens on {name}: sells$", run.text, re.MULTILINE)
    assert re.search(rf"^chain looks on {name}: looks$", run.text, re.MULTILINE)


def test_what_was_provisioned_is_told_with_how_and_how_long(verbose: tuple[str, Run]) -> None:
    assert SUMMARY.search(verbose[1].text)
    assert re.search(r"^provisioned till once by replaying opens, \d+\.\d s", verbose[1].text, re.MULTILINE)


MISFORTUNES = """
    capabilities:
      unprovided: {probe: test -f "$DOGFOOD_STATE/unprovided"}
    journeys:
      - {id: breaks, establishes: [broken], steps: [{run: "false"}]}
      - {id: also-breaks, establishes: [also-broken], steps: [{run: "false"}]}
      - {id: needs-1, requires: [broken], establishes: [more-broken], steps: [{run: "true"}]}
      - {id: needs-2, requires: [more-broken], steps: [{run: "true"}]}
      - {id: needs-3, requires: [also-broken], steps: [{run: "true"}]}
      - {id: lacks, requires: [unprovided], steps: [{run: "true"}]}
"""


@pytest.fixture(scope="module")
def unlucky(new_scene: Callable[[], Scene]) -> tuple[Run, Run]:
    """Return a usual run and a quiet one."""
    scene = new_scene()
    scene.write("shop.journey.yaml", MISFORTUNES)
    return scene.run("-n0"), scene.run("-n0", "-q")


def test_what_was_deferred_is_grouped_by_its_root_cause(unlucky: tuple[Run, Run]) -> None:
    text = unlucky[0].text
    assert "deferred: 2 journeys, because breaks failed\n    needs-1, needs-2\n" in text
    assert "deferred: 1 journey, because also-breaks failed\n    needs-3\n" in text


def test_what_the_harness_got_wrong_is_told_apart(unlucky: tuple[Run, Run]) -> None:
    assert "harness errors (not product failures): lacks\n" in unlucky[0].text


def test_the_closing_line_is_there_under_q_too(unlucky: tuple[Run, Run]) -> None:
    usual, quiet = unlucky
    assert usual.closing_line == quiet.closing_line
    assert usual.closing_line == (
        "dogfood: 6 journeys = 2 failed + 1 error + 3 deferred (2 causes); 0 tokens"
    )


def test_under_q_the_summary_is_left_out(unlucky: tuple[Run, Run]) -> None:
    assert not SUMMARY.search(unlucky[1].text)


def test_plain_tests_are_not_counted(scene: Scene) -> None:
    scene.write("shop.journey.yaml", SHOP)
    scene.write("test_plain.py", "def test_plain(): pass\n")
    run = scene.run("-n2")
    assert run.status == 0
    assert len(run.cases) == 4
    assert run.closing_line.startswith("dogfood: 3 journeys = 3 passed")


def test_where_only_plain_tests_run_the_closing_line_says_so(scene: Scene) -> None:
    scene.write("test_plain.py", "def test_plain(): pass\n")
    run = scene.run("-n0")
    assert run.status == 0
    assert run.closing_line == "dogfood: 0 journeys = 0 passed; 0 tokens"


TWICE = """
    capabilities:
      a: {probe: test -f "$DOGFOOD_STATE/a", provision: [touch "$DOGFOOD_STATE/a"]}
      b: {probe: test -f "$DOGFOOD_STATE/b", provision: ['cd "$DOGFOOD_STATE"; rm a; touch b']}
    journeys:
      - {id: both, requires: [a, b], steps: ["true"]}
"""


def test_what_was_provisioned_twice_for_one_item_is_told_in_one_line(scene: Scene) -> None:
    scene.write("a.journey.yaml", TWICE)
    run = scene.run("-n0", "-v")
    told = re.findall(r"^provisioned (\w+ \w+) by its provision steps, ", run.text, re.MULTILINE)
    assert told == ["a twice", "b once"]


RESTING = """
    capabilities:
      till: {probe: test -f "$DOGFOOD_STATE/till"}
    journeys:
      - {id: unlocks, establishes: [door], steps: ["true"]}
      - {id: enters, requires: [door], establishes: [inside], steps: ["true"]}
      - {id: opens, requires: [inside], establishes: [till], steps: [touch "$DOGFOOD_STATE/till"]}
      - {id: sells, requires: [till], steps: ["true"]}
"""


@pytest.mark.parametrize("selection", [(), ("-k", "sells")], ids=["all", "one"])
def test_the_closing_line_counts_what_replays_rested_on(scene: Scene, selection: tuple[str, ...]) -> None:
    scene.write("a.journey.yaml", RESTING)
    run = scene.run("-n0", *selection)
    assert run.closing_line.endswith("3 tokens: 1 probed, 2 unverified (no probe)")
