"""Foretells a run: the very queue that schedules, driven by estimates instead of workers."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_dogfood.dispatch import Job
from pytest_dogfood.dispatch import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """When and where a job would run; `start` and `end` in seconds from the beginning, workers count from 0."""

    index: int
    worker: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
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
    """Give the jobs on the longest way through the graph and its length; a chain is a way, as one worker runs it."""
    by_index = {job.index: job for job in jobs}
    length: dict[int, float] = {}
    before: dict[int, int | None] = {}
    chain_end: dict[str, int] = {}
    queue = Queue(jobs)
    queue.add_worker("all")
    while indices := queue.next_for("all"):
        for index in indices:
            job = by_index[index]
            earlier = [*job.after]
            if job.chain is not None and job.chain in chain_end:
                earlier.append(chain_end[job.chain])
            before[index] = max(earlier, key=lambda other: length[other], default=None)
            behind = before[index]
            length[index] = job.weight + (length[behind] if behind is not None else 0.0)
            if job.chain is not None:
                chain_end[job.chain] = index
            queue.finish(index)
    last = max(length, key=lambda index: length[index], default=None)
    seconds = length[last] if last is not None else 0.0
    path: list[int] = []
    while last is not None:
        path.append(last)
        last = before[last]
    return tuple(reversed(path)), seconds


def seconds_per_chain(jobs: Sequence[Job]) -> dict[str, float]:
    """Sum the weights of each chain."""
    sums: dict[str, float] = defaultdict(float)
    for job in jobs:
        if job.chain is not None:
            sums[job.chain] += job.weight
    return dict(sums)
