"""What there is to run: jobs from a plan, what each comes after, and how urgent it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.walks import DisjointSets, in_order, in_preferred_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Job(Struct, frozen=True, kw_only=True):
    """One item to run; `index` is its place in the collection.

    `after` holds the jobs that must be finished first; jobs of one `chain` run on one worker; `weight` is in
    estimated seconds. A `plain` job is an ordinary test that may travel in a batch; those with the same non-empty
    `batch` always do.
    """

    index: int
    after: tuple[int, ...] = ()
    chain: str | None = None
    weight: float = 1.0
    plain: bool = False
    batch: str = ""


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


class Urgency:
    """How long it takes from the start of each job to the end of all that comes after it.

    `to_end` is the longest such way, `outwards` the longest one that leaves the chain (0 if none does). For a job
    without a chain they are the same, but never 0.
    """

    def __init__(self, jobs: Mapping[int, Job], dependents: Mapping[int, Sequence[int]]) -> None:
        self.to_end: dict[int, float] = {}
        self.outwards: dict[int, float] = {}
        sorter = TopologicalSorter({job.index: job.after for job in jobs.values()})
        for index in reversed(list(sorter.static_order())):
            job = jobs[index]
            behind = max((self.to_end[after] for after in dependents[index]), default=0.0)
            if job.chain is None:
                # A free job without weight must still be found in the heap of wanted ones.
                self.to_end[index] = self.outwards[index] = max(job.weight + behind, 1e-9)
                continue
            self.to_end[index] = job.weight + behind
            outwards = max(
                (
                    self.outwards[after] if jobs[after].chain == job.chain else self.to_end[after]
                    for after in dependents[index]
                ),
                default=0.0,
            )
            self.outwards[index] = job.weight + outwards if outwards else 0.0


def dependents_of(jobs: Mapping[int, Job]) -> dict[int, list[int]]:
    """Return for each job those that come after it; raises ValueError for one that comes after no job."""
    dependents: dict[int, list[int]] = {index: [] for index in jobs}
    for job in jobs.values():
        for before in dict.fromkeys(job.after):
            if before not in dependents:
                raise ValueError(f"job {job.index} comes after {before}, which is not a job")
            dependents[before].append(job.index)
    return dependents


GROUPING = ("loadfile", "loadscope")
"""Values of --dist that keep something together."""


def jobs_for(ids: Sequence[str], plan: Plan, dist: str) -> list[Job]:
    """Return the scheduler a job per node id.

    Tests outside of the graph go in batches. With `dist` loadfile or loadscope each file or scope is one batch; where
    it holds something of the graph, it is joined with the chains that it touches, and all of that is one chain.
    """
    planned = plan.by_nodeid()
    index_of = {nodeid: index for index, nodeid in enumerate(ids)}
    nodeid_of = {one.id: one.nodeid for one in plan.journeys}
    groups = [group_of(nodeid, dist) for nodeid in ids]
    chains = _joined_chains(ids, planned, groups)
    sizes = Counter(chain for chain in chains if chain is not None)
    jobs: list[Job] = []
    for index, (nodeid, chain) in enumerate(zip(ids, chains, strict=True)):
        one = planned.get(nodeid)
        shared = chain if chain is not None and sizes[chain] > 1 else None
        if one is None:
            batch = "" if shared is not None else groups[index]
            jobs.append(Job(index=index, chain=shared, plain=True, batch=batch))
            continue
        after = tuple(index_of[nodeid_of[other]] for other in one.after if nodeid_of[other] in index_of)
        jobs.append(Job(index=index, after=after, chain=shared, weight=one.weight))
    return jobs


def group_of(nodeid: str, dist: str) -> str:
    """Name the file or the scope that `dist` keeps together; empty where it keeps nothing together."""
    path, _, inside = nodeid.partition("::")
    if dist == "loadscope":
        # A test's parameters may hold colons as well.
        return "::".join([path, *inside.partition("[")[0].split("::")[:-1]])
    return path if dist == "loadfile" else ""


def _joined_chains(
    ids: Sequence[str], planned: dict[str, PlannedJourney], groups: Sequence[str]
) -> list[str | None]:
    """Return the chain of each item, None for one that shares neither chain nor group with an item of the graph."""
    in_groups = [group for group, nodeid in zip(groups, ids, strict=True) if group and nodeid in planned]
    same = DisjointSets([*(one.chain for one in planned.values()), *map(_as_chain, in_groups)])
    for group, nodeid in zip(groups, ids, strict=True):
        if group and nodeid in planned:
            same.join(_as_chain(group), planned[nodeid].chain)
    touched = set(in_groups)
    return [
        same.head(planned[nodeid].chain)
        if nodeid in planned
        else same.head(_as_chain(group))
        if group in touched
        else None
        for group, nodeid in zip(groups, ids, strict=True)
    ]


def _as_chain(group: str) -> str:
    """Name a group so that no chain, which is named after a journey, has its name by chance."""
    return f"{group}\n"


def in_group_order(ids: Sequence[str], plan: Plan, dist: str) -> list[int]:
    """Return the places of the items in the order in which each group runs as given, as far as the graph allows.

    `ids` are in the order of the files. Items of one chain keep the order of the plan, as with any other `dist`.
    """
    place_of = {nodeid: place for place, nodeid in enumerate(ids)}
    before: dict[int, list[int]] = {place: [] for place in range(len(ids))}
    nodeid_of = {one.id: one.nodeid for one in plan.journeys}
    last_of_chain: dict[str, int] = {}
    for one in plan.journeys:
        if (place := place_of.get(one.nodeid)) is not None:
            before[place] = [
                place_of[nodeid_of[other]] for other in one.after if nodeid_of[other] in place_of
            ]
            before[place] += [last_of_chain[one.chain]] if one.chain in last_of_chain else []
            last_of_chain[one.chain] = place
    last_of_group: dict[str, int] = {}
    rather: dict[int, int] = {}
    for place, nodeid in enumerate(ids):
        group = group_of(nodeid, dist)
        if group in last_of_group:
            rather[place] = last_of_group[group]
        last_of_group[group] = place
    return list(in_preferred_order(before, rather))
