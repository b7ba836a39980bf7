"""Tests of the tree of states: the shapes it gives ordinary graphs, and its laws on random ones."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, StateId, Tier, Token
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import Queue, jobs_for
from pytest_dogfood.scheduling.split import StateTree, split
from pytest_dogfood.walks import reachable
from tests.support.played_workers import lineage
from tests.support.small_graphs import HERE, journey
from tests.support.strategies import random_scene, with_copyable_tokens


def copyable(*tokens: str) -> list[Capability]:
    return [Capability(token=Token(token), location=HERE, copyable=True) for token in tokens]


def tree_of(journeys: Iterable[Journey], *tokens: str, more: Iterable[Capability] = ()) -> StateTree:
    return split(CapabilityGraph(journeys, [*copyable(*tokens), *more]))


def journeys_in(tree: StateTree, state: str) -> tuple[JourneyId, ...]:
    return tree.members[StateId(state)]


def test_without_a_copyable_token_each_chain_is_one_state() -> None:
    journeys = [journey("login", establishes="in"), journey("buy", requires="in"), journey("alone")]
    graph = CapabilityGraph(journeys)
    tree = split(graph)
    assert dict(tree.state_of) == dict(graph.chains)  # type: ignore[comparison-overlap]
    assert (tree.forks, tree.positions, tree.split) == ({}, {}, frozenset())
    assert tree.numbers == {"login": 0, "alone": 1}


def test_features_behind_one_login_are_parts_and_so_is_the_logout() -> None:
    features = [journey(f"feature-{number}", requires="in") for number in range(3)]
    logout = journey("logout", requires="in", invalidates="in")
    tree = tree_of([journey("login", establishes="in"), *features, logout], "in")
    assert journeys_in(tree, "login") == ("login",)
    for part in ("feature-0", "feature-1", "feature-2", "logout"):
        assert journeys_in(tree, part) == (part,)
        fork = tree.forks[StateId(part)]
        assert (fork.state, fork.after, fork.goes_on) == ("login", "login", False)


def test_what_follows_alone_goes_on_in_the_state() -> None:
    tree = tree_of(
        [
            journey("a", establishes="a"),
            journey("b", requires="a", establishes="b"),
            journey("c", requires="b"),
        ],
        *("a", "b"),
    )
    assert tree.members == {"a": ("a", "b", "c")}


def test_a_tree_forks_at_each_level() -> None:
    middle = [journey(f"b{one}", requires="a", establishes=f"b{one}") for one in range(2)]
    leaves = [journey(f"c{one}{two}", requires=f"b{one}") for one in range(2) for two in range(2)]
    tree = tree_of([journey("a", establishes="a"), *middle, *leaves], "a", "b0", "b1")
    assert {state: fork.state for state, fork in tree.forks.items()} == {
        "b0": "a", "b1": "a", "c00": "b0", "c01": "b0", "c10": "b1", "c11": "b1",
    }  # fmt: skip


def test_what_is_joined_again_is_not_split() -> None:
    sides = [journey(name, requires="a", establishes=name) for name in ("left", "right")]
    tree = tree_of(
        [journey("a", establishes="a"), *sides, journey("end", requires="left right")], "a", "left", "right"
    )
    assert tree.members == {"a": ("a", "left", "right", "end")}


def test_what_only_providers_tie_falls_apart_below_an_empty_state() -> None:
    tree = tree_of([journey("one", requires="data"), journey("two", requires="data")], "data")
    assert tree.members == {"one": ("one",), "two": ("two",), "data (template)": ()}
    assert {(fork.after, fork.provided) for fork in tree.forks.values()} == {(None, ("data",))}


def test_providers_have_the_place_of_a_journey() -> None:
    tree = tree_of(
        [
            journey("one", requires="data"),
            journey("two", requires="data user"),
            journey("three", requires="user data"),
            journey("four", requires="data"),
        ],
        *("data", "user"),
    )
    assert {state: (fork.state, fork.provided) for state, fork in tree.forks.items()} == {
        "one": ("data (template)", ("data",)),
        "four": ("data (template)", ("data",)),
        "user (template)": ("data (template)", ("data",)),
        "two": ("user (template)", ("user",)),
        "three": ("user (template)", ("user",)),
    }


def test_what_a_single_part_needs_of_a_provider_is_provisioned_in_its_state() -> None:
    tree = tree_of(
        [
            journey("login", establishes="in"),
            journey("one", requires="in data"),
            journey("two", requires="in"),
        ],
        *("in", "data"),
    )
    assert tree.members[StateId("one")] == ("one",)
    assert {fork.state for fork in tree.forks.values()} == {"login"}


def test_users_of_a_token_that_is_not_copyable_stay_in_its_state_and_the_others_are_copied_before() -> None:
    tree = tree_of(
        [
            journey("a", establishes="a"),
            journey("x", requires="a", establishes="fixed"),
            journey("y", requires="fixed"),
            journey("z", requires="fixed a"),
            journey("w", requires="a"),
        ],
        "a",
    )
    assert journeys_in(tree, "x") == ("x", "y", "z")
    assert journeys_in(tree, "w") == ("w",)


def test_a_group_that_needs_what_holds_already_goes_on_in_the_state_itself() -> None:
    tree = tree_of(
        [
            journey("a", establishes="a fixed"),
            journey("keeps", requires="a fixed"),
            journey("apart-1", requires="a"),
            journey("apart-2", requires="a"),
        ],
        "a",
    )
    assert journeys_in(tree, "a") == ("a", "keeps")
    fork = tree.forks[StateId("apart-1")]
    assert (fork.state, fork.after, fork.goes_on) == ("a", "a", True)
    assert tree.forks[StateId("apart-2")] == fork


def test_what_a_copyable_token_rests_on_keeps_its_users_in_one_state_unless_it_is_copyable_too() -> None:
    journeys = [
        journey("serve", establishes="server"),
        journey("login", requires="server", establishes="in"),
        journey("one", requires="in"),
        journey("two", requires="in"),
    ]
    assert len(tree_of(journeys, "in").members) == 1
    assert len(tree_of(journeys, "in", "server").members) == 3


def test_a_shared_directory_ties_journeys() -> None:
    sharing = [
        replace(journey("write", requires="in", establishes="written"), workdir="desk"),
        replace(journey("read", requires="in written"), workdir="desk"),
    ]
    tree = tree_of(
        [journey("login", establishes="in"), *sharing, journey("other", requires="in")], *("in", "written")
    )
    assert journeys_in(tree, "write") == ("write", "read")


def test_the_longest_way_comes_first_in_a_split_chain_only() -> None:
    names = ["short", "long-1", "long-2"]
    journeys = [
        journey("short", requires="in fixed"),
        journey("long-1", requires="in fixed", establishes="half"),
        journey("long-2", requires="half"),
        journey("login", establishes="in fixed"),
    ]
    assert journeys_in(tree_of(journeys, "in", "half"), "login") == ("login", "long-1", "short", "long-2")
    plan = make_plan(CapabilityGraph(journeys), [JourneyId(name) for name in (*names, "login")])
    assert [one.id for one in plan.journeys] == ["login", *names]


def test_gates_order_the_journeys_of_a_state() -> None:
    journeys = [
        journey("login", establishes="in fixed"),
        journey("long-1", requires="in fixed", establishes="half"),
        journey("long-2", requires="half in"),
        journey("gate", requires="in fixed", tier=Tier.SMOKE, gating=True),
    ]
    journeys[0] = replace(journeys[0], tier=Tier.SMOKE)
    tree = tree_of(journeys, "in", "half")
    assert journeys_in(tree, "login") == ("login", "gate", "long-1", "long-2")


def test_tests_that_follow_each_other_share_a_state() -> None:
    tests = [
        replace(journey(f"test.py::test_{number}", requires="in", python=True), follows=follows)
        for number, follows in enumerate(
            [(), (JourneyId("test.py::test_0"),), (JourneyId("test.py::test_1"),)]
        )
    ]
    tree = tree_of([journey("login", establishes="in"), *tests, journey("other", requires="in")], "in")
    assert journeys_in(tree, "test.py::test_0") == tuple(test.id for test in tests)


def random_graph(seed: int, *, most: int = 14, providers: bool = True) -> CapabilityGraph:
    """Return a random sound graph in which some tokens of chains are copyable.

    Without `providers` only tokens that journeys establish are.
    """
    dice = Random(seed)  # noqa: S311 - a die, no secret
    scene = with_copyable_tokens(random_scene(dice, least=1, most=most), dice)
    journeys = [replace(one, workdir="desk") if dice.random() < 0.1 else one for one in scene.journeys]
    made = {token for one in journeys for token in one.establishes}
    capabilities = [
        one if providers or one.token in made else replace(one, copyable=False) for one in scene.capabilities
    ]
    return CapabilityGraph(journeys, capabilities)


def fixed_in_place(graph: CapabilityGraph, one: JourneyId) -> set[Hashable]:
    """Return the tokens of chains that keep a journey in the state of the others that use them."""
    tokens = reachable(
        graph.chain_tokens_of(graph.journeys[one]),
        lambda token: [base for base in graph.rests_on(token) if graph.scope_of(base) is Scope.CHAIN],
    )
    return {token for token in tokens if not graph.is_copyable(token)}


def needed_here(graph: CapabilityGraph, one: Journey) -> set[Token]:
    """Return the tokens that a journey needs in the state of its chain."""
    return set(graph.chain_tokens_of(one)) & set(graph.needed_by(one))


def split_slowly(graph: CapabilityGraph, tree: StateTree) -> dict[JourneyId, tuple[str, JourneyId | None]]:
    """Return each journey's state, and behind which journey this begins, by the rule as it is told in words."""
    fixed = {one: fixed_in_place(graph, one) for one in graph.journeys}

    def is_tied(one: JourneyId, later: JourneyId) -> bool:
        first, second = graph.journeys[one], graph.journeys[later]
        made = {token for token in first.establishes if graph.is_copyable(token)}
        directory = first.workdir is not None and first.workdir == second.workdir
        return bool(fixed[one] & fixed[later] or made & needed_here(graph, second)) or directory

    def groups_in(journeys: list[JourneyId]) -> list[list[JourneyId]]:
        found: list[list[JourneyId]] = []
        for one in journeys:
            tied = [group for group in found if any(is_tied(other, one) for other in group)]
            found = [group for group in found if group not in tied]
            found.append(
                sorted([*(other for group in tied for other in group), one], key=tree.positions.__getitem__)
            )
        return sorted(found, key=lambda group: tree.positions[group[0]])

    result: dict[JourneyId, tuple[str, JourneyId | None]] = {}

    def run(state: str, begins: JourneyId | None, journeys: list[JourneyId], held: set[Hashable]) -> None:
        first, *rest = journeys
        result[first] = (state, begins)
        held = held | fixed[first]
        groups = groups_in(rest)
        kept = [group for group in groups if any(fixed[one] & held for one in group)]
        apart = [group for group in groups if group not in kept]
        if kept or len(apart) == 1:
            on = [one for group in kept or apart for one in group]
            run(state, begins, sorted(on, key=tree.positions.__getitem__), held)
        for group in apart if kept or len(apart) > 1 else ():
            run(group[0], first, group, held)

    for chain in tree.split:
        order = [one for one in tree.positions if graph.chains[one] == chain]
        for group in groups_in(order):
            run(group[0], None, group, set())
    return result


