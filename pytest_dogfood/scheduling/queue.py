"""Which job an idle worker takes next: a queue that knows neither pytest nor xdist nor the clock.

A job is *ready* when all that it comes after has finished, the job before it in its chain included. The first job
of a chain to be taken pins the chain to its worker; from then on only that worker takes the others.

Among ready jobs the one with the longest way to the end goes first, measured in estimated seconds. The jobs of a
chain follow one another on one worker, so the way counts the chain's remaining work as well as the edges.

Taking the first job of a chain commits the worker to all of it. A worker with work of its own therefore opens
another chain only if somebody outside that chain waits for it more urgently; else the chain goes to the first
worker that runs dry, which keeps the loads even.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dogfood.scheduling.jobs import Urgency, dependents_of, in_chain_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet

    from pytest_dogfood.scheduling.jobs import Job

LARGEST_BATCH_BESIDE_A_GRAPH = 16
"""While graph jobs are left, a worker must soon be back: one of its chains may become ready any time."""


class Queue:
    """Hands out jobs to workers so that each runs once, in order, and chains stay together.

    Raises ValueError if the jobs depend on each other in a circle or on a job that does not exist.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        jobs = in_chain_order(sorted(jobs, key=lambda job: job.index))
        self._jobs = {job.index: job for job in jobs}
        self._dependents = dependents_of(self._jobs)
        self._batchable = {job.index for job in jobs if self._may_travel_in_a_batch(job)}
        self._ways = Urgency(
            {index: job for index, job in self._jobs.items() if index not in self._batchable},
            self._dependents,
        )
        self._waits = {job.index: len(set(job.after)) for job in jobs}
        self._members: dict[str, list[int]] = defaultdict(list)
        for job in jobs:
            if job.chain is not None:
                self._members[job.chain].append(job.index)
        self._graph_left = len(jobs) - len(self._batchable)
        self._finished: set[int] = set()
        self._running: dict[int, str] = {}
        self._ready: set[int] = set()
        self._held: dict[str, dict[int, None]] = {}
        self._pins: dict[str, str] = {}
        # Heaps of (-urgency, index). An entry whose job has moved on stays and is skipped when it comes to the top.
        self._own: dict[str, list[tuple[float, int]]] = {}
        self._wanted: list[tuple[float, int]] = []
        self._openers: list[tuple[float, int]] = []
        self._singles: list[int] = []
        self._groups: list[tuple[float, int, tuple[int, ...]]] = []
        self._make_ready(job.index for job in jobs if not job.after)

    @property
    def finished(self) -> AbstractSet[int]:
        return self._finished

    @property
    def running(self) -> Mapping[int, str]:
        """The jobs that were handed out and are not finished, each with its worker."""
        return MappingProxyType(self._running)

    @property
    def pending(self) -> tuple[int, ...]:
        """The jobs that still have to be handed out, in the order of the collection."""
        return tuple(sorted(self._jobs.keys() - self._finished - self._running.keys()))

    @property
    def is_busy(self) -> bool:
        """Whether some job was handed out and is not finished."""
        return bool(self._running)

    @property
    def is_done(self) -> bool:
        return len(self._finished) == len(self._jobs)

    def add_worker(self, worker: str) -> None:
        """Make `worker` known. Batches are cut according to how many there are."""
        self._held.setdefault(worker, {})
        self._own.setdefault(worker, [])

    def next_for(self, worker: str) -> tuple[int, ...]:
        """Hand out what an idle worker shall run: one graph job or a batch of plain ones; nothing if none is ready."""
        if self._held[worker]:
            return ()
        graph_job = self._most_urgent_for(worker)
        indices = self._next_batch() if graph_job is None else (graph_job,)
        for index in indices:
            self._start(index, worker)
        return indices

    def more_for(self, worker: str) -> tuple[int, ...]:
        """Hand out a further batch to a worker that is not idle yet; only once nothing but plain tests is left.

        Whatever it would wait for between two batches is won, and there is no priority left that could be inverted.
        """
        if self._graph_left:
            return ()
        indices = self._next_batch()
        for index in indices:
            self._start(index, worker)
        return indices

    def finish(self, index: int) -> bool:
        """Count a job as finished, whoever ran it and however it ended; whether others may be ready by it.

        Once is as good as twice.
        """
        if index in self._finished:
            return False
        self._finished.add(index)
        self._graph_left -= index not in self._batchable
        self._ready.discard(index)
        worker = self._running.pop(index, None)
        if worker is not None:
            del self._held[worker][index]
        dependents = self._dependents[index]
        if not dependents:
            return False
        for dependent in dependents:
            self._waits[dependent] -= 1
        self._make_ready(
            dependent
            for dependent in dependents
            if not self._waits[dependent] and dependent not in self._finished
        )
        return True

    def lose(self, worker: str) -> tuple[int, ...]:
        """Forget a worker and give its unfinished jobs back to the queue; its chains may go anywhere again."""
        lost = tuple(self._held.pop(worker))
        del self._own[worker]
        for index in lost:
            del self._running[index]
        freed = [chain for chain, home in self._pins.items() if home == worker]
        for chain in freed:
            del self._pins[chain]
        moved = [index for chain in freed for index in self._members[chain] if index in self._ready]
        self._make_ready([*lost, *moved])
        return lost

    def _may_travel_in_a_batch(self, job: Job) -> bool:
        return job.plain and not job.after and job.chain is None and not self._dependents[job.index]

    def _make_ready(self, indices: Iterable[int]) -> None:
        grouped: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            self._ready.add(index)
            if index not in self._batchable:
                self._offer(index)
            elif self._jobs[index].batch:
                grouped[self._jobs[index].batch].append(index)
            else:
                heappush(self._singles, index)
        for members in grouped.values():
            weight = sum(self._jobs[index].weight for index in members)
            heappush(self._groups, (-weight, min(members), tuple(sorted(members))))

    def _offer(self, index: int) -> None:
        chain = self._jobs[index].chain
        if chain in self._pins:
            heappush(self._own[self._pins[chain]], (-self._ways.to_end[index], index))
            return
        if chain is not None:
            heappush(self._openers, (-self._ways.to_end[index], index))
        if self._ways.outwards[index]:
            heappush(self._wanted, (-self._ways.outwards[index], index))

    def _most_urgent_for(self, worker: str) -> int | None:
        own = self._top(self._own[worker], worker)
        wanted = self._top(self._wanted, None)
        opener = None if own else self._top(self._openers, None)
        best = min((entry for entry in (own, wanted, opener) if entry), default=None)
        return best[1] if best else None

    def _top(self, heap: list[tuple[float, int]], home: str | None) -> tuple[float, int] | None:
        while heap and not (heap[0][1] in self._ready and self._home_of(heap[0][1]) == home):
            heappop(heap)
        return heap[0] if heap else None

    def _home_of(self, index: int) -> str | None:
        chain = self._jobs[index].chain
        return None if chain is None else self._pins.get(chain)

    def _start(self, index: int, worker: str) -> None:
        self._ready.discard(index)
        self._running[index] = worker
        self._held[worker][index] = None
        chain = self._jobs[index].chain
        if chain is not None and chain not in self._pins:
            self._pins[chain] = worker
            for other in self._members[chain]:
                if other in self._ready:
                    self._offer(other)

    def _next_batch(self) -> tuple[int, ...]:
        while self._groups:
            _, _, members = heappop(self._groups)
            if still := tuple(index for index in members if index in self._ready):
                return still
        batch: list[int] = []
        size = self._batch_size()
        while self._singles and len(batch) < size:
            index = heappop(self._singles)
            if index in self._ready:
                batch.append(index)
        return tuple(batch)

    def _batch_size(self) -> int:
        left, workers = len(self._singles), len(self._held)
        least = 2 if left > 2 * workers else 1
        size = max(least, left // (4 * workers))
        return min(size, LARGEST_BATCH_BESIDE_A_GRAPH) if self._graph_left else size
