"""Which row each box stands in, and the order in a row.

After Sugiyama, Tagawa and Toda (1981): layers by longest path, then points in between for long connections.
Boxes stand in odd rows. The rows between them belong to the joints: labels that sit on connections.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, sqrt

from msgspec import Struct

Ends = tuple[str, str]


class Box(Struct, frozen=True, kw_only=True):
    """Something to place. `floating` boxes go as far down as those that depend on them allow, in any number."""

    key: str
    width: float
    height: float
    band: int = 0
    floating: bool = False


class Joint(Struct, frozen=True, kw_only=True):
    """One label that connects every source with every target; without a size it is a mere point.

    Connections from one box share a line as far as they go together and are of the same `style`.
    """

    key: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    width: float = 0.0
    height: float = 0.0
    style: str = ""


class Item(Struct, frozen=True, kw_only=True):
    """What takes a place in a row: a box, a joint, or a point that a long line passes through."""

    row: int
    width: float = 0.0
    height: float = 0.0

    @property
    def is_point(self) -> bool:
        return not self.width


class Ladder(Struct, frozen=True, kw_only=True):
    """Items with lines between neighbouring rows only. `paths` gives the items that a connection goes through.

    `bands` maps each band to its first and last row.
    """

    items: Mapping[str, Item]
    rows: tuple[tuple[str, ...], ...]
    above: Mapping[str, tuple[str, ...]]
    below: Mapping[str, tuple[str, ...]]
    paths: Mapping[Ends, tuple[str, ...]]
    bands: Mapping[int, tuple[int, int]]


def row_limit(boxes: int) -> int:
    """Say how many boxes may stand side by side, so that the whole is about as wide as a screen."""
    return max(6, ceil(sqrt(1.2 * boxes)))


def in_layers(boxes: Sequence[Box], joints: Sequence[Joint]) -> tuple[dict[str, int], dict[int, range]]:
    """Return each box a layer, and each band its layers. Raises ValueError if boxes wait for each other in a circle.

    A box stands in its band, or below it where it depends on something of a later band.
    """
    before, after = _neighbours(joints)
    order = _topological([box.key for box in boxes], before, after)
    band = _bands(boxes, order, before, after)
    limit = row_limit(len(boxes))
    layers: dict[str, int] = {}
    ranges: dict[int, range] = {}
    start = 0
    for number in sorted(set(band.values())):
        members = [box for box in boxes if band[box.key] == number]
        names = {box.key for box in members}
        tied = [box for box in members if before[box.key] or after[box.key]]
        sequence = [key for key in order if key in names]
        depth = _depths(reversed(sequence), after, names)
        level = _depths(sequence, before, names)
        tied.sort(key=lambda box: (level[box.key], -depth[box.key]))
        found = _bounded(tied, before, names, limit)
        _sink(sequence, [box.key for box in tied if box.floating], found, after)
        found |= _fill([box.key for box in members if box not in tied], found, limit)
        layers |= {key: start + layer for key, layer in found.items()}
        end = start + max(found.values()) + 1
        ranges[number] = range(start, end)
        start = end
    return layers, ranges


def ladder_of(boxes: Sequence[Box], joints: Sequence[Joint]) -> Ladder:
    """Place boxes and joints in rows, with points wherever a connection passes a row."""
    layers, ranges = in_layers(boxes, joints)
    builder = _Builder()
    for box in boxes:
        builder.add(box.key, Item(row=2 * layers[box.key] + 1, width=box.width, height=box.height))
    for joint in joints:
        # Next to the users, so that one line does for all of them until the first is reached.
        row = 2 * min(layers[target] for target in joint.targets)
        builder.add(joint.key, Item(row=row, width=joint.width, height=joint.height))
        for source in joint.sources:
            builder.connect(source, joint.key, joint.style)
        for target in joint.targets:
            builder.connect(joint.key, target, "")
    bands = {band: (2 * layers.start, 2 * layers.stop - 1) for band, layers in ranges.items()}
    return builder.ladder(bands)


class _Builder:
    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._above: dict[str, dict[str, None]] = defaultdict(dict)
        self._below: dict[str, dict[str, None]] = defaultdict(dict)
        self._paths: dict[Ends, tuple[str, ...]] = {}

    def add(self, key: str, item: Item) -> None:
        self._items[key] = item

    def connect(self, start: str, end: str, style: str) -> None:
        path = [start]
        for row in range(self._items[start].row + 1, self._items[end].row):
            point = f"{start}\n{style}\n{row}"  # no key of a box has several lines
            self._items.setdefault(point, Item(row=row))
            path.append(point)
        path.append(end)
        for upper, lower in pairwise(path):
            self._below[upper][lower] = None
            self._above[lower][upper] = None
        self._paths[start, end] = tuple(path)

    def ladder(self, bands: Mapping[int, tuple[int, int]]) -> Ladder:
        rows: list[list[str]] = [[] for _ in range(max((last for _, last in bands.values()), default=-1) + 1)]
        for key, item in self._items.items():
            rows[item.row].append(key)
        return Ladder(
            items=self._items,
            rows=tuple(map(tuple, rows)),
            above={key: tuple(self._above[key]) for key in self._items},
            below={key: tuple(self._below[key]) for key in self._items},
            paths=self._paths,
            bands=bands,
        )


def _neighbours(joints: Iterable[Joint]) -> tuple[dict[str, dict[str, None]], dict[str, dict[str, None]]]:
    before: dict[str, dict[str, None]] = defaultdict(dict)
    after: dict[str, dict[str, None]] = defaultdict(dict)
    for joint in joints:
        for source in joint.sources:
            after[source].update(dict.fromkeys(joint.targets))
        for target in joint.targets:
            before[target].update(dict.fromkeys(joint.sources))
    return before, after


def _topological(
    keys: Sequence[str], before: Mapping[str, dict[str, None]], after: Mapping[str, dict[str, None]]
) -> list[str]:
    waiting_for = {key: len(before[key]) for key in keys}
    order = [key for key in keys if not waiting_for[key]]
    for key in order:  # grows while it is read
        for target in after[key]:
            waiting_for[target] -= 1
            if not waiting_for[target]:
                order.append(target)
    if len(order) < len(keys):
        circle = [key for key in keys if waiting_for[key]]
        raise ValueError(f"there is no first among those that wait for each other: {', '.join(circle)}")
    return order


def _bands(
    boxes: Iterable[Box],
    order: Sequence[str],
    before: Mapping[str, dict[str, None]],
    after: Mapping[str, dict[str, None]],
) -> dict[str, int]:
    floating = {box.key for box in boxes if box.floating}
    own = {box.key: box.band for box in boxes}
    lowest = min(own.values(), default=0)
    band: dict[str, int] = {}
    for key in order:
        least = lowest if key in floating else own[key]
        band[key] = max([least, *(band[one] for one in before[key])])
    for key in reversed(order):
        if key in floating and after[key]:
            band[key] = min(band[one] for one in after[key])
    return band


def _depths(order: Iterable[str], towards: Mapping[str, dict[str, None]], names: set[str]) -> dict[str, int]:
    depth: dict[str, int] = {}
    for key in order:
        depth[key] = max((depth[one] + 1 for one in towards[key] if one in names), default=0)
    return depth


def _bounded(
    boxes: Iterable[Box], before: Mapping[str, dict[str, None]], names: set[str], limit: int
) -> dict[str, int]:
    """Return each box the first layer below those it depends on that is not full; after Coffman and Graham."""
    layers: dict[str, int] = {}
    taken: dict[int, int] = defaultdict(int)
    for box in boxes:
        layer = max((layers[one] + 1 for one in before[box.key] if one in names), default=0)
        while not box.floating and taken[layer] >= limit:
            layer += 1
        taken[layer] += not box.floating
        layers[box.key] = layer
    return layers


def _sink(
    order: Sequence[str],
    floating: Sequence[str],
    layers: dict[str, int],
    after: Mapping[str, dict[str, None]],
) -> None:
    for key in reversed(order):
        if key in floating:
            users = [layers[one] for one in after[key] if one in layers]
            layers[key] = min(users) - 1 if users else layers[key]


def _fill(loose: Iterable[str], layers: Mapping[str, int], limit: int) -> dict[str, int]:
    """Spread boxes that depend on nothing over the emptiest layers, and over new ones where all are full."""
    taken = [0] * (max(layers.values(), default=0) + 1)
    for layer in layers.values():
        taken[layer] += 1
    found: dict[str, int] = {}
    for key in loose:
        layer = min(range(len(taken)), key=taken.__getitem__)
        if taken[layer] >= limit:
            layer = len(taken)
            taken.append(0)
        taken[layer] += 1
        found[key] = layer
    return found


Rows = list[list[str]]

_SWEEPS = 24


def minimise_crossings(ladder: Ladder) -> tuple[tuple[str, ...], ...]:
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
    """Return places from 0 to 1, so that rows of different length can be compared."""
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
