from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.scheduling.forecast import Forecast, critical_path, make_forecast
from pytest_dogfood.scheduling.plan import Share, make_plan
from pytest_dogfood.scheduling.queue import Job, jobs_for
from tests.support.strategies import Scene, scenes


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
