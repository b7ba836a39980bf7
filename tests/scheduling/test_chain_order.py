"""The order within a chain: one and the same in the plan, in the forecast and in a run, whoever runs it."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, ChainId, JourneyId, Scope, Tier, Token
from pytest_dogfood.scheduling.forecast import make_forecast
from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from tests.support.played_workers import Simulation
from tests.support.small_graphs import HERE, journey
from tests.support.strategies import dice, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.support.scenes import Inner, Scene as Typed
    from tests.support.strategies import Scene

Orders = dict[ChainId, list[JourneyId]]

LAW = settings(deadline=None, max_examples=150)


def by_chain(plan: Plan, ran: Iterable[JourneyId]) -> Orders:
    """Return the journeys of each chain in the order in which they ran."""
    chain_of = {one.id: one.chain for one in plan.journeys}
    orders: Orders = defaultdict(list)
    for one in ran:
        orders[chain_of[one]].append(one)
    return dict(orders)


def planned(plan: Plan) -> Orders:
    return by_chain(plan, [one.id for one in plan.journeys])


def random_durations(scene: Scene, die: Random) -> dict[str, float]:
    return {
        one.nodeid: die.choice([0.0, 0.5, 1.0, 5.0, 300.0]) for one in scene.journeys if die.random() < 0.7
    }


@LAW
@given(scenes(least=2, most=16), dice, st.integers(1, 4), st.integers(0, 2))
def test_a_chain_runs_in_the_order_of_the_plan_whatever_the_workers_the_endings_and_the_deaths(
    scene: Scene, die: Random, workers: int, deaths: int
) -> None:
    plan = make_plan(scene.graph(), scene.ids, durations=random_durations(scene, die))
    played = Simulation(scene, plan, die, workers, deaths=deaths)
    played.run()
    assert by_chain(plan, played.outcomes) == planned(plan)


@LAW
@given(scenes(least=2, most=16), dice, st.integers(1, 4))
def test_a_chain_is_foreseen_in_the_order_of_the_plan(scene: Scene, die: Random, workers: int) -> None:
    plan = make_plan(scene.graph(), scene.ids, durations=random_durations(scene, die))
    jobs = jobs_for([one.nodeid for one in plan.journeys], plan, "load")
    slots = make_forecast(jobs, workers).slots
    assert by_chain(plan, [plan.journeys[slot.index].id for slot in slots]) == planned(plan)


@LAW
@given(scenes(least=2, most=16), dice)
def test_no_duration_changes_the_order(scene: Scene, die: Random) -> None:
    plans = [make_plan(scene.graph(), scene.ids, durations=random_durations(scene, die)) for _ in range(2)]
    assert [one.id for one in plans[0].journeys] == [one.id for one in plans[1].journeys]


@LAW
@given(scenes(least=2, most=16), dice)
def test_where_no_other_worker_waits_the_order_is_that_of_the_files(scene: Scene, die: Random) -> None:
    alone = replace(
        scene,
        journeys=tuple(replace(one, gating=False) for one in scene.journeys),
        capabilities=tuple(replace(one, scope=Scope.CHAIN) for one in scene.capabilities),
    )
    graph = alone.graph()
    plan = make_plan(graph, alone.ids, durations=random_durations(scene, die))
    assert [one.id for one in plan.journeys] == list(graph.ordered(alone.ids))


def order_of(graph: CapabilityGraph) -> list[str]:
    return [one.id for one in make_plan(graph, list(graph.journeys)).journeys]


WEB = Capability(token=Token("web"), location=HERE, scope=Scope.MACHINE)


def test_what_establishes_a_machine_token_that_another_chain_needs_comes_before_its_siblings() -> None:
    graph = CapabilityGraph(
        [
            journey("begin", establishes="here"),
            journey("look", requires="here"),
            journey("serve", requires="here", establishes="web"),
            journey("browse", requires="web"),
        ],
        [WEB],
    )
    assert order_of(graph) == ["begin", "serve", "look", "browse"]


def test_what_establishes_a_machine_token_that_only_its_own_chain_needs_keeps_its_place() -> None:
    graph = CapabilityGraph(
        [
            journey("begin", establishes="here"),
            journey("look", requires="here"),
            journey("serve", requires="here", establishes="web"),
            journey("browse", requires="here web"),
        ],
        [WEB],
    )
    assert order_of(graph) == ["begin", "look", "serve", "browse"]


def test_a_gate_that_another_chain_stands_behind_comes_before_its_siblings() -> None:
    graph = CapabilityGraph(
        [
            journey("begin", establishes="here", tier=Tier.SMOKE),
            journey("look", requires="here", tier=Tier.SMOKE),
            journey("gate", requires="here", tier=Tier.SMOKE, gating=True),
            journey("elsewhere"),
        ]
    )
    assert order_of(graph) == ["begin", "gate", "look", "elsewhere"]


SHOP = """
    journeys:
      - {id: 01-setup, establishes: [ready], steps: [{run: 'touch "$DOGFOOD_STATE/s"'}]}
      - {id: 02-login, requires: [ready], steps: [{run: 'touch "$DOGFOOD_STATE/in"'}]}
      - {id: 03-order, requires: [ready], establishes: [ordered]%s, steps: [{run: 'test -e "$DOGFOOD_STATE/in"'}]}
      - {id: 04-pay, requires: [ordered], steps: [{run: "true"}]}
"""
IN_ORDER = ["*01-setup PASSED*", "*02-login PASSED*", "*03-order PASSED*", "*04-pay PASSED*"]
IN_ORDER_ON_WORKERS = ["*PASSED*01-setup*", "*PASSED*02-login*", "*PASSED*03-order*", "*PASSED*04-pay*"]


@pytest.mark.parametrize("estimate", ["", ", estimate: 60"])
@pytest.mark.parametrize(
    "arguments, lines",
    [
        (("-n0", "-v"), IN_ORDER),
        (("-n2", "-v"), IN_ORDER_ON_WORKERS),
        (("--dogfood-check",), ["    01-setup", "    02-login", "    03-order", "    04-pay"]),
    ],
)
def test_journeys_that_count_on_each_other_without_saying_so_run_as_they_are_written(
    inner: Callable[[Mapping[str, str]], Inner], arguments: tuple[str, ...], lines: list[str], estimate: str
) -> None:
    result = inner({"t.journey.yaml": SHOP % estimate}).dogfood(*arguments)
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(lines)


def test_what_the_last_run_took_changes_no_order(scene: Typed) -> None:
    scene.write(
        "t.journey.yaml",
        """
        journeys:
          - {id: a, establishes: [t], steps: [{run: "true"}]}
          - {id: b, requires: [t], steps: [{run: 'echo b >>"$DOGFOOD_ROOT/log"'}]}
          - {id: c, requires: [t], establishes: [u], steps: [{run: 'sleep 0.3; echo c >>"$DOGFOOD_ROOT/log"'}]}
          - {id: d, requires: [u], steps: [{run: 'sleep 0.3; echo d >>"$DOGFOOD_ROOT/log"'}]}
        """,
    )
    assert [scene.run("-p", "cacheprovider", "-n2").status for _ in range(2)] == [0, 0]
    assert scene.lines("log") == ["b", "c", "d"] * 2
