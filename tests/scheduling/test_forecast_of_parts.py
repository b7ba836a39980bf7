"""What a run of a split chain would provision, and in which state."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope
from pytest_dogfood.scheduling.forecast import ToProvision, make_forecast, predict_provisioning
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from pytest_dogfood.scheduling.split import split
from tests.scheduling.test_split import copyable
from tests.support.small_graphs import STEP, journey
from tests.support.strategies import Scene, dice, scenes, with_copyable_tokens

LOGIN = journey("log-in", establishes="in")
FEATURES = [journey(f"feature-{number}", requires="in") for number in range(3)]


def predicted(journeys: list[Journey], capabilities: list[Capability], *selected: str) -> list[ToProvision]:
    graph = CapabilityGraph(journeys, capabilities)
    return list(predict_provisioning(graph, make_plan(graph, [JourneyId(name) for name in selected])))


def acts(
    journeys: list[Journey], capabilities: list[Capability], *selected: str
) -> list[tuple[str, str | None, str | None, int]]:
    return [
        (one.token, one.state, one.behind, one.parts) for one in predicted(journeys, capabilities, *selected)
    ]


def test_parts_begin_with_what_the_state_above_them_holds() -> None:
    names = ("log-in", "feature-0", "feature-1")
    assert acts([LOGIN, *FEATURES], copyable("in"), *names) == []


def test_what_several_selected_parts_need_is_provisioned_once_where_they_begin() -> None:
    (one,) = predicted([LOGIN, *FEATURES], copyable("in"), "feature-0", "feature-2")
    assert (one.token, one.how, one.chain, one.state) == ("in", "by replaying log-in", "log-in", "log-in")
    assert (one.behind, one.parts, one.needed_by) == ("log-in", 2, "feature-0")


def test_a_part_that_is_selected_alone_provisions_in_its_own_state() -> None:
    assert acts([LOGIN, *FEATURES], copyable("in"), "feature-1") == [("in", "feature-1", None, 0)]


def test_what_only_a_provider_gives_is_provisioned_once_in_a_state_that_no_journey_uses() -> None:
    (capability,) = copyable("in")
    given = Capability(token=capability.token, location=capability.location, copyable=True, provision=(STEP,))
    assert acts(FEATURES, [given], *(one.id for one in FEATURES)) == [("in", "in (template)", None, 3)]


def test_in_a_tree_each_token_is_provisioned_at_the_highest_place_where_parts_share_it() -> None:
    middle = [journey(f"b{one}", requires="a", establishes=f"b{one}") for one in range(2)]
    leaves = [journey(f"c{one}{two}", requires=f"a b{one}") for one in range(2) for two in range(2)]
    tree, tokens = [journey("a", establishes="a"), *middle, *leaves], copyable("a", "b0", "b1")
    assert acts(tree, tokens, *(one.id for one in leaves)) == [
        ("a", "a", "a", 2),
        ("b0", "b0", "b0", 2),
        ("b1", "b1", "b1", 2),
    ]
    assert acts(tree, tokens, "c00", "c01") == [("a", "b0", "b0", 2), ("b0", "b0", "b0", 2)]
    assert acts(tree, tokens, "c00", "c10") == [
        ("a", "a", "a", 2),
        ("b0", "c00", None, 0),
        ("b1", "c10", None, 0),
    ]


def test_parts_do_not_begin_with_what_the_state_itself_provisions_later() -> None:
    journeys = [
        journey("a", establishes="a fixed"),
        journey("keeps", requires="a fixed"),
        journey("apart-1", requires="a"),
        journey("apart-2", requires="a"),
    ]
    found = acts(journeys, copyable("a"), "keeps", "apart-1", "apart-2")
    assert sorted(found, key=str) == [("a", "a", "a", 2), ("a", "a", None, 0)]


@settings(deadline=None, max_examples=200)
@given(scenes(least=1), dice)
def test_no_copyable_token_is_provisioned_where_a_copy_has_it_already(scene: Scene, die: Random) -> None:
    """Machine-wide tokens are left out: what they need may be provisioned in a state that is no copy."""
    in_chains = tuple(replace(one, scope=Scope.CHAIN) for one in scene.capabilities)
    graph = with_copyable_tokens(replace(scene, capabilities=in_chains), die).graph()
    tree = split(graph)
    selected = die.sample(scene.ids, die.randint(1, len(scene.ids)))
    found = predict_provisioning(graph, make_plan(graph, selected))
    for_parts = {(one.token, one.state, one.behind) for one in found if one.parts}
    assert all(one.parts != 1 for one in found)
    for one in found:
        state = one.state
        assert state is not None
        while graph.is_copyable(one.token) and (fork := tree.forks.get(state)) is not None:
            assert (one.token, fork.state, fork.after) not in for_parts
            members = tree.members[fork.state]
            before = members[: members.index(fork.after) + 1] if fork.after is not None else ()
            makers = set(graph.establishing(one.token)) & set(selected)
            assert one.parts or makers.isdisjoint(before)
            state = fork.state


@settings(deadline=None, max_examples=60)
@given(scenes(least=1), dice, st.integers(1, 5))
def test_a_part_is_foreseen_on_one_worker_behind_what_it_copies(
    scene: Scene, die: Random, workers: int
) -> None:
    graph = with_copyable_tokens(scene, die).graph()
    tree, plan = split(graph), make_plan(graph, die.sample(scene.ids, len(scene.ids)))
    found = make_forecast(jobs_for([one.nodeid for one in plan.journeys], plan, "load"), workers)
    slots = {plan.journeys[slot.index].id: slot for slot in found.slots}
    assert found.lower_bound <= found.makespan + 1e-9
    for members in tree.members.values():
        assert len({slots[one].worker for one in members}) <= 1
    for part, fork in tree.forks.items():
        if fork.after is not None:
            assert all(slots[fork.after].end <= slots[one].start for one in tree.members[part])
