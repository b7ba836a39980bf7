"""Who comes before whom, and how more of it is said without making a circle."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from functools import cached_property

from pytest_dogfood.journey import JourneyId


def in_order(before: Mapping[JourneyId, Iterable[JourneyId]]) -> tuple[JourneyId, ...]:
    """Put journeys behind those that come before them, otherwise as given.

    What is in a circle comes last, as given; names that are not keys themselves count for nothing.
    """
    given = list(before)
    position = {journey: number for number, journey in enumerate(given)}
    waiting_for = dict.fromkeys(given, 0)
    then: dict[JourneyId, list[JourneyId]] = defaultdict(list)
    for journey, others in before.items():
        for other in others:
            if other in position:
                waiting_for[journey] += 1
                then[other].append(journey)
    ready = [position[journey] for journey in given if not waiting_for[journey]]
    result: list[JourneyId] = []
    while ready:
        journey = given[heapq.heappop(ready)]
        result.append(journey)
        for dependent in then.get(journey, ()):
            waiting_for[dependent] -= 1
            if not waiting_for[dependent]:
                heapq.heappush(ready, position[dependent])
    return (*result, *(journey for journey in given if waiting_for[journey]))


class Precedence:
    """For each journey those that must be finished before it, seen from both ends."""

    def __init__(self, before: Mapping[JourneyId, Iterable[JourneyId]]) -> None:
        self._before = {journey: dict.fromkeys(others) for journey, others in before.items()}

    def put_behind(self, journey: JourneyId, others: Iterable[JourneyId]) -> None:
        """Let a journey come after others, except those that wait for it themselves."""
        waiting = self.waiting_for(journey)
        for other in others:
            if other not in waiting and other not in self._before[journey]:
                self._before[journey][other] = None
                self._after[other].append(journey)

    def waiting_for(self, journey: JourneyId) -> dict[JourneyId, None]:
        """Give the journey itself and all that come after it, however far off."""
        seen = {journey: None}
        to_look_at = [journey]
        while to_look_at:
            for other in self._after.get(to_look_at.pop(), ()):
                if other not in seen:
                    seen[other] = None
                    to_look_at.append(other)
        return seen

    def as_mapping(self) -> dict[JourneyId, tuple[JourneyId, ...]]:
        return {journey: tuple(others) for journey, others in self._before.items()}

    @cached_property
    def _after(self) -> dict[JourneyId, list[JourneyId]]:
        after: dict[JourneyId, list[JourneyId]] = defaultdict(list)
        for journey, others in self._before.items():
            for other in others:
                after[other].append(journey)
        return after
