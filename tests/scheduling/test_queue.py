from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.scheduling.plan import Share
from pytest_dogfood.scheduling.queue import LARGEST_BATCH_BESIDE_A_GRAPH, Job, Queue, in_chain_order
from pytest_dogfood.xdist.scheduler import OrderCheck, OrderViolationError

UNITS = {"account": 2, "gpu": 3, "port": 1}


@st.composite
def shares(draw: st.DrawFn) -> tuple[Share, ...]:
    names = draw(st.lists(st.sampled_from(list(UNITS)), unique=True, max_size=2))
    return tuple(Share(lock=name, units=draw(st.integers(1, UNITS[name])), of=UNITS[name]) for name in names)


@st.composite
def job_lists(draw: st.DrawFn) -> list[Job]:
    count = draw(st.integers(0, 14))
    place = draw(st.permutations(range(count)))
    jobs = []
    for rank in range(count):
        earlier = [place[other] for other in range(rank)]
        plain = draw(st.booleans())
        job = Job(
            index=place[rank],
            after=()
            if plain or not earlier
            else tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))),
            chain=None if plain else draw(st.sampled_from([None, "a", "b", "c"])),
            weight=draw(st.sampled_from([0.0, 0.5, 1.0, 30.0])),
            plain=plain,
            batch=draw(st.sampled_from(["", "", "file"])) if plain else "",
            locks=() if plain else draw(shares()),
        )
        jobs.append(job)
    return sorted(jobs, key=lambda job: job.index)


class Simulation:
    """Plays the workers: each runs what it was handed item by item, ends whenever fate says so, or dies."""

    def __init__(self, jobs: list[Job], workers: int) -> None:
        self.jobs = jobs
        self.queue = Queue(jobs)
        self.order_check = OrderCheck(in_chain_order(jobs))
        self.held: dict[str, list[int]] = {}
        self.runs: Counter[int] = Counter()
        self.chain_on: dict[str, str] = {}
        self.names = 0
        for _ in range(workers):
            self.hire()

    def hire(self) -> None:
        self.names += 1
        self.held[f"w{self.names}"] = []
        self.queue.add_worker(f"w{self.names}")

    def feed(self) -> None:
        for worker, held in self.held.items():
            if not held:
                held.extend(self.queue.next_for(worker))
                self.begin(worker)
        locks_of = {job.index: job.locks for job in self.jobs}
        taken = Counter[str]()
        for index in (index for held in self.held.values() for index in held):
            taken.update({share.lock: share.units for share in locks_of[index]})
        assert all(taken[name] <= units for name, units in UNITS.items()), taken

    def begin(self, worker: str) -> None:
        for index in self.held[worker][:1]:
            self.order_check.start(index, worker)
            self.runs[index] += 1

    def end_first_of(self, worker: str) -> None:
        index = self.held[worker].pop(0)
        self.queue.finish(index)
        self.queue.finish(index)
        self.order_check.finish(index)
        self.begin(worker)

    def die(self, worker: str) -> None:
        """The item that ran counts as finished, as xdist fails it; the others go back."""
        for index in self.held[worker][:1]:
            self.queue.finish(index)
            self.order_check.finish(index)
        assert list(self.queue.lose(worker)) == self.held.pop(worker)[1:]
        self.order_check.lose(worker)
        self.hire()


@settings(deadline=None, max_examples=150)
@given(job_lists(), st.integers(1, 4), st.data())
def test_whatever_the_order_of_endings_and_deaths_every_job_runs_once_in_order_on_its_chains_worker_and_no_unit_has_two(
    jobs: list[Job], workers: int, data: st.DataObject
) -> None:
    world = Simulation(jobs, workers)
    deaths = 3
    while not world.queue.is_done:
        world.feed()
        busy = [worker for worker, held in world.held.items() if held]
        assert busy, f"deadlock: {world.queue.pending}"
        worker = data.draw(st.sampled_from(busy))
        if deaths and data.draw(st.integers(0, 5)) == 0:
            deaths -= 1
            world.die(data.draw(st.sampled_from(list(world.held))))
        else:
            world.end_first_of(worker)
    assert world.runs == dict.fromkeys(range(len(jobs)), 1)
    assert world.queue.pending == ()
    assert not world.queue.running


@given(job_lists())
def test_the_same_jobs_are_always_handed_out_in_the_same_order(jobs: list[Job]) -> None:
    assert run_alone(jobs) == run_alone(list(reversed(jobs)))


def run_alone(jobs: list[Job]) -> list[int]:
    queue = Queue(jobs)
    queue.add_worker("w")
    order: list[int] = []
    while batch := queue.next_for("w"):
        order.extend(batch)
        for index in batch:
            queue.finish(index)
    return order


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        Queue([Job(index=0, after=(1,)), Job(index=1, after=(0,))])


def test_waiting_for_a_job_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="job 0 comes after 7, which is not a job"):
        Queue([Job(index=0, after=(7,))])


def test_the_job_with_the_longest_way_to_the_end_goes_first() -> None:
    jobs = [Job(index=0, weight=3), Job(index=1, weight=1), Job(index=2, weight=5, after=(1,))]
    assert run_alone(jobs) == [1, 2, 0]


def test_jobs_that_are_equally_urgent_run_in_the_order_of_the_collection() -> None:
    assert run_alone([Job(index=index) for index in range(5)]) == [0, 1, 2, 3, 4]


