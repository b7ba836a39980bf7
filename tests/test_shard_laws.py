"""Shards, simulated and merged, come to what the graph says of the whole project."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_dogfood.durations import weights
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.manifest import Expected
from pytest_dogfood.manifest import ItemRecord
from pytest_dogfood.manifest import Manifest
from pytest_dogfood.merging import merge
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.planning import make_plan
from pytest_dogfood.prerequisites import prerequisites_to_run
from pytest_dogfood.settings import Shard
from pytest_dogfood.sharding import divide
from tests.played import Simulation
from tests.strategies import Scene
from tests.strategies import dice
from tests.strategies import scenes
from tests.varied import with_python_tests


def simulated(scene: Scene, shard: Shard, die: Random) -> Manifest:
    """Run one shard in memory, on any number of workers and in any order."""
    graph = scene.graph()
    seconds = weights(scene.journeys, seen={}, committed={})
    division = divide(graph, [], shard.total, seconds=seconds, committed={})
    numbers = {journey.id: division.chains[graph.chains[journey.id]] for journey in scene.journeys}
    own = [name for name in die.sample(scene.ids, len(scene.ids)) if numbers[name] == shard.index]
    elsewhere = [name for name in scene.ids if name not in own]
    brought = prerequisites_to_run(graph, own, elsewhere=elsewhere)
    plan = make_plan(graph, [*own, *brought], gates=scene.ids, prerequisites=brought)
    played = Simulation(scene, plan, die, workers=die.randint(0, 3), elsewhere=scene.ids)
    outcomes = {name: Outcome(outcome) for name, outcome in played.run().items()}
    return Manifest(
        shard=shard,
        expected=Expected(
            shards={journey.nodeid: numbers[journey.id] for journey in scene.journeys},
            journeys={journey.nodeid: journey.id for journey in scene.journeys},
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


@settings(max_examples=1000, deadline=None)
@given(scenes(least=1), dice, st.integers(1, 4))
def test_shards_come_to_what_the_graph_says_of_the_whole(scene: Scene, die: Random, total: int) -> None:
    scene = with_python_tests(scene, die)
    expected = scene.expected(scene.ids)
    merged = merge([simulated(scene, Shard(number, total), die) for number in range(1, total + 1)])
    came_to: dict[JourneyId, str] = {name: str(one.outcome) for name, one in merged.tally.results.items()}
    assert came_to == expected
    assert not merged.unaccounted
    assert not merged.ran_twice
    assert not merged.disputed_gates
    assert merged.exit_status == any(outcome in {"failed", "error"} for outcome in expected.values())
