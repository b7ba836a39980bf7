"""The ideal list schedule, for real: a loop that starts the next job as soon as one has ended, and does nothing else.

What it loses against the ideal is the jobs' own: their shells and programs have to be started, too.
"""

from __future__ import annotations

import heapq
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.graphs import Graph, Job, dependents, ways


def run_bare(graph: Graph, workers: int, argv: Callable[[Job], Sequence[str]], *, cwd: Path) -> None:
    """Run a graph, longest way first; raises RuntimeError if a job fails."""
    by_name = {job.name: job for job in graph}
    then = dependents(graph)
    way = ways(graph, then)
    waits = {job.name: len(job.after) for job in graph}
    ready = [(-way[job.name], job.name) for job in graph if not job.after]
    heapq.heapify(ready)
    running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    while ready or running:
        while ready and len(running) < workers:
            name = heapq.heappop(ready)[1]
            process = subprocess.Popen(argv(by_name[name]), cwd=cwd)
            running[process.pid] = name, process
        pid, status = os.wait()
        name, process = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
        if process.returncode:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        for other in then[name]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, (-way[other], other))
