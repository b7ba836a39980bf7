"""The jobs of a run, and which of them an idle worker takes next; it uses neither pytest nor xdist nor a clock.

A job is *ready* when all that it comes after has finished, the job before it in its chain included. The first job
of a chain to be taken pins the chain to its worker; from then on only that worker takes the others.

Among ready jobs the one with the longest way to the end goes first, measured in estimated seconds. The jobs of a
chain follow one another on one worker, so the way counts the chain's remaining work as well as the edges.

Taking the first job of a chain commits the worker to all of it. A worker with work of its own therefore opens
another chain only if something outside that chain waits for it more urgently; else the chain goes to the first
worker that runs dry, which keeps the loads even.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.scheduling.plan import Plan, Share
from pytest_dogfood.walks import DisjointSets, in_order, in_preferred_order, inverted

LARGEST_BATCH_BESIDE_A_GRAPH = 16
"""While graph jobs are left, batches are small: a job of one of the worker's chains may become ready at any time."""

GROUPING = ("loadfile", "loadscope")
"""Values of --dist that keep a file or a scope together."""


class Job(Struct, frozen=True, kw_only=True):
    """One item to run; `index` is its place in the collection.

    `after` holds the jobs that must be finished first; jobs of one `chain` run on one worker; `weight` is in
    estimated seconds; `locks` are held while it runs. A `plain` job is an ordinary test that may travel in a batch;
    those with the same non-empty `batch` always do. `unit` names what one machine of a fleet takes whole.
    """

    index: int
    after: tuple[int, ...] = ()
    chain: str | None = None
    weight: float = 1.0
    plain: bool = False
    batch: str = ""
    unit: str = ""
    locks: tuple[Share, ...] = ()


def jobs_for(ids: Sequence[str], plan: Plan, dist: str) -> list[Job]:
    """Return the scheduler a job per node id.

    Tests outside of the graph go in batches. With `dist` loadfile or loadscope each file or scope is one batch; where
    it holds something of the graph, it is joined with the chains that it touches, and all of that is one chain.
    """
    planned = plan.by_nodeid()
    groups = [group_of(nodeid, dist) for nodeid in ids]
    names = [f"{group}\n" for group in groups]  # a chain is named after a journey, and so never like this
    joined = DisjointSets([*(one.state for one in plan.journeys), *names])
    touched: set[str] = set()
    for nodeid, group, name in zip(ids, groups, names, strict=True):
        if group and nodeid in planned:
            joined.join(name, planned[nodeid].state)
            touched.add(name)
    chains: list[str | None] = []
    for nodeid, name in zip(ids, names, strict=True):
        tie = planned[nodeid].state if nodeid in planned else name
        chains.append(joined.head(tie) if nodeid in planned or name in touched else None)
    sizes = Counter(chains)
    place_of = _places_in(ids, plan)
    jobs: list[Job] = []
    for index, (nodeid, chain, group) in enumerate(zip(ids, chains, groups, strict=True)):
        shared = chain if sizes[chain] > 1 else None
        if nodeid not in planned:
            batch = group if shared is None else ""
            jobs.append(Job(index=index, chain=shared, plain=True, batch=batch))
            continue
        one = planned[nodeid]
        after = tuple(place_of[other] for other in one.after if other in place_of)
        jobs.append(Job(index=index, after=after, chain=shared, weight=one.weight, locks=one.locks))
    return jobs


def group_of(nodeid: str, dist: str) -> str:
    """Return the file or the scope that `dist` keeps together; empty if it keeps none together."""
    path, _, inside = nodeid.partition("::")
    if dist == "loadscope":
        # A test's parameters may hold colons as well.
        return "::".join([path, *inside.partition("[")[0].split("::")[:-1]])
    return path if dist == "loadfile" else ""


def _places_in(ids: Sequence[str], plan: Plan) -> dict[JourneyId, int]:
    places = {nodeid: place for place, nodeid in enumerate(ids)}
    return {one.id: places[one.nodeid] for one in plan.journeys if one.nodeid in places}


def in_group_order(ids: Sequence[str], plan: Plan, dist: str) -> list[int]:
    """Return the places of the items in the order in which each group runs as given, as far as the graph allows.

    `ids` are in the order of the files. Items of one chain keep the order of the plan, as with any other `dist`.
    """
    place_of = _places_in(ids, plan)
    before: dict[int, list[int]] = {place: [] for place in range(len(ids))}
    last_of_state: dict[str, int] = {}
    for one in plan.journeys:
        if (place := place_of.get(one.id)) is not None:
            before[place] = [place_of[other] for other in one.after if other in place_of]
            before[place] += [last_of_state[one.state]] if one.state in last_of_state else []
            last_of_state[one.state] = place
    last_of_group: dict[str, int] = {}
    rather: dict[int, int] = {}
    for place, nodeid in enumerate(ids):
        group = group_of(nodeid, dist)
        if group in last_of_group:
            rather[place] = last_of_group[group]
        last_of_group[group] = place
    return list(in_preferred_order(before, rather))


