"""What a JUnit report says of journeys, the same from one process and from two workers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.run_results import Case, Run
    from tests.support.scenes import Scene

SHOP = """
    capabilities:
      till: {probe: test -f "$DOGFOOD_STATE/till"}
      lamp: {provision: [{run: "true"}]}
      van: {scope: machine, provision: [{run: "true"}], release: [{run: "false"}]}
    journeys:
      - {id: opens, tier: smoke, establishes: [till, door], steps: [{run: touch "$DOGFOOD_STATE/till"}]}
      - {id: sells, requires: [till, door, lamp], tier: deep, steps: [{run: "true"}]}
      - {id: breaks, establishes: [broken], steps: [{run: "false"}]}
      - {id: needs-broken, requires: [broken], steps: [{run: "true"}]}
      - {id: replayed, establishes: [fetched], steps: [{run: "true"}]}
      - {id: needs-replayed, requires: [fetched], steps: [{run: "true"}]}
      - {id: drives, requires: [van], steps: [{run: "true"}]}
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def shop(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run]:
    scene = new_scene()
    scene.write("shop.journey.yaml", SHOP)
    return scene, scene.run(request.param, "-k", "not (replayed and not needs)")


@pytest.fixture
def cases(shop: tuple[Scene, Run]) -> Mapping[str, Case]:
    return shop[1].cases


def test_a_journey_that_establishes_names_its_tokens_and_what_proved_them(cases: Mapping[str, Case]) -> None:
    assert cases["opens"].properties == {
        "dogfood.chain": "opens",
        "dogfood.tier": "smoke",
        "dogfood.establishes": "till, door",
        "dogfood.proof": "till=probe, door=journey",
    }


def test_a_dependent_names_what_it_requires_what_proved_it_and_what_was_provisioned_for_it(
    cases: Mapping[str, Case],
) -> None:
    assert cases["sells"].properties == {
        "dogfood.chain": "opens",
        "dogfood.tier": "deep",
        "dogfood.requires": "till, door, lamp",
        "dogfood.provisioned": "lamp by its provision steps",
        "dogfood.proof": "till=probe, door=journey, lamp=provider",
    }


def test_a_replay_is_named_as_what_provisioned(cases: Mapping[str, Case]) -> None:
    assert cases["needs-replayed"].properties["dogfood.provisioned"] == "fetched by replaying replayed"
    assert cases["needs-replayed"].properties["dogfood.proof"] == "fetched=journey"


def test_a_deferred_journey_names_its_root_cause(cases: Mapping[str, Case]) -> None:
    assert cases["needs-broken"].kind == "skipped"
    assert cases["needs-broken"].properties == {
        "dogfood.chain": "breaks",
        "dogfood.tier": "core",
        "dogfood.requires": "broken",
        "dogfood.root_cause": "breaks failed",
    }


def test_a_failed_journey_has_properties_too(cases: Mapping[str, Case]) -> None:
    assert cases["breaks"].kind == "failure"
    assert cases["breaks"].properties["dogfood.establishes"] == "broken"
    assert "dogfood.proof" not in cases["breaks"].properties


def test_each_item_has_one_test_case_and_a_release_that_fails_after_the_end_a_second_one(
    shop: tuple[Scene, Run],
) -> None:
    report = ET.parse(shop[0].path / "junit1.xml")  # noqa: S314 - pytest has just written it
    names = Counter(element.get("name") for element in report.iter("testcase"))
    assert {name for name, number in names.items() if number > 1} == {"drives"}


def test_a_machine_release_that_fails_is_an_error_of_its_last_user(cases: Mapping[str, Case]) -> None:
    assert cases["drives"].kind == "error"
    assert cases["drives"].message.startswith("failed on teardown")
    assert cases["drives"].properties["dogfood.requires"] == "van"


def test_the_report_adds_up(shop: tuple[Scene, Run]) -> None:
    report = ET.parse(shop[0].path / "junit1.xml")  # noqa: S314 - pytest has just written it
    suite = next(report.iter("testsuite"))
    assert {name: suite.get(name) for name in ("errors", "failures", "skipped")} == {
        "errors": "1",
        "failures": "1",
        "skipped": "1",
    }


def test_a_crashed_journey_is_an_error_with_its_properties(scene: Scene) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: opens, establishes: [door], steps: [{run: "true"}]}
          - {id: kills, tier: deep, requires: [door], establishes: [alarm], steps: [{run: kill -9 $PPID}]}
        """,
    )
    case = scene.run("-n2").cases["kills"]
    assert case.kind == "error"
    assert case.properties == {
        "dogfood.chain": "opens",
        "dogfood.tier": "deep",
        "dogfood.requires": "door",
        "dogfood.establishes": "alarm",
        "dogfood.root_cause": "kills crashed its worker",
    }