def test_a_long_chain_starts_before_a_longer_single_job_because_its_jobs_follow_one_another() -> None:
    jobs = [Job(index=0, weight=3), *(Job(index=index, chain="c") for index in range(1, 6))]
    assert run_alone(jobs)[0] == 1


def test_a_worker_with_a_chain_of_its_own_leaves_the_next_chain_to_one_that_runs_dry() -> None:
    jobs = [Job(index=index, chain="abc"[index // 4]) for index in range(12)]
    queue = Queue(jobs)
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    queue.finish(*queue.next_for("w1"))
    queue.next_for("w2")
    assert queue.next_for("w1") == (1,)


def test_a_worker_opens_another_chain_early_if_an_urgent_job_outside_waits_for_it() -> None:
    jobs = [
        *(Job(index=index, chain="a", weight=10) for index in range(4)),
        Job(index=4, chain="b"),
        Job(index=5, after=(4,), weight=35),
    ]
    queue = Queue(jobs)
    queue.add_worker("w1")
    queue.finish(*queue.next_for("w1"))
    assert queue.next_for("w1") == (4,)


def test_plain_tests_go_in_batches_that_shrink_towards_the_end() -> None:
    queue = Queue([Job(index=index, plain=True) for index in range(40)])
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    sizes = []
    while batch := queue.next_for("w1"):
        sizes.append(len(batch))
        assert list(batch) == list(range(batch[0], batch[0] + len(batch)))
        for index in batch:
            queue.finish(index)
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (5, 1)


def test_a_graph_job_that_is_ready_goes_before_plain_tests() -> None:
    assert run_alone([Job(index=0, plain=True, weight=99), Job(index=1)]) == [1, 0]


def test_batches_stay_short_while_graph_jobs_are_left() -> None:
    jobs = [
        *(Job(index=index, plain=True) for index in range(1000)),
        Job(index=1000),
        Job(index=1001, after=(1000,)),
    ]
    queue = Queue(jobs)
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    queue.next_for("w1")
    assert len(queue.next_for("w2")) == LARGEST_BATCH_BESIDE_A_GRAPH


def test_plain_tests_of_one_file_go_to_one_worker_together() -> None:
    files = ["a", "b", "a", "b", "a"]
    queue = Queue([Job(index=index, plain=True, batch=name) for index, name in enumerate(files)])
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    assert (queue.next_for("w1"), queue.next_for("w2")) == ((0, 2, 4), (1, 3))


def test_a_plain_test_that_others_wait_for_is_not_hidden_in_a_batch() -> None:
    jobs = [*(Job(index=index, plain=True) for index in range(40)), Job(index=40, after=(39,))]
    queue = Queue(jobs)
    queue.add_worker("w")
    assert queue.next_for("w") == (39,)


def test_a_busy_worker_gets_nothing_more() -> None:
    queue = Queue([Job(index=0), Job(index=1)])
    queue.add_worker("w")
    queue.next_for("w")
    assert queue.next_for("w") == ()


def share(units: int, of: int, lock: str = "gpu") -> tuple[Share, ...]:
    return (Share(lock=lock, units=units, of=of),)


def test_a_job_whose_lock_is_taken_leaves_the_worker_to_a_less_urgent_one() -> None:
    jobs = [Job(index=index, weight=9 - index, locks=share(1, 2) if index < 3 else ()) for index in range(4)]
    queue = Queue(jobs)
    for worker in ("w1", "w2", "w3", "w4"):
        queue.add_worker(worker)
    assert [queue.next_for(worker) for worker in ("w1", "w2", "w3", "w4")] == [(0,), (1,), (3,), ()]
    assert queue.finish(1), "others may be ready by it"
    assert queue.next_for("w4") == (2,)


def test_a_worker_that_is_lost_gives_its_units_back() -> None:
    queue = Queue([Job(index=0, locks=share(2, 2)), Job(index=1, locks=share(1, 2))])
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    queue.next_for("w1")
    assert queue.next_for("w2") == ()
    queue.finish(0)
    queue.lose("w1")
    assert queue.next_for("w2") == (1,)


def test_thousands_of_jobs_that_share_a_lock_cost_next_to_no_work_each() -> None:
    count = 20_000
    queue = Queue([Job(index=index, locks=share(1, 1)) for index in range(count)])
    for worker in ("w1", "w2"):
        queue.add_worker(worker)
    for _ in range(count):
        (index,) = queue.next_for("w1")
        assert queue.next_for("w2") == ()
        queue.finish(index)
    assert queue.is_done


def test_a_large_graph_costs_next_to_no_work_per_job() -> None:
    count = 50_000
    jobs = [Job(index=index, after=(index - 100,) if index >= 100 else ()) for index in range(count)]
    assert len(run_alone(jobs)) == count


def test_the_witness_objects_to_a_job_before_its_requirements() -> None:
    order_check = OrderCheck([Job(index=0), Job(index=1, after=(0,))])
    with pytest.raises(OrderViolationError, match=r"job 1 runs on w before \[0\] have finished"):
        order_check.start(1, "w")


def test_the_witness_objects_to_a_chain_on_two_workers_unless_the_first_is_gone() -> None:
    order_check = OrderCheck([Job(index=0, chain="c"), Job(index=1, chain="c"), Job(index=2, chain="c")])
    order_check.start(0, "w1")
    with pytest.raises(OrderViolationError, match="job 1 of chain 'c' runs on w2, its chain on w1"):
        order_check.start(1, "w2")
    order_check.lose("w1")
    order_check.start(2, "w2")
