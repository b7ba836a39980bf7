from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.scheduling.queue import Job
from pytest_dogfood.xdist.scheduler import DeadlockError, DogfoodScheduler, OrderViolationError

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeGateway:
    def __init__(self, name: str) -> None:
        self.id = name


class FakeWorker:
    """A worker that remembers what it was sent; `broken` makes it one that is dead without anybody knowing yet."""

    def __init__(self, name: str) -> None:
        self.gateway = FakeGateway(name)
        self.shutting_down = False
        self.broken = False
        self.sent: list[list[int]] = []
        self.told: list[tuple[str, dict[str, object]]] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        if self.broken:
            raise OSError("cannot send (already closed?)")
        self.sent.append(list(indices))

    def notify_inproc(self, eventname: str, **kwargs: object) -> None:
        self.told.append((eventname, kwargs))

    def shutdown(self) -> None:
        self.shutting_down = True


class ListedJobs:
    def __init__(self, *jobs: Job) -> None:
        self.listed = jobs
        self.ended: list[str] = []

    def jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        return self.listed[: len(ids)]

    def finished(self, node_id: str) -> None:
        self.ended.append(node_id)


def begin(config: pytest.Config, jobs: Sequence[Job], *workers: FakeWorker) -> DogfoodScheduler:
    scheduler = DogfoodScheduler(config, ListedJobs(*jobs), workers=len(workers))
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, [f"item{job.index}" for job in jobs])
    scheduler.schedule()
    return scheduler


def test_each_dispatch_ends_with_the_barrier_and_its_completion_means_nothing(
    pytestconfig: pytest.Config,
) -> None:
    worker = FakeWorker("gw0")
    scheduler = begin(pytestconfig, [Job(index=0), Job(index=1, after=(0,))], worker)
    scheduler.mark_test_complete(worker, 0)
    scheduler.mark_test_complete(worker, 2)
    scheduler.mark_test_complete(worker, 1)
    assert worker.sent == [[0, 2], [1, 2]]
    assert scheduler.tests_finished
    assert scheduler.remove_node(worker) is None


def test_an_idle_worker_stays_among_the_nodes(pytestconfig: pytest.Config) -> None:
    workers = [FakeWorker("gw0"), FakeWorker("gw1")]
    scheduler = begin(pytestconfig, [Job(index=0)], *workers)
    assert scheduler.nodes == workers
    assert not scheduler.tests_finished


def test_what_cannot_be_sent_goes_to_another_worker_and_is_no_crash(pytestconfig: pytest.Config) -> None:
    dead, alive = FakeWorker("gw0"), FakeWorker("gw1")
    dead.broken = True
    scheduler = begin(pytestconfig, [Job(index=0, chain="c")], dead, alive)
    assert alive.sent == [[0, 1]]
    assert scheduler.remove_node(dead) is None


def test_nothing_is_sent_to_a_worker_that_shuts_down(pytestconfig: pytest.Config) -> None:
    leaving, other = FakeWorker("gw0"), FakeWorker("gw1")
    leaving.shutting_down = True
    scheduler = begin(pytestconfig, [Job(index=0), Job(index=1)], leaving, other)
    assert (leaving.sent, other.sent) == ([], [[0, 2]])
    assert scheduler.remove_node(leaving) is None


def test_what_a_worker_left_that_died_between_two_items_goes_to_an_idle_one_at_once(
    pytestconfig: pytest.Config,
) -> None:
    dying, idle = FakeWorker("gw0"), FakeWorker("gw1")
    scheduler = begin(
        pytestconfig, [Job(index=0, chain="c"), Job(index=1, chain="c", after=(0,))], dying, idle
    )
    assert scheduler.remove_node(dying) is None
    assert not scheduler.tests_finished
    assert idle.sent == [[0, 2]]


def test_a_worker_that_is_leaving_keeps_its_chain_until_it_is_removed(pytestconfig: pytest.Config) -> None:
    leaving, idle = FakeWorker("gw0"), FakeWorker("gw1")
    scheduler = begin(
        pytestconfig, [Job(index=0, chain="c"), Job(index=1, chain="c", after=(0,))], leaving, idle
    )
    leaving.shutting_down = True  # xdist knows that before we are told of what it did last
    scheduler.mark_test_complete(leaving, 0)
    assert not scheduler.tests_finished
    assert scheduler.remove_node(leaving) is None
    assert not scheduler.tests_finished
    assert idle.sent == [[1, 2]]


def test_the_run_is_not_finished_while_work_is_left_and_no_worker_is_alive(
    pytestconfig: pytest.Config,
) -> None:
    worker, replacement = FakeWorker("gw0"), FakeWorker("gw1")
    scheduler = begin(pytestconfig, [Job(index=0), Job(index=1)], worker)
    scheduler.mark_started("item0")
    assert scheduler.remove_node(worker) == "item0"
    assert not scheduler.tests_finished
    assert scheduler.unfinished() == ("item1",)
    scheduler.add_node(replacement)
    scheduler.add_node_collection(replacement, ["item0", "item1"])
    scheduler.schedule()
    assert replacement.sent == [[1, 2]]


def test_an_unknown_worker_cannot_be_removed(pytestconfig: pytest.Config) -> None:
    scheduler = begin(pytestconfig, [Job(index=0)], FakeWorker("gw0"))
    with pytest.raises(KeyError):
        scheduler.remove_node(FakeWorker("gw1"))


def test_a_report_before_its_requirements_have_finished_is_an_error(pytestconfig: pytest.Config) -> None:
    scheduler = begin(pytestconfig, [Job(index=0), Job(index=1, after=(0,))], FakeWorker("gw0"))
    with pytest.raises(OrderViolationError):
        scheduler.check_order("item1", "gw0")


def test_an_item_that_has_not_crashed_cannot_be_put_back(pytestconfig: pytest.Config) -> None:
    scheduler = begin(pytestconfig, [Job(index=0)], FakeWorker("gw0"))
    with pytest.raises(ValueError, match="item0 has not crashed"):
        scheduler.mark_test_pending("item0")


def test_items_that_nobody_may_run_are_an_error_and_not_a_hang(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No graph can bring the queue to this; it must be broken on purpose.
    monkeypatch.setattr("pytest_dogfood.scheduling.queue.Queue.next_for", lambda *_: ())
    scheduler = begin(pytestconfig, [Job(index=0)], FakeWorker("gw0"))
    with pytest.raises(DeadlockError, match="none of these items may run: item0"):
        _ = scheduler.tests_finished
