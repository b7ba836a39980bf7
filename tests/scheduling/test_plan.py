from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Tier, Token
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome, Proof, Provisioned
from pytest_dogfood.scheduling.plan import (
    UNKNOWN_DURATION,
    PlannedJourney,
    gates_by_tier,
    make_plan,
    usual_duration,
    weights,
)
from pytest_dogfood.scheduling.shards import partition
from tests.support.strategies import ANYWHERE, new_journey


def journey(
    name: str,
    *,
    needs: str = "",
    gives: str = "",
    tier: Tier = Tier.CORE,
    gating: bool = False,
    python: bool = False,
    estimate: float | None = None,
) -> Journey:
    return replace(
        new_journey(name),
        requires={Token(word): ANYWHERE for word in needs.split()},
        establishes={Token(word): ANYWHERE for word in gives.split()},
        tier=tier,
        gating=gating,
        python=python,
        estimate=estimate,
    )


def planned(*journeys: Journey, selected: str = "") -> dict[str, PlannedJourney]:
    ids = [JourneyId(name) for name in selected.split()] or [one.id for one in journeys]
    return {str(one.id): one for one in make_plan(CapabilityGraph(journeys), ids).journeys}


def test_a_dependent_comes_after_its_producer() -> None:
    plan = planned(journey("b", needs="t"), journey("a", gives="t"))
    assert list(plan) == ["a", "b"]
    assert plan["b"].after == ("a",)


def test_a_producer_that_is_left_out_is_not_waited_for() -> None:
    assert planned(journey("b", needs="t"), journey("a", gives="t"), selected="b")["b"].after == ()


def test_what_lies_behind_a_journey_that_is_left_out_is_waited_for() -> None:
    chain = (journey("a", gives="t"), journey("b", needs="t", gives="s"), journey("c", needs="s"))
    plan = planned(*chain, selected="c a")
    assert list(plan) == ["a", "c"]
    assert plan["c"].after == ("a",)


def test_a_token_that_an_item_needs_rests_on_what_its_establisher_needs() -> None:
    chain = (journey("a", gives="t"), journey("b", needs="t", gives="s"), journey("c", needs="s"))
    graph = CapabilityGraph(chain)
    plan = make_plan(graph, [JourneyId("c")])
    assert plan.journeys[0].uses == ("s",)
    assert plan.rests_on == {"s": ("t",), "t": ()}


def test_what_two_replays_make_besides_may_be_one_and_the_same() -> None:
    makers = [
        journey("lay", gives="base first"),
        journey("again", needs="base", gives="first"),
        journey("build", needs="first base", gives="second third extra"),
        journey("other", needs="base", gives="extra"),
        journey("more", needs="second", gives="third"),
    ]
    uses = journey("use", needs="second third")
    plan = make_plan(CapabilityGraph([*makers, uses]), [uses.id])
    assert sorted(plan.rests_on) == ["base", "extra", "first", "second", "third"]


def test_what_a_replay_makes_besides_dies_with_what_it_was_replayed_for() -> None:
    makes, uses = journey("make", needs="base", gives="made extra"), journey("use", needs="made")
    plan = make_plan(CapabilityGraph([journey("lay", gives="base"), makes, uses]), [uses.id])
    assert plan.rests_on == {"made": ("base", "extra"), "extra": ("base",), "base": ()}


def test_what_a_replay_makes_besides_may_rest_on_what_it_was_replayed_for() -> None:
    makers = [
        journey("both", needs="base", gives="made extra"),
        journey("again", needs="made", gives="extra"),
        journey("lay", gives="base"),
    ]
    uses = journey("use", needs="made")
    plan = make_plan(CapabilityGraph([*makers, uses]), [uses.id])
    assert plan.rests_on == {"made": ("base",), "base": (), "extra": ("base", "made")}


def test_a_gate_holds_back_every_later_tier_and_no_other() -> None:
    plan = planned(
        journey("deep", tier=Tier.DEEP),
        journey("core"),
        journey("gate", gating=True),
        journey("smoke", tier=Tier.SMOKE),
    )
    assert {name: one.gates for name, one in plan.items()} == {
        "core": (),
        "gate": (),
        "smoke": (),
        "deep": ("gate",),
    }
    assert plan["deep"].after == ("gate",)


def test_a_gate_that_is_not_selected_is_ignored() -> None:
    plan = planned(journey("gate", tier=Tier.SMOKE, gating=True), journey("core"), selected="core")
    assert plan["core"].gates == ()


