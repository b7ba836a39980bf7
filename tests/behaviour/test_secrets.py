"""Secret values are usable by whoever needs them and are written down nowhere that anybody reads."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

GIVEN = "hunter2-Given/by=environment"
SAVED = "s3cr3t-Saved-by-a-step"
MADE = "pr0visioned-Secret-value"

SCENE = """
    capabilities:
      keys-made:
        scope: machine
        provision:
          - run: 'printf "key=%s-%s\\n" pr0visioned Secret-value; echo "public=open"'
            save: {key: {stdout: "key=(.*)", secret: true}, name: {stdout: "public=(.*)"}}
      logged-in: {scope: machine}
      up:
        scope: machine
        requires: [keys-made, logged-in]
        probe: test -f "$DOGFOOD_SHARED/up"
        service:
          run: |
            echo "starting with $DOGFOOD_KEYS_MADE_KEY, $DOGFOOD_LOGGED_IN_PASSWORD and $API_TOKEN"
            touch "$DOGFOOD_SHARED/up"
            exec sleep 300
    journeys:
      - id: log-in
        establishes: [logged-in]
        steps:
          - run: 'printf "%s-%s\\n" s3cr3t Saved-by-a-step'
            save: {password: {stdout: "(.*)", secret: true}}
          - run: test "$password" = "$(printf "%s-%s" s3cr3t Saved-by-a-step)" && echo "again $password"
            expect: {stdout: {contains: "again s3cr3t"}}
      - id: given
        steps: [{run: 'echo "$API_TOKEN"; echo "$API_TOKEN" >&2'}, {run: 'echo "once more $API_TOKEN"'}]
      - id: uses
        requires: [logged-in]
        steps:
          - run: test "$DOGFOOD_LOGGED_IN_PASSWORD" = "$(printf "%s-%s" s3cr3t Saved-by-a-step)"
          - run: echo "as $DOGFOOD_LOGGED_IN_PASSWORD"
          - run: echo "got $DOGFOOD_LOGGED_IN_PASSWORD and $API_TOKEN"; echo "$API_TOKEN" >got; exit 3
            expect:
              stdout: {contains: nothing of the kind, equals: other}
              files: {got: {contains: other}}
      - id: uses-json
        requires: [logged-in]
        steps:
          - run: printf '{"token":"%s"}' "$DOGFOOD_LOGGED_IN_PASSWORD"
            expect: {stdout: {json: {token: other}}}
      - id: uses-provisioned
        requires: [keys-made]
        steps:
          - run: echo "$DOGFOOD_KEYS_MADE_NAME $DOGFOOD_KEYS_MADE_KEY"; false
      - id: uses-service
        requires: [up]
        steps: [{run: "true"}]
      - id: cannot-save
        steps:
          - run: 'printf "%s-%s\\n" s3cr3t Saved-by-a-step'
            save: {password: {stdout: "no such (.*)", secret: true}}
      - {id: cannot-start, steps: [{run: [no-such-hunter2-Given/by=environment, hunter2-Given/by=environment]}]}
      - {id: cannot-enter, steps: [{run: echo hunter2-Given/by=environment, cwd: nowhere}]}
