"""Shards, simulated and merged, come to what the graph says of the whole project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings, strategies as st

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.report.manifest import ItemRecord, Manifest
from pytest_dogfood.report.merge import Merged, merge
from pytest_dogfood.scheduling.plan import Expected, make_plan, prerequisites_to_run, weights
from pytest_dogfood.scheduling.shards import divide
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.settings import Shard
from tests.support.played_workers import Simulation
from tests.support.random_items import with_python_tests
from tests.support.strategies import Scene, dice, scenes, with_copyable_tokens

many = settings(max_examples=int(os.environ.get("DOGFOOD_TEST_EXAMPLES", "400")), deadline=None)


def varied(scene: Scene, die: Random) -> Scene:
    scene = with_python_tests(scene, die)
    return die.choice([scene, with_copyable_tokens(scene, die)])


def simulated(scene: Scene, selected: Sequence[JourneyId], shard: Shard, die: Random) -> Manifest:
    """Run one shard of a selection in memory, on any number of workers and in any order."""
    graph = scene.graph()
    seconds = weights(scene.journeys, seen={}, committed={})
    division = divide(graph, [], shard.total, seconds=seconds, committed={})
    state_of = split(graph).state_of
    numbers = {journey.id: division.states[state_of[journey.id]] for journey in scene.journeys}
    own = [name for name in die.sample(selected, len(selected)) if numbers[name] == shard.index]
    elsewhere = [name for name in selected if name not in own]
    brought = prerequisites_to_run(graph, own, elsewhere=elsewhere)
    plan = make_plan(graph, [*own, *brought], gates=selected, prerequisites=brought)
    played = Simulation(scene, plan, die, workers=die.randint(0, 3), elsewhere=selected)
    outcomes = {name: Outcome(outcome) for name, outcome in played.run().items()}
    return Manifest(
        shard=shard,
        expected=Expected(
            shards={graph.journeys[name].nodeid: numbers[name] for name in selected},
            journeys={graph.journeys[name].nodeid: name for name in selected},
        ),
        items=tuple(
            ItemRecord(nodeid=one.nodeid, outcome=outcomes[one.id], prerequisite=one.prerequisite)
            for one in plan.journeys
        ),
        results=tuple(JourneyResult(id=name, outcome=outcome) for name, outcome in outcomes.items()),
        replayed={gate: Outcome(outcome) for gate, outcome in played.gates_of_others.items()},
        gates=tuple(dict.fromkeys(gate for one in plan.journeys for gate in one.gates)),
        exit_status=int(any(outcome.is_bad for outcome in outcomes.values())),
    )


def merged_from_shards(scene: Scene, selected: Sequence[JourneyId], total: int, die: Random) -> Merged:
    """Run every shard of a selection, and merge what they leave, which has to add up."""
    shards = [Shard(number, total) for number in range(1, total + 1)]
    merged = merge([simulated(scene, selected, shard, die) for shard in shards])
    assert not merged.unaccounted
    assert not merged.ran_twice
    assert not merged.disputed_gates
    return merged


def outcomes_of(merged: Merged) -> dict[JourneyId, str]:
    return {name: str(one.outcome) for name, one in merged.tally.results.items()}


@many
@given(scenes(least=1), dice, st.integers(1, 4))
def test_shards_come_to_what_the_graph_says_of_the_whole(scene: Scene, die: Random, total: int) -> None:
    scene = varied(scene, die)
    expected = scene.expected(scene.ids)
    merged = merged_from_shards(scene, scene.ids, total, die)
    assert outcomes_of(merged) == expected
    assert merged.exit_status == any(outcome in {"failed", "error"} for outcome in expected.values())


@many
@given(scenes(least=1), dice, st.integers(2, 4))
def test_shards_of_a_selection_come_to_what_one_run_of_it_comes_to(
    scene: Scene, die: Random, total: int
) -> None:
    scene = varied(scene, die)
    selected = die.sample(scene.ids, die.randint(1, len(scene.ids)))
    whole = merged_from_shards(scene, selected, 1, die)
    assert outcomes_of(merged_from_shards(scene, selected, total, die)) == outcomes_of(whole)
