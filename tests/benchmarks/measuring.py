"""Measuring on a machine that others use too: variants take turns, medians count, and the noise is told."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Measure = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: our figure, what it must be, and the peers' figures."""

    what: str
    ours: float
    target: float | None = None
    at_least: bool = False
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return whether the target is met, if there is one."""
        if self.target is None:
            return ""
        met = self.ours >= self.target if self.at_least else self.ours <= self.target
        return "met" if met else "MISSED"


def taking_turns(variants: Mapping[str, Measure], times: int) -> dict[str, list[float]]:
    """Measure every variant so many times; what disturbs the machine disturbs all of them.

    Each round begins with another variant, or the same one would always run into what the last has left behind.
    """
    seen: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for turn in range(times):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            seen[name].append(variants[name]())
    return seen


def medians(seen: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: median(values) for name, values in seen.items()}


def ratio(seen: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """Return the median of the ratios within each round, in which both met the same machine."""
    return median([one / other for one, other in zip(seen[ours], seen[theirs], strict=True)])


def spread(seen: Mapping[str, Sequence[float]]) -> float:
    """Return how far the worst variant's measurements lie apart, as a part of their median."""
    return max((max(values) - min(values)) / median(values) for values in seen.values())


def wall(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def processor(action: Callable[[], object]) -> float:
    """Return the processor seconds of the processes that an action starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    action()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def own_processor(action: Callable[[], object]) -> float:
    """Return the processor seconds that an action takes within this process, whoever else uses the machine."""
    started = time.process_time()
    action()
    return time.process_time() - started


def load() -> float:
    """Return how many processes want to run, on average over the last minute."""
    return os.getloadavg()[0]
