"""Computes the places of boxes, labels and lines, without overlaps.

Lines are treated as springs. Row by row every node moves to the rest position of its springs, as far as the others of
its row allow; the best places of a row are found exactly by pooling nodes that would overlap (isotonic regression).
The energy is convex, so the sweeps converge to the one best arrangement. Then long lines are straightened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.drawing.layers import (
    Box,
    EdgeLabel,
    Ends,
    LayeredGraph,
    layered_graph,
    minimise_crossings,
)

Rows = Sequence[Sequence[str]]

_SWEEPS = 80
_GAP = 22.0
_GAP_OF_POINTS = 13.0
_TO_THE_MIDDLE = 0.01


def assign_x(graph: LayeredGraph, rows: Rows) -> dict[str, float]:
    """Return the centre of every node; the leftmost edge is 0. `rows` holds the nodes in their order."""
    centres: dict[str, float] = {}
    for row in filter(None, rows):
        offsets = _offsets(graph, row)
        centres |= {key: offset - offsets[-1] / 2 for key, offset in zip(row, offsets, strict=True)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _relax(graph, row, centres)
    _straighten_long_lines(graph, rows, centres)
    left = min((x - graph.nodes[key].width / 2 for key, x in centres.items()), default=0.0)
    return {key: x - left for key, x in centres.items()}


def separation(graph: LayeredGraph, left: str, right: str) -> float:
    """Return the least distance between the centres of two neighbouring nodes."""
    one, other = graph.nodes[left], graph.nodes[right]
    gap = _GAP_OF_POINTS if one.is_point or other.is_point else _GAP
    return (one.width + other.width) / 2 + gap


def _offsets(graph: LayeredGraph, row: Sequence[str]) -> list[float]:
    """Return the centres of a row that is packed as closely as possible, from 0."""
    apart = (separation(graph, one, other) for one, other in pairwise(row))
    return list(accumulate(apart, initial=0.0))[: len(row)]


def _relax(graph: LayeredGraph, row: Sequence[str], centres: dict[str, float]) -> None:
    """Move the nodes of a row to where their springs pull them, as far as they allow each other."""
    offsets = _offsets(graph, row)
    wished: list[float] = []
    weights: list[float] = []
    for key, offset in zip(row, offsets, strict=True):
        total, weight = 0.0, _TO_THE_MIDDLE
        for other in (*graph.above[key], *graph.below[key]):
            # Stronger between points, so that long lines are straight.
            strength = (1.0, 2.0, 8.0)[graph.nodes[key].is_point + graph.nodes[other].is_point]
            total += strength * centres[other]
            weight += strength
        wished.append(total / weight - offset)
        weights.append(weight)
    found = _without_decrease(wished, weights)
    centres.update({key: x + offset for key, x, offset in zip(row, found, offsets, strict=True)})


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


def _straighten_long_lines(graph: LayeredGraph, rows: Rows, centres: dict[str, float]) -> None:
    """Give the points of a long line the same x, as far as the space beside them allows."""
    beside = {
        key: (left, right)
        for row in rows
        for left, key, right in zip(["", *row], row, [*row[1:], ""], strict=False)
    }

    def room(key: str) -> tuple[float, float]:
        left, right = beside[key]
        return (
            centres[left] + separation(graph, left, key) if left else float("-inf"),
            centres[right] - separation(graph, key, right) if right else float("inf"),
        )

    def points(keys: Sequence[str]) -> list[str]:
        return [key for key in keys if graph.nodes[key].is_point]

    for first in (key for row in rows for key in points(row) if not points(graph.above[key])):
        waiting = [first]
        while following := points(graph.below[waiting[-1]]):
            waiting.append(following[0])
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

    def grown(self, by: float) -> Place:
        """Return the rectangle with `by` more on each side."""
        return Place(x=self.x - by, y=self.y - by, width=self.width + 2 * by, height=self.height + 2 * by)


class Layout(Struct, frozen=True, kw_only=True):
    """The places of boxes and labels by their keys, the height of each band, and the route of each connection.

    A route is a list of vertical pieces, each from its upper to its lower point; curves connect them.
    """

    places: Mapping[str, Place]
    routes: Mapping[Ends, tuple[tuple[Point, Point], ...]]
    bands: Mapping[int, tuple[float, float]]
    width: float
    height: float


def lay_out(boxes: Sequence[Box], labels: Sequence[EdgeLabel]) -> Layout:
    """Place boxes and labels; the same input gives the same layout. Raises ValueError for a dependency cycle."""
    whole = layered_graph(boxes, labels)
    ends = {key for label in labels for key in (*label.sources, *label.targets)}
    loose = {box.key for box in boxes} - ends
    graph = replace(
        whole,
        nodes={key: node for key, node in whole.nodes.items() if key not in loose},
        rows=tuple(tuple(key for key in row if key not in loose) for row in whole.rows),
    )
    centres = assign_x(graph, minimise_crossings(graph))
    _put_beside(whole, centres)
    tops, heights, bands = _levels(whole, centres)
    places: dict[str, Place] = {}
    for key, node in whole.nodes.items():
        y = tops[node.row] + (heights[node.row] - node.height) / 2
        places[key] = Place(x=centres[key] - node.width / 2, y=y, width=node.width, height=node.height)
    routes: dict[Ends, tuple[tuple[Point, Point], ...]] = {}
    for line, path in whole.paths.items():
        pieces = []
        for key in path:
            x, node = centres[key], whole.nodes[key]
            top, bottom = tops[node.row], tops[node.row] + heights[node.row]
            # Within a row lines run straight, past whatever is higher than their own end.
            if not node.is_point and key == path[0]:
                top = places[key].bottom
            elif not node.is_point:
                bottom = places[key].y
            pieces.append(((x, top), (x, bottom)))
        routes[line] = tuple(pieces)
    named = [*(box.key for box in boxes), *(label.key for label in labels)]
    return Layout(
        places={key: places[key] for key in named},
        routes=routes,
        bands=bands,
        width=max((place.right for place in places.values()), default=0.0),
        height=max((bottom for _, bottom in bands.values()), default=0.0),
    )


def _put_beside(graph: LayeredGraph, centres: dict[str, float]) -> None:
    """Put nodes without connections, which have no centre yet, into the first gap of their row, or at its end."""
    taken: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for key, x in centres.items():
        node = graph.nodes[key]
        taken[node.row].append((x - node.width / 2, x + node.width / 2))
    for key, node in graph.nodes.items():
        if key not in centres:
            x = 0.0
            for left, right in sorted(taken[node.row]):
                if x + node.width + _LOOSE_GAP <= left:
                    break
                x = max(x, right + _LOOSE_GAP)
            taken[node.row].append((x, x + node.width))
            centres[key] = x + node.width / 2


def _levels(
    graph: LayeredGraph, centres: Mapping[str, float]
) -> tuple[list[float], list[float], dict[int, tuple[float, float]]]:
    """Return the top and the height of each row, and top and bottom of each band."""
    first = {rows[0]: band for band, rows in graph.bands.items()}
    last = {rows[1]: band for band, rows in graph.bands.items()}
    tops: list[float] = []
    heights: list[float] = []
    bands: dict[int, tuple[float, float]] = {}
    y = 0.0
    top_of_band = 0.0
    for number, row in enumerate(graph.rows):
        if number in first:
            top_of_band = y
            y += _BAND_HEAD
        tops.append(y)
        heights.append(max((graph.nodes[key].height for key in row), default=0.0))
        y += heights[-1]
        if number in last:
            y += _BAND_FOOT
            bands[last[number]] = (top_of_band, y)
            y += _BAND_GAP
        else:
            # More room if lines go far to the side, or they would be flat and hard to follow.
            shifts = [abs(centres[key] - centres[other]) for key in row for other in graph.below[key]]
            y += min(_MOST_GAP, _LEAST_GAP + 0.06 * max(shifts, default=0.0)) if row else 0.0
    return tops, heights, bands