def in_chain_order(jobs: Sequence[Job]) -> list[Job]:
    """Let each job of a chain come after the one before it: in the order of the collection as far as `after` allows.

    The order is fixed here, not while workers run: it must not depend on how many they are or how long jobs take.
    The jobs of all chains are put into one order first, or two chains that wait for each other could come to a
    standstill.
    """
    concerned = {job.index: job for job in jobs if job.chain is not None or job.after}
    last: dict[str, int] = {}
    before: dict[int, int] = {}
    for index in in_order({index: concerned[index].after for index in sorted(concerned)}):
        chain = concerned[index].chain
        if chain is not None:
            if chain in last:
                before[index] = last[chain]
            last[chain] = index
    return [
        replace(job, after=(*job.after, before[job.index]))
        if job.index in before and before[job.index] not in job.after
        else job
        for job in jobs
    ]


def _ways_to_the_end(
    jobs: Mapping[int, Job], dependents: Mapping[int, Sequence[int]]
) -> tuple[dict[int, float], dict[int, float]]:
    """Return how long it takes, in seconds, from the start of each job to the end of all that comes after it.

    First the longest such way, then the longest one that leaves the job's chain (0 if none does). For a job without a
    chain they are the same, but never 0. Raises ValueError if jobs come after each other in a cycle.
    """
    to_end: dict[int, float] = {}
    outwards: dict[int, float] = {}
    sorter = TopologicalSorter({job.index: job.after for job in jobs.values()})
    for index in reversed(list(sorter.static_order())):
        job = jobs[index]
        behind = max((to_end[after] for after in dependents[index]), default=0.0)
        if job.chain is None:
            # A free job without weight must still be found in the heap of wanted ones.
            to_end[index] = outwards[index] = max(job.weight + behind, 1e-9)
            continue
        to_end[index] = job.weight + behind
        leaving = max(
            (
                outwards[after] if jobs[after].chain == job.chain else to_end[after]
                for after in dependents[index]
            ),
            default=0.0,
        )
        outwards[index] = job.weight + leaving if leaving else 0.0
    return to_end, outwards


Heaps = dict[tuple[Share, ...], list[tuple[float, int]]]
"""Heaps of (-urgency, index), by the locks of the jobs: jobs with the same locks are free to run at the same time."""


