"""Whatever the user names, what a project needs is known from the whole project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

PROJECT = {
    "dogfood.yaml": """
        capabilities:
          in-b: {description: a journey of b.journey.yaml establishes it}
          in-c: {description: only a capability that nothing uses needs it}
          rests-on-c: {requires: [in-c], provision: ["true"]}
          of-all: {description: instances of it are established in d.journey.yaml}
    """,
    "a.journey.yaml": "journeys: [{id: a-alone, steps: ['true']}, {id: a-too, steps: ['true']}]",
    "b.journey.yaml": "journeys: [{id: b-makes, establishes: [in-b], steps: ['true']}]",
    "c.journey.yaml": "journeys: [{id: c-makes, establishes: [in-c], steps: ['true']}]",
    "d.journey.yaml": "journeys: [{id: d-makes, establishes: ['of-all:one'], steps: ['true']}]",
    "test_plain.py": "def test_plain(): pass",
}


@pytest.fixture(scope="module")
def project(inner: Make) -> Inner:
    return inner(PROJECT)


@pytest.mark.parametrize(
    "workers, named, passed",
    [
        ("-n0", ["a.journey.yaml"], 2),
        ("-n2", ["a.journey.yaml"], 2),
        ("-n0", ["a.journey.yaml::a-alone"], 1),
        ("-n0", ["a.journey.yaml::a-too", "b.journey.yaml"], 2),
        ("-n0", ["test_plain.py"], 1),
    ],
)
def test_a_file_that_was_not_named_makes_no_capability_empty(
    project: Inner, workers: str, named: list[str], passed: int
) -> None:
    project.dogfood(workers, *named).assert_outcomes(passed=passed)


def test_a_check_of_one_file_knows_the_whole_project(project: Inner) -> None:
    result = project.dogfood("--dogfood-check", "--dogfood-strict", "a.journey.yaml")
    assert result.ret == 0, result.stdout.str()
    result.stdout.no_fnmatch_line("*nobody-requires*")


def test_a_failure_is_run_again_and_nothing_is_refused(inner: Make) -> None:
    scene = inner({**PROJECT, "a.journey.yaml": "journeys: [{id: a-alone, steps: ['false']}]"})
    scene.dogfood("-n0")
    result = scene.dogfood("-n0", "--lf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED a.journey.yaml::a-alone*"])


def test_an_establisher_in_a_file_that_was_not_named_counts_beside_one_that_was(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": """
                journeys:
                  - {id: fails, establishes: [ready], steps: ["false"]}
                  - {id: uses, requires: [ready], steps: ["true"]}
            """,
            "b.journey.yaml": "journeys: [{id: makes, establishes: [ready], steps: ['true']}]",
        }
    )
    scene.dogfood("a.journey.yaml").stdout.fnmatch_lines(["dogfood: 2 journeys = 1 passed + 1 failed;*"])


def test_a_token_asked_for_at_run_time_is_found_in_a_file_that_was_not_named(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": "journeys: [{id: makes, establishes: [ready], steps: ['true']}]",
            "test_it.py": "def test_it(capabilities): capabilities.require('ready')",
        }
    )
    scene.dogfood("test_it.py").assert_outcomes(passed=1)
