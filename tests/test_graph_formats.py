from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from strategies import ancestors
from strategies import random_scene

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Service
from pytest_dogfood.journey import Step
from pytest_dogfood.journey import Tier
from pytest_dogfood.journey import Token
from pytest_dogfood.notations import FORMATS
from pytest_dogfood.notations import render
from pytest_dogfood.picture import LinkKind
from pytest_dogfood.picture import Picture
from pytest_dogfood.picture import ProviderKind
from pytest_dogfood.picture import UnknownJourneyError
from pytest_dogfood.picture import focus
from pytest_dogfood.picturejson import picture_from_json
from pytest_dogfood.portraying import picture_of

HERE = Location("shop.journey.yaml", 3, 5)
STEP = Step(location=HERE, run="true")
LAW = settings(deadline=None, max_examples=40)
GRAPHS = st.builds(
    lambda most, seed: random_scene(Random(seed), most=most).graph(),  # noqa: S311 - a die, no secret
    st.integers(1, 14),
    st.integers(0, 2**32),
)


def journey(
    name: str,
    *,
    requires: str = "",
    establishes: str = "",
    invalidates: str = "",
    tier: Tier = Tier.CORE,
    gating: bool = False,
    estimate: float | None = None,
    python: bool = False,
) -> Journey:
    return Journey(
        id=JourneyId(name),
        location=HERE,
        path=HERE.path,
        nodeid=f"{HERE.path}::{name}",
        requires=dict.fromkeys(map(Token, requires.split()), HERE),
        establishes=dict.fromkeys(map(Token, establishes.split()), HERE),
        invalidates=dict.fromkeys(map(Token, invalidates.split()), HERE),
        tier=tier,
        gating=gating,
        estimate=estimate,
        python=python,
    )


@pytest.fixture
def shop() -> CapabilityGraph:
    return CapabilityGraph(
        [
            journey("version", tier=Tier.SMOKE, gating=True),
            journey("open", requires="web-up", establishes="shop-open shop-known", estimate=3.0),
            journey("order", requires="shop-open shop-known price-list", establishes="ordered", estimate=4.0),
            journey("look", requires="shop-open", python=True),
            journey("pay", requires="ordered card", tier=Tier.DEEP),
            journey("close", requires="shop-open", invalidates="shop-open", tier=Tier.DEEP),
        ],
        [
            Capability(
                token=Token("web-up"),
                location=HERE,
                scope=Scope.MACHINE,
                service=Service(location=HERE, run="serve"),
            ),
            Capability(
                token=Token("ordered"), location=HERE, provision=(STEP,), requires={Token("shop-open"): HERE}
            ),
            Capability(token=Token("card"), location=HERE, probe=STEP),
            Capability(token=Token("price-list"), location=HERE),
        ],
        {Token("price-list"): "price_list"},
    )


def links(picture: Picture) -> dict[tuple[str, str], str]:
    return {(link.source, link.target): " ".join(link.tokens) for link in picture.links}


def test_links_lead_from_who_brings_to_who_requires_with_all_tokens_between_the_two(
    shop: CapabilityGraph,
) -> None:
    assert links(picture_of(shop)) == {
        ("service:web-up", "open"): "web-up",
        ("open", "order"): "shop-open shop-known",
        ("fixture:price-list", "order"): "price-list",
        ("open", "look"): "shop-open",
        ("order", "pay"): "ordered",
        ("provision:ordered", "pay"): "ordered",
        ("elsewhere:card", "pay"): "card",
        ("open", "close"): "shop-open",
        ("pay", "close"): "shop-open",
        ("look", "close"): "shop-open",
        ("open", "provision:ordered"): "shop-open",
    }


def test_providers_have_a_kind_and_a_scope(shop: CapabilityGraph) -> None:
    providers = {provider.token: (provider.kind, provider.scope) for provider in picture_of(shop).providers}
    assert providers == {
        "web-up": (ProviderKind.SERVICE, Scope.MACHINE),
        "price-list": (ProviderKind.FIXTURE, Scope.CHAIN),
        "ordered": (ProviderKind.PROVISION, Scope.CHAIN),
        "card": (ProviderKind.ELSEWHERE, Scope.CHAIN),
    }


