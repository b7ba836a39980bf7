from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.drawing.picture import LinkKind, Picture, ProviderKind, UnknownNameError, focus
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Scope, Token
from tests.support.small_graphs import (
    HERE,
    STEP,
    graphs,
    journey,
    picture_with_plan,
    report_with_plan,
    shop_graph,
)
from tests.support.strategies import ancestors

GRAPHS = graphs(14)
LAW = settings(deadline=None, max_examples=40)


@pytest.fixture
def shop() -> CapabilityGraph:
    return shop_graph()


def links(picture: Picture) -> dict[tuple[str, str], str]:
    return {(link.source, link.target): " ".join(link.tokens) for link in picture.links}


def test_links_lead_from_who_brings_to_who_requires_with_all_tokens_between_the_two(
    shop: CapabilityGraph,
) -> None:
    assert links(picture_with_plan(shop)) == {
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
    providers = {
        provider.token: (provider.kind, provider.scope) for provider in picture_with_plan(shop).providers
    }
    assert providers == {
        "web-up": (ProviderKind.SERVICE, Scope.MACHINE),
        "price-list": (ProviderKind.FIXTURE, Scope.CHAIN),
        "ordered": (ProviderKind.PROVISION, Scope.CHAIN),
        "card": (ProviderKind.ELSEWHERE, Scope.CHAIN),
    }


def test_a_token_of_the_machine_and_one_of_the_chain_are_links_of_their_own() -> None:
    shared = Capability(token=Token("b"), location=HERE, scope=Scope.MACHINE)
    graph = CapabilityGraph([journey("one", establishes="a b"), journey("two", requires="a b")], [shared])
    assert [(link.tokens, link.scope) for link in picture_with_plan(graph).links] == [
        (("a",), Scope.CHAIN),
        (("b",), Scope.MACHINE),
    ]


def test_the_critical_path_and_its_seconds_are_those_that_check_tells(shop: CapabilityGraph) -> None:
    picture = picture_with_plan(shop)
    report = report_with_plan(shop)
    assert list(map(str, picture.critical_path)) == list(map(str, report.critical_path))
    assert picture.critical_path == ("version", "open", "order", "pay", "close")
    assert picture.critical_seconds == report.forecast.critical_seconds == 17.5
    assert [node.key for node in picture.journeys if node.critical] == list(picture.critical_path)


@LAW
@given(GRAPHS)
def test_whatever_is_known_the_picture_counts_as_the_plan_does(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
    report = report_with_plan(graph)
    assert list(map(str, picture.critical_path)) == list(map(str, report.critical_path))
    assert {node.nodeid: node.seconds for node in picture.journeys} == {
        planned.nodeid: planned.weight for planned in report.plan.journeys
    }


def test_the_critical_path_leads_through_providers() -> None:
    provided = Capability(
        token=Token("u"), location=HERE, scope=Scope.MACHINE, requires={Token("t"): HERE}, provision=(STEP,)
    )
    shared = Capability(token=Token("t"), location=HERE, scope=Scope.MACHINE)
    graph = CapabilityGraph([journey("a", establishes="t"), journey("b", requires="u")], [provided, shared])
    picture = picture_with_plan(graph)
    assert [link.critical for link in picture.links] == [True, True]
    assert [provider.critical for provider in picture.providers] == [True]


def test_a_journey_by_itself_is_not_marked_as_a_critical_path() -> None:
    picture = picture_with_plan(
        CapabilityGraph([journey("short", estimate=1.0), journey("long", estimate=9.0)])
    )
    assert picture.critical_path == ("long",)
    assert not any(node.critical for node in picture.journeys)


def test_chains_that_are_shared_have_letters_and_the_others_none(shop: CapabilityGraph) -> None:
    assert [(chain.id, chain.label, chain.journeys) for chain in picture_with_plan(shop).chains] == [
        ("version", "", 1),
        ("open", "A", 5),
    ]


def test_the_letters_of_chains_go_on_behind_z() -> None:
    pairs = [
        journey(f"{part}{number}", **{key: f"t{number}"})  # type: ignore[arg-type]
        for number in range(28)
        for part, key in (("a", "establishes"), ("b", "requires"))
    ]
    labels = [chain.label for chain in picture_with_plan(CapabilityGraph(pairs)).chains]
    assert labels[24:] == ["Y", "Z", "AA", "AB"]


def required_ancestors(picture: Picture, key: str) -> set[str]:
    before = {link.source for link in picture.links if link.target == key and link.kind is LinkKind.REQUIRES}
    return before.union(*(required_ancestors(picture, one) for one in before))


@LAW
@given(GRAPHS)
def test_a_picture_says_the_same_about_what_comes_before_what_as_the_graph(graph: CapabilityGraph) -> None:
    picture = picture_with_plan(graph)
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
    picture = picture_with_plan(graph)
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


@LAW
@given(GRAPHS, st.data())
def test_a_focus_on_a_token_holds_what_gives_it_and_what_needs_it(
    graph: CapabilityGraph, data: st.DataObject
) -> None:
    picture = picture_with_plan(graph)
    tokens = [token for node in picture.journeys for token in node.establishes]
    if not tokens:
        return
    chosen = data.draw(st.sampled_from(tokens))
    focused = focus(picture, chosen)
    keys = [node.key for node in picture.journeys] + [node.key for node in picture.providers]
    makers = {*graph.establishing(chosen), *(one.key for one in picture.providers if one.token == chosen)}
    needed_first = set[str]().union(*(required_ancestors(picture, maker) for maker in makers))
    users: set[str] = {one.id for one in graph.journeys.values() if chosen in graph.required_by(one)}
    users |= {
        f"{one.kind}:{one.token}" for one in picture.providers if chosen in graph.needs_of_provider(one.token)
    }
    enabled = {key for key in keys if users & required_ancestors(picture, key)}
    destroyers = {one.id for one in graph.journeys.values() if chosen in one.invalidates}
    kept = {node.key for node in focused.journeys} | {node.key for node in focused.providers}
    assert makers | needed_first | users | enabled <= kept
    assert kept <= makers | needed_first | users | enabled | destroyers


def test_a_focus_on_an_unknown_journey_is_refused_with_the_nearest_name(shop: CapabilityGraph) -> None:
    with pytest.raises(
        UnknownNameError, match=r"^no journey or token is called 'ordr'; did you mean 'order'\?$"
    ):
        focus(picture_with_plan(shop), "ordr")


def test_a_focus_on_a_provider_is_refused(shop: CapabilityGraph) -> None:
    with pytest.raises(LookupError, match="no journey or token is called 'service:web-up'"):
        focus(picture_with_plan(shop), "service:web-up")


def test_a_focus_keeps_the_letters_of_the_whole_picture() -> None:
    graph = CapabilityGraph(
        [
            journey("a", establishes="x"),
            journey("b", requires="x"),
            journey("c", establishes="y"),
            journey("d", requires="y"),
        ]
    )
    assert [chain.label for chain in focus(picture_with_plan(graph), "d").chains] == ["B"]


def test_a_journey_waits_for_what_a_capability_needs_even_where_no_provider_is_drawn() -> None:
    needing = Capability(token=Token("b"), location=HERE, requires={Token("a"): HERE})
    graph = CapabilityGraph(
        [journey("one", establishes="a"), journey("two", establishes="b"), journey("three", requires="b")],
        [needing],
    )
    assert links(picture_with_plan(graph)) == {("two", "three"): "b", ("one", "three"): "a"}


@pytest.mark.parametrize("scope", [Scope.MACHINE, Scope.FLEET])
def test_what_spares_a_shared_token_for_those_behind_its_users_is_linked_to_them_too(scope: Scope) -> None:
    shared = Capability(token=Token("up"), location=HERE, scope=scope)
    graph = CapabilityGraph(
        [
            journey("start", establishes="up"),
            journey("use", requires="up", establishes="used"),
            journey("look", requires="used"),
            journey("stop", invalidates="up"),
        ],
        [shared],
    )
    assert links(picture_with_plan(graph)) == {
        ("start", "use"): "up",
        ("use", "look"): "used",
        ("look", "stop"): "up",
    }