"""

PYTHON = """
    import pytest

    @pytest.mark.requires("logged-in")
    def test_python_gets_it(capabilities):
        assert capabilities["logged-in"]["password"] == "-".join(["s3cr3t", "Saved-by-a-step"])
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def scene(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("secret.journey.yaml", SCENE).write("test_secret.py", PYTHON)
    live.write("pytest.ini", "[pytest]\ndogfood_secrets = API_TOKEN NOT_SET\n")
    return live, live.run("-v", "-rA", "--dogfood-keep", request.param, API_TOKEN=GIVEN)


def files(live: Live) -> Iterator[Path]:
    """Yield what the harness has written: the kept run, and what it knows of this machine."""
    yield from (path for path in live.state_root.rglob("*") if path.is_file())


def holding(live: Live, value: str) -> list[str]:
    # The product's own file is the product's own affair.
    return [str(path) for path in files(live) if value.encode() in path.read_bytes() and path.name != "got"]


def test_those_who_need_a_secret_have_it(scene: tuple[Live, Run]) -> None:
    run = scene[1]
    assert {name: case.kind for name, case in run.cases.items()} == {
        "log-in": "passed",
        "given": "passed",
        "uses": "failure",
        "uses-json": "failure",
        "uses-provisioned": "failure",
        "uses-service": "passed",
        "cannot-save": "failure",
        "cannot-start": "error",
        "cannot-enter": "error",
        "test_python_gets_it": "passed",
    }
    assert "uses" in run.cases
    assert "step 3 of 3" in run.cases["uses"].message


@pytest.mark.parametrize("value", [GIVEN, SAVED, MADE])
def test_no_secret_is_on_the_terminal(scene: tuple[Live, Run], value: str) -> None:
    assert value not in scene[1].text


@pytest.mark.parametrize("value", [GIVEN, SAVED, MADE])
def test_no_secret_is_in_junit(scene: tuple[Live, Run], value: str) -> None:
    assert value not in (scene[0].path / "junit1.xml").read_text()


@pytest.mark.parametrize("value", [GIVEN, SAVED, MADE])
def test_no_secret_is_in_what_the_harness_keeps(scene: tuple[Live, Run], value: str) -> None:
    assert holding(scene[0], value) == []


def test_an_output_in_which_a_secret_was_not_found_is_not_kept(live: Live) -> None:
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - id: cannot-save
            steps:
              - run: 'printf "%s-%s\n" s3cr3t Saved-by-a-step'
                save: {password: {stdout: "no such (.*)", secret: true}}
        """,
    )
    run = live.run("--dogfood-keep")
    assert run.cases["cannot-save"].kind == "failure"
    assert holding(live, SAVED) == []
    assert "--- stdout ---\n  *** (hidden, because it may hold a secret that this step saves)\n" in run.text


def test_what_is_not_secret_is_shown(scene: tuple[Live, Run]) -> None:
    assert "got *** and ***" in scene[1].text
    assert "open ***" in scene[1].text


def test_step_files_are_private(scene: tuple[Live, Run]) -> None:
    (kept,) = scene[0].run_directories()
    outputs = list((kept / "out").iterdir())
    assert len(outputs) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in outputs} == {0o600}


def test_the_service_log_is_kept_without_its_secrets(scene: tuple[Live, Run]) -> None:
    (kept,) = scene[0].run_directories()
    assert (kept / "out" / "service-up-machine.log").read_text() == "starting with ***, *** and ***\n"


def test_a_worker_that_is_killed_leaves_no_secret_behind(live: Live) -> None:
    live.write("pytest.ini", "[pytest]\ndogfood_secrets = API_TOKEN\n")
    live.write(
        "dies.journey.yaml",
        """
        journeys:
          - {id: dies, steps: [{run: 'echo "before $API_TOKEN"; kill -9 $PPID; echo "after $API_TOKEN"; sleep 300'}]}
          - id: saves
            steps:
              - run: 'printf "%s-%s\\n" s3cr3t Saved-by-a-step; kill -9 $PPID; sleep 300'
                save: {password: {stdout: "(.*)", secret: true}}
        """,
    )
    run = live.run("-n2", "--dogfood-keep", API_TOKEN=GIVEN)
    assert {name: case.kind for name, case in run.cases.items()} == {"dies": "error", "saves": "error"}
    assert live.run_directories()
    assert holding(live, GIVEN) == []
    assert holding(live, SAVED) == []


def test_a_dead_run_leaves_secrets_at_most_until_the_next(live: Live) -> None:
    live.write("pytest.ini", "[pytest]\ndogfood_secrets = API_TOKEN\n")
    live.write(
        "dies.journey.yaml",
        """
        journeys:
          - id: dies
            steps:
              - run: |
                  echo "$API_TOKEN"
                  test -e "$DOGFOOD_ROOT/dead" || { touch "$DOGFOOD_ROOT/dead"; kill -9 $PPID; sleep 300; }
        """,
    )
    assert live.run(API_TOKEN=GIVEN).status == -9
    run = live.run(API_TOKEN=GIVEN)
    assert run.status == 0, run.text
    assert holding(live, GIVEN) == []
