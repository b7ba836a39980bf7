"""What the machines of a fleet take whole: a state of a chain, a journey without a chain, a file of plain tests.

With --dist loadscope a scope takes the place of a file. What such a group ties to a chain is one unit with it, and so
is what needs a token that nothing could provide on another machine. A unit is named after the smallest node id in it,
so that it has the same name everywhere, whatever the order of the items.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from pytest_dogfood.diagnostics import counted, seconds_in_words
from pytest_dogfood.fleet.board import Losses
from pytest_dogfood.outcomes import listed
from pytest_dogfood.scheduling.queue import Job, in_chain_order
from pytest_dogfood.scheduling.shards import file_of
from pytest_dogfood.walks import DisjointSets, in_order


def with_units(ids: Sequence[str], jobs: Sequence[Job], together: Iterable[Sequence[str]] = ()) -> list[Job]:
    """Return the jobs with their units; `ids` are the node ids in the order of the collection.

    Plain tests of a unit are one batch. Node ids that are `together` are in one unit, with all that is tied to them.
    Raises ValueError if two items have one node id.
    """
    if len(set(ids)) != len(ids):
        raise ValueError("two items have one node id")
    tie_of = {ids[job.index]: _tie_of(ids[job.index], job) for job in jobs}
    ties = DisjointSets(tie_of.values())
    joined: set[tuple[str, str]] = set()
    for nodeids in together:
        for nodeid in nodeids:
            ties.join(tie_of[nodeid], tie_of[nodeids[0]])
            joined.add(tie_of[nodeid])
    heads = {ties.head(tie) for tie in joined}
    groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[ties.head(tie_of[ids[job.index]])].append(job)
    found: list[Job] = []
    for head, members in groups.items():
        unit = min(ids[job.index] for job in members)
        batch = unit if head[0] == "batch" else ""
        found += [
            replace(job, unit=unit, batch=batch, chain=unit if head in heads else job.chain)
            for job in members
        ]
    return sorted(found, key=lambda job: job.index)


def _tie_of(nodeid: str, job: Job) -> tuple[str, str]:
    """Return what ties a job to others, wherever it runs: a chain, a batch of plain tests, or nothing."""
    if job.chain is not None:
        return "chain", job.chain
    return ("batch", job.batch or file_of(nodeid)) if job.plain else ("item", nodeid)


def units_of(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the names of all units, sorted."""
    return tuple(sorted({job.unit for job in jobs}))


def order_of_chains(ids: Sequence[str], jobs: Sequence[Job]) -> str:
    """Return twelve hexadecimal digits for the order in which the items of each chain run.

    Machines that differ here must not share a run: a chain that one of them begins in its order may wait for a chain
    that another begins in another order, and that for the first. The order of plain tests does not matter.
    """
    jobs = in_chain_order(jobs)
    chain_of = {job.index: job.chain for job in jobs}
    orders: dict[str, list[str]] = defaultdict(list)
    for index in in_order({job.index: job.after for job in jobs}):
        if (chain := chain_of[index]) is not None:
            orders[chain].append(ids[index])
    content = json.dumps(sorted(orders.values()))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def taken_over(
    losses: Losses, items: Mapping[str, Iterable[str]], ended_by: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return for each lost machine the items that others have run in its place, with the machine that has.

    `items` are the node ids of each unit, `ended_by` the machines on which they have ended.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in losses.after}
    for unit in losses.units:
        before: set[str] = set()
        for lost in unit.lost_on:
            before.add(
                lost
            )  # what ended on it, or on one that had the unit before it, was not taken over from it
            taken = {one: ended_by[one] for one in items[unit.name] if ended_by.get(one, lost) not in before}
            found.setdefault(lost, {}).update(taken)
    return found


def loss_in_words(seconds: float, items: Mapping[str, str]) -> str:
    """Return how long a machine took part until it was declared lost, and which machines have run its items."""
    said = f"lost after {seconds_in_words(round(seconds))}"
    by = listed(sorted(set(items.values())))
    return f"{said}; {counted(len(items), 'item')} taken over by {by}" if items else said
