"""What is missing is brought about: by whom, in which order, how often, with which values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

SHOP = """
    capabilities:
      everywhere:
        scope: machine
        probe: test -f "$DOGFOOD_SHARED/everywhere"
      present-already: {probe: "true", provision: [{run: echo provision >> "$DOGFOOD_ROOT/present"}]}
      by-steps: {provision: [{run: echo provision >> "$DOGFOOD_ROOT/by-steps"}]}
      by-fixture: {provision: [{run: echo provision >> "$DOGFOOD_ROOT/by-fixture"}]}
      lacks-values: {provision: [{run: echo provision >> "$DOGFOOD_ROOT/lacks-values"}]}
      tests-only: {description: only a Python test establishes it}
    journeys:
      - id: makes-everywhere
        establishes: [everywhere]
        steps:
          - run: touch "$DOGFOOD_SHARED/everywhere" && echo made >> "$DOGFOOD_ROOT/made" && echo port 80
            save: {port: {stdout: "port (\\\\d+)"}}
      - {id: uses-everywhere-1, requires: [everywhere], steps: [{run: test "$DOGFOOD_EVERYWHERE_PORT" = 80}]}
      - {id: uses-everywhere-2, requires: [everywhere], steps: [{run: test "$DOGFOOD_EVERYWHERE_PORT" = 80}]}
      - {id: uses-everywhere-3, requires: [everywhere], steps: [{run: test "$DOGFOOD_EVERYWHERE_PORT" = 80}]}

      - {id: first-way, establishes: [either-way], steps: [{run: "echo first >> $DOGFOOD_ROOT/ways; exit 1"}]}
      - {id: second-way, establishes: [either-way], steps: [{run: echo second >> "$DOGFOOD_ROOT/ways"}]}
      - {id: uses-either-way, requires: [either-way], steps: [{run: echo used >> "$DOGFOOD_ROOT/ways"}]}

      - {id: makes-a, establishes: [token-a], steps: [{run: 'echo a "$DOGFOOD_STATE" >> "$DOGFOOD_ROOT/abc"'}]}
      - id: makes-b
        requires: [token-a]
        establishes: [token-b]
        steps: [{run: 'echo b "$DOGFOOD_STATE" >> "$DOGFOOD_ROOT/abc"'}]
      - {id: uses-b, requires: [token-b], steps: [{run: 'echo c "$DOGFOOD_STATE" >> "$DOGFOOD_ROOT/abc"'}]}
      - {id: uses-b-again, requires: [token-b], steps: [{run: "true"}]}

      - {id: makes-present, establishes: [present-already], steps: [{run: echo journey >> "$DOGFOOD_ROOT/present"}]}
      - {id: uses-present, requires: [present-already], steps: [{run: "true"}]}
      - {id: makes-by-steps, establishes: [by-steps], steps: [{run: echo journey >> "$DOGFOOD_ROOT/by-steps"}]}
      - {id: uses-by-steps, requires: [by-steps], steps: [{run: "true"}]}
      - {id: uses-by-steps-again, requires: [by-steps], steps: [{run: "true"}]}
      - id: makes-by-fixture
        establishes: [by-fixture]
        steps: [{run: "echo journey >> $DOGFOOD_ROOT/by-fixture; echo ann", save: {name: {stdout: "(ann)"}}}]
      - {id: uses-by-fixture, requires: [by-fixture], steps: [{run: test "$DOGFOOD_BY_FIXTURE_NAME" = ann}]}
      - id: makes-values
        establishes: [lacks-values]
        steps: [{run: "echo journey >> $DOGFOOD_ROOT/lacks-values; echo tag7", save: {tag: {stdout: "(tag7)"}}}]
      - {id: uses-values, requires: [lacks-values], steps: [{run: test "$DOGFOOD_LACKS_VALUES_TAG" = tag7}]}
      - {id: uses-tests-only, requires: [tests-only], steps: [{run: test "$DOGFOOD_TESTS_ONLY_WHO" = bob}]}
"""

TESTS = """
    import pytest
    import pytest_dogfood

    @pytest.mark.requires("everywhere")
    def test_uses_everywhere(capabilities):
        assert capabilities["everywhere"]["port"] == "80"

    @pytest.mark.requires("lacks-values")
    def test_uses_values(capabilities):
        assert capabilities["lacks-values"]["tag"] == "tag7"

    @pytest.mark.establishes("tests-only")
    def test_makes_tests_only(capabilities):
        capabilities.save(who="bob")
"""

CONFTEST = """
    import pytest
    import pytest_dogfood

    @pytest_dogfood.provides("by-fixture")
    @pytest.fixture
    def registered_user(request):
        with open(request.config.rootpath / "by-fixture", "a") as log:
            log.write("fixture\\n")
        return {"name": "ann"}