class Queue:
    """Hands out jobs to workers so that each runs once, in order, chains stay together, and locks are free.

    Raises ValueError if the jobs depend on each other in a cycle or on a job that does not exist.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        jobs = in_chain_order(sorted(jobs, key=lambda job: job.index))
        self._jobs = {job.index: job for job in jobs}
        self._dependents = inverted({job.index: dict.fromkeys(job.after) for job in jobs})
        for unknown in self._dependents.keys() - self._jobs.keys():
            dependent = self._dependents[unknown][0]
            raise ValueError(f"job {dependent} comes after {unknown}, which is not a job")
        self._batchable = {
            job.index
            for job in jobs
            if job.plain and not job.after and job.chain is None and job.index not in self._dependents
        }
        rest = {index: job for index, job in self._jobs.items() if index not in self._batchable}
        self._to_end, self._outwards = _ways_to_the_end(rest, self._dependents)
        self._waits = {job.index: len(set(job.after)) for job in jobs}
        self._members: dict[str, list[int]] = defaultdict(list)
        for job in jobs:
            if job.chain is not None:
                self._members[job.chain].append(job.index)
        self._graph_left = len(rest)
        self.finished: set[int] = set()
        self.running: dict[int, str] = {}
        """The jobs that were handed out and are not finished, each with its worker."""
        self._ready: set[int] = set()
        self._pins: dict[str, str] = {}
        self._taken: Counter[str] = Counter()
        """The number of units of each lock that running jobs hold."""
        # An entry whose job is no longer pending stays, and is skipped when it reaches the top.
        self._own: dict[str, Heaps] = {}
        self._wanted: Heaps = {}
        self._openers: Heaps = {}
        self._singles: list[int] = []
        self._groups: list[tuple[float, int, tuple[int, ...]]] = []
        self._make_ready(job.index for job in jobs if not job.after)

    @property
    def pending(self) -> tuple[int, ...]:
        """The jobs that still have to be handed out, in the order of the collection."""
        return tuple(sorted(self._jobs.keys() - self.finished - self.running.keys()))

    @property
    def is_done(self) -> bool:
        return len(self.finished) == len(self._jobs)

    def add_worker(self, worker: str) -> None:
        """Make `worker` known. Batches are cut according to how many there are."""
        self._own.setdefault(worker, {})

    def next_for(self, worker: str) -> tuple[int, ...]:
        """Hand out the next jobs of an idle worker: a graph job or a batch of plain ones; nothing if none is ready."""
        if worker in self.running.values():
            return ()
        own = self._top(self._own[worker], worker)
        wanted = self._top(self._wanted, None)
        opener = None if own else self._top(self._openers, None)
        most_urgent = min((entry for entry in (own, wanted, opener) if entry), default=None)
        return self._start((most_urgent[1],) if most_urgent else self._next_batch(), worker)

    def more_for(self, worker: str) -> tuple[int, ...]:
        """Hand out a further batch to a worker that is not idle yet; only once nothing but plain tests is left.

        Whatever it would wait for between two batches is won, and there is no priority left that could be inverted.
        """
        return () if self._graph_left else self._start(self._next_batch(), worker)

    def finish(self, index: int) -> bool:
        """Count a job as finished, wherever it ran and however it ended; return whether others may be ready by it.

        Once is as good as twice.
        """
        if index in self.finished:
            return False
        self.finished.add(index)
        self._graph_left -= index not in self._batchable
        self._ready.discard(index)
        if self.running.pop(index, None) is not None:
            self._unlock(index)
        if dependents := self._dependents.get(index, ()):
            for dependent in dependents:
                self._waits[dependent] -= 1
            self._make_ready(
                dependent
                for dependent in dependents
                if not self._waits[dependent] and dependent not in self.finished
            )
        return bool(dependents or self._jobs[index].locks)

    def lose(self, worker: str) -> tuple[int, ...]:
        """Forget a worker and return its unfinished jobs to the queue; its chains may go anywhere again."""
        lost = tuple(index for index, home in self.running.items() if home == worker)
        del self._own[worker]
        for index in lost:
            del self.running[index]
            self._unlock(index)
        freed = [chain for chain, home in self._pins.items() if home == worker]
        for chain in freed:
            del self._pins[chain]
        moved = [index for chain in freed for index in self._members[chain] if index in self._ready]
        self._make_ready([*lost, *moved])
        return lost

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
        chain, locks = self._jobs[index].chain, self._jobs[index].locks
        to_end = (-self._to_end[index], index)
        if chain in self._pins:
            heappush(self._own[self._pins[chain]].setdefault(locks, []), to_end)
            return
        if chain is not None:
            heappush(self._openers.setdefault(locks, []), to_end)
        if self._outwards[index]:
            heappush(self._wanted.setdefault(locks, []), (-self._outwards[index], index))

    def _top(self, heaps: Heaps, home: str | None) -> tuple[float, int] | None:
        """Return the first entry whose job may run now and whose chain is pinned to `home`, or to no worker."""
        found: list[tuple[float, int]] = []
        for locks, heap in heaps.items():
            if any(self._taken[share.lock] + share.units > share.of for share in locks):
                continue
            while heap:
                index = heap[0][1]
                chain = self._jobs[index].chain
                if index in self._ready and home == (None if chain is None else self._pins.get(chain)):
                    found.append(heap[0])
                    break
                heappop(heap)
        return min(found, default=None)

    def _unlock(self, index: int) -> None:
        for share in self._jobs[index].locks:
            self._taken[share.lock] -= share.units

    def _start(self, indices: tuple[int, ...], worker: str) -> tuple[int, ...]:
        for index in indices:
            self._ready.discard(index)
            self.running[index] = worker
            for share in self._jobs[index].locks:
                self._taken[share.lock] += share.units
            chain = self._jobs[index].chain
            if chain is not None and chain not in self._pins:
                self._pins[chain] = worker
                for other in self._members[chain]:
                    if other in self._ready:
                        self._offer(other)
        return indices

    def _next_batch(self) -> tuple[int, ...]:
        while self._groups:
            _, _, members = heappop(self._groups)
            if still := tuple(index for index in members if index in self._ready):
                return still
        left, workers = len(self._singles), len(self._own)
        size = max(2 if left > 2 * workers else 1, left // (4 * workers))
        if self._graph_left:
            size = min(size, LARGEST_BATCH_BESIDE_A_GRAPH)
        batch: list[int] = []
        while self._singles and len(batch) < size:
            index = heappop(self._singles)
            if index in self._ready:
                batch.append(index)
        return tuple(batch)
