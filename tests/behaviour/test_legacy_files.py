"""Journey files of the harness that inspired this run as they are with an actor; without one, none passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.command_line import dogfood

if TYPE_CHECKING:
    from tests.support.scenes import Inner

LEGACY = """
    feature: local tags
    journeys:
      - journey_id: build-local-tag
        rationale: the README promises that a build tags the image
        source: {kind: readme, ref: "README.md#build"}
        modality: cli
        tier: smoke
        establishes: [local-tag-created]
        requires: []
        gating: true
        seed_files:
          Dockerfile: |
            FROM scratch
        steps:
          - intent: build the image with a tag
            expect: the build names the tag
            core: true
            expect_exit: 0
            expect_cmd_re: "build .*-t"
            expect_text: Successfully tagged
            expect_state: the image list shows the tag
            seed_files: {app.py: "print('hello')"}
          - intent: look at the list of images
            expect: it holds the tag
      - journey_id: run-built-local-tag
        rationale: what was built can be run
        source: {kind: issue, ref: "12"}
        modality: cli
        tier: core
        requires: [local-tag-created]
        gating: false
        seed_files:
          - {path: notes.txt, content: hello}
        steps:
          - intent: run the image
            expect: it prints its greeting
            expect_exit: nonzero
"""


@pytest.fixture(scope="module")
def result(inner: Callable[[Mapping[str, str]], Inner]) -> pytest.RunResult:
    return inner({"tags.journey.yaml": LEGACY}).dogfood("-n0", "-rA")


def test_every_journey_is_skipped_since_there_is_no_actor(result: pytest.RunResult) -> None:
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*no actor: step 1 of 2 has no command (tags.journey.yaml:16:*)*"])
    result.stdout.fnmatch_lines(["SKIPPED*no actor: step 1 of 1 has no command (tags.journey.yaml:36:*)*"])


def test_the_summary_says_why_without_being_asked(result: pytest.RunResult) -> None:
    skipped = (
        "skipped: 2 journeys, because a step has no command and no actor decides one; -rs shows what to do"
    )
    result.stdout.fnmatch_lines([skipped, "    build-local-tag, *"])


def test_a_run_of_nothing_else_is_red_and_says_why(result: pytest.RunResult) -> None:
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["dogfood: this run measured nothing"])


def test_the_skipped_journeys_are_accounted_for(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["dogfood: 2 journeys = 2 skipped; 0 tokens"])


ACTOR = """
    import json, sys

    WAYS = {
        "build the image with a tag": "ls Dockerfile app.py && echo demo | tee tag # build . -t demo",
        "look at the list of images": "cat tag",
        "run the image": "echo hello; exit 3",
    }
    for line in sys.stdin:
        asked = json.loads(line)
        answered = [one for one in asked["observations"] if one["step"] == asked["step"]["number"]]
        command = WAYS[asked["step"]["intent"]]
        print(json.dumps({"done": True} if answered else {"command": command}), flush=True)
"""


@pytest.mark.parametrize("name, workers", [("tags.journey.yaml", "-n0"), ("tags.journey.json", "-n2")])
def test_with_an_actor_they_run_as_they_are(
    inner: Callable[[Mapping[str, str]], Inner], name: str, workers: str
) -> None:
    text = json.dumps(yaml.safe_load(LEGACY)) if name.endswith(".json") else LEGACY
    project = inner({name: text, "actor.py": ACTOR})
    result = project.dogfood(workers, "--dogfood-actor", "python3 actor.py", "-rA")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["dogfood: 2 journeys = 2 passed; 1 token: *"])


def test_a_folder_of_its_json_files_can_be_checked_as_it_is(
    inner: Callable[[Mapping[str, str]], Inner],
) -> None:
    journeys = {one["journey_id"]: one for one in yaml.safe_load(LEGACY)["journeys"]}
    files = {f"journeys/{name}.json": json.dumps(one) for name, one in journeys.items()}
    others = {
        "package.json": {"name": "no journey"},
        "run.json": {"exit_status": 0, "journeys": [{"id": "a"}]},
    }
    project = inner({**files, **{f"journeys/{name}": json.dumps(one) for name, one in others.items()}})
    done = dogfood(project.path, "check", "journeys")
    assert done.returncode == 0, done.stderr
    assert "2 journeys in 1 chain" in done.stdout
    assert "not-collected" not in done.stdout