def test_a_gate_of_another_shard_counts_but_is_not_waited_for_here() -> None:
    gate, core = journey("gate", tier=Tier.SMOKE, gating=True), journey("core")
    (one,) = make_plan(CapabilityGraph([gate, core]), [core.id], gates=[gate.id, core.id]).journeys
    assert (one.gates, one.after) == (("gate",), ())


@pytest.mark.parametrize(
    "estimate, seen, weight",
    [(None, {}, UNKNOWN_DURATION), (3.0, {}, 3.0), (0.0, {}, 0.0), (3.0, {"made.journey.yaml::a": 0.5}, 0.5)],
)
def test_a_duration_seen_earlier_outweighs_an_estimate(
    estimate: float | None, seen: dict[str, float], weight: float
) -> None:
    graph = CapabilityGraph([journey("a", estimate=estimate)])
    durations = weights(graph.journeys.values(), seen=seen, committed={})
    assert make_plan(graph, [JourneyId("a")], durations=durations).journeys[0].weight == weight


def test_different_plans_have_different_digests() -> None:
    graph = CapabilityGraph([journey("a"), journey("b")])
    one, other = (make_plan(graph, [JourneyId(name)]) for name in "ab")
    assert one.digest != other.digest


def test_an_item_behind_a_gate_of_another_shard_comes_after_what_the_gate_rests_on() -> None:
    machine = Capability(token=Token("up"), location=ANYWHERE, scope=Scope.MACHINE)
    graph = CapabilityGraph(
        [
            journey("start", gives="up", tier=Tier.SMOKE),
            journey("gate", needs="up", tier=Tier.SMOKE, gating=True),
            journey("late", tier=Tier.DEEP),
        ],
        [machine],
    )
    plan = make_plan(graph, [JourneyId("late"), JourneyId("start")], gates=[*graph.journeys])
    assert [(one.id, one.after, one.gates) for one in plan.journeys] == [
        ("start", (), ()),
        ("late", ("start",), ("gate",)),
    ]


def test_an_item_comes_after_the_gates_here_of_what_may_be_replayed_for_it() -> None:
    """The gate would be asked within the item's set-up else, and replayed where it is an item itself."""
    machine = Capability(token=Token("up"), location=ANYWHERE, scope=Scope.MACHINE)
    graph = CapabilityGraph(
        [
            journey("user", needs="up"),
            journey("start", gives="up", tier=Tier.DEEP),
            journey("gate", gating=True),
        ],
        [machine],
    )
    plan = make_plan(graph, [JourneyId("user"), JourneyId("gate")], gates=[*graph.journeys])
    assert [(one.id, one.after, one.gates) for one in plan.journeys] == [
        ("gate", (), ()),
        ("user", ("gate",), ()),
    ]


def test_the_order_of_the_selection_does_not_change_which_gate_is_asked_first() -> None:
    gates = [journey(name, tier=Tier.SMOKE, gating=True) for name in ("one", "two")]
    graph = CapabilityGraph([*gates, journey("late")])
    shuffled = [JourneyId(name) for name in ("late", "two", "one")]
    assert gates_by_tier(graph, shuffled)[Tier.CORE] == ("one", "two")


def test_the_heaviest_units_are_spread_first() -> None:
    assert partition({"a": 1.0, "b": 5.0, "c": 4.0, "d": 2.0}, 2) == {"b": 1, "c": 2, "d": 2, "a": 1}


def test_more_shards_than_units_leave_some_empty() -> None:
    assert partition({"a": 1.0}, 3) == {"a": 1}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_result_survives_its_way_through_json(outcome: Outcome) -> None:
    result = JourneyResult(
        id=JourneyId("a"),
        outcome=outcome,
        chain="a",
        worker="gw0",
        cause=Cause(who="b", why="failed", blocked=True, details="more"),
        proofs={Token("t"): Proof.PROBE},
        provisioned=(Provisioned(token=Token("t"), how="by replaying b", seconds=0.5, where="c0-gw0"),),
        kept="/somewhere:/else",
    )
    assert JourneyResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    "known, usual",
    [((), UNKNOWN_DURATION), ((3.0,), 3.0), ((9.0, 1.0, 2.0), 2.0), ((4.0, 1.0, 90.0, 2.0), 3.0)],
)
def test_the_usual_duration_is_the_median_of_those_that_are_known(
    known: tuple[float, ...], usual: float
) -> None:
    assert usual_duration(known) == usual
