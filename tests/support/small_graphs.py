"""Small graphs, written out or random, for tests of what is made of them."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from pytest_dogfood.check.report import Report, report_on
from pytest_dogfood.diagnostics import Location
from pytest_dogfood.drawing.picture import Picture, picture_of
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Service, Step, Tier, Token
from pytest_dogfood.scheduling.plan import known_seconds, make_plan, weights
from tests.support.strategies import random_scene

HERE = Location("shop.journey.yaml", 3, 5)
STEP = Step(location=HERE, run="true")


def graphs(most: int) -> st.SearchStrategy[CapabilityGraph]:
    """Random sound graphs. Hypothesis chooses and shrinks their size only, which is ten times as fast."""
    return st.builds(
        lambda size, seed: random_scene(Random(seed), least=1, most=size).graph(),  # noqa: S311 - a die, no secret
        st.integers(1, most),
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


def report_with_plan(graph: CapabilityGraph) -> Report:
    """Return the report on a graph and on the plan to run all of it, as nothing but its estimates is known."""
    durations = weights(graph.journeys.values(), seen={}, committed={})
    known = known_seconds(graph.journeys.values(), seen={}, committed={})
    return report_on(graph, make_plan(graph, list(graph.journeys), durations=durations), (), known=known)


def picture_with_plan(graph: CapabilityGraph) -> Picture:
    """Return the picture of a graph with what that report says."""
    return picture_of(graph, report_with_plan(graph))


def shop_graph() -> CapabilityGraph:
    """A graph with every kind of provider, gates, tiers, and a journey that destroys what others need."""
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
