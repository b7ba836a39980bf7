from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from pytest_dogfood.check.report import Report
from pytest_dogfood.drawing.formats import render
from pytest_dogfood.drawing.picture import focus, picture_of
from pytest_dogfood.drawing.style import page_style
from pytest_dogfood.drawing.svg import MOST_JOURNEYS, NodeMark, TooManyJourneysError, svg_in_page
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Scope, Tier, Token
from tests.support.small_graphs import HERE, STEP, graphs, journey, picture_with_plan

SVG = "{http://www.w3.org/2000/svg}"
LAW = settings(deadline=None, max_examples=25)
GRAPHS = graphs(30)


def drawn(*journeys: Journey, capabilities: tuple[Capability, ...] = ()) -> ET.Element:
    # What is parsed here has been written by the code under test.
    return ET.fromstring(render(picture_with_plan(CapabilityGraph(journeys, capabilities)), "svg"))  # noqa: S314


def groups(root: ET.Element, kind: str) -> dict[str, ET.Element]:
    """Return the groups of a kind by the first line of their titles."""
    found = [group for group in root.iter(f"{SVG}g") if group.get("class") == kind]
    return {(group.findtext(f"{SVG}title") or "").splitlines()[0]: group for group in found}


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(f"{SVG}text")]


def lines(root: ET.Element, style: str) -> list[ET.Element]:
    """Return the lines with this style, those of the legend left out."""
    return [
        path
        for path in root.iter(f"{SVG}path")
        if {"line", style} <= set((path.get("class") or "").split()) and path.get("d") != "M1,0H29"
    ]


