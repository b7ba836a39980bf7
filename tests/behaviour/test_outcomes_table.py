"""What happens to a journey: one scene that holds every row, run in one process and on two workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

ROWS = """
    capabilities:
      denied: {probe: test -f "$DOGFOOD_STATE/denied"}
      unprovided: {probe: test -f "$DOGFOOD_STATE/unprovided"}
      broken-provision:
        {probe: test -f "$DOGFOOD_STATE/bp", provision: [{run: "echo x >> $DOGFOOD_ROOT/tries; exit 3"}]}
      lying-provision: {probe: test -f "$DOGFOOD_STATE/lp", provision: [{run: "true"}]}
      broken-service: {probe: "false", scope: machine, service: {run: "echo no config; exit 1"}}
      stuck-release: {provision: [{run: "true"}], release: [{run: "echo cannot release; exit 1"}]}
      own-way: {probe: test -f "$DOGFOOD_STATE/ow", provision: [{run: touch "$DOGFOOD_STATE/ow"}]}
    journeys:
      - {id: passes, establishes: [good], steps: [{run: echo hello}]}
      - {id: needs-good, requires: [good], steps: [{run: "true"}]}
      - {id: fails, establishes: [bad], steps: [{run: "echo boom; exit 3"}]}
      - {id: times-out, steps: [{run: sleep 30, timeout: 0.2}]}
      - {id: claims-too-much, establishes: [denied], steps: [{run: "true"}]}
      - {id: needs-denied, requires: [denied], steps: [{run: "true"}]}
      - {id: needs-unprovided, requires: [unprovided], steps: [{run: "true"}]}
      - {id: needs-broken-provision, requires: [broken-provision], steps: [{run: "true"}]}
      - {id: needs-broken-provision-too, requires: [broken-provision], steps: [{run: "true"}]}
      - {id: needs-lying-provision, requires: [lying-provision], steps: [{run: "true"}]}
      - {id: needs-broken-service, requires: [broken-service], steps: [{run: "true"}]}
      - {id: needs-bad, requires: [bad], establishes: [worse], steps: [{run: "true"}]}
      - {id: needs-worse, requires: [worse], steps: [{run: "true"}]}
      - {id: is-skipped, establishes: [skipped-token], marks: [{skip: {reason: not today}}], steps: [{run: "true"}]}
      - {id: needs-skipped, requires: [skipped-token], steps: [{run: "true"}]}
      - {id: is-xfailed, establishes: [xfailed-token], marks: [{xfail: {reason: known bug}}], steps: [{run: "false"}]}
      - {id: needs-xfailed, requires: [xfailed-token], steps: [{run: "true"}]}
      - {id: fails-own-way, establishes: [own-way], steps: [{run: "false"}]}
      - {id: needs-own-way, requires: [own-way], steps: [{run: "true"}]}
      - {id: no-command, establishes: [acted], steps: [{intent: look around}]}
      - {id: needs-acted, requires: [acted], steps: [{run: "true"}]}
      - {id: needs-stuck-release, requires: [stuck-release], steps: [{run: "true"}]}
      - {id: needs-stuck-release-too, requires: [stuck-release], steps: [{run: "true"}]}
      - {id: unclean, steps: [{run: "true"}], cleanup: [{run: "echo cannot tidy; exit 1"}]}
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def table(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run]:
    scene = new_scene()
    scene.write("table.journey.yaml", ROWS)
    return scene, scene.run(request.param)


@pytest.fixture
def run(table: tuple[Scene, Run]) -> Run:
    return table[1]


def test_a_run_with_failures_ends_with_1(run: Run) -> None:
    assert run.status == 1


def test_every_journey_is_accounted_for(run: Run) -> None:
    assert run.closing_line.startswith(
        "dogfood: 24 journeys = 4 passed + 4 failed + 7 errors + 6 deferred (5 causes) + 2 skipped + 1 xfailed; "
    )


@pytest.mark.parametrize("journey", ["passes", "needs-good", "needs-own-way", "needs-stuck-release"])
def test_all_steps_seen_as_expected_is_passed(run: Run, journey: str) -> None:
    assert run.cases[journey].kind == "passed"


@pytest.mark.parametrize(
    "journey, message",
    [
        ("fails", "exit 3, expected 0"),
        ("times-out", "timed out after 0.2 s (killed)"),
        (
            "claims-too-much",
            "established but not present: 'denied': the journey passed, but the probe exited 1",
        ),
    ],
)
def test_an_unmet_expectation_or_a_token_that_is_not_there_is_a_failure(
    run: Run, journey: str, message: str
) -> None:
    assert run.cases[journey].kind == "failure"
    assert message in run.cases[journey].message


@pytest.mark.parametrize(
    "journey, message",
    [
        (
            "needs-unprovided",
            "'unprovided' is not present, and no journey, test or fixture here establishes it",
        ),
        ("needs-broken-provision", "'broken-provision' could not be provisioned"),
        ("needs-broken-provision-too", "could not be provisioned for 'needs-broken-provision'"),
        (
            "needs-lying-provision",
            "'lying-provision' is still not present after provision: its probe exited 1",
        ),
        ("needs-broken-service", "the service of 'broken-service' ended before its probe succeeded"),
    ],
)
def test_a_token_that_cannot_be_had_is_an_error_in_setup(run: Run, journey: str, message: str) -> None:
    assert run.cases[journey].kind == "error"
    assert run.cases[journey].message.startswith("failed on setup")
    assert message in run.cases[journey].message


