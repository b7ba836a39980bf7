from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.scheduling.queue import Job
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from tests.scheduling.test_queue import job_lists


def in_units(jobs: list[Job]) -> list[Job]:
    """Chains are units, files of plain tests are units, and all others are units of their own."""

    def unit(job: Job) -> str:
        return job.chain or (f"file {job.index // 4}" if job.plain else f"job {job.index}")

    return [replace(job, unit=unit(job)) for job in jobs]


class Machines:
    """Plays machines, each with a copy of the queue; all hear at once of every end and of every unit given back."""

    def __init__(self, jobs: list[Job], count: int, workers: int) -> None:
        self.jobs = {job.index: job for job in jobs}
        self.queues = {f"m{number}": SharedQueue(jobs) for number in range(count)}
        self.held: dict[tuple[str, str], list[int]] = {
            (name, f"w{number}"): [] for name in self.queues for number in range(workers)
        }
        for name, worker in self.held:
            self.queues[name].add_worker(worker)
        self.owners: dict[str, tuple[str, str]] = {}
        self.runs: list[int] = []

    def feed(self) -> None:
        for (name, worker), held in self.held.items():
            queue = self.queues[name]
            if not held:
                held.extend(queue.next_for(worker))
            if not held:
                self.take_one(name)
                held.extend(queue.next_for(worker))
            for unit in {queue.unit_of(index) for index in held}:
                if self.owners[unit] == (name, ""):
                    self.owners[unit] = (name, worker)
                assert self.owners[unit] == (name, worker)

    def take_one(self, name: str) -> None:
        for unit in self.queues[name].offers(2):
            if unit not in self.owners:
                self.owners[unit] = (name, "")
                self.queues[name].take(unit)
                return
            self.queues[name].set_aside(unit)

    def end_first_of(self, name: str, worker: str) -> None:
        index = self.held[name, worker].pop(0)
        assert set(self.jobs[index].after) <= set(self.runs)
        for queue in self.queues.values():
            assert queue.next_of(queue.unit_of(index)) == index
            queue.finish(index)
            queue.finish(index)
        self.runs.append(index)

    def units_without_running_jobs(self, name: str) -> list[str]:
        queue = self.queues[name]
        return sorted(queue.held - {queue.unit_of(index) for index in queue.running})

    def give_up(self, name: str, unit: str) -> None:
        self.queues[name].give_up(unit)
        del self.owners[unit]
        for queue in self.queues.values():
            queue.take_back(unit)


@settings(deadline=None, max_examples=150)
@given(job_lists().map(in_units), st.integers(1, 3), st.integers(1, 3), st.data())
def test_whatever_machine_takes_a_unit_every_job_runs_once_in_order_and_a_unit_stays_on_its_worker(
    jobs: list[Job], count: int, workers: int, data: st.DataObject
) -> None:
    world = Machines(jobs, count, workers)
    while len(world.runs) < len(jobs):
        world.feed()
        busy = [place for place, held in world.held.items() if held]
        assert busy, f"deadlock: {world.queues['m0'].pending}"
        name, worker = data.draw(st.sampled_from(busy))
        world.end_first_of(name, worker)
        if (units := world.units_without_running_jobs(name)) and data.draw(st.integers(0, 3)) == 0:
            world.give_up(name, data.draw(st.sampled_from(units)))
    assert sorted(world.runs) == list(range(len(jobs)))
    for queue in world.queues.values():
        assert queue.is_done
        assert not queue.held | queue.aside
        assert not queue.offers(64)
        assert all(queue.next_of(unit) is None for unit in queue.units)


def test_what_is_not_taken_is_not_handed_out() -> None:
    queue = SharedQueue([Job(index=0, unit="a"), Job(index=1, unit="b")])
    queue.add_worker("w")
    assert queue.next_for("w") == ()
    queue.take("b")
    queue.take("b")
    assert queue.next_for("w") == (1,)
    assert queue.held == {"b"}


def test_offers_go_by_the_longest_way_to_the_end_and_plain_tests_come_last() -> None:
    jobs = [
        Job(index=0, unit="file", plain=True, weight=100),
        Job(index=1, unit="short", weight=3),
        Job(index=2, unit="long", weight=1),
        Job(index=3, unit="late", weight=5, after=(2,)),
        Job(index=4, unit="bigger file", plain=True, weight=60),
        Job(index=5, unit="bigger file", plain=True, weight=60),
    ]
    queue = SharedQueue(jobs)
    assert list(queue.offers(9).items()) == [("long", 2), ("short", 1), ("bigger file", 4), ("file", 0)]
    assert queue.offers(1) == {"long": 2}
    queue.finish(2)
    assert list(queue.offers(2)) == ["late", "short"]


