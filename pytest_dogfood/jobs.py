"""From a plan to the jobs of the scheduler's queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_dogfood.planning import Plan
from pytest_dogfood.workload import Job


def jobs_for(ids: Sequence[str], plan: Plan, dist: str) -> list[Job]:
    """Give the scheduler a job per node id; tests outside the graph go in batches, by file or scope if so asked."""
    planned = plan.by_nodeid()
    index_of = {nodeid: index for index, nodeid in enumerate(ids)}
    nodeid_of = {one.id: one.nodeid for one in plan.journeys}
    sizes = Counter(one.chain for one in plan.journeys)
    jobs: list[Job] = []
    for index, nodeid in enumerate(ids):
        one = planned.get(nodeid)
        if one is None:
            batch = {"loadfile": nodeid.split("::")[0], "loadscope": nodeid.rpartition("::")[0]}.get(dist, "")
            jobs.append(Job(index=index, plain=True, batch=batch))
            continue
        after = tuple(index_of[nodeid_of[other]] for other in one.after if nodeid_of[other] in index_of)
        chain = one.chain if sizes[one.chain] > 1 else None
        jobs.append(Job(index=index, after=after, chain=chain, weight=one.weight))
    return jobs