def test_a_provider_that_failed_is_not_tried_again_for_the_next_dependent(table: tuple[Scene, Run]) -> None:
    assert table[0].lines("tries") == ["x"]


def test_the_log_of_a_service_that_did_not_come_up_is_shown(run: Run) -> None:
    assert "no config" in run.cases["needs-broken-service"].message


@pytest.mark.parametrize(
    "journey, token, cause",
    [
        ("needs-bad", "bad", "fails failed"),
        ("needs-worse", "worse", "fails failed"),
        ("needs-denied", "denied", "claims-too-much failed"),
        ("needs-skipped", "skipped-token", "is-skipped was skipped"),
        ("needs-xfailed", "xfailed-token", "is-xfailed failed, as its xfail mark expects"),
        ("needs-acted", "acted", "no-command has a step without a command"),
    ],
)
def test_what_was_not_established_defers_its_dependents_naming_the_token_and_the_root_cause(
    run: Run, journey: str, token: str, cause: str
) -> None:
    assert run.cases[journey].kind == "skipped"
    assert run.cases[journey].message.startswith(f"deferred: {token!r} was not established, because {cause}")
    assert run.cases[journey].properties["dogfood.root_cause"].startswith(cause)


def test_an_independent_provider_saves_the_dependents_of_a_journey_that_failed(run: Run) -> None:
    assert run.cases["fails-own-way"].kind == "failure"
    assert run.cases["needs-own-way"].kind == "passed"


def test_a_step_without_a_command_is_skipped_and_says_where_it_stands(run: Run) -> None:
    assert run.cases["no-command"].kind == "skipped"
    assert "no actor: step 1 of 1 has no command (table.journey.yaml:" in run.cases["no-command"].message


@pytest.mark.parametrize(
    "journey, message",
    [("needs-stuck-release-too", "cannot release"), ("unclean", "cannot tidy")],
)
def test_a_release_or_cleanup_that_fails_is_an_error_in_the_teardown_of_the_last_user(
    run: Run, journey: str, message: str
) -> None:
    assert run.cases[journey].kind == "error"
    assert run.cases[journey].message.startswith("failed on teardown")
    assert message in run.cases[journey].message


def test_deferrals_are_grouped_by_root_cause_in_the_summary(run: Run) -> None:
    assert "deferred: 2 journeys, because fails failed\n    needs-bad, needs-worse\n" in run.text


def test_errors_of_the_harness_are_listed_apart_from_failures_of_the_product(run: Run) -> None:
    line = next(line for line in run.text.splitlines() if line.startswith("harness errors"))
    assert "needs-unprovided" in line
    assert "claims-too-much" not in line


def test_provision_never_makes_a_missing_token_an_error_and_a_failed_producer_a_deferral(
    scene: Scene,
) -> None:
    scene.write(
        "never.journey.yaml",
        """
        capabilities:
          buildable: {provision: [{run: touch "$DOGFOOD_ROOT/provisioned"}]}
        journeys:
          - {id: makes, establishes: [made], steps: [{run: touch "$DOGFOOD_ROOT/replayed"}]}
          - {id: uses-made, requires: [made], steps: [{run: "true"}]}
          - {id: uses-buildable, requires: [buildable], steps: [{run: "true"}]}
          - {id: breaks, establishes: [broken], steps: [{run: "false"}]}
          - {id: uses-broken, requires: [broken], steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0", "--dogfood-provision=never", "-k", "uses or breaks")
    assert run.status == 1
    assert {name: case.kind for name, case in run.cases.items()} == {
        "uses-made": "error",
        "uses-buildable": "error",
        "breaks": "failure",
        "uses-broken": "skipped",
    }
    assert "`--dogfood-provision never` forbids provisioning" in run.cases["uses-made"].message
    assert not list(scene.path.glob("*ed"))


def test_provision_never_leaves_alone_what_the_run_establishes_itself(scene: Scene) -> None:
    scene.write(
        "never.journey.yaml",
        """
        journeys:
          - {id: makes, establishes: [made], steps: [{run: "true"}]}
          - {id: uses, requires: [made], steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0", "--dogfood-provision=never")
    assert run.status == 0
    assert run.cases["uses"].kind == "passed"


def test_a_worker_that_dies_fails_its_journey_once_and_defers_the_dependents(scene: Scene) -> None:
    scene.write(
        "crash.journey.yaml",
        """
        journeys:
          - id: kills
            establishes: [killed]
            steps: [{run: "echo once >> $DOGFOOD_ROOT/killed; kill -9 $PPID"}]
          - {id: uses-killed, requires: [killed], steps: [{run: "true"}]}
          - {id: bystander, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 1
    assert scene.lines("killed") == ["once"]
    assert {name: case.kind for name, case in run.cases.items()} == {
        "kills": "error",
        "uses-killed": "skipped",
        "bystander": "passed",
    }
    assert run.cases["uses-killed"].message == (
        "deferred: 'killed' was not established, because kills crashed its worker"
    )
    assert run.closing_line.startswith("dogfood: 3 journeys = 1 passed + 1 failed + 1 deferred (1 cause)")
