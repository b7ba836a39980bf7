"""Tokens of scope fleet in a run without a fleet: as those of the machine, but no other run has a part in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])

STAGING = """
    capabilities:
      staging:
        scope: fleet
        probe: test -f "$DOGFOOD_ROOT/staging"
        provision: [{run: 'echo start >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/staging"; echo 80',
                     save: {port: {stdout: "(80)"}}}]
        release: [{run: 'echo "stop $DOGFOOD_STAGING_PORT" >> "$DOGFOOD_ROOT/log"; rm "$DOGFOOD_ROOT/staging"'}]
    journeys:
      - {id: user-1, requires: [staging], steps: [{run: 'echo "use $DOGFOOD_STAGING_PORT" >> "$DOGFOOD_ROOT/log"'}]}
      - {id: user-2, requires: [staging], steps: [{run: 'echo "use $DOGFOOD_STAGING_PORT" >> "$DOGFOOD_ROOT/log"'}]}
      - id: destroyer
        requires: [staging]
        invalidates: [staging]
        establishes: [destroyed]
        steps: [{run: 'echo destroy >> "$DOGFOOD_ROOT/log"; rm "$DOGFOOD_ROOT/staging"'}]
      - {id: after-it, requires: [destroyed, staging], steps: [{run: 'test -f "$DOGFOOD_ROOT/staging"'}]}
"""


@WORKERS
def test_a_token_of_the_fleet_is_provisioned_once_and_released_once(scene: Scene, workers: str) -> None:
    scene.write("staging.journey.yaml", STAGING)
    run = scene.run(workers, "-k", "user")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["start", "use 80", "use 80", "stop 80"]


@WORKERS
def test_what_is_invalidated_is_provisioned_again_where_it_is_needed(scene: Scene, workers: str) -> None:
    scene.write("staging.journey.yaml", STAGING)
    run = scene.run(workers)
    assert run.status == 0, run.text
    assert scene.lines("log") == ["start", "use 80", "use 80", "destroy", "start", "stop 80"]


def test_what_was_there_before_is_never_released(scene: Scene) -> None:
    scene.write("staging.journey.yaml", STAGING)
    scene.write("staging", "")
    assert scene.run("-n0", "-k", "user").status == 0
    assert scene.lines("log") == ["start", "use 80", "use 80"]  # its values had to be found out
    assert (scene.path / "staging").exists()


@WORKERS
def test_what_was_there_before_is_not_released_if_it_was_destroyed_and_made_again(
    scene: Scene, workers: str
) -> None:
    scene.write("staging.journey.yaml", STAGING.replace("$DOGFOOD_STAGING_PORT", ""))
    scene.write("staging", "")
    assert scene.run(workers).status == 0
    assert scene.lines("log") == ["use ", "use ", "destroy", "start"]
    assert (scene.path / "staging").exists()


def test_two_runs_at_once_share_nothing(scene: Scene) -> None:
    scene.write(
        "staging.journey.yaml",
        """
        capabilities:
          account-made:
            scope: fleet
            provision: ['echo "make $DOGFOOD_RUN" >> "$DOGFOOD_ROOT/log"']
            release: ['echo "remove $DOGFOOD_RUN" >> "$DOGFOOD_ROOT/log"']
        journeys:
          - id: early
            requires: [account-made]
            steps:
              - touch "$DOGFOOD_ROOT/early-is-here"
              - {run: test -f "$DOGFOOD_ROOT/late-is-gone", until: {timeout: 60, interval: 0.05}}
          - {id: late, requires: [account-made], steps: ["true"]}
        """,
    )
    first = scene.start("-n0", "-k", "early")
    scene.wait_for("early-is-here")
    assert scene.run("-n0", "-k", "late").status == 0
    of_the_first, *of_the_second = scene.lines("log")
    verbs, runs = zip(*map(str.split, of_the_second), strict=True)
    assert verbs == ("make", "remove")
    assert len(set(runs)) == 1
    scene.write("late-is-gone", "")
    assert first().status == 0
    assert scene.lines("log")[3:] == [of_the_first.replace("make", "remove")]


def test_dependents_of_a_journey_that_establishes_it_run_side_by_side(scene: Scene) -> None:
    scene.write(
        "image.journey.yaml",
        """
        capabilities:
          image-pushed: {scope: fleet, probe: test -f "$DOGFOOD_ROOT/image"}
        journeys:
          - id: push
            establishes: [image-pushed]
            steps: [{run: 'touch "$DOGFOOD_ROOT/image"; echo sha-7', save: {digest: {stdout: "sha-.*"}}}]
          - id: one
            requires: [image-pushed]
            steps:
              - touch "$DOGFOOD_ROOT/one-$DOGFOOD_IMAGE_PUSHED_DIGEST"
              - {run: 'test -f "$DOGFOOD_ROOT/two-sha-7"', until: {timeout: 60, interval: 0.05}}
          - id: two
            requires: [image-pushed]
            steps:
              - touch "$DOGFOOD_ROOT/two-$DOGFOOD_IMAGE_PUSHED_DIGEST"
              - {run: 'test -f "$DOGFOOD_ROOT/one-sha-7"', until: {timeout: 60, interval: 0.05}}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 0, run.text


@WORKERS
def test_what_its_provider_left_by_half_is_released_once(scene: Scene, workers: str) -> None:
    scene.write(
        "staging.journey.yaml",
        """
        capabilities:
          staging:
            scope: fleet
            probe: test -f "$DOGFOOD_ROOT/staging"
            provision: ['echo start >> "$DOGFOOD_ROOT/log"; false']
            release: ['echo "stop $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"']
        journeys:
          - {id: user-1, requires: [staging], steps: ["true"]}
          - {id: user-2, requires: [staging], steps: ["true"]}
        """,
    )
    run = scene.run(workers)
    assert {case.kind for case in run.cases.values()} == {"error"}, run.text
    assert scene.lines("log") == ["start", "stop incomplete"]


@WORKERS
def test_shards_of_what_needs_it_are_refused_before_anything_runs(scene: Scene, workers: str) -> None:
    scene.write("staging.journey.yaml", STAGING)
    scene.write("other.journey.yaml", "journeys: [{id: other, steps: ['touch \"$DOGFOOD_ROOT/other-ran\"']}]")
    run = scene.run(workers, "--dogfood-shard=1/2")
    assert run.status == 4, run.text
    assert (
        "'user-1' needs 'staging' of scope 'fleet', but the shards of --dogfood-shard share nothing"
        in run.text
    )
    assert "[fleet-in-shards]" in run.text
    assert (
        "'machine' if every machine may have its own; or let the machines share a run with --dogfood-fleet"
        in run.text
    )
    assert scene.lines("log") == []
    assert scene.run(workers, "--dogfood-shard=1/1", "-k", "other").status == 0
    assert (scene.path / "other-ran").exists()


def test_a_test_of_a_shard_that_asks_for_it_while_it_runs_is_an_error(scene: Scene) -> None:
    scene.write("dogfood.yaml", "capabilities: {staging: {scope: fleet, probe: 'true', provision: ['true']}}")
    scene.write("test_it.py", 'def test_asks(capabilities):\n    capabilities.require("staging")\n')
    assert scene.run("-n0").status == 0
    run = scene.run("-n0", "--dogfood-shard=1/1")
    assert run.cases["test_asks"].kind == "error"
    assert "'staging' needs a token of scope 'fleet', but shards share nothing" in run.text
