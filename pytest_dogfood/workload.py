"""What there is to run: jobs, what each comes after, and how urgent it is."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence


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


class Ways:
    """How long it takes from the start of each job to the end of all that depends on it.

    `to_end` takes the rest of the job's own chain into account, `outwards` is the longest way that leaves the chain
    (0 if none does). For a job without a chain they are the same, but never 0.
    """

    def __init__(self, jobs: Mapping[int, Job], dependents: Mapping[int, Sequence[int]]) -> None:
        self.to_end: dict[int, float] = {}
        self.outwards: dict[int, float] = {}
        rest_of_chain: dict[str, float] = {}
        for index in reversed(_by_longest_path(jobs, dependents)):
            job = jobs[index]
            behind = max((self.to_end[after] for after in dependents[index]), default=0.0)
            if job.chain is None:
                # A free job without weight must still be found in the heap of wanted ones.
                self.to_end[index] = self.outwards[index] = max(job.weight + behind, 1e-9)
                continue
            self.to_end[index] = job.weight + max(behind, rest_of_chain.get(job.chain, 0.0))
            rest_of_chain[job.chain] = self.to_end[index]
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


def _by_longest_path(jobs: Mapping[int, Job], dependents: Mapping[int, Sequence[int]]) -> list[int]:
    """Sort jobs so that each comes before its dependents, and the more urgent ones first.

    Along an edge the path never grows, and a stable sort keeps equal ones as they were: the order stays topological.
    """
    order = list(TopologicalSorter({job.index: sorted(job.after) for job in jobs.values()}).static_order())
    path: dict[int, float] = {}
    for index in reversed(order):
        path[index] = jobs[index].weight + max((path[after] for after in dependents[index]), default=0.0)
    return sorted(order, key=lambda index: -path[index])
