from __future__ import annotations

import os
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.check.errors import diagnose
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope
from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.shards import partition
from tests.support.played_workers import Simulation, replays_without_cause
from tests.support.strategies import Scene, ancestors, dice, scenes, with_copyable_tokens

GRAPHS = int(os.environ.get("DOGFOOD_TEST_EXAMPLES", "600"))
"""How many random graphs each law is tried on."""

many = settings(max_examples=GRAPHS, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def shuffled(scene: Scene, die: Random) -> list[JourneyId]:
    return die.sample(scene.ids, len(scene.ids))


def part_of(scene: Scene, die: Random) -> list[JourneyId]:
    return die.sample(scene.ids, die.randint(0, len(scene.ids)))


@many
@given(scenes(), dice, st.integers(0, 4))
def test_outcomes_follow_from_the_graph_whatever_the_workers_the_order_and_the_selection(
    scene: Scene, die: Random, workers: int
) -> None:
    scene = die.choice([scene, with_copyable_tokens(scene, die)])
    graph = scene.graph()
    for selected in (shuffled(scene, die), part_of(scene, die)):
        done = Simulation(scene, make_plan(graph, selected), die, workers)
        assert done.run() == scene.expected(selected)
        assert all(times == 1 for times in done.runs.values())
        assert not replays_without_cause(done, selected)


@many
@given(scenes(), dice, st.integers(1, 4), st.integers(1, 3))
def test_whoever_dies_all_others_run_once_in_order_and_with_their_tokens(
    scene: Scene, die: Random, workers: int, deaths: int
) -> None:
    scene = die.choice([scene, with_copyable_tokens(scene, die)])
    selected = part_of(scene, die)
    done = Simulation(scene, make_plan(scene.graph(), selected), die, workers, deaths=deaths)
    outcomes = done.run()
    crashed = frozenset(journey for journey, outcome in outcomes.items() if outcome == "crashed")
    as_if_failed = replace(scene, failing=scene.failing | crashed)
    expected = as_if_failed.expected(selected)
    assert set(outcomes) == set(selected)
    assert {one: outcomes[one] for one in outcomes if one not in crashed} == {
        one: expected[one] for one in outcomes if one not in crashed
    }
    assert all(times == 1 for times in done.runs.values())


@given(scenes(), dice)
def test_without_gates_a_selected_journey_comes_to_the_same_as_in_the_full_run(
    scene: Scene, die: Random
) -> None:
    open_scene = replace(scene, journeys=tuple(replace(journey, gating=False) for journey in scene.journeys))
    full = open_scene.expected(scene.ids)
    selected = part_of(scene, die)
    done = Simulation(open_scene, make_plan(open_scene.graph(), selected), die, workers=2)
    assert done.run() == {journey: full[journey] for journey in selected}


@given(scenes(), dice)
def test_a_plan_puts_every_journey_behind_what_it_comes_after(scene: Scene, die: Random) -> None:
    plan = make_plan(scene.graph(), shuffled(scene, die))
    position = {planned.id: number for number, planned in enumerate(plan.journeys)}
    assert all(position[other] < position[one.id] for one in plan.journeys for other in one.after)


@given(scenes(), dice)
def test_a_plan_names_exactly_the_selected_prerequisites_and_gates(scene: Scene, die: Random) -> None:
    graph = scene.graph()
    selected = part_of(scene, die)
    for planned in make_plan(graph, selected).journeys:
        gates = {
            one.id
            for one in scene.journeys
            if one.gating and one.id in selected and one.tier < graph.journeys[planned.id].tier
        }
        assert set(planned.gates) == gates


@given(scenes(), dice)
def test_every_establisher_of_a_required_token_is_a_prerequisite(scene: Scene, die: Random) -> None:
    del die
    graph = scene.graph()
    for journey in scene.journeys:
        for token in journey.requires:
            wanted = {one.id for one in scene.establishers(token)} - {journey.id}
            assert wanted <= set(graph.prerequisites[journey.id])


@given(scenes())
def test_what_invalidates_a_token_comes_after_the_others_that_need_it_unless_they_come_after_it(
    scene: Scene,
) -> None:
    graph = scene.graph()
    for journey in scene.journeys:
        for token in journey.invalidates:
            users = [one.id for one in scene.journeys if token in one.requires and one.id != journey.id]
            for user in users:
                before = user in ancestors(graph, journey.id)
                behind = journey.id in ancestors(graph, user)
                assert before is not behind


@given(scenes())
def test_journeys_keep_the_order_of_the_selection_where_nothing_forbids_it(scene: Scene) -> None:
    free = [replace(one, requires={}, invalidates={}, gating=False) for one in scene.journeys]
    ids = [journey.id for journey in free]
    assert [one.id for one in make_plan(CapabilityGraph(free), ids).journeys] == ids


@given(scenes(), dice)
def test_the_same_input_gives_the_same_plan(scene: Scene, die: Random) -> None:
    selected = shuffled(scene, die)
    one, other = (make_plan(scene.graph(), selected) for _ in range(2))
    assert one == other
    assert one.digest == other.digest


@given(scenes(), dice)
def test_who_comes_after_whom_does_not_depend_on_the_order_of_the_selection(
    scene: Scene, die: Random
) -> None:
    graph = scene.graph()
    one, other = (make_plan(graph, shuffled(scene, die)) for _ in range(2))
    assert {planned.id: set(planned.after) for planned in one.journeys} == {
        planned.id: set(planned.after) for planned in other.journeys
    }
    assert {planned.id: planned.chain for planned in one.journeys} == {
        planned.id: planned.chain for planned in other.journeys
    }


@given(scenes(), dice)
def test_a_plan_survives_its_way_through_json(scene: Scene, die: Random) -> None:
    plan = make_plan(scene.graph(), part_of(scene, die))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@given(scenes())
def test_chains_are_exactly_the_components_that_chain_tokens_connect(scene: Scene) -> None:
    graph = scene.graph()
    groups: list[tuple[set[str], set[str]]] = []
    for journey in scene.journeys:
        tokens: set[str] = set(graph.chain_tokens_of(journey))
        members: set[str] = {journey.id}
        for group in [one for one in groups if one[0] & tokens]:
            groups.remove(group)
            tokens |= group[0]
            members |= group[1]
        groups.append((tokens, members))
    by_chain: dict[str, set[str]] = {}
    for journey_id, chain in graph.chains.items():
        by_chain.setdefault(chain, set()).add(journey_id)
    assert sorted(map(sorted, by_chain.values())) == sorted(sorted(members) for _, members in groups)


@given(scenes())
def test_a_chain_is_named_after_one_of_its_own_that_waits_for_none_of_the_others(scene: Scene) -> None:
    graph = scene.graph()
    for chain in set(graph.chains.values()):
        assert graph.chains[JourneyId(chain)] == chain
        assert all(graph.chains[other] != chain for other in graph.prerequisites[JourneyId(chain)])


@given(scenes())
def test_tokens_that_tie_a_journey_to_its_state_are_never_machine_wide(scene: Scene) -> None:
    graph = scene.graph()
    for journey in scene.journeys:
        own = {*journey.requires, *journey.establishes, *journey.invalidates}
        chain_tokens_of = set(graph.chain_tokens_of(journey))
        assert all(graph.scope_of(token) is Scope.CHAIN for token in chain_tokens_of)
        assert {token for token in own if not scene.is_shared(token)} <= chain_tokens_of


@given(scenes())
def test_a_project_that_is_sound_by_construction_is_not_complained_about(scene: Scene) -> None:
    assert diagnose(scene.graph()) == ()


weights = st.dictionaries(st.text(max_size=4), st.floats(0, 1e6), max_size=30)


@given(weights, st.integers(1, 8), dice)
def test_a_partition_does_not_depend_on_the_order_of_its_input(
    units: dict[str, float], total: int, die: Random
) -> None:
    mixed = dict(die.sample(list(units.items()), len(units)))
    assert partition(units, total) == partition(mixed, total)


@given(weights, st.integers(1, 8))
def test_a_partition_gives_every_unit_one_existing_shard(units: dict[str, float], total: int) -> None:
    shards = partition(units, total)
    assert shards.keys() == units.keys()
    assert set(shards.values()) <= set(range(1, total + 1))


@given(weights, st.integers(1, 8))
def test_no_shard_is_longer_than_an_even_share_and_its_last_unit(units: dict[str, float], total: int) -> None:
    shards = partition(units, total)
    even = sum(units.values()) / total
    heaviest = max(units.values(), default=0.0)
    for shard in range(1, total + 1):
        load = sum(units[name] for name in units if shards[name] == shard)
        assert load <= (even + heaviest) * (1 + 1e-9)
