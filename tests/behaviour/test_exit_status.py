"""When a run is red although nothing failed, and when it is green although something was not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])

MOSTLY_UNMEASURED = "journeys:\n" + "".join(
    f"  - {{id: journey-{number}, steps: [{{{'run: echo' if number < 3 else 'intent: look'}}}]}}\n"
    for number in range(20)
)

UNMEASURED = "journeys:\n" + "".join(
    f"  - {{id: journey-{number}, steps: [{{intent: look}}]}}\n" for number in range(3)
)


@pytest.mark.parametrize("workers, quiet", [("-n0", "-q"), ("-n2", "-v")])
def test_a_run_that_measured_nothing_says_so_and_ends_with_1(scene: Scene, workers: str, quiet: str) -> None:
    scene.write("shop.journey.yaml", UNMEASURED)
    run = scene.run(workers, quiet)
    assert run.status == 1
    assert "\ndogfood: this run measured nothing\n" in run.text
    assert run.closing_line == "dogfood: 3 journeys = 3 skipped; 0 tokens"


@pytest.fixture(scope="module", params=[["-n0"], ["-n0", "-q"], ["-n2", "-qq"]], ids=" ".join)
def meagre(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> Run:
    scene = new_scene()
    scene.write("shop.journey.yaml", MOSTLY_UNMEASURED)
    return scene.run(*request.param)


def test_a_run_that_measured_too_little_says_how_little_and_ends_with_1(meagre: Run) -> None:
    assert meagre.status == 1
    assert "\ndogfood: this run measured too little: 3 of 20\n" in meagre.text
    assert meagre.closing_line == "dogfood: 20 journeys = 3 passed + 17 skipped; 0 tokens"


@pytest.mark.parametrize("percent, status", [(15, 0), (16, 1), (0, 0)])
def test_how_much_must_be_measured_is_for_the_project_to_say(scene: Scene, percent: int, status: int) -> None:
    scene.write("pytest.ini", f"[pytest]\ndogfood_min_measured = {percent}\n")
    scene.write("shop.journey.yaml", MOSTLY_UNMEASURED)
    assert scene.run("-n0").status == status


@pytest.mark.parametrize("option", ["--co", "--setup-plan", "--dogfood-check"])
def test_a_run_that_is_not_meant_to_run_anything_need_not_measure(scene: Scene, option: str) -> None:
    scene.write("shop.journey.yaml", UNMEASURED)
    run = scene.run("-n0", option)
    assert run.status == 0
    assert "measured" not in run.text


def test_what_its_author_skipped_need_not_be_measured(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        "journeys:\n"
        + "".join(
            f"  - {{id: skipped-{number}, marks: [{{skip: {{reason: later}}}}], steps: [{{run: a}}]}}\n"
            for number in range(5)
        )
        + "  - {id: runs, steps: [{run: 'true'}]}\n",
    )
    run = scene.run("-n0")
    assert run.status == 0
    assert run.closing_line.startswith("dogfood: 6 journeys = 1 passed + 5 skipped")


def test_an_expected_failure_counts_as_measured(scene: Scene) -> None:
    scene.write("shop.journey.yaml", "journeys:\n  - {id: bug, marks: [xfail], steps: [{run: 'false'}]}\n")
    assert scene.run("-n0").status == 0


def test_a_deferral_for_a_reason_that_an_author_declared_does_not_redden_the_run(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: skipped, establishes: [a-token], marks: [{skip: {reason: later}}], steps: [{run: "true"}]}
          - {id: xfailed, establishes: [b-token], marks: [{xfail: {reason: a bug}}], steps: [{run: "false"}]}
          - {id: actorless, establishes: [c-token], steps: [{intent: look}]}
          - {id: needs-a, requires: [a-token], steps: [{run: "true"}]}
          - {id: needs-b, requires: [b-token], steps: [{run: "true"}]}
          - {id: needs-c, requires: [c-token], steps: [{run: "true"}]}
          - {id: one, steps: [{run: "true"}]}
          - {id: two, steps: [{run: "true"}]}
          - {id: three, steps: [{run: "true"}]}
          - {id: four, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0")
    assert run.status == 0
    assert run.closing_line.startswith(
        "dogfood: 10 journeys = 4 passed + 3 deferred (3 causes) + 2 skipped + 1 xfailed"
    )
    alone = scene.run("-n0", "-k", "needs or one or two or three")
    assert alone.status == 0
    assert "3 deferred (3 causes)" in alone.closing_line


@WORKERS
def test_what_x_cut_off_is_counted_as_not_run_and_listed_once(scene: Scene, workers: str) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: first, establishes: [opened], steps: [{run: "false"}]}
          - {id: second, requires: [opened], steps: [{run: "true"}]}
          - {id: third, requires: [opened], steps: [{run: "true"}]}
        """,
    )
    run = scene.run(workers, "-x")
    assert run.status != 0
    assert run.closing_line.startswith("dogfood: 3 journeys = 1 failed + 2 not run; ")
    assert "did not run: second, third" in run.text
    assert run.text.count("third") == 1
    assert "unaccounted" not in run.text
    assert "measured" not in run.text  # too little, of course


def test_a_run_that_was_left_early_is_not_green(scene: Scene) -> None:
    scene.write(
        "conftest.py",
        """
        def pytest_runtest_teardown(item, nextitem):
            item.session.shouldstop = "enough"
        """,
    )
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: first, steps: [{run: "true"}]}
          - {id: second, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0")
    assert run.status != 0
    assert "1 passed + 1 not run; " in run.closing_line
    assert "did not run: second" in run.text


def test_an_expected_failure_of_the_product_hides_no_error_of_the_harness(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities: {gone: {probe: 'false'}}
        journeys:
          - {id: known, requires: [gone], establishes: [made], marks: [xfail], steps: [{run: 'false'}]}
          - {id: use, requires: [made], steps: [{run: 'true'}]}
        """,
    )
    whole, alone = scene.run("-n0"), scene.run("-n0", "-k", "use")
    assert (whole.status, {name: case.kind for name, case in whole.cases.items()}) == (
        1,
        {"known": "error", "use": "skipped"},
    )
    causes = [run.cases["use"].properties["dogfood.root_cause"] for run in (whole, alone)]
    assert causes == ["known could not be run by the harness"] * 2
