"""The queue of a run that several machines share: each holds a copy of it, and hands out only what it has taken.

The machines share out *units*: a state of a chain, a journey without a chain, or a file of plain tests. A unit belongs
to one machine, and there to one worker. What ends on another machine counts as finished here as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from msgspec.structs import replace

from pytest_dogfood.scheduling.queue import Job, Queue
from pytest_dogfood.walks import in_order


class SharedQueue(Queue):
    """Hands out the jobs of those units that this machine holds, and offers to take others in the order of urgency.

    A unit that was offered and not obtained is *set aside*: it is not offered until it is taken back, and may still be
    taken. Raises ValueError if a job has no unit, or for the same reasons as `Queue`.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        jobs = _with_one_worker_for_each_unit(jobs)
        self._unit_of = {job.index: job.unit for job in jobs}
        self._held: set[str] = set()
        self._aside: set[str] = set()
        self._waiting: dict[str, set[int]] = defaultdict(set)
        """The jobs that could be handed out if their unit were held, by unit."""
        self._offers: list[tuple[bool, float, int, str]] = []
        """A heap of (plain, -urgency, first job, unit). Entries that are outdated are skipped when they are reached."""
        super().__init__(jobs)
        self._ordered: dict[str, list[int]] = defaultdict(list)
        """The jobs of each unit in the order in which they run."""
        for index in in_order({index: job.after for index, job in self._jobs.items()}):
            self._ordered[self._unit_of[index]].append(index)
        self._left = {unit: len(members) for unit, members in self._ordered.items()}
        self._place = dict.fromkeys(self._ordered, 0)
        """How many jobs of each unit, counted from its first, are known to be finished."""

    @property
    def units(self) -> Mapping[str, Sequence[int]]:
        """The jobs of every unit, in the order in which they run."""
        return self._ordered

    @property
    def held(self) -> frozenset[str]:
        """The units that this machine has taken, and that are not done."""
        return frozenset(self._held)

    @property
    def aside(self) -> frozenset[str]:
        """The units that are set aside, and not done."""
        return frozenset(self._aside)

    def unit_of(self, index: int) -> str:
        """Return the unit of a job."""
        return self._unit_of[index]

    def next_of(self, unit: str) -> int | None:
        """Return the job that runs or comes next in a unit; None if all of it is finished."""
        members = self._ordered[unit]
        place = self._place[unit]
        while place < len(members) and members[place] in self.finished:
            place += 1
        self._place[unit] = place
        return members[place] if place < len(members) else None

    def offers(self, limit: int) -> dict[str, int]:
        """Return up to `limit` units that could begin here now, the most urgent first, each with its first job.

        They are neither held nor set aside. Graph jobs go by the longest way to the end, then come plain tests.
        """
        found: dict[str, int] = {}
        again: list[tuple[bool, float, int, str]] = []
        while self._offers and len(found) < limit:
            entry = heappop(self._offers)
            first, unit = entry[2:]
            if unit in found or unit in self._aside:
                continue
            if first in self._waiting.get(unit, ()):
                found[unit] = first
                again.append(entry)
            else:
                self._offer_unit(unit)  # another job may be its first by now
        for entry in again:
            heappush(self._offers, entry)
        return found

    def take(self, unit: str) -> None:
        """Hold a unit from now on, whether it was offered, set aside, or neither. Once is as good as twice."""
        self._aside.discard(unit)
        if unit in self._held or not self._left[unit]:
            return
        self._held.add(unit)
        self._make_ready(self._waiting.pop(unit, ()))

    def set_aside(self, unit: str) -> None:
        """Offer a unit no more until it is taken back: another machine has it. Held and done units stay as they are."""
        if unit not in self._held and self._left[unit]:
            self._aside.add(unit)

    def take_back(self, unit: str) -> None:
        """Offer a unit again that was set aside, once it can begin."""
        if unit in self._aside:
            self._aside.discard(unit)
            self._offer_unit(unit)

    def give_up(self, unit: str) -> None:
        """Hold a unit no longer; what is left of it may go to any worker, here too if it is taken again.

        A job that runs stays with its worker until that has ended it, or is lost.
        """
        if unit not in self._held:
            return
        self._held.discard(unit)
        members = self._ordered[unit]
        self._pins.pop(unit, None)
        ready = self._ready.intersection(members)
        self._ready -= ready
        self._make_ready(ready)

    def finish(self, index: int) -> bool:
        """Count a job as finished, on whichever machine it ran; see `Queue.finish`."""
        if index in self.finished:
            return False
        unit = self._unit_of[index]
        self._left[unit] -= 1
        if unit in self._waiting:
            self._waiting[unit].discard(index)
        if not self._left[unit]:
            self._held.discard(unit)
            self._aside.discard(unit)
            self._waiting.pop(unit, None)
        return super().finish(index)

    def _make_ready(self, indices: Iterable[int]) -> None:
        here: list[int] = []
        others: set[str] = set()
        for index in indices:
            unit = self._unit_of[index]
            if unit in self._held:
                here.append(index)
            else:
                self._waiting[unit].add(index)
                others.add(unit)
        if here:
            super()._make_ready(here)
        for unit in sorted(others):
            self._offer_unit(unit)

    def _offer_unit(self, unit: str) -> None:
        waiting = self._waiting.get(unit)
        if not waiting or unit in self._aside:
            return
        first = min(waiting)
        plain = first in self._batchable
        urgency = sum(self._jobs[index].weight for index in waiting) if plain else self._to_end[first]
        heappush(self._offers, (plain, -urgency, first, unit))


def _with_one_worker_for_each_unit(jobs: Sequence[Job]) -> list[Job]:
    """Tie the jobs of each unit together: plain tests in one batch, all others in one chain."""
    members: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if not job.unit:
            raise ValueError(f"job {job.index} belongs to no unit")
        members[job.unit].append(job)
    awaited = {other for job in jobs for other in job.after}
    tied: list[Job] = []
    for unit, together in members.items():
        if all(job.plain and not job.after and job.index not in awaited for job in together):
            tied += [replace(job, batch=unit, chain=None) for job in together]
        else:
            chain = unit if len(together) > 1 else None
            tied += [replace(job, batch="", chain=chain) for job in together]
    return tied