"""


def _shop(scene: Scene) -> Scene:
    scene.write("pytest.ini", "[pytest]\n")
    scene.write("shop.journey.yaml", SHOP)
    scene.write("test_shop.py", TESTS)
    scene.write("conftest.py", CONFTEST)
    return scene


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def whole(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run]:
    """Return a run of everything."""
    scene = _shop(new_scene())
    return scene, scene.run(request.param)


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def partial(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run]:
    """Return a run of those alone that need something."""
    scene = _shop(new_scene())
    return scene, scene.run(request.param, "-k", "uses")


def test_one_success_of_several_establishers_is_enough(whole: tuple[Scene, Run]) -> None:
    scene, run = whole
    assert scene.lines("ways") == ["first", "second", "used"]
    assert run.cases["first-way"].kind == "failure"
    assert run.cases["uses-either-way"].kind == "passed"


def test_what_the_run_establishes_itself_is_not_provisioned(whole: tuple[Scene, Run]) -> None:
    scene, run = whole
    assert scene.lines("made") == ["made"]
    assert [line.split()[0] for line in scene.lines("abc")] == ["a", "b", "c"]
    assert scene.lines("by-steps") == ["journey"]
    assert "provisioned everywhere" not in run.text


def test_everything_but_the_one_that_failed_passes(whole: tuple[Scene, Run]) -> None:
    assert [name for name, case in whole[1].cases.items() if case.kind != "passed"] == ["first-way"]


def test_a_selection_has_the_outcomes_of_the_whole_run(
    partial: tuple[Scene, Run], whole: tuple[Scene, Run]
) -> None:
    assert partial[1].status == 0
    for name, case in partial[1].cases.items():
        assert (name, case.kind) == (name, whole[1].cases[name].kind)


@pytest.mark.parametrize(
    "journey", ["uses-everywhere-1", "uses-everywhere-2", "uses-everywhere-3", "test_uses_everywhere"]
)
def test_the_producers_values_reach_its_dependents_on_every_worker(
    whole: tuple[Scene, Run], partial: tuple[Scene, Run], journey: str
) -> None:
    assert whole[1].cases[journey].kind == "passed"
    assert partial[1].cases[journey].kind == "passed"


def test_a_machine_token_is_provisioned_once_however_many_need_it(partial: tuple[Scene, Run]) -> None:
    scene, run = partial
    assert scene.lines("made") == ["made"]
    assert run.text.count("provisioned everywhere once by replaying makes-everywhere, ") == 1


def test_a_journey_is_replayed_after_what_it_needs_itself_in_the_state_of_the_dependent(
    partial: tuple[Scene, Run],
) -> None:
    scene, _ = partial
    order, states = zip(*(line.split() for line in scene.lines("abc")), strict=True)
    assert order == ("a", "b", "c")
    assert len(set(states)) == 1


def test_an_establisher_that_fails_when_replayed_leaves_it_to_the_next(partial: tuple[Scene, Run]) -> None:
    assert partial[0].lines("ways") == ["first", "second", "used"]


def test_what_the_probe_finds_is_not_provisioned(partial: tuple[Scene, Run]) -> None:
    scene, run = partial
    assert scene.lines("present") == []
    assert run.cases["uses-present"].properties["dogfood.proof"] == "present-already=probe"
    assert "dogfood.provisioned" not in run.cases["uses-present"].properties


def test_a_fixture_comes_before_provision_steps_and_replay(partial: tuple[Scene, Run]) -> None:
    scene, run = partial
    assert scene.lines("by-fixture") == ["fixture"]
    assert run.cases["uses-by-fixture"].kind == "passed"
    assert "provisioned by-fixture once by fixture registered_user, " in run.text


def test_provision_steps_come_before_replay_and_run_once_per_state(partial: tuple[Scene, Run]) -> None:
    scene, run = partial
    assert scene.lines("by-steps") == ["provision"]
    assert run.text.count("provisioned by-steps once by its provision steps, ") == 1


def test_a_provider_without_the_values_that_dependents_ask_for_is_passed_over(
    partial: tuple[Scene, Run],
) -> None:
    scene, run = partial
    assert scene.lines("lacks-values") == ["journey"]
    assert run.cases["uses-values"].kind == "passed"
    assert run.cases["test_uses_values"].kind == "passed"


def test_a_python_test_that_alone_establishes_is_brought_back_into_the_selection(
    partial: tuple[Scene, Run],
) -> None:
    assert partial[1].cases["test_makes_tests_only"].kind == "passed"
    assert partial[1].cases["uses-tests-only"].kind == "passed"


KNOWN = """
    capabilities:
      slow: {provision: [{run: echo provision >> "$DOGFOOD_ROOT/slow"}], lock: [machine]}
      hopeless: {provision: [{run: 'false'}]}
      unavailable: {probe: 'false'}
    journeys:
      - {id: breaks, establishes: [broken], steps: ['false']}
      - {id: waits, requires: [slow, broken], lock: [machine], steps: ['true']}
      - {id: waits-too, requires: [slow, unavailable], steps: ['true']}
      - {id: in-doubt, requires: [hopeless, slow, broken], steps: ['true']}
      - {id: in-vain, requires: [hopeless, slow], steps: ['true']}
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_nothing_is_provisioned_where_another_token_is_known_to_defer(scene: Scene, workers: str) -> None:
    scene.write("a.journey.yaml", KNOWN)
    run = scene.run(workers, "--dogfood-blocked=unavailable")
    kinds = {name: case.kind for name, case in run.cases.items()}
    assert kinds == {
        "breaks": "failure",
        "waits": "skipped",
        "waits-too": "skipped",
        "in-doubt": "skipped",
        "in-vain": "error",
    }
    assert "'broken' was not established, because breaks failed" in run.cases["waits"].message
    assert scene.lines("slow") == []  # nor after an error


@pytest.mark.parametrize("name", ["waits", "in-doubt", "in-vain"])
def test_what_is_known_only_once_it_is_asked_for_leads_to_the_same_outcome(scene: Scene, name: str) -> None:
    scene.write("a.journey.yaml", KNOWN)
    run = scene.run("-k", f"{name} and not {name}-")
    assert {name: case.kind for name, case in run.cases.items()} == {
        name: "error" if name == "in-vain" else "skipped"
    }