@given(st.integers(0, 2**32))
def test_the_fast_rule_is_the_slow_one(seed: int) -> None:
    graph = random_graph(seed, providers=False)
    tree = split(graph)
    for one, (state, begins) in split_slowly(graph, tree).items():
        fork = tree.forks.get(tree.state_of[one])
        assert (tree.state_of[one], fork and fork.after) == (state, begins)


@given(st.integers(0, 2**32))
def test_what_a_journey_needs_was_made_in_its_state_or_in_one_that_it_copies(seed: int) -> None:
    graph = random_graph(seed)
    tree = split(graph)
    assert sorted(one for members in tree.members.values() for one in members) == sorted(graph.journeys)
    for one in map(graph.journeys.__getitem__, tree.positions):
        before = {one.id, *lineage(tree, one.id)}
        for token in needed_here(graph, one):
            assert before.issuperset(set(graph.establishing(token)))
    for first, second in combinations(tree.positions, 2):
        if fixed_in_place(graph, first) & fixed_in_place(graph, second):
            assert tree.state_of[first] == tree.state_of[second]


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_in_each_state_the_same_journeys_run_before_an_item_however_many_workers_there_are(
    seed: int, workers: int
) -> None:
    graph = random_graph(seed)
    tree = split(graph)
    dice = Random(seed)  # noqa: S311 - a die, no secret
    selected = [one for one in graph.journeys if dice.random() < 0.8]
    durations = {one.nodeid: dice.random() for one in graph.journeys.values()}
    plan = make_plan(graph, selected, durations=durations)
    queue = Queue(jobs_for([one.nodeid for one in plan.journeys], plan, "load"))
    names = [f"gw{number}" for number in range(workers)]
    for name in names:
        queue.add_worker(name)
    finished: list[JourneyId] = []
    running: list[tuple[str, int]] = []
    while not queue.is_done:
        running += [(name, index) for name in names for index in queue.next_for(name)]
        name, index = running.pop(dice.randrange(len(running)))
        one = plan.journeys[index].id
        if one in tree.positions:
            assert set(finished).issuperset(set(lineage(tree, one)) & set(selected))
            state = tree.state_of[one]
            here = [other for other in finished if tree.state_of[other] == state]
            members = tree.members[state]
            assert here == [other for other in members[: members.index(one)] if other in selected]
        queue.finish(index)
        finished.append(one)


@pytest.mark.parametrize("each", [1, 2], ids=["all copyable", "half of them"])
def test_a_project_of_thousands_is_split_in_one_walk(each: int) -> None:
    count = 20_000
    journeys = [journey("j0", establishes="t0")]
    for number in range(1, count):
        requires = f"t{number // 2}" if number % 3 else f"t{number - 1}"
        journeys.append(journey(f"j{number}", requires=requires, establishes=f"t{number}"))
    tokens = [f"t{number}" for number in range(0, count, each)]
    tree = tree_of(journeys, *tokens)
    assert sum(map(len, tree.members.values())) == count
