"""How far to the right each item stands, so that lines are short, long ones straight, and nothing overlaps.

Lines are taken for springs. Row by row every item goes to where its springs are at rest, as near as the others of
its row allow; the best places of a row are found exactly by pooling items that would overlap (isotonic regression).
The energy is convex, so the sweeps come to the one best arrangement. Then long lines are put upright.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from pytest_dogfood.drawing.layers import Ladder

Rows = Sequence[Sequence[str]]

_SWEEPS = 80
_GAP = 22.0
_GAP_OF_POINTS = 13.0
_TO_THE_MIDDLE = 0.01


def straightened(ladder: Ladder, rows: Rows) -> dict[str, float]:
    """Give the centre of every item, the leftmost edge being 0. `rows` holds the items in their order."""
    centres: dict[str, float] = {}
    for row in filter(None, rows):
        offsets = _offsets(ladder, row)
        centres |= {key: offset - offsets[-1] / 2 for key, offset in zip(row, offsets, strict=True)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _relax(ladder, row, centres)
    _put_upright(ladder, rows, centres)
    left = min((x - ladder.items[key].width / 2 for key, x in centres.items()), default=0.0)
    return {key: x - left for key, x in centres.items()}


def separation(ladder: Ladder, left: str, right: str) -> float:
    """Give the least distance between the centres of two items that stand side by side."""
    one, other = ladder.items[left], ladder.items[right]
    gap = _GAP_OF_POINTS if one.is_point or other.is_point else _GAP
    return (one.width + other.width) / 2 + gap


def _offsets(ladder: Ladder, row: Sequence[str]) -> list[float]:
    """Give the centres of a row that is packed as closely as may be, from 0."""
    apart = (separation(ladder, one, other) for one, other in pairwise(row))
    return list(accumulate(apart, initial=0.0))[: len(row)]


def _relax(ladder: Ladder, row: Sequence[str], centres: dict[str, float]) -> None:
    wished = [_at_rest(ladder, key, centres) for key in row]
    offsets = _offsets(ladder, row)
    found = _without_decrease(
        [x - offset for (x, _), offset in zip(wished, offsets, strict=True)], [weight for _, weight in wished]
    )
    centres.update({key: x + offset for key, x, offset in zip(row, found, offsets, strict=True)})


def _at_rest(ladder: Ladder, key: str, centres: Mapping[str, float]) -> tuple[float, float]:
    """Give where an item's springs would hold it if it were alone, and how strongly."""
    total, weight = 0.0, _TO_THE_MIDDLE
    for other in (*ladder.above[key], *ladder.below[key]):
        strength = _strength(ladder, key, other)
        total += strength * centres[other]
        weight += strength
    return total / weight, weight


def _strength(ladder: Ladder, one: str, other: str) -> float:
    points = ladder.items[one].is_point + ladder.items[other].is_point
    return (1.0, 2.0, 8.0)[points]


def _without_decrease(wished: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Give the values that never decrease and lie nearest to the wished ones, in weighted least squares."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wished, weights, strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            before = pools.pop()
            both = before[1] + pool[1]
            pool = ((before[0] * before[1] + pool[0] * pool[1]) / both, both, before[2] + pool[2])
        pools.append(pool)
    return [value for value, _, size in pools for _ in range(size)]


def _put_upright(ladder: Ladder, rows: Rows, centres: dict[str, float]) -> None:
    """Give the points of a long line one and the same place as far as the room beside them reaches."""
    bounds = {key: sides for row in rows for key, sides in _neighbours(row)}

    def room(key: str) -> tuple[float, float]:
        left, right = bounds[key]
        return (
            centres[left] + separation(ladder, left, key) if left else float("-inf"),
            centres[right] - separation(ladder, key, right) if right else float("inf"),
        )

    for line in _long_lines(ladder, rows):
        waiting = list(line)
        while waiting:
            run = [waiting.pop(0)]
            low, high = room(run[0])
            while waiting:
                left, right = room(waiting[0])
                if max(low, left) > min(high, right):
                    break
                low, high = max(low, left), min(high, right)
                run.append(waiting.pop(0))
            middle = sum(centres[key] for key in run) / len(run)
            centres.update(dict.fromkeys(run, min(max(middle, low), high)))


def _neighbours(row: Sequence[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for left, key, right in zip(["", *row], row, [*row[1:], ""], strict=False):
        yield key, (left, right)


def _long_lines(ladder: Ladder, rows: Rows) -> Iterator[list[str]]:
    for row in rows:
        for key in row:
            if ladder.items[key].is_point and not _next_point(ladder, ladder.above[key]):
                line = [key]
                while following := _next_point(ladder, ladder.below[line[-1]]):
                    line.append(following)
                if len(line) > 1:
                    yield line


def _next_point(ladder: Ladder, keys: Sequence[str]) -> str:
    return next((key for key in keys if ladder.items[key].is_point), "")
