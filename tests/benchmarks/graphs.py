"""Graphs of sleeping jobs, the same for every contender, and how fast they could be run at best."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

SEED = 20250704


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job: it sleeps for `seconds` once all of `after` have ended. Jobs are listed behind what they need."""

    name: str
    seconds: float
    after: tuple[str, ...] = ()


Graph = tuple[Job, ...]


def seeded() -> random.Random:
    return random.Random(SEED)  # noqa: S311 - nothing here is a secret


def chain(length: int = 20) -> Graph:
    """One job after the other: no worker can help."""
    choose = seeded()
    return _line("link", [_some_time(choose) for _ in range(length)])


def fan_out(width: int = 40) -> Graph:
    """One job that all the others need, none of which needs another."""
    choose = seeded()
    root = Job(name="root", seconds=0.1)
    return (root, *(_job("leaf", n, _some_time(choose), "root") for n in range(width)))


def uneven_chains() -> Graph:
    """Eight chains of very different lengths, the shortest listed first."""
    choose = seeded()
    lengths = (2, 2, 3, 4, 5, 7, 9, 12)
    return tuple(
        job
        for number, length in enumerate(lengths)
        for job in _line(f"chain-{number}-", [_some_time(choose) for _ in range(length)])
    )


def layered(layers: int = 6, width: int = 10) -> Graph:
    """Layers of jobs, each of which needs one to three of the layer before."""
    choose = seeded()
    jobs: list[Job] = []
    before: list[str] = []
    for layer in range(layers):
        here: list[str] = []
        for number in range(width):
            after = choose.sample(before, choose.randint(1, 3)) if before else []
            jobs.append(
                Job(name=f"layer-{layer}-{number}", seconds=_some_time(choose), after=tuple(sorted(after)))
            )
            here.append(jobs[-1].name)
        before = here
    return tuple(jobs)


def fork_join(width: int = 20) -> Graph:
    """One, many, one, many, one."""
    choose = seeded()
    jobs = [Job(name="join-0", seconds=0.1)]
    for stage in (1, 2):
        forks = [_job(f"fork-{stage}", n, _some_time(choose), f"join-{stage - 1}") for n in range(width)]
        jobs += forks
        jobs.append(Job(name=f"join-{stage}", seconds=0.1, after=tuple(job.name for job in forks)))
    return tuple(jobs)


def critical_last(free: int = 30, length: int = 10) -> Graph:
    """A long chain that is listed behind all the jobs that are free to run at once."""
    choose = seeded()
    return (
        *(_job("free", n, _some_time(choose)) for n in range(free)),
        *_line("critical", [0.2 for _ in range(length)]),
    )


def tiny(count: int = 200) -> Graph:
    """Jobs so short that starting them is most of the work."""
    return tuple(_job("tiny", n, 0.01) for n in range(count))


def tree(branches: int = 4) -> Graph:
    """One job that a few need, each of which as many others need."""
    choose = seeded()
    middle = [_job("branch", n, _some_time(choose), "root") for n in range(branches)]
    leaves = [
        _job(f"leaf-{n}", m, _some_time(choose), f"branch-{n}")
        for n in range(branches)
        for m in range(branches)
    ]
    return (Job(name="root", seconds=0.1), *middle, *leaves)


def features(count: int = 8, length: int = 3) -> Graph:
    """One login, and features of several jobs that need it."""
    choose = seeded()
    jobs = [Job(name="login", seconds=0.1)]
    for number in range(count):
        first, *rest = _line(f"feature-{number}-", [_some_time(choose) for _ in range(length)])
        jobs += [replace(first, after=("login",)), *rest]
    return tuple(jobs)


def login_and_logout(width: int = 40) -> Graph:
    """One login, many jobs that need it, and a logout."""
    choose = seeded()
    jobs = [_job("feature", n, _some_time(choose), "login") for n in range(width)]
    return (Job(name="login", seconds=0.1), *jobs, Job(name="logout", seconds=0.1, after=("login",)))


