"""Where boxes, labels and lines stand; nothing overlaps.

Lines are taken for springs. Row by row every item goes to where its springs are at rest, as near as the others of
its row allow; the best places of a row are found exactly by pooling items that would overlap (isotonic regression).
The energy is convex, so the sweeps come to the one best arrangement. Then long lines are put upright.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from msgspec import Struct

from pytest_dogfood.drawing.layers import Box, Ends, Joint, Ladder, ladder_of, minimise_crossings

Rows = Sequence[Sequence[str]]

_SWEEPS = 80
_GAP = 22.0
_GAP_OF_POINTS = 13.0
_TO_THE_MIDDLE = 0.01


def assign_x(ladder: Ladder, rows: Rows) -> dict[str, float]:
    """Return the centre of every item, the leftmost edge being 0. `rows` holds the items in their order."""
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
    """Return the least distance between the centres of two items that stand side by side."""
    one, other = ladder.items[left], ladder.items[right]
    gap = _GAP_OF_POINTS if one.is_point or other.is_point else _GAP
    return (one.width + other.width) / 2 + gap


def _offsets(ladder: Ladder, row: Sequence[str]) -> list[float]:
    """Return the centres of a row that is packed as closely as may be, from 0."""
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
    """Return where an item's springs would hold it if it were alone, and how strongly."""
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
    """Return the values that never decrease and lie nearest to the wished ones, in weighted least squares."""
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


Point = tuple[float, float]

_BAND_HEAD = 30.0
_BAND_FOOT = 18.0
_BAND_GAP = 12.0
_LOOSE_GAP = 22.0
_LEAST_GAP = 17.0
_MOST_GAP = 56.0


class Place(Struct, frozen=True, kw_only=True):
    """A rectangle; `x` and `y` are its left upper corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> float:
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def overlaps(self, other: Place) -> bool:
        return (
            self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom
        )


class Layout(Struct, frozen=True, kw_only=True):
    """The places of boxes and joints under their keys, the height of each band, and the way of each connection.

    A route is a list of upright pieces, each from its upper to its lower point; curves join them.
    """

    places: Mapping[str, Place]
    routes: Mapping[Ends, tuple[tuple[Point, Point], ...]]
    bands: Mapping[int, tuple[float, float]]
    width: float
    height: float


def lay_out(boxes: Sequence[Box], joints: Sequence[Joint]) -> Layout:
    """Place boxes and joints; the same input gives the same layout. ValueError if there is a circle."""
    tied = {key for joint in joints for key in (*joint.sources, *joint.targets)}
    whole = ladder_of(boxes, joints)
    ladder = _without(whole, [box.key for box in boxes if box.key not in tied])
    rows = minimise_crossings(ladder)
    centres = assign_x(ladder, rows)
    centres |= _beside(whole, ladder, centres)
    tops, heights, bands = _levels(whole, centres)
    places = {}
    for key, item in whole.items.items():
        y = tops[item.row] + (heights[item.row] - item.height) / 2
        places[key] = Place(x=centres[key] - item.width / 2, y=y, width=item.width, height=item.height)
    routes = {
        ends: _pieces(whole, path, centres, places, tops, heights) for ends, path in whole.paths.items()
    }
    named = {box.key for box in boxes} | {joint.key for joint in joints}
    return Layout(
        places={key: place for key, place in places.items() if key in named},
        routes=routes,
        bands=bands,
        width=max((place.right for place in places.values()), default=0.0),
        height=max((bottom for _, bottom in bands.values()), default=0.0),
    )


def _without(ladder: Ladder, loose: Sequence[str]) -> Ladder:
    left_out = set(loose)
    return Ladder(
        items={key: item for key, item in ladder.items.items() if key not in left_out},
        rows=tuple(tuple(key for key in row if key not in left_out) for row in ladder.rows),
        above=ladder.above,
        below=ladder.below,
        paths=ladder.paths,
        bands=ladder.bands,
    )


def _beside(whole: Ladder, tied: Ladder, centres: Mapping[str, float]) -> dict[str, float]:
    """Put what depends on nothing into the gaps of its row, else to the right of it."""
    taken: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for key, item in tied.items.items():
        taken[item.row].append((centres[key] - item.width / 2, centres[key] + item.width / 2))
    found: dict[str, float] = {}
    for key, item in whole.items.items():
        if key not in tied.items:
            x = _first_gap(taken[item.row], item.width)
            taken[item.row].append((x, x + item.width))
            found[key] = x + item.width / 2
    return found


def _first_gap(taken: Sequence[tuple[float, float]], width: float) -> float:
    x = 0.0
    for left, right in sorted(taken):
        if x + width + _LOOSE_GAP <= left:
            break
        x = max(x, right + _LOOSE_GAP)
    return x


def _levels(
    ladder: Ladder, centres: Mapping[str, float]
) -> tuple[list[float], list[float], dict[int, tuple[float, float]]]:
    """Return the top and the height of each row, and top and bottom of each band."""
    heights = [0.0] * len(ladder.rows)
    for item in ladder.items.values():
        heights[item.row] = max(heights[item.row], item.height)
    first = {rows[0]: band for band, rows in ladder.bands.items()}
    last = {rows[1]: band for band, rows in ladder.bands.items()}
    tops: list[float] = []
    bands: dict[int, tuple[float, float]] = {}
    y = 0.0
    begun = 0.0
    for row, height in enumerate(heights):
        if row in first:
            begun = y
            y += _BAND_HEAD
        tops.append(y)
        y += height
        if row in last:
            y += _BAND_FOOT
            bands[last[row]] = (begun, y)
            y += _BAND_GAP
        else:
            y += _gap_below(ladder, row, centres)
    return tops, heights, bands


def _gap_below(ladder: Ladder, row: int, centres: Mapping[str, float]) -> float:
    """Leave more room where lines go far to the side, or they would be flat and hard to follow."""
    lines = [(key, other) for key in ladder.rows[row] for other in ladder.below[key]]
    if not lines:
        return _LEAST_GAP if ladder.rows[row] else 0.0
    farthest = max(abs(centres[key] - centres[other]) for key, other in lines)
    return min(_MOST_GAP, _LEAST_GAP + 0.06 * farthest)


def _pieces(
    ladder: Ladder,
    path: Sequence[str],
    centres: Mapping[str, float],
    places: Mapping[str, Place],
    tops: Sequence[float],
    heights: Sequence[float],
) -> tuple[tuple[Point, Point], ...]:
    pieces = []
    for key in path:
        x, item, place = centres[key], ladder.items[key], places[key]
        top, bottom = tops[item.row], tops[item.row] + heights[item.row]
        # Within a row lines run straight, past whatever is higher than their own end.
        if not item.is_point and key == path[0]:
            top = place.bottom
        elif not item.is_point:
            bottom = place.y
        pieces.append(((x, top), (x, bottom)))
    return tuple(pieces)
