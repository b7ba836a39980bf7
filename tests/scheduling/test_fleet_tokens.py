"""Tokens of the fleet are planned as those of the machine are: neither ties journeys to a place."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from msgspec.structs import replace

from pytest_dogfood.drawing.picture import picture_of
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Scope
from pytest_dogfood.scheduling.plan import make_plan, prerequisites_to_run, weights
from pytest_dogfood.scheduling.recipe import NotCacheableError, recipe_for
from pytest_dogfood.scheduling.shards import divide
from pytest_dogfood.scheduling.split import split
from tests.support.random_items import with_python_tests
from tests.support.small_graphs import report_with_plan
from tests.support.strategies import Scene, dice, scenes, with_copyable_tokens


def of_the_fleet(scene: Scene) -> Scene:
    """Return the same project with tokens of the fleet for those of the machine."""
    changed = (
        replace(one, scope=Scope.FLEET) if one.scope is Scope.MACHINE else one for one in scene.capabilities
    )
    return replace(scene, capabilities=tuple(changed))


def planned(scene: Scene, die: Random) -> dict[str, object]:
    """Return all that is decided about a project before it runs."""
    graph = scene.graph()
    seconds = weights(scene.journeys, seen={}, committed={})
    selected = die.sample(scene.ids, die.randint(0, len(scene.ids)))
    own = selected[: len(selected) // 2]
    tree = split(graph)
    division = divide(graph, ["test_x.py::test_y"], 2, seconds=seconds, committed={})
    return {
        "chains": graph.chains,
        "states": tree.state_of,
        "order": graph.prerequisites,
        "brought": prerequisites_to_run(graph, own, elsewhere=selected[len(own) :]),
        "plan": make_plan(graph, selected, durations=seconds),
        "shards": (division.states, division.files),
        "recipes": {token: recipe_of(graph, token) for token in graph.tokens},
        "links": sorted(
            (link.source, link.target, link.kind, link.tokens, link.scope.is_shared)
            for link in picture_of(graph, report_with_plan(graph)).links
        ),
    }


def recipe_of(graph: CapabilityGraph, token: object) -> object:
    try:
        found = recipe_for(graph, [token])  # type: ignore[list-item]
    except NotCacheableError as error:
        return str(error)
    return found.makers, found.shared


@settings(max_examples=150, deadline=None)
@given(scenes(), dice)
def test_tokens_of_the_fleet_are_planned_as_those_of_the_machine(scene: Scene, die: Random) -> None:
    scene = with_python_tests(scene, die)
    scene = die.choice([scene, with_copyable_tokens(scene, die)])
    seed = die.random()
    assert planned(of_the_fleet(scene), Random(seed)) == planned(scene, Random(seed))  # noqa: S311
