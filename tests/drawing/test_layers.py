from __future__ import annotations

from itertools import combinations, pairwise
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.drawing.layers import (
    Box,
    EdgeLabel,
    crossings,
    in_layers,
    layered_graph,
    minimise_crossings,
    row_limit,
)
from pytest_dogfood.drawing.layout import Layout, Place, assign_x, lay_out

Scene = tuple[list[Box], list[EdgeLabel]]


def random_scene(count: int, dice: Random) -> Scene:
    """Boxes whose labels lead from lower to higher numbers only, so never in a cycle."""
    boxes = [
        Box(
            key=f"b{number}",
            width=dice.choice([60.0, 120.0, 200.0]),
            height=38.0,
            band=dice.randrange(3),
            floating=dice.random() < 0.15,
        )
        for number in range(count)
    ]
    labels = []
    for number in range(dice.randint(0, count) if count > 1 else 0):
        cut = dice.randint(1, count - 1)
        label = dice.choice([(0.0, 0.0), (50.0, 18.0), (150.0, 46.0)])
        labels.append(
            EdgeLabel(
                key=f"\n{number}",
                sources=tuple(
                    box.key for box in dice.sample(boxes[:cut], min(cut, dice.choice([1, 1, 1, 2])))
                ),
                targets=tuple(
                    box.key for box in dice.sample(boxes[cut:], min(count - cut, dice.choice([1, 1, 2, 5])))
                ),
                width=label[0],
                height=label[1],
                style=dice.choice(["chain", "machine"]),
            )
        )
    dice.shuffle(boxes)
    return boxes, labels


# Drawing every decision through Hypothesis takes ten times as long; so it may only choose and shrink the size.
SCENES = st.builds(random_scene, st.integers(1, 24), st.integers(0, 2**32).map(Random))
LAW = settings(deadline=None, max_examples=40)


def overlap(one: Place, other: Place) -> bool:
    across = one.x < other.right and other.x < one.right
    return across and one.y < other.bottom and other.y < one.bottom


def stands_between(place: Place, upper: float, lower: float) -> bool:
    return place.y < lower - 0.01 and upper + 0.01 < place.bottom


@LAW
@given(SCENES)
def test_every_connection_goes_downward(scene: Scene) -> None:
    layout = lay_out(*scene)
    for start, end in layout.routes:
        assert layout.places[start].bottom <= layout.places[end].y
    for route in layout.routes.values():
        heights = [y for piece in route for _, y in piece]
        assert heights == sorted(heights)


@LAW
@given(SCENES)
def test_boxes_and_labels_do_not_overlap(scene: Scene) -> None:
    placed = [place for place in lay_out(*scene).places.values() if place.width]
    assert not [pair for pair in combinations(placed, 2) if overlap(*pair)]


@LAW
@given(SCENES)
def test_no_line_passes_through_a_box_or_a_label(scene: Scene) -> None:
    layout = lay_out(*scene)
    solid = [place for place in layout.places.values() if place.width]
    for route in layout.routes.values():
        for (x, top), (_, bottom) in route:
            assert not any(
                place.x < x < place.right and stands_between(place, top, bottom) for place in solid
            )
        for (_, (_, above)), ((_, below), _) in pairwise(route):
            assert not any(stands_between(place, above, below) for place in solid)


@LAW
@given(SCENES)
def test_a_box_stands_in_its_band_or_below_it_where_it_depends_on_a_later_one(scene: Scene) -> None:
    boxes, labels = scene
    layers, bands = in_layers(boxes, labels)
    sources: dict[str, set[str]] = {box.key: set() for box in boxes}
    for label in labels:
        for target in label.targets:
            sources[target].update(label.sources)
    band_of = {key: next(band for band, range_ in bands.items() if layers[key] in range_) for key in layers}
    for box in boxes:
        forced = max((band_of[one] for one in sources[box.key]), default=0)
        if not box.floating:
            assert band_of[box.key] == max(box.band, forced)
        else:
            assert band_of[box.key] >= forced


@LAW
@given(SCENES)
def test_bands_follow_each_other_and_hold_their_boxes(scene: Scene) -> None:
    layout = lay_out(*scene)
    for (_, upper), (lower, _) in pairwise(bounds for _, bounds in sorted(layout.bands.items())):
        assert upper <= lower
    for box in scene[0]:
        place = layout.places[box.key]
        assert any(top < place.y and place.bottom < bottom for top, bottom in layout.bands.values())
        assert place.x >= -0.01
        assert place.right <= layout.width + 0.01