def test_a_token_of_the_machine_and_one_of_the_chain_are_links_of_their_own() -> None:
    shared = Capability(token=Token("b"), location=HERE, scope=Scope.MACHINE)
    graph = CapabilityGraph([journey("one", establishes="a b"), journey("two", requires="a b")], [shared])
    assert [(link.tokens, link.scope) for link in picture_of(graph).links] == [
        (("a",), Scope.CHAIN),
        (("b",), Scope.MACHINE),
    ]


def test_the_critical_path_counts_estimates_and_else_a_second_each(shop: CapabilityGraph) -> None:
    picture = picture_of(shop)
    assert picture.critical_path == ("service:web-up", "open", "order", "pay", "close")
    assert picture.critical_seconds == 9.0
    assert [node.key for node in picture.journeys if node.critical] == ["open", "order", "pay", "close"]


def test_a_journey_by_itself_is_not_marked_as_a_critical_path() -> None:
    picture = picture_of(CapabilityGraph([journey("short"), journey("long", estimate=9.0)]))
    assert picture.critical_path == ("long",)
    assert not any(node.critical for node in picture.journeys)


def test_chains_that_are_shared_have_letters_and_the_others_none(shop: CapabilityGraph) -> None:
    assert [(chain.id, chain.label, chain.journeys) for chain in picture_of(shop).chains] == [
        ("version", "", 1),
        ("open", "A", 5),
    ]


def test_the_letters_of_chains_go_on_behind_z() -> None:
    pairs = [
        journey(f"{part}{number}", **{key: f"t{number}"})  # type: ignore[arg-type]
        for number in range(28)
        for part, key in (("a", "establishes"), ("b", "requires"))
    ]
    labels = [chain.label for chain in picture_of(CapabilityGraph(pairs)).chains]
    assert labels[24:] == ["Y", "Z", "AA", "AB"]


def required_ancestors(picture: Picture, key: str) -> set[str]:
    before = {link.source for link in picture.links if link.target == key and link.kind is LinkKind.REQUIRES}
    return before.union(*(required_ancestors(picture, one) for one in before))


@LAW
@given(GRAPHS)
def test_a_picture_says_the_same_about_what_comes_before_what_as_the_graph(graph: CapabilityGraph) -> None:
    picture = picture_of(graph)
    earlier: dict[str, set[str]] = {}
    for key in graph.ordered(graph.journeys):
        earlier[key] = set(ancestors(graph, key))
    closure: dict[str, set[str]] = {}

    def before(key: str) -> set[str]:
        if key not in closure:
            sources = {link.source for link in picture.links if link.target == key}
            closure[key] = sources.union(*(before(one) for one in sources))
        return closure[key]

    assert {key: before(key) & set(graph.journeys) for key in graph.journeys} == earlier


@LAW
@given(GRAPHS, st.data())
def test_a_focus_holds_exactly_what_a_journey_needs_and_what_it_enables(
    graph: CapabilityGraph, data: st.DataObject
) -> None:
    picture = picture_of(graph)
    if not picture.journeys:
        return
    chosen = data.draw(st.sampled_from([node.key for node in picture.journeys]))
    keys = [node.key for node in picture.journeys] + [node.key for node in picture.providers]
    needs = required_ancestors(picture, chosen)
    enables = {key for key in keys if chosen in required_ancestors(picture, key)}
    focused = focus(picture, chosen)
    kept = {node.key for node in focused.journeys} | {node.key for node in focused.providers}
    assert kept == {chosen} | needs | enables
    assert set(focused.links) == {link for link in picture.links if {link.source, link.target} <= kept}


def test_a_focus_on_an_unknown_journey_is_refused_with_the_nearest_name(shop: CapabilityGraph) -> None:
    with pytest.raises(UnknownJourneyError, match=r"^no journey is called 'ordr'; did you mean 'order'\?$"):
        focus(picture_of(shop), "ordr")


def test_a_focus_on_a_provider_is_refused(shop: CapabilityGraph) -> None:
    with pytest.raises(LookupError, match="no journey is called 'service:web-up'"):
        focus(picture_of(shop), "service:web-up")


def test_a_focus_keeps_the_letters_of_the_whole_picture() -> None:
    graph = CapabilityGraph(
        [
            journey("a", establishes="x"),
            journey("b", requires="x"),
            journey("c", establishes="y"),
            journey("d", requires="y"),
        ]
    )
    assert [chain.label for chain in focus(picture_of(graph), "d").chains] == ["B"]


