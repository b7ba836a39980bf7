"""In which order the items of each row stand, so that few lines cross."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from pytest_dogfood.drawing.layers import Ladder

Rows = list[list[str]]

_SWEEPS = 24


def untangled(ladder: Ladder) -> tuple[tuple[str, ...], ...]:
    """Order every row by barycentre sweeps and by exchanging neighbours; the best order that was met wins."""
    rows = _first_order(ladder)
    best = [list(row) for row in rows]
    fewest = crossings(best, ladder.below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        _sweep(rows, ladder, downward=sweep % 2 == 0)
        _exchange_neighbours(rows, ladder)
        now = crossings(rows, ladder.below)
        if now < fewest:
            fewest = now
            best = [list(row) for row in rows]
    return tuple(map(tuple, best))


def crossings(rows: Iterable[Sequence[str]], below: Mapping[str, Sequence[str]]) -> int:
    """Count the pairs of lines that cross."""
    return sum(_between(upper, lower, below) for upper, lower in pairwise(rows))


def _between(upper: Sequence[str], lower: Sequence[str], below: Mapping[str, Sequence[str]]) -> int:
    position = {key: number for number, key in enumerate(lower)}
    passed: list[int] = []
    count = 0
    for key in upper:
        ends = sorted(position[one] for one in below[key])
        count += sum(len(passed) - bisect_left(passed, end + 1) for end in ends)
        for end in ends:
            insort(passed, end)
    return count


def _first_order(ladder: Ladder) -> Rows:
    """Walk from each item at the top to all that hangs from it, so that what belongs together begins together."""
    rows: Rows = [[] for _ in ladder.rows]
    seen: set[str] = set()
    for row in ladder.rows:
        for start in row:
            waiting = [start]
            while waiting:
                key = waiting.pop()
                if key not in seen:
                    seen.add(key)
                    rows[ladder.items[key].row].append(key)
                    waiting.extend(reversed(ladder.below[key]))
    return rows


def _sweep(rows: Rows, ladder: Ladder, *, downward: bool) -> None:
    neighbours = ladder.above if downward else ladder.below
    numbers = range(1, len(rows)) if downward else range(len(rows) - 2, -1, -1)
    for number in numbers:
        fixed = rows[number - 1 if downward else number + 1]
        place = _places(fixed)
        own = _places(rows[number])
        rows[number].sort(key=lambda key: _mean([place[one] for one in neighbours[key]], own[key]))


def _places(row: Sequence[str]) -> dict[str, float]:
    """Give places from 0 to 1, so that rows of different length can be compared."""
    return {key: (number + 0.5) / len(row) for number, key in enumerate(row)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _exchange_neighbours(rows: Rows, ladder: Ladder) -> None:
    improved = True
    while improved:
        improved = False
        for number, row in enumerate(rows):
            sides = [
                ({key: place for place, key in enumerate(rows[other])}, neighbours)
                for other, neighbours in ((number - 1, ladder.above), (number + 1, ladder.below))
                if 0 <= other < len(rows)
            ]
            ends = {
                key: [sorted(place[one] for one in neighbours[key]) for place, neighbours in sides]
                for key in row
            }
            for left in range(len(row) - 1):
                one, other = ends[row[left]], ends[row[left + 1]]
                if _crossed(one, other) > _crossed(other, one):
                    row[left], row[left + 1] = row[left + 1], row[left]
                    improved = True


def _crossed(left: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> int:
    """Count the crossings of the lines of two items that stand in this order."""
    return sum(bisect_left(ends, end) for ends, others in zip(right, left, strict=True) for end in others)
