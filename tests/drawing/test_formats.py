from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given, settings

from pytest_dogfood.drawing.formats import FORMATS, render
from pytest_dogfood.drawing.picture import Picture
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Tier, Token
from tests.support.small_graphs import HERE, graphs, journey, picture_with_plan, shop_graph

GRAPHS = graphs(14)
LAW = settings(deadline=None, max_examples=40)


@pytest.fixture
def shop() -> CapabilityGraph:
    return shop_graph()


@LAW
@given(GRAPHS)
def test_json_brings_back_the_same_picture(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    read = json.loads(render(picture, "json"))
    for node in read["journeys"]:
        node["tier"] = Tier[node["tier"].upper()]
    assert msgspec.convert(read, Picture) == picture


def test_json_has_a_version_and_names_tiers_in_words(shop: CapabilityGraph) -> None:
    content = json.loads(render(picture_with_plan(shop), "json"))
    assert next(iter(content)) == "version"
    assert content["version"] == 1
    assert [node["tier"] for node in content["journeys"]] == ["smoke", "core", "core", "core", "deep", "deep"]


@pytest.mark.parametrize("format_", list(FORMATS))
@LAW
@given(GRAPHS)
def test_the_same_graph_gives_the_same_text(format_: str, graph: CapabilityGraph) -> None:
    again = CapabilityGraph(graph.journeys.values(), graph.capabilities.values(), graph.fixtures)
    assert render(picture_with_plan(graph), format_) == render(picture_with_plan(again), format_)


def test_a_chain_that_is_split_is_shown_with_the_number_of_its_states() -> None:
    journeys = [journey("log-in", establishes="in"), *(journey(f"j{n}", requires="in") for n in range(2))]
    copyable = Capability(token=Token("in"), location=HERE, copyable=True)
    split, whole = (CapabilityGraph(journeys, capabilities) for capabilities in ([copyable], []))
    text = render(picture_with_plan(split), "text")
    assert text.endswith("chains\n  A: log-in, 3 journeys in 3 states\n")
    assert "3 journeys in 3 states" in render(picture_with_plan(split), "svg")
    assert render(picture_with_plan(whole), "text").endswith("chains\n  A: log-in\n")


def test_an_unknown_format_is_refused_with_the_nearest_name(shop: CapabilityGraph) -> None:
    with pytest.raises(ValueError, match=r"no format is called 'mermaids', only .*; did you mean 'mermaid'"):
        render(picture_with_plan(shop), "mermaids")


def test_the_text_says_tier_by_tier_what_each_journey_needs_and_gives(shop: CapabilityGraph) -> None:
    text = render(picture_with_plan(shop), "text")
    assert (
        "\nsmoke\n  version  [gate, critical path]\n\ncore\n  open  [chain A, 3 s, critical path]\n" in text
    )
    assert "\n      needs web-up from service:web-up\n" in text
    assert "\n      gives shop-open to order, look, close, provision:ordered\n" in text
    assert "\n      ends shop-open, so it comes after look, pay\n" in text
    assert "\n  elsewhere:card  [not from any journey]\n" in text


MERMAID_LINE = re.compile(
    r"""flowchart\ TB | \ \ acc(Title|Descr):\ [^#;{}]+ | \ \ subgraph\ \w+\["\w+"\] | \ \ end
    | \ \ \ \ (?P<journey>j\d+)(\["[^"]*"\]|\{\{"[^"]*"\}\}) | \ \ (?P<provider>p\d+)\(\["[^"]*"\]\)
    | \ \ (?P<source>[jp]\d+)\ (-->|==>|-\.->)\|"[^"]*"\|\ (?P<target>[jp]\d+)
    | \ \ classDef\ \w+\ [\w:\ -]+ | \ \ class\ [jp]\d+(,[jp]\d+)*\ \w+""",
    re.VERBOSE,
)


@LAW
@given(GRAPHS)
def test_every_line_of_mermaid_is_of_a_known_form_and_names_only_what_is_declared(
    graph: CapabilityGraph,
) -> None:
    picture = picture_with_plan(graph)
    found = [MERMAID_LINE.fullmatch(line) for line in render(picture, "mermaid").splitlines()]
    matched = [match for match in found if match]
    assert len(matched) == len(found)
    declared = [match["journey"] or match["provider"] for match in matched]
    ends = {match[end] for match in matched for end in ("source", "target") if match[end]}
    assert ends <= set(declared)
    assert len([name for name in declared if name]) == len(picture.journeys) + len(picture.providers)


def test_mermaid_marks_gates_providers_and_the_critical_path(shop: CapabilityGraph) -> None:
    text = render(picture_with_plan(shop), "mermaid")
    assert 'j0{{"version<br/>gate"}}' in text
    assert 'p0(["web-up<br/>service · machine"])' in text
    assert 'j1 ==>|"shop-open<br/>shop-known"| j2' in text
    assert 'p1 -.->|"price-list"| j2' in text
    assert "class p0,p1,p2,p3 provider" in text


NASTY = 'tests/test_x.py::test[<b>"\\a`#;{}|]\n-->&]]>\u2028\x00'


@pytest.fixture
def nasty() -> Picture:
    return picture_with_plan(
        CapabilityGraph([journey("a", establishes="t"), journey(NASTY, requires="t", python=True)])
    )


def test_mermaid_takes_nothing_from_a_name_as_syntax(nasty: Picture) -> None:
    line = next(line for line in render(nasty, "mermaid").splitlines() if line.startswith("    j1"))
    written = line.removeprefix('    j1["').partition("<br/>")[0]
    assert re.fullmatch(r"([\w ,.:/()·→-]|#\d+;)+", written)
    assert "#60;b#62;#34;#92;a#96;#35;#59;#123;" in written


DOT_STRING = r'"(?:[^"\\]|\\.)*"'
DOT_LINE = re.compile(
    rf"digraph {DOT_STRING} \{{|  rankdir=TB; node \[[^\]]*\]; edge \[[^\]]*\];|  subgraph cluster_\w+ \{{"
    rf"|    label={DOT_STRING};|  ?\}}|\}}"
    rf"|(?:  ){{1,2}}{DOT_STRING}(?: -> {DOT_STRING})? \[(?:, |\w+=\w+|\w+={DOT_STRING})*\];"
)


@LAW
@given(GRAPHS)
def test_every_line_of_dot_is_of_a_known_form(graph: CapabilityGraph) -> None:
    text = render(picture_with_plan(graph), "dot")
    assert [line for line in text.splitlines() if not DOT_LINE.fullmatch(line)] == []
    outside_of_strings = re.sub(DOT_STRING, "", text)
    assert outside_of_strings.count("{") == outside_of_strings.count("}")


def test_dot_takes_nothing_from_a_name_as_syntax(nasty: Picture) -> None:
    text = render(nasty, "dot")
    assert all(DOT_LINE.fullmatch(line) for line in text.split("\n")[:-1])
    assert r'"tests/test_x.py::test[<b>\"\\a`#;{}|]\n-->&]]> " [label="tests' in text


def test_dot_names_tokens_on_its_edges(shop: CapabilityGraph) -> None:
    text = render(picture_with_plan(shop), "dot")
    assert r'  "open" -> "order" [label="shop-open\nshop-known", penwidth=3];' in text
    assert '  "fixture:price-list" -> "order" [label="price-list", style=dashed];' in text
    assert '    "version" [label="version\\ngate", shape=octagon, penwidth=3];' in text
