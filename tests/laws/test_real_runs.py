from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, JourneyId, Scope, Token
from tests.support.random_files import Project, Seen
from tests.support.strategies import ANYWHERE, Scene, new_journey, random_scene

GRAPHS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6"))
"""How many random projects are really run; a failure is repeated with the number that its test id shows."""


@pytest.fixture
def project(short_root: Path, request: pytest.FixtureRequest) -> Project:
    return Project(random_scene(Random(request.param), least=4, most=9), short_root)  # noqa: S311 - a die


def check(project: Project, seen: Seen, selected: list[JourneyId]) -> None:
    expected = project.scene.expected(selected)
    assert seen.outcomes == expected, seen.text
    assert project.complaints(seen, selected) == [], (seen.log, seen.text)
    assert seen.status == (0 if set(expected.values()) == {"passed"} else 1), seen.text


@pytest.mark.parametrize("project", range(GRAPHS), indirect=True, ids="graph{}".format)
def test_a_random_project_does_what_its_graph_says_in_full_and_in_part(
    project: Project, request: pytest.FixtureRequest
) -> None:
    dice = Random(request.node.name)  # noqa: S311 - a die
    ids = project.scene.ids
    for selected in (ids, dice.sample(ids, dice.randint(1, len(ids)))):
        order = dice.choice(["-pno:randomly", f"--randomly-seed={dice.randrange(1000)}"])
        seen = project.run(f"-n{dice.choice([0, 0, 1, 2, 3])}", order, "-k", " or ".join(selected))
        check(project, seen, selected)


@pytest.mark.parametrize("project", [1], indirect=True, ids="graph{}".format)
def test_one_project_comes_to_the_same_on_any_number_of_workers_and_in_any_order(project: Project) -> None:
    for workers in (0, 1, 2, 4):
        order = "-pno:randomly" if workers % 2 else f"--randomly-seed={workers}"
        check(project, project.run(f"-n{workers}", order), project.scene.ids)


RENDEZVOUS = """
touch "$DF_LOG.$DOGFOOD_JOURNEY.$DOGFOOD_WORKER"
for _ in {1..10}; do
  [ "$(ls "$DF_LOG".producer.* 2>/dev/null | wc -l)" -lt 2 ] && sleep 0.05
done
exit 0
"""
"""Gives a second replay of the producer, if there is one, time to begin while the first is under way."""


def test_workers_that_need_two_tokens_of_one_journey_do_not_wait_for_each_other(short_root: Path) -> None:
    one, two = Token("one-there"), Token("two-there")
    producer = replace(new_journey("producer"), establishes={one: ANYWHERE, two: ANYWHERE})
    users = [
        replace(new_journey("first"), requires={one: ANYWHERE}),
        replace(new_journey("second"), requires={two: ANYWHERE}),
    ]
    capabilities = tuple(
        Capability(token=token, location=ANYWHERE, scope=Scope.MACHINE) for token in (one, two)
    )
    scene = Scene(journeys=(producer, *users), capabilities=capabilities, failing=frozenset())
    project = Project(scene, short_root)
    project.before_each(RENDEZVOUS)
    selected = [journey.id for journey in users]
    seen = project.run("-n2", "-pno:randomly", "-k", "first or second")
    check(project, seen, selected)
    assert [event.what for event in seen.log if event.who == "producer"] == ["start", "found", "end"]
