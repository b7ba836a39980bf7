from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings, strategies as st

from pytest_dogfood.drawing.layout import lay_out
from pytest_dogfood.drawing.svg import escaped, path_data
from pytest_dogfood.drawing.texts import boxes_of, drawn_tiers, labels_of, shortened, text_width
from pytest_dogfood.graph import CapabilityGraph
from tests.drawing.test_layers import overlap
from tests.support.small_graphs import graphs, picture_with_plan

LAW = settings(deadline=None, max_examples=25)
GRAPHS = graphs(30)


@LAW
@given(GRAPHS)
def test_every_journey_is_drawn_in_its_tier_or_in_that_of_what_it_waits_for(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    layout = lay_out(boxes_of(picture), labels_of(picture))
    tiers = drawn_tiers(picture)
    for node in picture.journeys:
        top, bottom = layout.bands[tiers[node.key]]
        place = layout.places[node.key]
        assert top < place.y
        assert place.bottom < bottom
        assert tiers[node.key] >= node.tier


@LAW
@given(GRAPHS)
def test_boxes_and_labels_of_a_picture_do_not_overlap(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    places = lay_out(boxes_of(picture), labels_of(picture)).places.values()
    solid = [place for place in places if place.width]
    assert not [pair for pair in combinations(solid, 2) if overlap(*pair)]


@LAW
@given(GRAPHS)
def test_labels_stand_for_every_link_and_for_no_other(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    shown = [
        (source, target, label.tokens, label.scope, label.kind)
        for label in labels_of(picture)
        for source in label.sources
        for target in label.targets
    ]
    links = [(link.source, link.target, link.tokens, link.scope, link.kind) for link in picture.links]
    assert sorted(shown) == sorted(links)


def test_what_xml_may_not_hold_is_replaced() -> None:
    assert escaped("a\x00b\x1f\ufffe<\t>") == "a�b��&lt;\t&gt;"


@given(st.text(), st.integers(3, 40))
def test_shortened_text_is_short_and_has_one_line(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert len(short.splitlines()) <= 1


def test_wide_and_combining_characters_are_measured_as_they_are_shown() -> None:
    assert text_width("漢字", 10) == text_width("abcd", 10)
    assert text_width("e\u0301", 10) == text_width("e", 10)


def test_a_line_is_curved_between_rows_and_straight_within() -> None:
    route = (((5.0, 10.0), (5.0, 10.0)), ((9.0, 20.0), (9.0, 30.0)), ((9.0, 40.0), (9.0, 50.0)))
    assert path_data(route) == "M5,10C5,15 9,15 9,20V30V40V50"
    assert path_data(route, short_of_end=4) == "M5,10C5,15 9,15 9,20V30V40V46"
    assert path_data(route, short_of_end=12) == "M5,10C5,15 9,15 9,20V30V38"
