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
from pytest_dogfood.scheduling.split import split
from tests.support.strategies import ANYWHERE, Scene, dice, new_journey, scenes, with_copyable_tokens

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
    return {str(one): division.states[state] for one, state in split(graph).state_of.items()}


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


@thrifty
@given(scenes(least=1), dice, st.integers(1, 4))
def test_each_state_is_on_one_shard_and_has_what_it_needs_there(
    scene: Scene, die: Random, total: int
) -> None:
    """What is not copyable and is used in a state is established there: no other shard has it."""
    graph = with_copyable_tokens(scene, die).graph()
    tree = split(graph)
    shards = shards_by_id(graph, total, {str(name): die.random() for name in scene.ids})
    assert shards.keys() == graph.journeys.keys()
    for members in tree.members.values():
        assert len({shards[one] for one in members}) <= 1
    for journey in graph.journeys.values():
        for token in set(graph.needed_by(journey)) & set(graph.chain_tokens_of(journey)):
            for maker in graph.establishing(token):
                assert shards[maker] == shards[journey.id] or graph.is_copyable(token)


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


COPYABLE = Capability(token=Token("in"), location=ANYWHERE, copyable=True)


def behind_a_login(features: int, *capabilities: Capability) -> CapabilityGraph:
    users = [journey(f"feature-{number}", needs="in") for number in range(features)]
    return CapabilityGraph([journey("login", gives="in"), *users], [COPYABLE, *capabilities])


def test_parts_of_a_chain_run_on_several_shards() -> None:
    shards = shards_by_id(behind_a_login(8), 2, {"login": 1.0} | {f"feature-{n}": 10.0 for n in range(8)})
    assert sorted(shards[f"feature-{n}"] for n in range(8)) == [1, 1, 1, 1, 2, 2, 2, 2]
    without = CapabilityGraph(behind_a_login(8).journeys.values())
    assert len(set(shards_by_id(without, 2, {}).values())) == 1


def test_parts_stay_where_their_login_is_if_another_one_costs_more_than_it_saves() -> None:
    seconds = {"login": 50.0} | {f"feature-{n}": 10.0 for n in range(3)} | {"other": 40.0}
    graph = behind_a_login(3)
    graph = CapabilityGraph([*graph.journeys.values(), journey("other")], graph.capabilities.values())
    shards = shards_by_id(graph, 2, seconds)
    assert {shards["login"], *(shards[f"feature-{n}"] for n in range(3))} == {3 - shards["other"]}


def test_a_part_costs_also_what_the_states_above_it_rest_on() -> None:
    up = journey("start", gives="up"), journey("boot", gives="booted")
    above = [journey("login", needs="up booted", gives="in"), journey("enter", needs="in", gives="inside")]
    parts = [journey(f"part-{n}", needs="inside") for n in range(2)]
    inside, booted = (
        Capability(token=Token(name), location=ANYWHERE, copyable=True) for name in ("inside", "booted")
    )
    graph = CapabilityGraph([*up, *above, *parts, journey("other")], [MACHINE, COPYABLE, inside, booted])
    for costly in ("start", "boot", "login", "enter"):
        seconds = {"part-0": 5.0, "part-1": 5.0, "other": 18.0, costly: 20.0}
        shards = shards_by_id(graph, 2, seconds)
        assert shards["part-0"] == shards["part-1"] == shards[costly] != shards["other"]


def test_what_only_a_provider_gives_counts_once_on_each_shard() -> None:
    given_by_provider = replace(COPYABLE, provision=new_journey("step").steps)
    users = [journey(f"user-{number}", needs="in") for number in range(4)]
    shards = shards_by_id(CapabilityGraph(users, [given_by_provider]), 2, {})
    assert sorted(shards.values()) == [1, 1, 2, 2]
    graph = CapabilityGraph([*users[:2], journey("other"), journey("short")], [given_by_provider])
    for other, beside in ((1.5, "other"), (2.5, "user-0")):  # the provider counts as one second
        seconds = {"user-0": 0.6, "user-1": 0.5, "other": other, "short": 0.1}
        shards = shards_by_id(graph, 2, seconds)
        assert shards["user-0"] == shards["user-1"] != shards["other"]
        assert shards["short"] == shards[beside]


def test_the_fingerprint_tells_whether_tokens_are_copyable_and_who_shares_a_state() -> None:
    graph = behind_a_login(2)
    plain_graph = CapabilityGraph(graph.journeys.values())
    in_one_directory = [replace(one, workdir="desk") for one in graph.journeys.values()]
    tied = CapabilityGraph(in_one_directory, graph.capabilities.values())
    assert len({fingerprint(one) for one in (graph, plain_graph, tied)}) == 3


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
