"""Foretells a run: the very queue that schedules, driven by estimates instead of workers."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from pytest_dogfood.scheduling.queue import Queue
from pytest_dogfood.workload import Job


class Slot(Struct, frozen=True, kw_only=True):
    """When and where a job would run; `start` and `end` in seconds from the beginning, workers count from 0."""

    index: int
    worker: int
    start: float
    end: float


class Forecast(Struct, frozen=True, kw_only=True):
    """What a run would look like if every job took as long as its weight says.

    `lower_bound` is the longer of the critical path and the total over the workers (Graham 1966): nothing is faster.
    """

    slots: tuple[Slot, ...]
    workers: int
    total: float
    critical_path: tuple[int, ...]
    critical_seconds: float

    @property
    def makespan(self) -> float:
        return max((slot.end for slot in self.slots), default=0.0)

    @property
    def lower_bound(self) -> float:
        return max(self.critical_seconds, self.total / self.workers)


def forecast(jobs: Sequence[Job], workers: int) -> Forecast:
    """Run the queue with `workers` that need no time between jobs; raises ValueError for fewer than one."""
    if workers < 1:
        raise ValueError("a run needs at least one worker")
    queue = Queue(jobs)
    names = [str(number) for number in range(workers)]
    for name in names:
        queue.add_worker(name)
    by_index = {job.index: job for job in jobs}
    idle = dict.fromkeys(names)
    running: list[tuple[float, int, str]] = []
    slots: list[Slot] = []
    now = 0.0
    while True:
        for name in list(idle):
            moment = now
            for index in queue.next_for(name):
                end = moment + by_index[index].weight
                slots.append(Slot(index=index, worker=int(name), start=moment, end=end))
                heapq.heappush(running, (end, index, name))
                idle.pop(name, None)
                moment = end
        if not running:
            break
        now, index, name = heapq.heappop(running)
        queue.finish(index)
        if not any(other == name for _, _, other in running):
            idle[name] = None
    path, seconds = critical_path(jobs)
    return Forecast(
        slots=tuple(slots),
        workers=workers,
        total=sum(job.weight for job in jobs),
        critical_path=path,
        critical_seconds=seconds,
    )


def critical_path(jobs: Sequence[Job]) -> tuple[tuple[int, ...], float]:
    """Give the longest way through the graph and its length, or the heaviest chain, as one worker runs it.

    No order of the jobs takes less; the way does not pass along a chain, whose order may be another one.
    """
    by_index = {job.index: job for job in jobs}
    order = _in_one_order(jobs)
    length: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for index in order:
        before[index] = max(by_index[index].after, key=lambda other: length[other], default=None)
        behind = before[index]
        length[index] = by_index[index].weight + (length[behind] if behind is not None else 0.0)
    last = max(length, key=lambda index: length[index], default=None)
    seconds = length[last] if last is not None else 0.0
    chains = seconds_per_chain(jobs)
    heaviest = max(chains, key=lambda chain: chains[chain], default=None)
    if heaviest is not None and chains[heaviest] > seconds:
        return tuple(index for index in order if by_index[index].chain == heaviest), chains[heaviest]
    path: list[int] = []
    while last is not None:
        path.append(last)
        last = before[last]
    return tuple(reversed(path)), seconds


def _in_one_order(jobs: Sequence[Job]) -> tuple[int, ...]:
    """Give the jobs in the order in which a single worker would run them."""
    queue = Queue(jobs)
    queue.add_worker("all")
    order: list[int] = []
    while indices := queue.next_for("all"):
        for index in indices:
            order.append(index)
            queue.finish(index)
    return tuple(order)


def seconds_per_chain(jobs: Sequence[Job]) -> dict[str, float]:
    """Sum the weights of each chain."""
    sums: dict[str, float] = defaultdict(float)
    for job in jobs:
        if job.chain is not None:
            sums[job.chain] += job.weight
    return dict(sums)
