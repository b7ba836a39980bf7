"""What there is to run: jobs, what each comes after, and how urgent it is."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.walks import in_order

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


class Ways:
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
    """Give for each job those that come after it; raises ValueError for one that comes after no job."""
    dependents: dict[int, list[int]] = {index: [] for index in jobs}
    for job in jobs.values():
        for before in dict.fromkeys(job.after):
            if before not in dependents:
                raise ValueError(f"job {job.index} comes after {before}, which is not a job")
            dependents[before].append(job.index)
    return dependents
