"""How long graphs take whose jobs share a state that may be copied, beside those who run each component on one worker.

The best possible is a list schedule of the graph, or of the states where jobs are joined again: these share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Token
from pytest_dogfood.scheduling.forecast import make_forecast
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from tests.benchmarks import contenders
from tests.benchmarks.graphs import SHARING_A_STATE, Graph, ideal
from tests.benchmarks.measuring import Row, medians, spread, taking_turns

HERE = Location("bench.journey.json", 1, 1)
TARGETS = {"random, 15 % joins": 1.5}
"""The makespan in terms of the best possible, where it is not 1.10."""


def fan_outs(name: str, workers: int, rounds: int) -> Iterable[Row]:
    """Measure a graph run whole, without its first job being selected, and with a provider in its place."""
    graph = SHARING_A_STATE[name]()
    first, expected = graph[0].name, forecast(graph, workers)
    variants: dict[str, Callable[[], float]] = {
        "whole": partial(contenders.copyable, graph, workers),
        "co-location": partial(contenders.co_location, graph, workers),
    }
    roots = [job for job in graph if not job.after]
    if name in TARGETS:
        variants["÷ forecast"] = partial(contenders.over_forecast, graph, workers)
    if len(roots) == 1:
        variants["-k"] = partial(contenders.copyable, graph, workers, "-k", f"not {first}")
        variants["provider"] = partial(contenders.provided, graph, workers)
    tools = {who: run for who, run in contenders.available().items() if who in contenders.TOOLS}
    variants |= {who: partial(run, graph, workers) for who, run in tools.items()}
    measured = taking_turns(variants, rounds)
    seen = medians(measured)
    best = expected if name == "8 diamonds" else ideal(graph, workers)
    for who in ("whole", "-k", "provider"):
        if who in seen:
            yield Row(
                what=f"{name}, copied, {who}, N={workers} ÷ ideal",
                ours=seen[who] / best,
                target=TARGETS.get(name, 1.10),
                peers={one: seen[one] / best for one in ("co-location", *tools)},
                note=f"{best:.2f} s ideal; spread {spread({who: measured[who]}):.0%}",
            )
    if name in TARGETS:
        yield Row(
            what=f"{name}, copied, N={workers} ÷ what `dogfood check` foretold after a run before",
            ours=seen["÷ forecast"],
            target=1.05,
            note=f"{expected:.2f} s if nothing but the jobs took time",
        )


def long_jobs(workers: int, rounds: int) -> Iterable[Row]:
    """Measure a fan-out from a machine-wide token whose jobs take about a second each."""
    graph = tuple(replace(job, seconds=8 * job.seconds) for job in SHARING_A_STATE["fan-out 1→40"]())
    variants = {
        who: partial(run, graph, workers)
        for who, run in contenders.available().items()
        if who != "co-location"
    }
    measured = taking_turns(variants, rounds)
    seen = medians(measured)
    best = ideal(graph, workers)
    yield Row(
        what=f"fan-out 1→40, jobs of 1 s, N={workers} ÷ ideal list schedule",
        ours=seen.pop("journeys") / best,
        target=1.01,
        peers={who: seconds / best for who, seconds in seen.items()},
        note=f"{best:.2f} s ideal; spread {spread(measured):.0%}",
    )


def forecast(graph: Graph, workers: int) -> float:
    """Return the makespan that the plan of the product foretells, in seconds."""
    needed = {before for job in graph for before in job.after}
    journeys = [
        Journey(
            id=JourneyId(job.name),
            location=HERE,
            path=HERE.path,
            nodeid=job.name,
            requires={Token(other): HERE for other in job.after},
            establishes={Token(job.name): HERE} if job.name in needed else {},
        )
        for job in graph
    ]
    capabilities = [Capability(token=Token(name), location=HERE, copyable=True) for name in sorted(needed)]
    plan = make_plan(
        CapabilityGraph(journeys, capabilities),
        [journey.id for journey in journeys],
        durations={job.name: job.seconds for job in graph},
    )
    return make_forecast(jobs_for([one.nodeid for one in plan.journeys], plan, "load"), workers).makespan
