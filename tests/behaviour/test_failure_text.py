"""What a person reads of a failed journey."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

FILES = {
    "shop/buy things.journey.yaml": """
        journeys:
          - id: open-the-shop
            establishes: [shop-open]
            steps: [run: "true"]
          - id: buy
            requires: [shop-open]
            matrix: {article: [bread]}
            steps:
              - {intent: look around, run: "echo on the shelf: $article"}
              - intent: pay
                run: |
                  seq 1 3000
                  echo no money left >&2
                  exit 3
                expect: {stdout: {contains: receipt}}
              - run: echo never
    """,
}


@pytest.fixture(scope="module")
def scene(inner: Callable[[Mapping[str, str]], Inner]) -> Inner:
    return inner(FILES)


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def result(request: pytest.FixtureRequest, scene: Inner) -> pytest.RunResult:
    return scene.dogfood(request.param)


@pytest.fixture(scope="module")
def verbose(scene: Inner) -> pytest.RunResult:
    return scene.dogfood("-v")


def test_it_says_where_and_which_step_and_what_for(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        ["shop/buy things.journey.yaml:11:*: step 2 of 3 (pay): exit status: expected 0, got 3"]
    )


def test_it_shows_the_command_as_it_was_written(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        ["  intent:   pay", "  command:  seq 1 3000", "*echo no money left >&2", "*exit 3"], consecutive=True
    )


def test_it_shows_everything_that_was_expected_and_came(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        [
            "  exit status:",
            "    expected: 0",
            "    actual:   3",
            "  stdout:",
            "    expected: to contain 'receipt'",
        ],
        consecutive=True,
    )


def test_it_shows_the_tail_of_the_output(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["  --- stdout ---", "  3000", "  --- stderr ---", "  no money left"])


def test_it_shows_no_frames_of_the_framework(result: pytest.RunResult) -> None:
    text = result.stdout.str()
    assert "pytest_dogfood/" not in text
    assert "Traceback" not in text


def test_the_summary_says_it_in_one_line(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        ["FAILED shop/buy things.journey.yaml::buy[[]bread] - *:11:*: step 2 of 3 (pay): exit status: *"]
    )


def test_earlier_steps_are_shown_only_if_asked_for(
    result: pytest.RunResult, verbose: pytest.RunResult
) -> None:
    assert "on the shelf" not in result.stdout.str().replace("echo on the shelf", "")
    verbose.stdout.fnmatch_lines(["*step 1 of 3 (look around): as expected", "  on the shelf: bread"])


def test_the_line_that_reproduces_it_does_when_it_is_pasted(scene: Inner, result: pytest.RunResult) -> None:
    (line,) = [line for line in result.outlines if line.startswith("reproduce: ")]
    words = shlex.split(line.removeprefix("reproduce: "))
    assert words[:2] == ["pytest", "--dogfood"]
    again = scene.dogfood(*words[2:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*step 2 of 3 (pay): exit status: expected 0, got 3"])


def test_what_is_kept_is_named(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["kept: * (working directory), * (state)", "dogfood: kept *"])


def test_node_ids_of_odd_names_can_be_pasted_too(inner: Callable[[Mapping[str, str]], Inner]) -> None:
    scene = inner({"it's.journey.yaml": "{journeys: [{id: a, steps: [run: 'false']}]}"})
    (line,) = [line for line in scene.dogfood().outlines if line.startswith("reproduce: ")]
    scene.dogfood(*shlex.split(line.removeprefix("reproduce: "))[2:]).assert_outcomes(failed=1)


def test_a_run_in_a_directory_below_reproduces_from_there(
    inner: Callable[[Mapping[str, str]], Inner],
) -> None:
    scene = inner({"sub/a.journey.yaml": "{journeys: [{id: a, steps: [run: 'false']}]}"})
    scene.path = scene.path / "sub"
    (line,) = [line for line in scene.dogfood().outlines if line.startswith("reproduce: ")]
    scene.dogfood(*shlex.split(line.removeprefix("reproduce: "))[2:]).assert_outcomes(failed=1)


STAGES = {
    "a.journey.yaml": r"""
        journeys:
          - id: colours
            steps:
              - run: |
                  printf '\033[31mred\033[0m\n'
                  for i in $(seq 1 100); do printf '\rprogress %d%%' $i; done; echo
                  printf '\033[2K\033[1G\033]0;title\007 bell\007\n'
                  exit 3
    """,
}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_it_shows_of_the_output_what_a_terminal_shows_in_the_end(
    inner: Callable[[Mapping[str, str]], Inner], workers: str
) -> None:
    result = inner(STAGES).dogfood(workers)
    result.stdout.fnmatch_lines(
        ["  --- stdout ---", "  red", "  progress 100%", "   bell*"], consecutive=True
    )