def test_a_unit_that_is_set_aside_is_not_offered_until_it_is_taken_back() -> None:
    queue = SharedQueue([Job(index=0, unit="a"), Job(index=1, unit="b")])
    queue.set_aside("a")
    assert queue.offers(9) == {"b": 1}
    assert queue.aside == {"a"}
    queue.take_back("a")
    queue.take_back("a")
    assert queue.offers(9) == {"a": 0, "b": 1}
    assert queue.aside == set()


def test_a_unit_that_becomes_ready_while_it_is_set_aside_is_offered_when_it_is_taken_back() -> None:
    queue = SharedQueue([Job(index=0, unit="a"), Job(index=1, unit="b", after=(0,))])
    queue.take("a")
    queue.set_aside("b")
    queue.finish(0)
    assert queue.offers(9) == {}
    queue.take_back("b")
    assert queue.offers(9) == {"b": 1}


def test_a_unit_is_taken_though_it_is_set_aside() -> None:
    queue = SharedQueue([Job(index=0, unit="a")])
    queue.set_aside("a")
    queue.take("a")
    assert queue.aside == set()
    queue.set_aside("a")  # held: it stays
    assert queue.held == {"a"}
    assert queue.aside == set()


def test_what_ended_elsewhere_is_not_run_again_and_the_rest_of_its_unit_is_offered() -> None:
    queue = SharedQueue([Job(index=index, unit="a") for index in (0, 1, 2)])
    queue.add_worker("w")
    assert queue.offers(9) == {"a": 0}
    queue.finish(0)
    assert queue.offers(9) == {"a": 1}
    assert queue.next_of("a") == 1
    queue.take("a")
    assert queue.next_for("w") == (1,)


def test_the_tests_of_a_file_go_to_one_worker_at_once() -> None:
    queue = SharedQueue([Job(index=index, unit=f"file {index % 2}", plain=True) for index in range(6)])
    queue.add_worker("w")
    queue.add_worker("v")
    queue.finish(1)
    queue.take("file 1")
    assert queue.next_for("w") == (3, 5)
    assert queue.next_for("v") == ()
    assert queue.offers(9) == {"file 0": 0}


def test_a_unit_that_is_given_up_goes_to_any_worker_if_it_is_taken_again() -> None:
    queue = SharedQueue([Job(index=index, unit="a") for index in range(3)])
    queue.add_worker("w")
    queue.add_worker("v")
    queue.take("a")
    assert queue.next_for("w") == (0,)
    queue.finish(0)
    queue.give_up("a")
    queue.give_up("a")
    assert queue.next_for("w") == ()
    assert queue.offers(9) == {"a": 1}
    queue.take("a")
    assert queue.next_for("v") == (1,)
    assert queue.next_for("w") == ()


def test_a_job_that_runs_while_its_unit_is_given_up_is_not_handed_out_twice() -> None:
    queue = SharedQueue([Job(index=index, unit="a", plain=True) for index in range(2)])
    queue.add_worker("w")
    queue.add_worker("v")
    queue.take("a")
    assert queue.next_for("w") == (0, 1)
    queue.give_up("a")
    assert queue.offers(9) == {}
    queue.take("a")
    assert queue.next_for("v") == ()
    assert queue.lose("w") == (0, 1)
    assert queue.next_for("v") == (0, 1)


def test_the_unit_of_a_lost_worker_is_still_held() -> None:
    queue = SharedQueue([Job(index=index, unit="a") for index in range(2)])
    queue.add_worker("w")
    queue.add_worker("v")
    queue.take("a")
    assert queue.next_for("w") == (0,)
    queue.lose("w")
    assert queue.held == {"a"}
    assert queue.next_for("v") == (0,)


def test_the_next_job_of_a_unit_follows_the_order_in_which_the_unit_runs() -> None:
    queue = SharedQueue([Job(index=0, unit="a", after=(1,)), Job(index=1, unit="a"), Job(index=2, unit="a")])
    assert queue.units["a"] == [1, 0, 2]
    found = []
    while (index := queue.next_of("a")) is not None:
        found.append(index)
        queue.finish(index)
    assert found == [1, 0, 2]


def test_a_job_without_a_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="job 0 belongs to no unit"):
        SharedQueue([Job(index=0)])
