"""What names in dependency marks mean, decided without pytest."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.collection.dependency_names import (
    MarkedTest,
    Names,
    RuntimeDependsReach,
    dependences,
)
from pytest_dogfood.journey import Dependence, JourneyId, base_of, means_every_instance


def marked(
    nodeid: str,
    *depends: str,
    name: str | None = None,
    scope: str = "module",
    counts: bool = True,
    asks: RuntimeDependsReach = RuntimeDependsReach.NOTHING,
) -> MarkedTest:
    file, first, *rest = nodeid.split("::")
    homes = {"session": "", "module": file}
    if rest:
        homes["class"] = f"{file}::{first}"
    return MarkedTest(
        id=JourneyId(nodeid),
        homes=homes,
        name=name,
        depends=depends,
        scope=scope,
        marked=counts,
        counts=counts,
        asks=asks,
    )


def resolved(*tests: MarkedTest) -> dict[JourneyId, Dependence]:
    return dependences(Names(tests))


def required_by_last(*tests: MarkedTest) -> tuple[str, ...]:
    return resolved(*tests)[tests[-1].id].requires


METHOD = marked("a.py::TestA::test_x[1-b::c]")


@pytest.mark.parametrize(
    "scope, name",
    [
        ("session", "a.py::TestA::test_x[1-b::c]"),
        ("module", "TestA::test_x[1-b::c]"),
        ("class", "test_x[1-b::c]"),
    ],
)
def test_an_automatic_name_leaves_out_what_the_scope_says(scope: str, name: str) -> None:
    user = marked("a.py::TestA::test_y", name, scope=scope)
    assert required_by_last(METHOD, user) == ("a.py::TestA::test_x[1-b::c]",)


def test_a_given_name_is_the_same_in_every_scope() -> None:
    named = marked("a.py::TestA::test_x", name="x")
    users = [
        marked(f"a.py::TestA::test_{scope}", "x", scope=scope) for scope in ("class", "module", "session")
    ]
    found = resolved(named, *users)
    assert [found[user.id].requires for user in users] == [("a.py::x",)] * 3


def test_a_name_counts_only_within_its_scope() -> None:
    found = resolved(marked("a.py::test_x"), marked("b.py::test_y", "test_x"))
    assert found[JourneyId("b.py::test_y")].obstacle is not None


def test_a_test_written_behind_its_dependent_counts_as_well() -> None:
    first, last = marked("a.py::test_user", "x"), marked("a.py::test_x", name="x")
    assert resolved(first, last)[first.id].requires == ("a.py::x",)


def test_a_name_given_twice_means_the_nearest_before() -> None:
    one, two = marked("a.py::TestA::test_x", name="x"), marked("a.py::TestB::test_x", name="x")
    users = [marked(f"a.py::test_user{number}", "x") for number in (1, 2)]
    found = resolved(one, users[0], two, users[1])
    assert [found[user.id].requires for user in users] == [("a.py::x",), ("a.py::x (2)",)]


@pytest.mark.parametrize("name", ["logged-in", "db-ready:linux", "db-ready:*", ":*", "a b", ""])
def test_no_name_can_be_taken_for_a_token_of_a_file(name: str) -> None:
    token = resolved(marked("a.py::test_x", name=name))[JourneyId("a.py::test_x")].establishes
    assert token is not None
    assert base_of(token) == token
    assert not means_every_instance(token)


def test_a_test_without_a_mark_is_left_alone() -> None:
    assert resolved(marked("a.py::test_x", counts=False)) == {}


def test_cycles_are_obstacles_and_what_is_behind_them_is_not() -> None:
    tests = [marked(f"a.py::test_{one}", f"test_{other}") for one, other in ("ab", "bc", "ca", "dd", "ed")]
    found = resolved(*tests)
    ways = [found[test.id].obstacle for test in tests]
    assert [way and f"{way.who} {way.why}" for way in ways] == [
        *["a.py::test_a -> a.py::test_b -> a.py::test_c -> a.py::test_a wait for each other"] * 3,
        "a.py::test_d -> a.py::test_d waits for itself",
        None,
    ]


def test_who_may_ask_comes_after_those_it_may_mean_each_said_once() -> None:
    tests = [
        marked("a.py::test_1"),
        marked("a.py::test_2"),
        marked("a.py::test_3", asks=RuntimeDependsReach.ITS_MODULE),
        marked("b.py::test_4"),
        marked("a.py::test_5"),
        marked("a.py::test_6", asks=RuntimeDependsReach.ITS_MODULE),
        marked("b.py::test_7", asks=RuntimeDependsReach.EVERYTHING, counts=False),
    ]
    found = {mark[-1]: [other[-1] for other in one.follows] for mark, one in resolved(*tests).items()}
    assert found == {
        "1": [],
        "2": [],
        "3": ["1", "2"],
        "4": [],
        "5": [],
        "6": ["3", "5"],
        "7": list("123456"),
    }


@pytest.mark.parametrize(
    "name, scope, why",
    [
        ("test_login", "module", "did you mean 'test_log_in'?"),
        ("test_x", "module", ""),
        ("test_color", "module", "each of its 2 instances has a name of its own, such as 'test_color[red]'"),
        ("test_h", "module", "its mark names it 'h'"),
        ("test_bare", "module", "it is there, but has no mark: give it @pytest.mark.dependency()"),
        ("a.py::test_log_in", "module", "did you mean 'test_log_in'?"),
        ("test_log_in", "session", "did you mean 'a.py::test_log_in'?"),
        ("test_method", "module", "did you mean 'TestA::test_method'?"),
        ("test_far", "module", "did you mean 'b.py::test_far' with scope='session'?"),
        (
            "c.py::test_x",
            "session",
            "nothing of c.py was collected: if it is there, name it on the command line too",
        ),
    ],
)
def test_an_unknown_name_comes_with_what_was_meant(name: str, scope: str, why: str) -> None:
    user = marked("a.py::test_user", name, scope=scope)
    others = (
        marked("a.py::test_log_in"),
        marked("a.py::test_color[red]"),
        marked("a.py::test_color[blue]"),
        marked("a.py::test_h", name="h"),
        marked("a.py::test_bare", counts=False),
        marked("a.py::TestA::test_method"),
        marked("b.py::test_far"),
    )
    obstacle = resolved(*others, user)[user.id].obstacle
    assert obstacle is not None
    assert obstacle.who == repr(name)
    assert obstacle.why.partition("; ")[2] == why


@st.composite
def suites(draw: st.DrawFn) -> tuple[list[MarkedTest], frozenset[JourneyId]]:
    """Make tests of one file that depend on names given before them, or by nobody, and say which of them fail."""
    names = st.sampled_from("abcd")
    tests: list[MarkedTest] = []
    for number in range(draw(st.integers(1, 12))):
        given_before = {test.name for test in tests}
        depends = draw(st.lists(names, max_size=3))
        later = [one for one in depends if one not in given_before]
        kept = [one if one not in later else f"nobody {one}" for one in depends]
        tests.append(marked(f"a.py::test_{number}", *kept, name=draw(names)))
    failing = draw(st.sets(st.sampled_from([test.id for test in tests])))
    return tests, frozenset(failing)


@given(suites())
def test_names_mean_what_they_meant_when_results_were_kept_by_name(
    suite: tuple[list[MarkedTest], frozenset[JourneyId]],
) -> None:
    tests, failing = suite
    passed_by_name: dict[str | None, bool] = {}
    in_file_order: dict[JourneyId, bool] = {}
    for test in tests:
        runs = all(passed_by_name.get(name) for name in test.depends)
        in_file_order[test.id] = passed_by_name[test.name] = runs and test.id not in failing
    found = resolved(*tests)
    passed_by_token: dict[str | None, bool] = {}
    by_graph: dict[JourneyId, bool] = {}
    for test in tests:
        mark = found[test.id]
        runs = mark.obstacle is None and all(passed_by_token[token] for token in mark.requires)
        by_graph[test.id] = passed_by_token[mark.establishes] = runs and test.id not in failing
    assert by_graph == in_file_order
