"""What a step expects is compared with values that are known when it runs, and searched for within its time limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.run_results import Run
from tests.support.scenes import Scene

JOURNEYS = """
    capabilities:
      served: {provision: [{run: echo port=8080, save: {port: {stdout: "port=(.*)"}}}]}
      page-there: {probe: {run: echo page-there, expect: {stdout: "$DOGFOOD_TOKEN"}}}
      listed: {requires: [served], provision: ['test "$DOGFOOD_SERVED_PORT" = 8080']}
      linked: {requires: [listed], provision: ['test "$DOGFOOD_SERVED_PORT" = 8080']}
    journeys:
      - id: saved-before
        env: {WHO: ada}
        steps:
          - {run: "echo '{\\"id\\": 17, \\"on\\": true}'", save: {id: {json: id}, on: {json: 'on'}}}
          - run: "echo '{\\"id\\": 17, \\"on\\": true, \\"who\\": \\"ada\\"}'"
            expect: {stdout: {json: {id: "$id", 'on': "${on}", who: "$WHO"}, not_contains: "$$id"}}
          - run: echo "ada 17"; mkdir 17; echo ada >17/f
            expect: {stdout: "$WHO $id", files: {"$id/f": {equals: "$WHO\\n"}}}
      - id: of-a-token
        requires: [served, page-there]
        steps: [{run: echo 8080, expect: {stdout: {matches: "^$DOGFOOD_SERVED_PORT$"}}}]
      - id: of-a-base
        requires: [linked]
        steps: [{run: 'echo "$DOGFOOD_SERVED_PORT"', expect: {stdout: {equals: "8080\\n"}}}]
      - {id: makes, requires: [served], establishes: [made], steps: ["true"]}
      - id: not-of-what-a-journey-required
        requires: [made]
        steps: [{run: 'echo "${DOGFOOD_SERVED_PORT:-none}"', expect: {stdout: {equals: "none\\n"}}}]
      - id: not-its-own
        steps:
          - {run: echo 1, save: {n: {stdout: ".+"}}}
          - {run: echo 2, save: {n: {stdout: ".+"}}, expect: {stdout: {not_contains: "$n"}}}
          - {run: echo 1, expect: {stdout: "$n"}}
      - id: tries-again
        steps:
          - {run: echo done, save: {word: {stdout: ".+"}}}
          - run: 'echo x >>tries; test "$(wc -l <tries)" -ge 3 && echo done || echo waiting'
            until: {timeout: 30, interval: 0.01}
            expect: {stdout: "$word"}
      - id: differs
        steps:
          - {run: echo 17, save: {id: {stdout: ".+"}}}
          - {run: echo 18, expect: {stdout: "$id"}}
      - id: forbidden
        steps:
          - {run: echo tk-1, save: {token: {stdout: ".+"}}}
          - {run: echo tk-1, expect: {stdout: {not_contains: "$token"}}}
      - id: lane
        matrix: {n: ["1", "2"]}
        lock: ["gpu-${n}"]
        seed_files: {"in-${n}.txt": "n=${n}\\n"}
        env: {LANE: "lane-${n}"}
        steps:
          - run: cat in*; echo "$LANE"
            expect: {stdout: {equals: "n=${n}\\nlane-${n}\\n"}, files: {"in-${n}.txt": {contains: "n=${n}"}}}
      - id: cleans-up
        steps: [{run: echo none, save: {id: {stdout: "\\\\d+"}}}]
        cleanup:
          - {run: echo 17, expect: {stdout: {not_contains: "$id"}}}
          - {run: touch "$DOGFOOD_ROOT/cleaned"}
      - id: unset
        steps: [{run: touch "$DOGFOOD_ROOT/has-run", expect: {stdout: {not_contains: "$NO_SUCH_THING"}}}]
      - id: empty
        env: {NOTHING: ""}
        steps: [{run: echo 1, expect: {stdout: {contains: "$NOTHING"}}}]
      - id: slow-search
        steps: [{run: "printf 'a%.0s' {1..60}; echo '!'", timeout: 1, expect: {stdout: {matches: "^(a|aa)+$"}}}]
      - id: slow-save
        steps: [{run: "printf 'a%.0s' {1..60}; echo '!'", timeout: 1, save: {v: {stdout: "^(a|aa)+$"}}}]