@LAW
@given(SCENES)
def test_no_layer_holds_more_boxes_than_fit(scene: Scene) -> None:
    boxes, labels = scene
    layers, _ = in_layers(boxes, labels)
    firm = [layers[box.key] for box in boxes if not box.floating]
    assert all(firm.count(layer) <= row_limit(len(boxes)) for layer in firm)


@LAW
@given(SCENES)
def test_the_same_boxes_give_the_same_layout(scene: Scene) -> None:
    assert lay_out(*scene) == lay_out(*scene)


@LAW
@given(SCENES)
def test_ordering_never_adds_crossings(scene: Scene) -> None:
    graph = layered_graph(*scene)
    rows = minimise_crossings(graph)
    assert crossings(rows, graph.below) <= crossings(graph.rows, graph.below)
    assert [sorted(row) for row in rows] == [sorted(row) for row in graph.rows]


@LAW
@given(SCENES)
def test_a_long_line_bends_only_where_something_is_in_its_way(scene: Scene) -> None:
    graph = layered_graph(*scene)
    rows = minimise_crossings(graph)
    centres = assign_x(graph, rows)
    for path in graph.paths.values():
        points = [key for key in path if graph.nodes[key].is_point]
        bends = sum(abs(centres[one] - centres[other]) > 0.01 for one, other in pairwise(points))
        assert bends == 0 or any(len(rows[graph.nodes[key].row]) > 1 for key in points)


def row_of(layout: Layout, *keys: str) -> list[float]:
    return [layout.places[key].centre for key in keys]


def test_a_line_past_two_rows_is_straight_where_nothing_else_is_near() -> None:
    boxes = [Box(key=key, width=80, height=38) for key in "abcd"]
    labels = [
        EdgeLabel(key="\nab", sources=("a",), targets=("b",), width=40, height=18),
        EdgeLabel(key="\nbc", sources=("b",), targets=("c",), width=40, height=18),
        EdgeLabel(key="\ncd", sources=("c",), targets=("d",), width=40, height=18),
        EdgeLabel(key="\nad", sources=("a",), targets=("d",), width=40, height=18),
    ]
    route = lay_out(boxes, labels).routes["a", "\nad"]
    assert len({x for (x, _), _ in route[1:-1]}) == 1


def test_boxes_in_a_line_stand_under_each_other() -> None:
    boxes = [Box(key=key, width=width, height=38) for key, width in (("a", 80), ("b", 140), ("c", 60))]
    labels = [
        EdgeLabel(key="\n1", sources=("a",), targets=("b",), width=40, height=18),
        EdgeLabel(key="\n2", sources=("b",), targets=("c",), width=40, height=18),
    ]
    places = row_of(lay_out(boxes, labels), "a", "\n1", "b", "\n2", "c")
    assert places == pytest.approx([places[0]] * 5, abs=0.5)


def test_two_lines_that_would_cross_are_untangled() -> None:
    boxes = [Box(key=key, width=80, height=38) for key in "abcd"]
    labels = [
        EdgeLabel(key="\n1", sources=("a",), targets=("d",), width=40, height=18),
        EdgeLabel(key="\n2", sources=("b",), targets=("c",), width=40, height=18),
    ]
    graph = layered_graph(boxes, labels)
    assert crossings(graph.rows, graph.below) == 1
    assert crossings(minimise_crossings(graph), graph.below) == 0


def test_a_floating_box_stands_right_above_the_first_that_depends_on_it() -> None:
    boxes = [
        *(Box(key=key, width=80, height=38) for key in "abc"),
        Box(key="p", width=80, height=38, floating=True),
    ]
    labels = [
        EdgeLabel(key="\n1", sources=("a",), targets=("b",)),
        EdgeLabel(key="\n2", sources=("b",), targets=("c",)),
        EdgeLabel(key="\n3", sources=("p",), targets=("c",)),
    ]
    layers, _ = in_layers(boxes, labels)
    assert layers == {"a": 0, "b": 1, "p": 1, "c": 2}


def test_a_cycle_has_no_layers_and_the_error_names_its_members() -> None:
    boxes = [Box(key=key, width=80, height=38) for key in "abc"]
    labels = [
        EdgeLabel(key="\n1", sources=("a",), targets=("b",)),
        EdgeLabel(key="\n2", sources=("b",), targets=("a",)),
    ]
    with pytest.raises(ValueError, match=r"depend on each other in a cycle: a, b$"):
        lay_out(boxes, labels)


def test_nothing_is_laid_out_as_nothing() -> None:
    layout = lay_out([], [])
    assert (layout.places, layout.routes, layout.bands, layout.height) == ({}, {}, {}, 0)
