"""How often something is brought about: failures are not repeated, workers do not compete, presence is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


def test_a_journey_that_failed_in_this_run_is_not_replayed(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: breaks, establishes: [broken], steps: [{run: "echo x >> $DOGFOOD_ROOT/tries; exit 1"}]}
          - {id: one, requires: [broken], steps: [{run: "true"}]}
          - {id: two, requires: [broken], steps: [{run: "true"}]}
        """,
    )
    assert scene.run("-n0").closing_line.startswith("dogfood: 3 journeys = 1 failed + 2 deferred (1 cause);")
    assert scene.lines("tries") == ["x"]


def test_a_replay_that_failed_is_not_tried_again_is_shown_in_full_and_ends_with_1(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - id: breaks
            establishes: [broken]
            steps: [{intent: open the shop, run: "echo x >> $DOGFOOD_ROOT/tries; echo the till is stuck; exit 1"}]
          - {id: one, requires: [broken], steps: [{run: "true"}]}
          - {id: two, requires: [broken], steps: [{run: "true"}]}
          - {id: other-1, steps: [{run: "true"}]}
          - {id: other-2, steps: [{run: "true"}]}
          - {id: other-3, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0", "-k", "not breaks")
    assert run.status == 1
    assert scene.lines("tries") == ["x"]
    assert {case.kind for case in run.cases.values()} == {"skipped", "passed"}
    assert run.cases["two"].properties["dogfood.root_cause"] == "breaks failed"
    assert "replayed for " in run.text
    assert "2 deferred (1 cause)" in run.closing_line
    shown = run.text.partition("failed while being replayed: breaks")[2]
    assert "step 1 of 1 (open the shop): exit 1, expected 0" in shown
    assert "the till is stuck" in shown
    assert "reproduce: pytest --dogfood 'shop.journey.yaml::breaks'" in shown


def test_who_establishes_a_token_is_found_in_files_that_were_not_named(scene: Scene) -> None:
    scene.write("pytest.ini", "[pytest]\n")
    scene.write(
        "deep/down/base.journey.yaml",
        """
        journeys:
          - {id: makes-base, establishes: [base], steps: [{run: touch "$DOGFOOD_STATE/base"}]}
        """,
    )
    scene.write(
        "top/top.journey.yaml",
        """
        journeys:
          - {id: uses-base, requires: [base], steps: [{run: test -f "$DOGFOOD_STATE/base"}]}
        """,
    )
    run = scene.run("-n2", "top/top.journey.yaml")
    assert run.status == 0
    assert list(run.cases) == ["uses-base"]
    assert "provisioned base once by replaying makes-base, " in run.text


def test_four_workers_that_ask_at_once_get_one_provisioning(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities:
          daemon:
            scope: machine
            probe: test -f "$DOGFOOD_SHARED/daemon"
            provision:
              - run: echo x >> "$DOGFOOD_ROOT/started"; sleep 0.3; touch "$DOGFOOD_SHARED/daemon"
        journeys:
          - {id: one, requires: [daemon], steps: [{run: 'echo "$DOGFOOD_WORKER" >> "$DOGFOOD_ROOT/workers"'}]}
          - {id: two, requires: [daemon], steps: [{run: 'echo "$DOGFOOD_WORKER" >> "$DOGFOOD_ROOT/workers"'}]}
          - {id: three, requires: [daemon], steps: [{run: 'echo "$DOGFOOD_WORKER" >> "$DOGFOOD_ROOT/workers"'}]}
          - {id: four, requires: [daemon], steps: [{run: 'echo "$DOGFOOD_WORKER" >> "$DOGFOOD_ROOT/workers"'}]}
        """,
    )
    run = scene.run("-n4")
    assert run.status == 0
    assert scene.lines("started") == ["x"]
    assert len(set(scene.lines("workers"))) > 1


def test_a_provider_that_kills_its_worker_is_tried_once_more_and_not_by_every_dependent(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities:
          deadly: {scope: machine, provision: [{run: "echo x >> $DOGFOOD_ROOT/tries; kill -9 $PPID"}]}
        journeys:
          - {id: one, requires: [deadly], steps: [{run: "true"}]}
          - {id: two, requires: [deadly], steps: [{run: "true"}]}
          - {id: three, requires: [deadly], steps: [{run: "true"}]}
          - {id: bystander, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 1
    assert scene.lines("tries") == ["x", "x"]
    assert run.cases["bystander"].kind == "passed"
    assert "1 passed + 2 failed + 1 error" in run.closing_line
    assert "'deadly' could not be provisioned" in run.text
    assert "2 workers have crashed while they tried" in run.text


def test_presence_is_asked_again_before_each_dependent(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities:
          till: {probe: test -f "$DOGFOOD_STATE/till"}
        journeys:
          - {id: opens, establishes: [till], steps: [{run: 'touch "$DOGFOOD_STATE/till"; echo x >> "$DOGFOOD_ROOT/n"'}]}
          - {id: steals, requires: [till], steps: [{run: rm "$DOGFOOD_STATE/till"}]}
          - {id: sells, requires: [till], steps: [{run: test -f "$DOGFOOD_STATE/till"}]}
        """,
    )
    run = scene.run("-n0")
    assert run.status == 0
    assert scene.lines("n") == ["x", "x"]
    assert run.cases["sells"].properties["dogfood.provisioned"] == "till by replaying opens"


@pytest.mark.parametrize(
    "workers, selected",
    [("-n0", "steals or sells or opens"), ("-n0", "sells"), ("-n2", "sells"), ("-n0", "steals or sells")],
)
def test_a_journey_that_destroys_a_base_of_what_it_establishes_makes_them_not_hold_together(
    scene: Scene, workers: str, selected: str
) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        capabilities:
          till: {probe: test -f "$DOGFOOD_STATE/till"}
        journeys:
          - {id: opens, establishes: [till], steps: [{run: 'touch "$DOGFOOD_STATE/till"'}]}
          - {id: steals, requires: [till], establishes: [stolen], steps: [{run: rm "$DOGFOOD_STATE/till"}]}
          - {id: sells, requires: [till, stolen], steps: [{run: 'true'}]}
        """,
    )
    run = scene.run(workers, "-k", selected)
    assert run.cases["sells"].kind == "error"
    assert (
        "'till', 'stolen' are never present together: 'till' was lost after steals was replayed" in run.text
    )


SEVERAL = """
    capabilities:
      build: {scope: chain, probe: 'test -e "$DOGFOOD_STATE/build"'}
    """
TWO_BUILDS = """
    journeys:
      - id: plain
        establishes: [build]
        steps:
          - run: |
              echo plain >> "$DOGFOOD_ROOT/log"
              echo plain | tee "$DOGFOOD_STATE/build"
            save: {kind: {stdout: '(.+)'}}
      - id: signed
        establishes: [build]
        steps: [{run: 'SIGN'}]
      - {id: use, requires: [build], steps: [{run: 'test "$(cat "$DOGFOOD_STATE/build")" = "$DOGFOOD_BUILD_KIND"'}]}
    """


@pytest.mark.parametrize(
    "workers, signed, built, outcomes",
    [
        ("-n2", 'echo half > "$DOGFOOD_STATE/build"; exit 1', ["plain", "plain"], "2 passed + 1 failed"),
        ("-n0", 'exec sh -c "exit 1"', ["plain", "plain"], "2 passed + 1 failed"),
        ("-n0", "true", ["plain"], "3 passed"),
    ],
    ids=["failed half-way", "failed at once", "passed"],
)
def test_what_a_failed_journey_may_have_spoilt_is_established_again(
    scene: Scene, workers: str, signed: str, built: list[str], outcomes: str
) -> None:
    scene.write("dogfood.yaml", SEVERAL)
    scene.write("shop.journey.yaml", TWO_BUILDS.replace("SIGN", signed))
    run = scene.run(workers, "-p", "no:randomly")
    assert run.closing_line.startswith(f"dogfood: 3 journeys = {outcomes};")
    assert scene.lines("log") == built