"""


PASSING = (
    "saved-before",
    "of-a-token",
    "of-a-base",
    "not-of-what-a-journey-required",
    "tries-again",
    "lane[1]",
    "lane[2]",
)
ACTOR = """
    import json, sys

    for line in sys.stdin:
        asked = json.loads(line)
        done = [one for one in asked["observations"] if one["step"] == asked["step"]["number"]]
        print(json.dumps({"done": True} if done else {"command": asked["step"]["intent"]}), flush=True)
"""
ACTED = """
    journeys:
      - id: acted
        steps:
          - {run: echo 17, save: {id: {stdout: ".+"}}}
          - {intent: "echo 17; touch 17", expect: {stdout: "$id", files: {"$id": true}}}
      - id: acted-differently
        steps:
          - {run: echo 17, save: {id: {stdout: ".+"}}}
          - {intent: echo 18, expect: {stdout: {not_contains: 17, matches: "^$id$"}}}
      - id: acted-without
        steps: [{intent: 'touch "$DOGFOOD_ROOT/has-acted"', expect: {stdout: {not_contains: "$NO_SUCH_THING"}}}]
"""
HOSTILE = "'^(a|aa)+$', got no result within the step's time limit"


@pytest.fixture(scope="module")
def project(new_scene: Callable[[], Scene]) -> Scene:
    scene = new_scene()
    scene.write("a.journey.yaml", JOURNEYS)
    return scene


@pytest.fixture(scope="module")
def done(project: Scene) -> Run:
    return project.run()


@pytest.mark.parametrize("journey", PASSING)
def test_what_is_known_when_a_step_runs_is_expected_of_it(done: Run, journey: str) -> None:
    assert (done.cases[journey].kind, done.cases[journey].message) == ("passed", "")


@pytest.mark.parametrize(
    "journey,words",
    [
        ("not-its-own", "step 3 of 3: stdout: expected to contain '2', got"),
        ("differs", "step 2 of 2: stdout: expected to contain '17', got '18"),
        ("forbidden", "step 2 of 2: stdout: expected not to contain 'tk-1', got 'tk-1"),
        ("slow-search", f"step 1 of 1: stdout: expected to match {HOSTILE}"),
        ("slow-save", f"step 1 of 1: save v: expected stdout to match {HOSTILE}"),
    ],
)
def test_what_differs_from_it_fails(done: Run, journey: str, words: str) -> None:
    assert done.cases[journey].kind == "failure"
    assert words in done.cases[journey].message


@pytest.mark.parametrize(
    "journey,words",
    [
        ("unset", "stdout not_contains '$NO_SUCH_THING' names $NO_SUCH_THING, which is not set"),
        ("empty", "stdout contains '$NOTHING' names $NOTHING, which is empty, so that it checks nothing"),
    ],
)
def test_a_variable_without_a_value_is_an_error_of_the_harness(done: Run, journey: str, words: str) -> None:
    assert done.cases[journey].kind == "error"
    assert words in done.text


def test_a_step_whose_expectation_cannot_be_told_does_not_run(done: Run, project: Scene) -> None:
    assert done.cases["unset"].kind == "error"
    assert not (project.path / "has-run").exists()


@pytest.fixture(scope="module")
def acted(new_scene: Callable[[], Scene]) -> Scene:
    scene = new_scene()
    scene.write("actor.py", ACTOR)
    scene.write("a.journey.yaml", ACTED)
    return scene


@pytest.fixture(scope="module")
def done_by_an_actor(acted: Scene) -> Run:
    return acted.run("--dogfood-actor", "python3 actor.py")


def test_of_what_an_actor_does_values_are_expected_too(done_by_an_actor: Run) -> None:
    assert done_by_an_actor.cases["acted"].kind == "passed"
    assert "expected to match '^(?:17)$', got '18" in done_by_an_actor.cases["acted-differently"].message


def test_an_actor_is_not_asked_where_the_expectation_cannot_be_told(
    done_by_an_actor: Run, acted: Scene
) -> None:
    assert done_by_an_actor.cases["acted-without"].kind == "error"
    assert "a.journey.yaml:12:13: stdout not_contains '$NO_SUCH_THING' names" in done_by_an_actor.text
    assert not (acted.path / "has-acted").exists()


def test_a_cleanup_step_that_expects_a_value_which_was_not_saved_is_left_out_alone(
    done: Run, project: Scene
) -> None:
    assert "not run, because no step has saved id" in done.text
    assert (project.path / "cleaned").exists()
