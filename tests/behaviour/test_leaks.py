"""What steps leave running: told in the summary, under the failure and in JUnit, or what fails a journey."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.execution import watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

pytestmark = pytest.mark.skipif(
    not watcher.HAS_PROC, reason="only /proc tells what a process was started with"
)

LEAVING = """
    capabilities:
      provisioned: {provision: ["sleep 310 & true"]}
      served: {service: {run: exec sleep 311}, probe: "true"}
    journeys:
      - id: leaves
        requires: [provisioned, served]
        steps:
          - "true"
          - "sleep 312 & sleep 312 & nohup setsid sh -c 'sleep 313; true' > log 2>&1 &"
      - {id: fails, steps: ["(while true; do sleep 1; done) &", "exit 3"]}
      - {id: starts, establishes: [up], leaves: daemon, steps: ["sleep 314 &"]}
      - {id: starts-in-vain, establishes: [down], leaves: daemon, steps: ["sleep 315 &", "exit 3"]}
      - {id: tidies, steps: ["sleep 316 & echo $! > pid"], cleanup: [kill $(cat pid)]}
      - {id: tidies-badly, steps: ["true"], cleanup: ["sleep 317 &"]}
      - {id: waits-a-moment, steps: ["sleep 0.1 &"]}
"""
"""A project in which something is left running by most journeys."""

HINT = "    stop it in `cleanup:`; if a token stands for it, make it a `service:` or write `leaves: daemon`"


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def leaving(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> Run:
    scene = new_scene()
    scene.write("a.journey.yaml", LEAVING)
    return scene.run(request.param)


def test_what_steps_leave_running_is_told_with_its_step_and_with_what_to_do(leaving: Run) -> None:
    lines = leaving.text.splitlines()
    told = {line for line in lines if re.match(r"[\w-]+: left running: ", line)}
    assert told == {
        "leaves: left running: 2 x sleep 312 (step 2), sh -c 'sleep 313; true' (step 2)",
        "fails: left running: (while true; do sleep 1; done) & (step 1)",
        "starts-in-vain: left running: sleep 315 (step 1)",
        "tidies-badly: left running: sleep 317 (clean-up step 1)",
    }
    assert lines.count(HINT) == 1


def test_it_changes_no_outcome(leaving: Run) -> None:
    assert leaving.closing_line.startswith("dogfood: 7 journeys = 5 passed + 2 failed; ")


def test_it_stands_under_a_failure(leaving: Run) -> None:
    assert "\nleft running: (while true; do sleep 1; done) & (step 1)\n" in leaving.text
    assert "\nleft running: sleep 315 (step 1)\n" in leaving.text


def test_junit_has_a_property_of_it(leaving: Run) -> None:
    properties = {name: case.properties.get("dogfood.leaked") for name, case in leaving.cases.items()}
    assert properties["leaves"] == "2 x sleep 312 (step 2), sh -c 'sleep 313; true' (step 2)"
    assert [name for name in properties if properties[name] is None] == ["starts", "tidies", "waits-a-moment"]


REPLAYED = """
    journeys:
      - {id: starts, establishes: [up], steps: ["sleep 320 &"]}
      - {id: uses, requires: [up], steps: ["true"]}
"""


def test_what_a_replay_leaves_running_is_told_where_it_was_needed(scene: Scene) -> None:
    scene.write("a.journey.yaml", REPLAYED)
    assert "\nuses: left running: sleep 320 (step 1 of starts)\n" in scene.run("-k", "uses").text


@pytest.mark.parametrize("selected", ["uses or starts", "uses"])
def test_where_leaks_fail_what_was_to_be_established_is_missing(scene: Scene, selected: str) -> None:
    scene.write("a.journey.yaml", REPLAYED)
    run = scene.run("-o", "dogfood_leaks=fail", "-k", selected)
    assert run.status == 1
    assert "a.journey.yaml:3:10: left running: sleep 320 (step 1)\n" in run.text
    assert "deferred: 1 journey, because starts passed, but its teardown failed\n    uses\n" in run.text


def test_where_leaks_fail_a_daemon_that_a_token_stands_for_may_stay(scene: Scene) -> None:
    scene.write("a.journey.yaml", REPLAYED.replace("steps", "leaves: daemon, steps", 1))
    assert scene.run("-o", "dogfood_leaks=fail").status == 0


def test_where_leaks_fail_a_failure_is_told_once(scene: Scene) -> None:
    scene.write("a.journey.yaml", 'journeys: [{id: fails, steps: ["sleep 321 & false"]}]')
    run = scene.run("-o", "dogfood_leaks=fail")
    assert run.cases["fails"].kind == "failure"


def test_what_an_earlier_try_left_running_is_told_too(scene: Scene) -> None:
    second = "test -e $DOGFOOD_STATE/tried || { touch $DOGFOOD_STATE/tried; sleep 323 & exit 1; }"
    scene.write("a.journey.yaml", f'journeys: [{{id: flaky, steps: ["{second}"]}}]')
    run = scene.run("--reruns=1")
    assert run.status == 0
    assert "\nflaky: left running: sleep 323 (step 1)\n" in run.text


def test_what_is_allowed_is_not_told(scene: Scene) -> None:
    scene.write("a.journey.yaml", REPLAYED)
    run = scene.run("-o", "dogfood_leaks=allow")
    assert run.status == 0
    assert "left running" not in run.text


def test_secrets_in_a_command_that_is_left_running_are_masked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2-hunter2")
    scene.write(
        "a.journey.yaml",
        "journeys: [{id: leaks, steps: [\"sh -c 'sleep 322; true; : long' a-long-name-before-it $PASSWORD &\"]}]",
    )
    run = scene.run("-o", "dogfood_secrets=PASSWORD")
    assert (
        "leaks: left running: sh -c 'sleep 322; true; : long' a-long-name-before-it *** (step 1)" in run.text
    )
    assert "hunter" not in run.text


def test_another_value_is_refused(scene: Scene) -> None:
    scene.write("a.journey.yaml", REPLAYED)
    run = scene.run("-o", "dogfood_leaks=forbid")
    assert run.status == 4
    assert "dogfood_leaks is allow, warn or fail, not 'forbid'" in run.text
