from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, StateId, Token
from pytest_dogfood.scheduling.forecast import (
    CostlyChain,
    Forecast,
    costly_chain,
    critical_path,
    make_forecast,
)
from pytest_dogfood.scheduling.plan import Plan, Share, make_plan
from pytest_dogfood.scheduling.queue import Job, jobs_for
from tests.support.strategies import ANYWHERE, Scene, new_journey, scenes


def jobs_of(scene: Scene) -> list[Job]:
    plan = make_plan(scene.graph(), scene.ids)
    return jobs_for([planned.nodeid for planned in plan.journeys], plan, "load")


forecasts = st.builds(lambda scene, workers: (jobs_of(scene), workers), scenes(least=1), st.integers(1, 5))
LAW = settings(deadline=None, max_examples=60)


def seen(jobs: list[Job], workers: int) -> Forecast:
    return make_forecast(jobs, workers)


@LAW
@given(forecasts)
def test_every_job_is_foreseen_exactly_once(drawn: tuple[list[Job], int]) -> None:
    assert sorted(slot.index for slot in seen(*drawn).slots) == [job.index for job in drawn[0]]


@LAW
@given(forecasts)
def test_nothing_starts_before_what_it_comes_after_has_ended(drawn: tuple[list[Job], int]) -> None:
    slots = {slot.index: slot for slot in seen(*drawn).slots}
    assert all(slots[one].end <= slots[job.index].start for job in drawn[0] for one in job.after)


@LAW
@given(forecasts)
def test_a_chain_is_foreseen_on_one_worker_and_no_worker_does_two_things_at_once(
    drawn: tuple[list[Job], int],
) -> None:
    slots = {slot.index: slot for slot in seen(*drawn).slots}
    chains = {(job.chain, slots[job.index].worker) for job in drawn[0] if job.chain is not None}
    assert len(chains) == len({chain for chain, _ in chains})
    by_worker = sorted((slot.worker, slot.start, slot.end) for slot in slots.values())
    following = pairwise(by_worker)
    assert all(one[2] <= other[1] for one, other in following if one[0] == other[0])


@LAW
@given(forecasts)
def test_no_forecast_is_below_the_lower_bound_or_above_the_work_of_one_worker(
    drawn: tuple[list[Job], int],
) -> None:
    found = seen(*drawn)
    assert found.lower_bound <= found.makespan + 1e-9
    assert found.makespan <= found.total + 1e-9


def test_two_workers_share_what_is_independent() -> None:
    found = make_forecast([Job(index=number, weight=2.0) for number in range(4)], 2)
    assert (found.makespan, found.lower_bound, found.total) == (4.0, 4.0, 8.0)


def test_the_critical_path_is_the_longest_way_and_a_chain_is_a_way() -> None:
    jobs = [
        Job(index=0, weight=1.0),
        Job(index=1, weight=5.0, chain="c"),
        Job(index=2, weight=4.0, chain="c"),
        Job(index=3, weight=2.0, after=(0,)),
    ]
    path, length = critical_path(jobs)
    assert (sorted(path), length) == ([1, 2], 9.0)


def test_a_lock_with_few_units_makes_a_run_longer_and_so_the_best_that_is_possible() -> None:
    locks = (Share(lock="gpu", units=2, of=3),)
    found = make_forecast([Job(index=number, weight=2.0, locks=locks) for number in range(4)], 4)
    assert (found.makespan, found.total) == (8.0, 8.0)
    assert found.lower_bound == pytest.approx(8.0 * 2 / 3)


def test_a_run_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        make_forecast([], 0)


def test_nothing_to_run_takes_no_time() -> None:
    found = make_forecast([], 2)
    assert (found.makespan, found.lower_bound, found.critical_path) == (0.0, 0.0, ())


A_CHAIN = ("sign-up", "buy", "review", "complain")


def plan_of_a_chain(*alone: str) -> Plan:
    """Plan a journey that establishes `account`, three that require it, and others beside them."""
    token = {Token("account"): ANYWHERE}
    chain = [
        replace(new_journey(name), **{"requires" if number else "establishes": token})
        for number, name in enumerate(A_CHAIN)
    ]
    graph = CapabilityGraph([*chain, *map(new_journey, alone)])
    return make_plan(graph, list(graph.journeys))


def took(plan: Plan, seconds: float) -> dict[JourneyId, float]:
    return {planned.id: seconds for planned in plan.journeys}


def test_a_chain_that_cost_more_than_a_third_of_a_run_is_found_with_its_token() -> None:
    plan = plan_of_a_chain("alone")
    found = costly_chain(plan, took(plan, 10.0), busy=[40.0, 10.0], elapsed=41.0)
    assert found == CostlyChain(id=StateId("sign-up"), seconds=40.0, idle=(31.0,), tokens=(Token("account"),))


def test_of_several_workers_each_idle_time_is_told_also_of_one_without_work() -> None:
    plan = plan_of_a_chain("alone")
    found = costly_chain(plan, took(plan, 10.0), busy=[10.0, 0.0, 40.0], elapsed=41.0)
    assert found is not None
    assert found.idle == (41.0, 31.0)


@pytest.mark.parametrize(
    "seconds, busy, elapsed",
    [
        (10.0, [50.0], 50.0),  # one worker has nothing to share
        (2.0, [8.0, 2.0], 8.0),  # too short to be worth a word
        (10.0, [40.0, 40.0], 41.0),  # the other worker had as much to do
        (10.0, [40.0, 10.0], 130.0),  # the run took its time elsewhere
    ],
)
def test_a_chain_that_cost_less_is_not(seconds: float, busy: list[float], elapsed: float) -> None:
    plan = plan_of_a_chain("alone")
    assert costly_chain(plan, took(plan, seconds), busy=busy, elapsed=elapsed) is None


def test_a_chain_whose_journeys_need_each_other_one_by_one_costs_nothing() -> None:
    journeys = [
        replace(
            new_journey(f"j{n}"),
            requires={Token(f"t{n}"): ANYWHERE},
            establishes={Token(f"t{n + 1}"): ANYWHERE},
        )
        for n in range(5)
    ]
    graph = CapabilityGraph(journeys)
    plan = make_plan(graph, list(graph.journeys))
    assert costly_chain(plan, took(plan, 10.0), busy=[50.0, 0.0], elapsed=50.0) is None


def test_a_chain_whose_journeys_ran_in_copies_cost_nothing_on_one_worker() -> None:
    token = Token("account")
    maker = replace(new_journey("sign-up"), establishes={token: ANYWHERE})
    users = [replace(new_journey(name), requires={token: ANYWHERE}) for name in ("buy", "review", "leave")]
    copyable = Capability(token=token, location=ANYWHERE, copyable=True)
    plans = [
        make_plan(graph, list(graph.journeys))
        for graph in (CapabilityGraph([maker, *users]), CapabilityGraph([maker, *users], [copyable]))
    ]
    found = [costly_chain(plan, took(plan, 10.0), busy=[20.0, 20.0], elapsed=40.0) for plan in plans]
    assert [one is not None for one in found] == [True, False]


def test_a_run_of_nothing_has_no_costly_chain() -> None:
    assert costly_chain(Plan(), {}, busy=[], elapsed=0.0) is None