@LAW
@given(GRAPHS)
def test_the_drawing_is_xml_with_a_title_for_every_node_and_every_label(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    root = ET.fromstring(render(picture, "svg"))  # noqa: S314 - our own text
    assert list(groups(root, "journey")) == [node.key for node in picture.journeys]
    assert len(groups(root, "provider")) == len(picture.providers)
    assert all(group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g") if group.get("class"))


def test_the_drawing_says_what_it_is_to_who_cannot_see_it() -> None:
    root = drawn(journey("a", establishes="t"), journey("b", requires="t"))
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root if element.get("id")}
    assert (root.get("aria-labelledby") or "").split() == list(named)
    assert list(named.values()) == [
        "The capability graph: 2 journeys",
        "2 journeys, 1 shared chain. Critical path, 2.0 s: a → b.",
    ]


def test_a_title_tells_all_about_a_journey() -> None:
    root = drawn(journey("a", establishes="t"), journey("b", requires="t", gating=True))
    assert groups(root, "journey")["b"].findtext(f"{SVG}title") == (
        "b\nshop.journey.yaml::b (shop.journey.yaml:3:5)\ntier core, gating\nchain A: a\n"
        "counted as 1 s, because no duration is known\non the critical path\nneeds t from a"
    )


def test_text_of_the_project_is_never_markup() -> None:
    name = "test_x.py::test[<b onload='x'>&\"]]>\x00\ud800]"
    picture = picture_with_plan(CapabilityGraph([journey(name, establishes="t"), journey("b", requires="t")]))
    svg = render(picture, "svg")
    assert "<b" not in svg
    ET.fromstring(svg)  # noqa: S314 - our own text
    assert "&lt;b onload=&#x27;x&#x27;&gt;&amp;&quot;]]&gt;��]" in svg


def test_a_long_name_is_shortened_and_stands_whole_in_the_title() -> None:
    name = "a-journey-whose-name-goes-on-for-rather-longer-than-anybody-wants-to-read"
    group = groups(drawn(journey(name)), "journey")[name]
    assert texts(group) == ["a-journey-who…-wants-to-read"]


def test_tokens_between_the_same_two_journeys_stand_on_one_label() -> None:
    root = drawn(journey("a", establishes="t u"), journey("b", requires="t u"))
    assert [texts(group) for group in groups(root, "token").values()] == [["t", "u"]]


def test_many_tokens_on_one_label_are_counted_and_stand_whole_in_the_title() -> None:
    names = "t1 t2 t3 t4 t5 t6"
    (title, group), *_ = groups(
        drawn(journey("a", establishes=names), journey("b", requires=names)), "token"
    ).items()
    assert texts(group) == ["t1", "t2", "t3", "and 3 more"]
    assert title == "t1, t2, t3, t4, t5, t6 (chain scope)"


def test_one_label_does_for_all_that_require_the_same() -> None:
    root = drawn(journey("a", establishes="t"), *(journey(name, requires="t") for name in "bcde"))
    assert [texts(group) for group in groups(root, "token").values()] == [["t"]]


def test_a_provider_is_dashed_and_so_is_its_line() -> None:
    provided = Capability(token=Token("t"), location=HERE, provision=(STEP,))
    root = drawn(journey("a", requires="t"), capabilities=(provided,))
    (group,) = groups(root, "provider").values()
    assert texts(group) == ["t", "provision"]
    assert [rect.get("class") for rect in group.iter(f"{SVG}rect")] == ["box wide dashed"]
    assert len(lines(root, "dashed")) == 2


def test_the_critical_path_is_thick_and_nothing_else_is() -> None:
    root = drawn(
        journey("a", establishes="t"),
        journey("b", requires="t", establishes="u"),
        journey("c", requires="u"),
        journey("d", requires="t"),
        capabilities=tuple(
            Capability(token=Token(name), location=HERE, scope=Scope.MACHINE) for name in "tu"
        ),
    )
    assert len(lines(root, "heavy")) == 4
    assert heavy_journeys(root) == ["a", "b", "c"]


def test_the_heaviest_chain_is_thick_where_it_takes_longer_than_any_way() -> None:
    root = drawn(
        journey("a", establishes="t"),
        journey("b", requires="t"),
        journey("c", requires="t"),
        journey("d"),
    )
    assert heavy_journeys(root) == ["a", "b", "c"]


def heavy_journeys(root: ET.Element) -> list[str]:
    return [
        name
        for name, group in groups(root, "journey").items()
        if any("heavy" in (path.get("class") or "") for path in group.iter(f"{SVG}path"))
    ]


def test_what_comes_later_only_since_it_destroys_is_dotted() -> None:
    root = drawn(
        journey("a", establishes="t"), journey("b", requires="t"), journey("c", requires="t", invalidates="t")
    )
    assert len(lines(root, "dotted")) == 2
    assert ["t ends"] in [texts(group) for group in groups(root, "token").values()]


def test_chains_differ_in_colour_and_in_letter() -> None:
    root = drawn(
        journey("a", establishes="t"),
        journey("b", requires="t"),
        journey("c", establishes="u"),
        journey("d", requires="u"),
    )
    badges = [
        (text.text, text.get("class"))
        for group in groups(root, "journey").values()
        for text in group.iter(f"{SVG}text")
        if "badge" in (text.get("class") or "")
    ]
    assert badges == [("A", "badge c0"), ("A", "badge c0"), ("B", "badge c1"), ("B", "badge c1")]


def test_a_chain_keeps_its_colour_in_a_focus() -> None:
    graph = CapabilityGraph(
        [
            journey("a", establishes="t"),
            journey("b", requires="t"),
            journey("c", establishes="u"),
            journey("d", requires="u"),
        ]
    )
    svg = render(focus(picture_with_plan(graph), "d"), "svg")
    assert 'class="badge c1"' in svg
    assert 'class="badge c0"' not in svg
    assert "What d needs and enables" in svg


def test_a_gate_is_marked_in_words_and_in_shape() -> None:
    root = drawn(journey("a", gating=True), journey("b"))
    gate, other = groups(root, "journey").values()
    assert texts(gate) == ["a", "gate"]
    assert texts(other) == ["b"]
    assert [len(re.findall("L", path.get("d") or "")) for path in (gate[1], other[1])] == [7, 0]


def test_a_journey_that_waits_for_a_later_tier_says_so() -> None:
    root = drawn(journey("a", establishes="t", tier=Tier.DEEP), journey("b", requires="t", tier=Tier.SMOKE))
    assert texts(groups(root, "journey")["b"]) == ["A", "b", "waits, though smoke"]


def test_a_token_of_the_machine_has_a_frame_of_its_own() -> None:
    shared = Capability(token=Token("t"), location=HERE, scope=Scope.MACHINE, probe=STEP)
    root = drawn(journey("a", establishes="t"), journey("b", requires="t"), capabilities=(shared,))
    (group,) = groups(root, "token").values()
    assert [rect.get("class") for rect in group.iter(f"{SVG}rect")] == ["pill shared"]


def test_a_token_of_the_fleet_has_two_frames_and_its_entry_in_the_legend() -> None:
    shared = Capability(token=Token("t"), location=HERE, scope=Scope.FLEET, probe=STEP)
    root = drawn(journey("a", establishes="t"), journey("b", requires="t"), capabilities=(shared,))
    ((title, group),) = groups(root, "token").items()
    assert title == "t (fleet scope)"
    outer, inner = (float(rect.get("width") or 0) for rect in group.iter(f"{SVG}rect"))
    assert outer == inner + 5
    assert {rect.get("class") for rect in group.iter(f"{SVG}rect")} == {"pill shared"}
    words = texts(root)
    assert "token of all machines" in words
    assert not {"token of the whole machine", "token of one chain"} & set(words)
    assert not lines(root, "c0")  # as for a token of the machine, the line belongs to no chain


def test_the_legend_explains_only_what_is_there() -> None:
    assert texts(drawn(journey("a")))[-1] == "a"
    words = texts(drawn(journey("a", gating=True, establishes="t"), journey("b", requires="t")))
    assert words[-4:] == [
        "chain of a, 2 journeys",
        "gate: if it fails, later tiers wait",
        "token of one chain",
        "critical path",
    ]


def test_the_drawing_has_a_style_for_dark_paper() -> None:
    style = drawn(journey("a")).findtext(f"{SVG}style") or ""
    light, _, dark = style.partition("@media screen and (prefers-color-scheme:dark)")
    for name in (".paper", ".band", ".ink", ".soft", ".box", ".pill"):
        assert f"{name}{{" in light
        assert f"{name}{{" in dark


def test_as_many_journeys_as_can_be_told_apart_are_drawn() -> None:
    root = drawn(*(journey(f"j{number}") for number in range(MOST_JOURNEYS)))
    assert len(groups(root, "journey")) == MOST_JOURNEYS


def test_more_journeys_are_refused_with_the_way_out() -> None:
    with pytest.raises(TooManyJourneysError, match=r"^81 journeys are too many .* use --focus ID to draw"):
        drawn(*(journey(f"j{number}") for number in range(MOST_JOURNEYS + 1)))


def test_a_cycle_is_refused_by_name() -> None:
    journeys = [journey("a", requires="u", establishes="t"), journey("b", requires="t", establishes="u")]
    # Such a project has no plan.
    seconds = {one.id: 1.0 for one in journeys}
    picture = picture_of(CapabilityGraph(journeys), Report(findings=(), seconds=seconds))
    with pytest.raises(ValueError, match=r"depend on each other in a cycle: a, b"):
        render(picture, "svg")


def test_an_empty_project_is_drawn_as_such() -> None:
    assert texts(drawn())[0] == "The capability graph: 0 journeys"


IN_PAGE = CapabilityGraph(
    [journey("a", establishes="t"), journey("b", requires="t p")],
    (Capability(token=Token("p"), location=HERE, provision=(STEP,)),),
)
FAILED = NodeMark(style="failed", sign="✗", word="failed", link="#j-a")
BROKEN = NodeMark(style="error", sign="!", word="not judged")


def test_no_class_and_no_id_of_a_drawing_in_a_page_can_meet_one_of_the_page() -> None:
    picture = picture_with_plan(IN_PAGE)
    marks = {"a": FAILED, "provision:p": BROKEN}
    svg = svg_in_page(picture, marks, name="drawing", prefix="g-")
    elements = list(ET.fromstring(svg).iter())  # noqa: S314 - our own text
    classes = {name for one in elements for name in (one.get("class") or "").split()}
    assert {"g-box", "g-failed", "g-error", "g-line", "g-code"} <= classes
    assert all(name.startswith("g-") for name in classes)
    ids = [one.get("id") for one in elements if one.get("id")]
    assert ids == ["drawing-title", "drawing-summary"]
    assert f"{SVG}style" not in {one.tag for one in elements}


def test_the_style_of_a_page_names_the_classes_that_its_drawings_have() -> None:
    classes = set(re.findall(r"\.([a-z][\w-]*)", page_style("g-")))
    assert {"g-box", "g-line", "g-ink", "g-c0"} <= classes
    assert all(name.startswith("g-") for name in classes)


def test_what_a_page_says_of_a_node_is_a_colour_a_sign_a_word_and_a_link() -> None:
    svg = svg_in_page(picture_with_plan(IN_PAGE), {"a": FAILED, "provision:p": BROKEN}, name="d", prefix="g-")
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    (link,) = root.iter(f"{SVG}a")
    assert (link.get("href"), link.get("aria-label")) == ("#j-a", "a, failed")
    assert "✗" in texts(link)
    boxes = {path.get("class") for path in link.iter(f"{SVG}path")}
    assert {"g-box g-failed", "g-box g-heavy g-failed"} <= boxes
    assert {"g-box g-wide g-dashed g-error"} <= {rect.get("class") for rect in root.iter(f"{SVG}rect")}
    assert {"failed", "not judged"} <= set(texts(root))


def test_a_drawing_in_a_page_is_no_image_because_that_would_hide_its_links() -> None:
    root = ET.fromstring(svg_in_page(picture_with_plan(IN_PAGE), {}, name="d", prefix="g-"))  # noqa: S314
    assert root.get("role") == "group"
    assert root.get("aria-labelledby") == "d-title d-summary"


def test_a_drawing_in_a_page_has_at_most_as_many_journeys_as_one_in_a_file() -> None:
    picture = picture_with_plan(
        CapabilityGraph([journey(f"j{number}") for number in range(MOST_JOURNEYS + 1)])
    )
    with pytest.raises(TooManyJourneysError):
        svg_in_page(picture, {}, name="d", prefix="g-")
