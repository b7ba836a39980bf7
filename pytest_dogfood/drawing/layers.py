"""Assigns boxes to rows, and orders each row.

After Sugiyama, Tagawa and Toda (1981): layers by longest path, then points in between for long connections.
Boxes are in odd rows. The rows between them belong to the labels of connections.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, sqrt

from msgspec import Struct

from pytest_dogfood.walks import depths, in_order, inverted

Ends = tuple[str, str]
Neighbours = Mapping[str, Sequence[str]]


class Box(Struct, frozen=True, kw_only=True):
    """A box to place. `floating` boxes go as far down as their dependents allow, any number in a row."""

    key: str
    width: float
    height: float
    band: int = 0
    floating: bool = False


class EdgeLabel(Struct, frozen=True, kw_only=True):
    """One label that connects every source with every target; without a size it is just a point.

    Connections from one box share a line as long as they run together and have the same `style`.
    """

    key: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    width: float = 0.0
    height: float = 0.0
    style: str = ""


class Node(Struct, frozen=True, kw_only=True):
    """A member of a row: a box, a label, or a point of a long line."""

    row: int
    width: float = 0.0
    height: float = 0.0

    @property
    def is_point(self) -> bool:
        return not self.width


class LayeredGraph(Struct, frozen=True, kw_only=True):
    """Nodes with lines between neighbouring rows only. `paths` has the nodes through which a connection goes.

    `bands` maps each band to its first and last row.
    """

    nodes: Mapping[str, Node]
    rows: tuple[tuple[str, ...], ...]
    above: Mapping[str, tuple[str, ...]]
    below: Mapping[str, tuple[str, ...]]
    paths: Mapping[Ends, tuple[str, ...]]
    bands: Mapping[int, tuple[int, int]]


def row_limit(boxes: int) -> int:
    """Return how many boxes may be side by side, so that the drawing is about as wide as a screen."""
    return max(6, ceil(sqrt(1.2 * boxes)))


def layered_graph(boxes: Sequence[Box], labels: Sequence[EdgeLabel]) -> LayeredGraph:
    """Place boxes and labels in rows, with points wherever a connection passes a row."""
    layers, ranges = in_layers(boxes, labels)
    nodes = {box.key: Node(row=2 * layers[box.key] + 1, width=box.width, height=box.height) for box in boxes}
    above: dict[str, dict[str, None]] = defaultdict(dict)
    below: dict[str, dict[str, None]] = defaultdict(dict)
    paths: dict[Ends, tuple[str, ...]] = {}
    for label in labels:
        # Close to the users, so that they share one line up to the first of them.
        row = 2 * min(layers[target] for target in label.targets)
        nodes[label.key] = Node(row=row, width=label.width, height=label.height)
        to_the_label = [(source, label.key, label.style) for source in label.sources]
        for start, end, style in [*to_the_label, *((label.key, target, "") for target in label.targets)]:
            between = range(nodes[start].row + 1, nodes[end].row)
            points = {f"{start}\n{style}\n{row}": row for row in between}  # no key of a box has several lines
            for point, row in points.items():
                nodes.setdefault(point, Node(row=row))
            paths[start, end] = (start, *points, end)
            for upper, lower in pairwise(paths[start, end]):
                below[upper][lower] = None
                above[lower][upper] = None
    bands = {band: (2 * layers.start, 2 * layers.stop - 1) for band, layers in ranges.items()}
    rows: list[list[str]] = [[] for _ in range(max((last for _, last in bands.values()), default=-1) + 1)]
    for key, node in nodes.items():
        rows[node.row].append(key)
    return LayeredGraph(
        nodes=nodes,
        rows=tuple(map(tuple, rows)),
        above={key: tuple(above[key]) for key in nodes},
        below={key: tuple(below[key]) for key in nodes},
        paths=paths,
        bands=bands,
    )


def in_layers(boxes: Sequence[Box], labels: Sequence[EdgeLabel]) -> tuple[dict[str, int], dict[int, range]]:
    """Return the layer of each box, and the layers of each band. Raises ValueError for a dependency cycle.

    A box is in its band, or below it if it depends on a box of a later band.
    """
    before: dict[str, list[str]] = {box.key: [] for box in boxes}
    for label in labels:
        for target in label.targets:
            before[target] += label.sources
    after = inverted(before)
    order = in_order(before)
    placed: set[str] = set()
    for number, key in enumerate(order):
        if not placed.issuperset(before[key]):
            cycle = ", ".join(order[number:])
            raise ValueError(f"these depend on each other in a cycle: {cycle}")
        placed.add(key)
    band = _bands(boxes, order, before, after)
    limit = row_limit(len(boxes))
    layers: dict[str, int] = {}
    ranges: dict[int, range] = {}
    start = 0
    for number in sorted(set(band.values())):
        members = {box.key: box for box in boxes if band[box.key] == number}
        found = _layers_within(members, [key for key in order if key in members], before, after, limit)
        layers |= {key: start + layer for key, layer in found.items()}
        ranges[number] = range(start, start + max(found.values()) + 1)
        start = ranges[number].stop
    return layers, ranges


def _bands(
    boxes: Iterable[Box], order: Sequence[str], before: Neighbours, after: Neighbours
) -> dict[str, int]:
    floating = {box.key for box in boxes if box.floating}
    lowest = min((box.band for box in boxes), default=0)
    band = {box.key: lowest if box.floating else box.band for box in boxes}
    for key in order:
        band[key] = max([band[key], *(band[one] for one in before[key])])
    for key in reversed(order):
        if key in floating and after[key]:
            band[key] = min(band[one] for one in after[key])
    return band


def _layers_within(
    boxes: Mapping[str, Box], order: Sequence[str], before: Neighbours, after: Neighbours, limit: int
) -> dict[str, int]:
    """Return the layer, from 0, of each box of one band, in topological `order`; after Coffman and Graham.

    A box gets the first layer below its dependencies that is not full. Floating boxes go down from there. Boxes without
    connections are spread over the emptiest layers, and over new ones if all are full.
    """
    depth = depths(reversed(order), after)
    level = depths(order, before)
    tied = [box for key, box in boxes.items() if before[key] or after[key]]
    layers: dict[str, int] = {}
    taken: Counter[int] = Counter()
    for box in sorted(tied, key=lambda box: (level[box.key], -depth[box.key])):
        layer = max((layers[one] + 1 for one in before[box.key] if one in boxes), default=0)
        while not box.floating and taken[layer] >= limit:
            layer += 1
        taken[layer] += not box.floating
        layers[box.key] = layer
    for key in reversed(order):
        users = [layers[one] for one in after[key] if one in layers]
        if boxes[key].floating and users:
            layers[key] = min(users) - 1
    counts = Counter(layers.values())
    sizes = [counts[layer] for layer in range(max(counts, default=0) + 1)]
    for key in boxes:
        if key not in layers:
            layer = min(range(len(sizes)), key=sizes.__getitem__)
            if sizes[layer] >= limit:
                layer = len(sizes)
                sizes.append(0)
            sizes[layer] += 1
            layers[key] = layer
    return layers


Rows = list[list[str]]

_SWEEPS = 24


def minimise_crossings(graph: LayeredGraph) -> tuple[tuple[str, ...], ...]:
    """Order every row by barycentre sweeps and by exchanging neighbours; return the best order found."""
    rows = _first_order(graph)
    best = [list(row) for row in rows]
    fewest = crossings(best, graph.below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        _sweep(rows, graph, downward=sweep % 2 == 0)
        _exchange_neighbours(rows, graph)
        now = crossings(rows, graph.below)
        if now < fewest:
            fewest = now
            best = [list(row) for row in rows]
    return tuple(map(tuple, best))


def crossings(rows: Iterable[Sequence[str]], below: Mapping[str, Sequence[str]]) -> int:
    """Count the pairs of lines that cross."""
    count = 0
    for upper, lower in pairwise(rows):
        position = {key: number for number, key in enumerate(lower)}
        passed: list[int] = []
        for key in upper:
            ends = sorted(position[one] for one in below[key])
            count += sum(len(passed) - bisect_left(passed, end + 1) for end in ends)
            for end in ends:
                insort(passed, end)
    return count


def _first_order(graph: LayeredGraph) -> Rows:
    """Walk from each node at the top to all nodes below it, so that connected nodes start close together."""
    rows: Rows = [[] for _ in graph.rows]
    seen: set[str] = set()
    waiting = [key for row in reversed(graph.rows) for key in reversed(row)]
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            rows[graph.nodes[key].row].append(key)
            waiting += reversed(graph.below[key])
    return rows


def _sweep(rows: Rows, graph: LayeredGraph, *, downward: bool) -> None:
    """Sort each row by the mean positions of its nodes' neighbours in the row before."""
    neighbours = graph.above if downward else graph.below
    for fixed, row in pairwise(rows if downward else reversed(rows)):
        # Positions from 0 to 1, so that rows of different length can be compared.
        place = {key: (number + 0.5) / len(fixed) for number, key in enumerate(fixed)}
        own = {key: (number + 0.5) / len(row) for number, key in enumerate(row)}
        ends = {key: [place[one] for one in neighbours[key]] or [own[key]] for key in row}
        row.sort(key=lambda key: sum(ends[key]) / len(ends[key]))


def _exchange_neighbours(rows: Rows, graph: LayeredGraph) -> None:
    improved = True
    while improved:
        improved = False
        for number, row in enumerate(rows):
            sides = [
                ({key: place for place, key in enumerate(rows[other])}, neighbours)
                for other, neighbours in ((number - 1, graph.above), (number + 1, graph.below))
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
    """Count the crossings of the lines of two nodes in this order."""
    return sum(bisect_left(ends, end) for ends, others in zip(right, left, strict=True) for end in others)
