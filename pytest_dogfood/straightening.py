"""How far to the right each item stands, so that long lines are straight and nothing overlaps.

After Brandes and Köpf, "Fast and simple horizontal coordinate assignment" (2001): items are put in line with the
median of their neighbours, upward and downward, from the left and from the right; the four results are averaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import pairwise

from pytest_dogfood.layering import Ladder

Rows = Sequence[Sequence[str]]

_GAP = 22.0
_GAP_OF_POINTS = 13.0


def straightened(ladder: Ladder, rows: Rows) -> dict[str, float]:
    """Give the centre of every item, the leftmost edge being 0. `rows` holds the items in their order."""
    conflicts = _conflicts(ladder, rows)
    results = []
    for neighbours, flipped in ((ladder.above, rows), (ladder.below, rows[::-1])):
        for mirrored in (False, True):
            ordered = [row[::-1] for row in flipped] if mirrored else flipped
            roots = _aligned(ordered, neighbours, conflicts)
            centres = _compacted(ladder, ordered, roots)
            results.append({key: -x for key, x in centres.items()} if mirrored else centres)
    return _from_zero(ladder, _balanced(ladder, results))


def separation(ladder: Ladder, left: str, right: str) -> float:
    """Give the least distance between the centres of two items that stand side by side."""
    one, other = ladder.items[left], ladder.items[right]
    gap = _GAP_OF_POINTS if one.is_point or other.is_point else _GAP
    return (one.width + other.width) / 2 + gap


def _conflicts(ladder: Ladder, rows: Rows) -> set[tuple[str, str]]:
    """Find the lines that cross the inside of a long line, and so must give way to it."""
    found: set[tuple[str, str]] = set()
    position = {key: place for row in rows for place, key in enumerate(row)}
    for upper in rows:
        lines = [(one, other) for one in upper for other in ladder.below[one]]
        inner = dict.fromkeys(line for line in lines if _is_inner(ladder, line))
        for line in lines:
            for strong in inner if line not in inner else ():
                above = position[line[0]] - position[strong[0]]
                below = position[line[1]] - position[strong[1]]
                if above * below < 0:
                    found.update((line, line[::-1]))
    return found


def _is_inner(ladder: Ladder, line: tuple[str, str]) -> bool:
    return all(ladder.items[key].is_point for key in line)


def _aligned(
    rows: Rows, neighbours: Mapping[str, Sequence[str]], conflicts: set[tuple[str, str]]
) -> dict[str, str]:
    """Join items to vertical blocks; gives the first item of the block that each belongs to."""
    position = {key: place for row in rows for place, key in enumerate(row)}
    root = {key: key for key in position}
    joined: set[str] = set()
    for row in rows:
        last = -1
        for key in row:
            others = sorted(neighbours[key], key=position.__getitem__)
            middle = others[(len(others) - 1) // 2 : len(others) // 2 + 1]
            for other in middle:
                if key in joined or last >= position[other] or (key, other) in conflicts:
                    continue
                joined.add(key)
                root[key] = root[other]
                last = position[other]
    return root


def _compacted(ladder: Ladder, rows: Rows, root: Mapping[str, str]) -> dict[str, float]:
    """Push blocks to the left as far as they go, then those that have room towards what is right of them."""
    left_of: dict[str, dict[str, float]] = defaultdict(dict)
    right_of: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        for one, other in pairwise(row):
            a, b = root[one], root[other]
            distance = max(left_of[b].get(a, 0.0), separation(ladder, one, other))
            left_of[b][a] = right_of[a][b] = distance
    order = _left_to_right(list(dict.fromkeys(root.values())), left_of, right_of)
    x: dict[str, float] = {}
    for block in order:
        x[block] = max((x[other] + distance for other, distance in left_of[block].items()), default=0.0)
    for block in reversed(order):
        if right_of[block]:
            x[block] = max(x[block], min(x[other] - apart for other, apart in right_of[block].items()))
    return {key: x[block] for key, block in root.items()}


def _left_to_right(
    blocks: Sequence[str],
    left_of: Mapping[str, Mapping[str, float]],
    right_of: Mapping[str, Mapping[str, float]],
) -> list[str]:
    waiting_for = {block: len(left_of[block]) for block in blocks}
    order = [block for block in blocks if not waiting_for[block]]
    for block in order:  # grows while it is read
        for other in right_of[block]:
            waiting_for[other] -= 1
            if not waiting_for[other]:
                order.append(other)
    return order


def _balanced(ladder: Ladder, results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Put the four results side by side with the narrowest of them and take the mean of the middle two."""
    edges = [_edges(ladder, result) for result in results]
    narrowest = min(edges, key=lambda edge: round(edge[1] - edge[0], 6))
    shifted = []
    for number, (result, (left, right)) in enumerate(zip(results, edges, strict=True)):
        shift = narrowest[1] - right if number % 2 else narrowest[0] - left
        shifted.append({key: x + shift for key, x in result.items()})
    return {key: sum(sorted(result[key] for result in shifted)[1:3]) / 2 for key in ladder.items}


def _edges(ladder: Ladder, centres: Mapping[str, float]) -> tuple[float, float]:
    left = min((x - ladder.items[key].width / 2 for key, x in centres.items()), default=0.0)
    right = max((x + ladder.items[key].width / 2 for key, x in centres.items()), default=0.0)
    return left, right


def _from_zero(ladder: Ladder, centres: Mapping[str, float]) -> dict[str, float]:
    left, _ = _edges(ladder, centres)
    return {key: x - left for key, x in centres.items()}
