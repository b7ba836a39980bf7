"""Plan files: what is read from them, which are refused and why, and the plan that a run gets from one."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.diagnostics import PinnedPlanError
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, Tier, Token
from pytest_dogfood.scheduling.pinned_plan import (
    Added,
    Entry,
    Idle,
    Joined,
    PinnedPlan,
    journeys_in,
    lines_of,
    make_pinned_plan,
    read_pinned_plan,
    unknown_names,
    with_added,
    with_needs,
)
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.scheduling.queue import Queue, jobs_for
from pytest_dogfood.scheduling.split import split
from tests.support.small_graphs import HERE, journey
from tests.support.strategies import random_scene, with_copyable_tokens

SHOP = CapabilityGraph(
    [
        journey("gate", tier=Tier.SMOKE, gating=True),
        journey("login", establishes="in"),
        journey("buy", requires="in", tier=Tier.DEEP),
        journey("look", requires="in"),
        journey("logout", requires="in", invalidates="in"),
        journey("start", establishes="up"),
        journey("ping", requires="up"),
    ],
    [Capability(token=Token("up"), location=HERE, scope=Scope.MACHINE)],
)


def lines(*orders: str) -> list[list[Entry]]:
    return [[JourneyId(name) for name in order.split()] for order in orders]


def planned(graph: CapabilityGraph, *orders: str) -> Plan:
    return make_pinned_plan(graph, lines(*orders))


def refused(graph: CapabilityGraph, *orders: str) -> tuple[str, ...]:
    with pytest.raises(PinnedPlanError) as refusal:
        planned(graph, *orders)
    return refusal.value.args


def read(**fields: Any) -> PinnedPlan:
    return read_pinned_plan(json.dumps({"version": 1, **fields}).encode())


def misread(content: bytes) -> tuple[str, ...]:
    with pytest.raises(PinnedPlanError) as refusal:
        read_pinned_plan(content)
    return refusal.value.args


def test_what_is_written_is_read_again() -> None:
    plan = PinnedPlan(
        orders=((JourneyId("a"), Idle(2.5), JourneyId("b")),),
        probes=(Token("t"),),
        twice=(Token("t"),),
        files=True,
        steps=True,
        stops={JourneyId("a"): 2},
        added=(Added(journey=JourneyId("a"), requires=(Token("s"),)),),
        joined=Joined(directory="/tmp/x", pid=7),  # noqa: S108 - nothing is made there
        result="/out.json",
    )
    assert read_pinned_plan(msgspec.json.encode(plan)) == plan
    assert read_pinned_plan(b"{}") == PinnedPlan()


@pytest.mark.parametrize(
    "content,told",
    [
        (b"", "half of one"),
        (b'{"orders": [["a"', "half of one"),
        (b"[]", "no plan file"),
        (b'{"order": []}', "unknown field `order`"),
        (b'{"orders": [["a", {"idel": 1}]]}', "idel"),
        (b'{"orders": [["a", 7]]}', "no plan file"),
        (b'{"version": 2, "new": 1}', "version 2"),
        (b"\xff", "no plan file"),
        (b"[" * 100_000, "no plan file"),
        (b'{"orders": [["a"]], "only": ["a"]}', "leave `only` out"),
        (b'{"orders": []}', "no line"),
        (b'{"orders": [[{"idle": 1}]]}', "no journey"),
        (b'{"orders": [["a", {"idle": -1}]]}', "no number of seconds"),
        (b'{"orders": [["a"], ["b", "a"]]}', "'a' stands in `orders` 2 times"),
        (b'{"orders": [["a"]], "stops": {"b": 1}}', "`stops` names 'b', which does not stand in `orders`"),
        (b'{"orders": [["a"]], "stops": {"a": 0}}', "'a' cannot end behind step 0"),
        (b'{"release": true}', "`release` needs `joined`"),
        (b'{"release": true, "joined": {"directory": "/", "pid": 1}, "only": ["a"]}', "runs no journeys"),
        (b'{"added": [{"journey": "a", "requires": ["Not A Token"]}]}', "is not a token"),
    ],
)
def test_what_no_run_can_follow_is_refused(content: bytes, told: str) -> None:
    assert any(told in message for message in misread(content))


def test_all_that_contradicts_itself_is_told_at_once() -> None:
    assert len(misread(b'{"orders": [["a", "a"], [{"idle": -1}]]}')) == 3


def test_the_order_of_a_line_is_that_of_the_run() -> None:
    plan = planned(SHOP, "login look buy logout")
    assert [one.id for one in plan.journeys] == ["login", "look", "buy", "logout"]
    assert plan.by_nodeid()["shop.journey.yaml::buy"].after == ("login", "look")
    other = planned(SHOP, "login buy look")
    assert [one.id for one in other.journeys] == ["login", "buy", "look"]


def test_gates_do_not_count() -> None:
    plan = planned(SHOP, "buy", "gate")
    assert [(one.id, one.gates, one.after) for one in plan.journeys] == [("buy", (), ()), ("gate", (), ())]


def test_what_is_left_out_is_not_waited_for() -> None:
    assert [one.after for one in planned(SHOP, "look buy").journeys] == [(), ("look",)]


def test_what_is_needed_from_another_line_is_waited_for() -> None:
    plan = planned(SHOP, "ping", "start")
    assert {one.id: one.after for one in plan.journeys} == {"start": (), "ping": ("start",)}


@pytest.mark.parametrize(
    "orders,told",
    [
        (["buy login"], "'buy' stands before 'login'"),
        (["login logout look"], "'logout' stands before 'look'"),
        (["login ping"], "'login' and 'ping' do not run in the same state"),
        (["login look", "buy"], "lines 1 and 2 of `orders` are of the same state"),
    ],
)
def test_a_line_that_breaks_what_is_declared_is_refused(orders: list[str], told: str) -> None:
    assert any(told in message for message in refused(SHOP, *orders))


def test_lines_that_wait_for_each_other_are_refused() -> None:
    waiting = CapabilityGraph(
        [
            journey("a", requires="x n"),
            journey("b", requires="x", establishes="m"),
            journey("c", requires="y m"),
            journey("d", requires="y", establishes="n"),
        ],
        [Capability(token=Token(name), location=HERE, scope=Scope.MACHINE) for name in "mn"],
    )
    assert [one.id for one in planned(waiting, "b a", "d c").journeys] == ["b", "d", "a", "c"]
    (told,) = refused(waiting, "a b", "c d")
    assert "wait for each other" in told


def test_declarations_are_added_to_those_of_the_file() -> None:
    added = [
        Added(journey=JourneyId("look"), requires=(Token("bought"),), invalidates=(Token("in"),)),
        Added(journey=JourneyId("buy"), establishes=(Token("bought"),)),
    ]
    graph = CapabilityGraph([with_added(one, added) for one in SHOP.journeys.values()])
    assert [*graph.journeys[JourneyId("look")].requires] == ["in", "bought"]
    assert "buy" in graph.prerequisites[JourneyId("look")]
    assert any("'look' stands before 'buy'" in told for told in refused(graph, "login look buy"))
    assert graph.journeys[JourneyId("login")] == SHOP.journeys[JourneyId("login")]


def test_all_that_is_needed_runs_too() -> None:
    assert with_needs(SHOP, [JourneyId("logout"), JourneyId("ping")]) == ("login", "logout", "start", "ping")


def test_each_unknown_name_is_told_with_the_nearest() -> None:
    plan = read(
        orders=[["logn"]], probes=["inn"], twice=["up"], added=[{"journey": "bui", "requires": ["in"]}]
    )
    told = [*unknown_names(plan, SHOP, SHOP.journeys)]
    assert len(told) == 3
    assert ["did you mean 'login'?" in told[0], "did you mean 'buy'?" in told[1]] == [True, True]
    assert "'inn'" in told[2]
    assert [*unknown_names(read(only=["login"]), SHOP, SHOP.journeys)] == []


def test_without_orders_the_lines_are_the_states_of_the_plan() -> None:
    plan = planned(SHOP, "login look", "start")
    assert lines_of(PinnedPlan(), plan) == {"login": ("login", "look"), "start": ("start",)}
    idle = PinnedPlan(orders=((Idle(1.0), JourneyId("login")),))
    assert lines_of(idle, planned(SHOP, "login")) == {"login": (Idle(1.0), "login")}


def shuffled_lines(graph: CapabilityGraph, random: Random) -> list[list[JourneyId]]:
    """Return an order of each state that breaks nothing, of a random part of the journeys."""
    tree = split(graph)
    chosen = [one for one in graph.journeys if random.random() < 0.8]
    prerequisites = {one: set(graph.all_before(one)) & {*chosen} for one in chosen}
    for one in chosen:
        same = [other for other in chosen if tree.state_of[other] == tree.state_of[one]]
        prerequisites[one] |= {*graph.prerequisites_in_one_state[one]} & {*same}
    done: list[JourneyId] = []
    while left := [one for one in chosen if one not in done]:
        done.append(random.choice([one for one in left if prerequisites[one] <= {*done}]))
    of_state: dict[str, list[JourneyId]] = {}
    for one in done:
        of_state.setdefault(tree.state_of[one], []).append(one)
    return [*of_state.values()]


def order_of_a_run(plan: Plan, workers: int, random: Random) -> list[str]:
    """Return the order in which random workers begin the items of a plan."""
    ids = [one.nodeid for one in plan.journeys]
    queue = Queue(jobs_for(ids, plan, "load"))
    begun: list[str] = []
    running: dict[str, tuple[int, ...]] = {}
    names = [f"gw{number}" for number in range(workers)]
    for name in names:
        queue.add_worker(name)
    while not queue.is_done:
        for name in random.sample(names, len(names)):
            if name not in running and (indices := queue.next_for(name)):
                running[name] = indices
                begun += [ids[index] for index in indices]
        name = random.choice([*running])
        for index in running.pop(name):
            queue.finish(index)
    return begun


@given(seed=st.integers(0, 2**32), workers=st.integers(1, 4), copies=st.booleans())
def test_whatever_workers_do_each_line_keeps_its_order(*, seed: int, workers: int, copies: bool) -> None:
    random = Random(seed)  # noqa: S311 - a die, no secret
    scene = random_scene(random, least=2, most=12)
    graph = (with_copyable_tokens(scene, random) if copies else scene).graph()
    orders = shuffled_lines(graph, random)
    if not orders:
        return
    weights = {one.nodeid: random.random() * 100 for one in graph.journeys.values()}
    plan = make_pinned_plan(graph, orders, durations=weights)
    begun = order_of_a_run(plan, workers, random)
    assert sorted(begun) == sorted(graph.journeys[one].nodeid for line in orders for one in line)
    for line in orders:
        nodeids = [graph.journeys[one].nodeid for one in journeys_in(line)]
        assert [one for one in begun if one in nodeids] == nodeids
