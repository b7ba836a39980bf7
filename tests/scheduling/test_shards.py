"""The division of a project goes by names and seconds, never by the order in which they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Tier, Token
from pytest_dogfood.scheduling.shards import Division, divide, fingerprint
from tests.support.strategies import ANYWHERE, Scene, dice, new_journey, scenes

thrifty = settings(max_examples=100, deadline=None)


def journey(name: str, *, needs: str = "", gives: str = "") -> Journey:
    return replace(
        new_journey(name),
        requires={Token(word): ANYWHERE for word in needs.split()},
        establishes={Token(word): ANYWHERE for word in gives.split()},
    )


MACHINE = Capability(token=Token("up"), location=ANYWHERE, scope=Scope.MACHINE)


def shards_by_id(graph: CapabilityGraph, total: int, seconds: Mapping[str, float]) -> dict[str, int]:
    nodeids = {one.nodeid: seconds.get(one.id, 1.0) for one in graph.journeys.values()}
    division = divide(graph, [], total, seconds=nodeids, committed={})
    return {str(one): division.chains[graph.chains[one]] for one in graph.journeys}


@thrifty
@given(scenes(), dice, st.integers(1, 4))
def test_the_order_of_journeys_and_tests_does_not_matter(scene: Scene, die: Random, total: int) -> None:
    seconds: dict[str, float] = {name: die.choice([0.1, 0.2, 0.3, 0.7]) for name in scene.ids}
    shuffled = CapabilityGraph(die.sample(scene.journeys, len(scene.journeys)), scene.capabilities)
    assert shards_by_id(scene.graph(), total, seconds) == shards_by_id(shuffled, total, seconds)


@thrifty
@given(scenes(), dice, st.integers(1, 4))
def test_chains_stay_whole(scene: Scene, die: Random, total: int) -> None:
    graph = scene.graph()
    shards = shards_by_id(graph, total, {str(name): die.random() for name in scene.ids})
    of_chain = defaultdict(set)
    for one, shard in shards.items():
        of_chain[graph.chains[JourneyId(one)]].add(shard)
    assert all(len(numbers) == 1 for numbers in of_chain.values())


def plain(tests: list[str], committed: dict[str, float]) -> Division:
    return divide(CapabilityGraph([]), tests, 2, seconds={}, committed=committed)


def test_plain_tests_are_divided_by_file_and_weigh_what_is_committed() -> None:
    tests = [*(f"test_many.py::test_{n}" for n in range(8)), "test_slow.py::test", "test_short.py::test"]
    committed = dict.fromkeys(tests, 1.0) | {"test_slow.py::test": 60.0}
    assert plain(tests, committed).files == {"test_slow.py": 1, "test_many.py": 2, "test_short.py": 2}


def test_a_test_that_nobody_has_timed_weighs_as_much_as_the_usual_one() -> None:
    tests = ["test_a.py::test", "test_b.py::test", "test_new.py::test"]
    committed = {"test_a.py::test": 100.0, "test_b.py::test": 90.0, "test_gone.py::test": 90.0}
    assert plain(tests, committed).files == {"test_a.py": 1, "test_b.py": 2, "test_new.py": 2}


def test_the_provider_of_a_machine_wide_token_counts_on_every_shard_that_needs_it() -> None:
    users = [journey(f"user-{n}", needs="up") for n in (1, 2)]
    graph = CapabilityGraph([journey("start", gives="up"), *users, journey("other")], [MACHINE])
    seconds = {"start": 50.0, "user-1": 10.0, "user-2": 10.0, "other": 30.0}
    shards = shards_by_id(graph, 2, seconds)
    assert shards["user-1"] == shards["user-2"] == shards["start"] != shards["other"]


def test_a_replay_costs_also_what_it_rests_on_in_its_chain() -> None:
    chain = [journey("long", gives="built"), journey("start", needs="built", gives="up")]
    graph = CapabilityGraph([*chain, journey("user", needs="up"), journey("other")], [MACHINE])
    shards = shards_by_id(graph, 2, {"long": 50.0, "start": 1.0, "user": 10.0, "other": 40.0})
    assert shards["user"] == shards["start"] != shards["other"]


def test_the_fingerprint_does_not_go_by_order() -> None:
    journeys = [journey("a", gives="up"), journey("b", needs="up")]
    one, other = (CapabilityGraph(several, [MACHINE]) for several in (journeys, journeys[::-1]))
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    "changed",
    [
        journey("a"),
        journey("a", gives="up", needs="x"),
        replace(journey("a", gives="up"), tier=Tier.DEEP),
        replace(journey("a", gives="up"), gating=True),
    ],
)
def test_the_fingerprint_tells_graphs_apart(changed: Journey) -> None:
    assert fingerprint(CapabilityGraph([changed])) != fingerprint(CapabilityGraph([journey("a", gives="up")]))