def diamonds(count: int = 8) -> Graph:
    """Diamonds that have nothing to do with each other: what is joined again must stay in one state."""
    choose = seeded()
    jobs: list[Job] = []
    for number in range(count):
        top, left, right, end = (f"{side}-{number}" for side in ("top", "left", "right", "end"))
        after = {top: (), left: (top,), right: (top,), end: (left, right)}
        jobs += [Job(name=name, seconds=_some_time(choose), after=others) for name, others in after.items()]
    return tuple(jobs)


def joins(count: int = 60, share: float = 0.15) -> Graph:
    """Jobs that each need an earlier one; a share of them needs two."""
    choose = seeded()
    jobs = [Job(name="join-0", seconds=0.1)]
    for number in range(1, count):
        before = choose.sample(jobs, min(len(jobs), 2 if choose.random() < share else 1))
        jobs.append(_job("join", number, _some_time(choose), *sorted(job.name for job in before)))
    return tuple(jobs)


SHARING_A_STATE: Mapping[str, Callable[[], Graph]] = {
    "fan-out 1→40": fan_out,
    "tree 1→4→16": tree,
    "login, 8 features of 3": features,
    "login, 40 features, logout": login_and_logout,
    "8 diamonds": diamonds,
    "random, 15 % joins": joins,
}
"""Graphs whose jobs share a state, which may be copied."""

GRAPHS: Mapping[str, Callable[[], Graph]] = {
    "one chain of 20": chain,
    "fan-out 1→40": fan_out,
    "8 uneven chains": uneven_chains,
    "layered random, 60": layered,
    "fork-join 1→20→1→20→1": fork_join,
    "critical chain last": critical_last,
    "200 jobs of 10 ms": tiny,
}
WIDE = ("fan-out 1→40", "layered random, 60", "fork-join 1→20→1→20→1")
"""What more workers could run faster if co-location did not keep it together."""

TINY = "200 jobs of 10 ms"


def ideal(jobs: Sequence[Job], workers: int) -> float:
    """Return the makespan of a list schedule, longest way first, by workers that need no time between jobs."""
    by_name = {job.name: job for job in jobs}
    then = dependents(jobs)
    way = ways(jobs, then)
    waits = {job.name: len(job.after) for job in jobs}
    ready = [(-way[job.name], job.name) for job in jobs if not job.after]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            name = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + by_name[name].seconds, name))
        now, name = heapq.heappop(running)
        for other in then[name]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, (-way[other], other))
    return now


def bound(jobs: Sequence[Job], workers: int) -> float:
    """Return the longer of the critical path and the total over the workers: nothing is faster."""
    return max(*ways(jobs, dependents(jobs)).values(), sum(job.seconds for job in jobs) / workers)


def dependents(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Return for each job those that need it."""
    then: dict[str, list[str]] = {job.name: [] for job in jobs}
    for job in jobs:
        for before in job.after:
            then[before].append(job.name)
    return then


def ways(jobs: Sequence[Job], then: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return for each job the seconds from its start to the end of all that needs it."""
    way: dict[str, float] = {}
    for job in reversed(jobs):
        way[job.name] = job.seconds + max((way[other] for other in then[job.name]), default=0.0)
    return way


def _line(prefix: str, seconds: Sequence[float]) -> Graph:
    names = [f"{prefix}{number}" for number in range(len(seconds))]
    return tuple(
        Job(name=name, seconds=time, after=tuple(names[number - 1 : number] if number else ()))
        for number, (name, time) in enumerate(zip(names, seconds, strict=True))
    )


def _job(prefix: str, number: int, seconds: float, *after: str) -> Job:
    return Job(name=f"{prefix}-{number}", seconds=seconds, after=after)


def _some_time(choose: random.Random) -> float:
    return round(choose.uniform(0.05, 0.2), 3)
