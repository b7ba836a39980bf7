"""What nobody can replay comes back into a selection, and all else is left to be provisioned."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, Step, Tier, Token
from pytest_dogfood.scheduling.plan import prerequisites_to_run
from pytest_dogfood.scheduling.split import split
from tests.scheduling.test_plan import journey
from tests.support.strategies import ANYWHERE

UP = Capability(token=Token("up"), location=ANYWHERE, scope=Scope.MACHINE)
SHARED = pytest.mark.parametrize("up", [UP, replace(UP, scope=Scope.FLEET)], ids=["machine", "fleet"])


def test_a_python_test_that_alone_can_establish_is_brought_back() -> None:
    graph = CapabilityGraph(
        [
            journey("test-a", gives="t", python=True),
            journey("b", needs="t", gives="s"),
            journey("c", needs="s"),
        ]
    )
    assert prerequisites_to_run(graph, [JourneyId("c")]) == ("test-a",)


def test_a_python_test_comes_back_beside_a_journey_that_can_be_replayed_as_that_may_fail() -> None:
    graph = CapabilityGraph(
        [journey("test-a", gives="t", python=True), journey("a", gives="t"), journey("c", needs="t")]
    )
    assert prerequisites_to_run(graph, [JourneyId("c")]) == ("test-a",)
    assert prerequisites_to_run(graph, [JourneyId("a"), JourneyId("c")]) == ("test-a",)


def test_every_test_that_establishes_comes_back_and_all_of_a_group() -> None:
    grouped = [
        replace(journey(name, gives="t", python=True), groups={Token("t"): "g"}) for name in ("d", "e")
    ]
    graph = CapabilityGraph(
        [
            journey("test-a", gives="t", python=True),
            journey("test-b", gives="t", python=True),
            *grouped,
            journey("c", needs="t"),
        ]
    )
    assert prerequisites_to_run(graph, [JourneyId("c")]) == ("test-a", "test-b", "d", "e")
    assert prerequisites_to_run(graph, [JourneyId("test-b"), JourneyId("d"), JourneyId("c")]) == (
        "test-a",
        "e",
    )


def test_what_a_journey_needs_that_may_be_replayed_comes_back_too() -> None:
    graph = CapabilityGraph(
        [
            journey("test-a", gives="t", python=True),
            journey("test-base", gives="base", python=True),
            journey("a", needs="base", gives="t"),
            journey("c", needs="t"),
        ]
    )
    assert prerequisites_to_run(graph, [JourneyId("c")]) == ("test-a", "test-base")


def test_a_python_test_is_left_out_where_a_provider_acts() -> None:
    provision = Capability(
        token=Token("t"), location=ANYWHERE, provision=(Step(location=ANYWHERE, run="true"),)
    )
    provided = CapabilityGraph(
        [journey("test-a", gives="t", python=True), journey("c", needs="t")], [provision]
    )
    assert prerequisites_to_run(provided, [JourneyId("c")]) == ()


def test_a_python_test_that_is_selected_already_is_not_brought_back() -> None:
    graph = CapabilityGraph([journey("test-a", gives="t", python=True), journey("c", needs="t")])
    assert prerequisites_to_run(graph, [JourneyId("test-a"), JourneyId("c")]) == ()


@SHARED
def test_what_needs_a_python_test_in_its_own_state_comes_back_where_any_worker_may_need_it(
    up: Capability,
) -> None:
    journeys = [
        journey("test-a", gives="t", python=True),
        journey("start", needs="t", gives="up"),
        journey("c", needs="up"),
    ]
    shared, in_the_chain = CapabilityGraph(journeys, [up]), CapabilityGraph(journeys)
    assert prerequisites_to_run(shared, [JourneyId("c")]) == ("test-a", "start")
    assert prerequisites_to_run(in_the_chain, [JourneyId("c")]) == ("test-a",)


def test_what_uses_fixtures_comes_back_as_those_of_who_needs_it_may_be_others() -> None:
    start = replace(journey("start", gives="t"), use=("server",))
    assert prerequisites_to_run(CapabilityGraph([start, journey("c", needs="t")]), [JourneyId("c")]) == (
        "start",
    )


@SHARED
def test_what_needs_a_fixture_in_its_own_state_comes_back_where_any_worker_may_need_it(
    up: Capability,
) -> None:
    journeys = [journey("start", needs="t", gives="up"), journey("c", needs="up")]
    shared = CapabilityGraph(journeys, [up], {Token("t"): "fixture"})
    in_the_chain = CapabilityGraph(journeys, (), {Token("t"): "fixture"})
    assert prerequisites_to_run(shared, [JourneyId("c")]) == ("start",)
    assert prerequisites_to_run(in_the_chain, [JourneyId("c")]) == ()


def test_a_gate_of_another_shard_that_rests_on_a_python_test_comes_back_for_who_stands_behind_it() -> None:
    gate = journey("gate", needs="t", tier=Tier.SMOKE, gating=True)
    graph = CapabilityGraph(
        [journey("test-a", gives="t", python=True), gate, journey("c"), journey("early", tier=Tier.SMOKE)]
    )
    elsewhere = [JourneyId("test-a"), JourneyId("gate")]
    assert prerequisites_to_run(graph, [JourneyId("c")], elsewhere=elsewhere) == ("test-a", "gate")
    assert prerequisites_to_run(graph, [JourneyId("early")], elsewhere=elsewhere) == ()
    assert prerequisites_to_run(graph, [JourneyId("c")]) == ()


def test_with_shards_every_python_test_that_establishes_counts_as_in_one_run() -> None:
    graph = CapabilityGraph(
        [journey("a", gives="up"), journey("test-a", gives="up", python=True), journey("c", needs="up")], [UP]
    )
    elsewhere = [JourneyId("a"), JourneyId("test-a")]
    assert prerequisites_to_run(graph, [JourneyId("c")], elsewhere=elsewhere) == ("test-a",)


def test_with_shards_the_same_comes_back_as_in_one_run_of_the_selection() -> None:
    graph = CapabilityGraph(
        [
            journey("a", gives="up"),
            journey("test-a", gives="up", python=True),
            journey("c", needs="up"),
            journey("d"),
        ],
        [UP],
    )
    c, d = JourneyId("c"), JourneyId("d")
    assert prerequisites_to_run(graph, [c, d]) == ("test-a",)
    assert prerequisites_to_run(graph, [c], elsewhere=[d]) == ("test-a",)
    assert prerequisites_to_run(graph, [d], elsewhere=[c]) == ()


def test_what_comes_back_is_the_same_in_whatever_order_the_items_stand() -> None:
    graph = CapabilityGraph(
        [
            journey("test-a", gives="t", python=True),
            journey("test-b", gives="t s", python=True),
            journey("b", needs="t"),
            journey("c", needs="s"),
        ]
    )
    there = [JourneyId("b"), JourneyId("c")]
    assert prerequisites_to_run(graph, there) == prerequisites_to_run(graph, there[::-1])


def test_what_comes_back_without_shards_comes_back_on_the_shard_that_asks_for_it() -> None:
    graph = CapabilityGraph(
        [
            journey("other"),
            journey("test-a", gives="t", python=True),
            journey("b", needs="up", gives="s"),
            journey("start", needs="t", gives="up s"),
            journey("c", needs="s t"),
        ],
        [UP],
    )
    other, *here = (JourneyId(name) for name in ("other", "test-a", "c"))
    assert prerequisites_to_run(graph, [other, *here]) == ("start",)
    assert prerequisites_to_run(graph, here, elsewhere=[other]) == ("start",)


def test_a_test_that_establishes_what_parts_need_comes_back_on_each_shard_that_has_one() -> None:
    copyable = Capability(token=Token("t"), location=ANYWHERE, copyable=True)
    names = [JourneyId(name) for name in ("test-a", "part-1", "part-2", "part-3")]
    test_a, *parts = names
    graph = CapabilityGraph(
        [
            journey("test-base", gives="base", python=True),
            journey("test-a", needs="base", gives="t", python=True),
            *(journey(name, needs="t") for name in parts),
            journey("far"),
        ],
        [copyable, Capability(token=Token("base"), location=ANYWHERE, copyable=True)],
    )
    states = split(graph).state_of
    assert len({states[name] for name in names}) == len(names)
    everything = [JourneyId(name) for name in graph.journeys]
    for here, brought in (
        (parts[:1], ("test-base", "test-a")),
        ([test_a, parts[1]], ("test-base",)),
        ([JourneyId("test-base")], ()),
        ([JourneyId("far")], ()),
    ):
        elsewhere = [name for name in everything if name not in here]
        assert prerequisites_to_run(graph, here, elsewhere=elsewhere) == brought
