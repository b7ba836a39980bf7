"""Where several establish one token, one that passes is enough, whatever is selected and wherever it runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

SCOPES = ("chain", "machine")
MAKERS = {
    "first-journey": ("journey", "test"),
    "first-test": ("test", "journey"),
    "first-of-two-tests": ("test", "test"),
    "neither": ("journey", "test"),
}
"""What establishes the token of each kind: the first fails, and so does the second of "neither"."""

EXPECTED = {
    f"use-{kind}-{scope}": "skipped" if kind == "neither" else "passed"
    for kind, scope in itertools.product(MAKERS, SCOPES)
}
JOURNEY = '  - {{id: make-{name}, establishes: [{token}], steps: ["{command}"]}}\n'
TEST = """
    @pytest.mark.establishes("{token}")
    def test_make_{function}():
        time.sleep(0.3)  # what needs it is ready before
        assert {passes}
"""
USER = """
    import pytest

    @pytest.mark.establishes("first-journey-chain")
    def test_make_at_hand():
        assert False

    @pytest.mark.requires("first-journey-chain")
    def test_use():
        pass
"""


def several_establishers(scene: Scene) -> Scene:
    """Write a file of capabilities, one of journeys that establish them, one of tests that do, and one of users."""
    capabilities, journeys, uses = "capabilities:\n", "journeys:\n", "journeys:\n"
    tests = "    import time\n\n    import pytest\n"
    for kind, scope in itertools.product(MAKERS, SCOPES):
        token = f"{kind}-{scope}"
        capabilities += f"  {token}: {{scope: {scope}}}\n"
        uses += f"  - {{id: use-{token}, requires: [{token}], steps: ['true']}}\n"
        for number, maker in enumerate(MAKERS[kind]):
            passes = number == 1 and kind != "neither"
            name = f"{token}-{number}"
            if maker == "journey":
                journeys += JOURNEY.format(name=name, token=token, command=str(passes).lower())
            else:
                tests += TEST.format(function=name.replace("-", "_"), token=token, passes=passes)
    scene.write("dogfood.yaml", capabilities)
    scene.write("makes.journey.yaml", journeys)
    scene.write("test_makes.py", tests)
    scene.write("uses.journey.yaml", uses)
    return scene


ALONE, WORKERS, SHARDS = (
    [["-n0"]],
    [["-n2"]],
    [["-n0", "--dogfood-shard=1/2"], ["-n2", "--dogfood-shard=2/2"]],
)
BY_NAME = ["-k", "use-"]
BY_NODE_ID = [f"uses.journey.yaml::{name}" for name in EXPECTED]


@pytest.mark.parametrize(
    "selection, runs",
    [
        pytest.param([], WORKERS, id="whole-n2"),
        pytest.param(BY_NAME, ALONE, id="by-name-n0"),
        pytest.param(BY_NAME, SHARDS, id="by-name-shards"),
        pytest.param(["-k", "use- or make-"], WORKERS, id="with-journeys-n2"),
        pytest.param(BY_NODE_ID, ALONE, id="by-node-id-n0"),
        pytest.param(BY_NODE_ID, SHARDS, id="by-node-id-shards"),
    ],
)
def test_one_that_passes_is_enough(scene: Scene, selection: list[str], runs: list[list[str]]) -> None:
    several_establishers(scene)
    done = [scene.run(*options, *selection) for options in runs]
    kinds = {name: case.kind for run in done for name, case in run.cases.items()}
    assert {name: kinds.get(name) for name in EXPECTED} == EXPECTED, "\n".join(run.text for run in done)


@pytest.mark.parametrize("named, workers", [("test_use.py", "-n0"), ("test_use.py::test_use", "-n2")])
def test_a_file_with_another_that_establishes_is_collected_beside_one_that_is_named(
    scene: Scene, named: str, workers: str
) -> None:
    several_establishers(scene)
    scene.write("test_use.py", USER)
    run = scene.run(workers, named)
    assert run.cases["test_use"].kind == "passed", run.text
