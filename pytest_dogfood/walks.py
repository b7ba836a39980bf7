"""Algorithms on graphs of any kind: order, cycles, longest paths, connected groups.

With them is what large graphs ask of the interpreter: deep recursion, and a garbage collector that waits.
"""

from __future__ import annotations

import gc
import heapq
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from pytest_dogfood.journey import JourneyId

_CALLS_PER_JOURNEY = 25
"""Nested calls between one journey of a chain and the next, with those of other plugins' hooks."""


@contextmanager
def deep_recursion(journeys: int) -> Iterator[None]:
    """Raise the recursion limit for a block, so that calls can nest through as many `journeys` as rest on each other.

    The interpreter's limit ends infinite recursion, which a graph without cycles cannot cause. Calls from Python to
    Python use no C stack (since 3.11), only memory.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _CALLS_PER_JOURNEY * journeys)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: scanning very many objects again and again takes longer than making them.

    At the end, everything counts as old, so that it is not scanned at once: it will live on.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()  # together: everything counts as old
            gc.enable()


T = TypeVar("T", bound=Hashable)
U = TypeVar("U", bound=Hashable)


def reachable(start: Iterable[T], following: Callable[[T], Iterable[T]]) -> dict[T, None]:
    """Return `start` and all that follows it, directly or indirectly: each once, the nearer ones first."""
    found = dict.fromkeys(start)
    for one in (waiting := [*found]):  # grows while it is read
        for other in following(one):
            if other not in found:
                found[other] = None
                waiting.append(other)
    return found


def inverted(before: Mapping[T, Iterable[U]]) -> dict[U, list[T]]:
    """Return, for each value that comes before a key, those keys in their order; for others an empty list."""
    then: dict[U, list[T]] = defaultdict(list)
    for one, others in before.items():
        for other in others:
            then[other].append(one)
    return then


class DisjointSets(Generic[T]):
    """Groups of members (union-find); at first, each member is a group of its own."""

    def __init__(self, members: Iterable[T]) -> None:
        self._leader = {member: member for member in members}

    def head(self, member: T) -> T:
        """Return the member that represents the whole group."""
        while self._leader[member] != member:
            self._leader[member] = self._leader[self._leader[member]]
            member = self._leader[member]
        return member

    def join(self, one: T, other: T) -> None:
        self._leader[self.head(one)] = self.head(other)


def in_order(before: Mapping[T, Iterable[T]], *, first: Collection[T] = ()) -> tuple[T, ...]:
    """Put the keys after those that come before them; of those that are ready, `first`, then as given.

    Those in a cycle come last, as given; names that are not keys themselves are ignored.
    """
    given = list(before) if not first else sorted(before, key=lambda one: one not in first)
    position = {one: number for number, one in enumerate(given)}
    waiting_for = dict.fromkeys(given, 0)
    then: dict[T, list[T]] = defaultdict(list)
    for one, others in before.items():
        for other in others:
            if other in position:
                waiting_for[one] += 1
                then[other].append(one)
    ready = [position[one] for one in given if not waiting_for[one]]
    result: list[T] = []
    while ready:
        one = given[heapq.heappop(ready)]
        result.append(one)
        for dependent in then.get(one, ()):
            waiting_for[dependent] -= 1
            if not waiting_for[dependent]:
                heapq.heappush(ready, position[dependent])
    return (*result, *(one for one in before if waiting_for[one]))


def depths(order: Iterable[T], before: Mapping[T, Iterable[T]]) -> dict[T, int]:
    """Return for each of `order` the length of the longest path to it."""
    depth: dict[T, int] = {}
    for one in order:
        depth[one] = max((depth[other] + 1 for other in before[one] if other in depth), default=0)
    return depth


def in_preferred_order(before: Mapping[T, Iterable[T]], prefer: Mapping[T, T]) -> tuple[T, ...]:
    """Put the keys after those that come before them, and after the one that `prefer` maps each to.

    If preferences and `before` together make a cycle, the preferences within the cycle do not count: its members stay
    next to each other, otherwise as given.
    """
    wished = {one: [*others, *((prefer[one],) if one in prefer else ())] for one, others in before.items()}
    head = cycle_representatives(wished)
    cycles: dict[T, list[T]] = defaultdict(list)
    for one in before:
        cycles[head[one]].append(one)
    between = {
        first: dict.fromkeys(head[other] for one in cycle for other in wished[one] if head[other] != first)
        for first, cycle in cycles.items()
    }
    return tuple(
        one for first in in_order(between) for one in in_order({one: before[one] for one in cycles[first]})
    )


def cycle_representatives(before: Mapping[T, Iterable[T]]) -> dict[T, T]:
    """Return for each key one that represents its strongly connected component (Kosaraju)."""
    then = inverted(before)
    left: list[T] = []
    seen: set[T] = set()
    for start in before:
        path = [(start, iter(before[start]))] if start not in seen else []
        seen.add(start)
        while path:
            one, others = path[-1]
            for other in others:
                if other not in seen:
                    seen.add(other)
                    path.append((other, iter(before[other])))
                    break
            else:
                left.append(one)
                path.pop()
    head: dict[T, T] = {}
    for start in reversed(left):
        if start not in head:
            cycle = reachable([start], lambda one: (other for other in then[one] if other not in head))
            head.update(dict.fromkeys(cycle, start))
    return head


class Precedence:
    """For each journey those that must be finished before it, seen from both ends."""

    def __init__(self, before: Mapping[JourneyId, Iterable[JourneyId]]) -> None:
        self._before = {journey: dict.fromkeys(others) for journey, others in before.items()}

    def put_behind(self, journey: JourneyId, others: Iterable[JourneyId]) -> None:
        """Put a journey after others, except those that wait for it themselves."""
        waiting = self.waiting_for(journey)
        for other in others:
            if other not in waiting and other not in self._before[journey]:
                self._before[journey][other] = None
                self._after[other].append(journey)

    def waiting_for(self, journey: JourneyId) -> dict[JourneyId, None]:
        """Return the journey itself and all that come after it, directly or indirectly."""
        return reachable([journey], lambda one: self._after.get(one, ()))

    def as_mapping(self) -> dict[JourneyId, tuple[JourneyId, ...]]:
        return {journey: tuple(others) for journey, others in self._before.items()}

    @cached_property
    def _after(self) -> dict[JourneyId, list[JourneyId]]:
        return inverted(self._before)