@LAW
@given(GRAPHS)
def test_json_brings_back_the_same_picture(graph: CapabilityGraph) -> None:
    picture = picture_of(graph)
    assert picture_from_json(render(picture, "json")) == picture


def test_json_has_a_version_and_names_tiers_in_words(shop: CapabilityGraph) -> None:
    content = json.loads(render(picture_of(shop), "json"))
    assert next(iter(content)) == "version"
    assert content["version"] == 1
    assert [node["tier"] for node in content["journeys"]] == ["smoke", "core", "core", "core", "deep", "deep"]


@pytest.mark.parametrize(
    "text",
    ["[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "journeys": [{"tier": "x"}]}', "nothing"],
)
def test_what_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a picture|Expecting value"):
        picture_from_json(text)


@pytest.mark.parametrize("format_", list(FORMATS))
@LAW
@given(GRAPHS)
def test_the_same_graph_gives_the_same_text(format_: str, graph: CapabilityGraph) -> None:
    again = CapabilityGraph(graph.journeys.values(), graph.capabilities.values(), graph.fixtures)
    assert render(picture_of(graph), format_) == render(picture_of(again), format_)


def test_an_unknown_format_is_refused_with_the_nearest_name(shop: CapabilityGraph) -> None:
    with pytest.raises(ValueError, match=r"no format is called 'mermaids', only .*; did you mean 'mermaid'"):
        render(picture_of(shop), "mermaids")


def test_the_text_says_tier_by_tier_what_each_journey_needs_and_gives(shop: CapabilityGraph) -> None:
    text = render(picture_of(shop), "text")
    assert "\nsmoke\n  version  [gate]\n\ncore\n  open  [chain A, 3 s, critical path]\n" in text
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
    picture = picture_of(graph)
    found = [MERMAID_LINE.fullmatch(line) for line in render(picture, "mermaid").splitlines()]
    matched = [match for match in found if match]
    assert len(matched) == len(found)
    declared = [match["journey"] or match["provider"] for match in matched]
    ends = {match[end] for match in matched for end in ("source", "target") if match[end]}
    assert ends <= set(declared)
    assert len([name for name in declared if name]) == len(picture.journeys) + len(picture.providers)


def test_mermaid_marks_gates_providers_and_the_critical_path(shop: CapabilityGraph) -> None:
    text = render(picture_of(shop), "mermaid")
    assert 'j0{{"version<br/>gate"}}' in text
    assert 'p0(["web-up<br/>service · machine"])' in text
    assert 'j1 ==>|"shop-open<br/>shop-known"| j2' in text
    assert 'p1 -.->|"price-list"| j2' in text
    assert "class p0,p1,p2,p3 provider" in text


NASTY = 'tests/test_x.py::test[<b>"\\a`#;{}|]\n-->&]]>\u2028\x00'


@pytest.fixture
def nasty() -> Picture:
    return picture_of(
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
    text = render(picture_of(graph), "dot")
    assert [line for line in text.splitlines() if not DOT_LINE.fullmatch(line)] == []
    outside_of_strings = re.sub(DOT_STRING, "", text)
    assert outside_of_strings.count("{") == outside_of_strings.count("}")


def test_dot_takes_nothing_from_a_name_as_syntax(nasty: Picture) -> None:
    text = render(nasty, "dot")
    assert all(DOT_LINE.fullmatch(line) for line in text.split("\n")[:-1])
    assert r'"tests/test_x.py::test[<b>\"\\a`#;{}|]\n-->&]]> " [label="tests' in text


def test_dot_names_tokens_on_its_edges(shop: CapabilityGraph) -> None:
    text = render(picture_of(shop), "dot")
    assert r'  "open" -> "order" [label="shop-open\nshop-known", penwidth=3];' in text
    assert '  "fixture:price-list" -> "order" [label="price-list", style=dashed];' in text
    assert '    "version" [label="version\\ngate", shape=octagon];' in text


def test_a_journey_waits_for_what_a_capability_needs_even_where_no_provider_is_drawn() -> None:
    needing = Capability(token=Token("b"), location=HERE, requires={Token("a"): HERE})
    graph = CapabilityGraph(
        [journey("one", establishes="a"), journey("two", establishes="b"), journey("three", requires="b")],
        [needing],
    )
    assert links(picture_of(graph)) == {("two", "three"): "b", ("one", "three"): "a"}
