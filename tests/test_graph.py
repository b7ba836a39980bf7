from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Save, Scope, Step, Token
from tests.support.strategies import ANYWHERE, new_journey

STEP = Step(location=ANYWHERE, run="true")


def journey(
    name: str, *, needs: str = "", gives: str = "", spoils: str = "", python: bool = False
) -> Journey:
    return replace(
        new_journey(name),
        requires={Token(word): ANYWHERE for word in needs.split()},
        establishes={Token(word): ANYWHERE for word in gives.split()},
        invalidates={Token(word): ANYWHERE for word in spoils.split()},
        python=python,
    )


def capability(
    token: str, *, scope: Scope = Scope.CHAIN, needs: str = "", provided: bool = False
) -> Capability:
    return Capability(
        token=Token(token),
        location=ANYWHERE,
        scope=scope,
        requires={Token(word): ANYWHERE for word in needs.split()},
        provision=(STEP,) if provided else (),
    )


def before(graph: CapabilityGraph, name: str) -> tuple[str, ...]:
    return graph.prerequisites[JourneyId(name)]


def chains(graph: CapabilityGraph) -> dict[str, str]:
    return {str(name): str(chain) for name, chain in graph.chains.items()}


def test_dependents_come_after_every_establisher_of_what_they_need() -> None:
    graph = CapabilityGraph([journey("c", needs="t"), journey("a", gives="t"), journey("b", gives="t")])
    assert before(graph, "c") == ("a", "b")


def test_what_a_provider_needs_comes_before_those_who_need_what_it_provides() -> None:
    graph = CapabilityGraph(
        [journey("a", gives="base"), journey("c", needs="top")],
        [capability("top", needs="base", provided=True)],
    )
    assert before(graph, "c") == ("a",)


def test_a_journey_that_requires_what_it_establishes_does_not_wait_for_itself() -> None:
    assert before(CapabilityGraph([journey("a", needs="t", gives="t")]), "a") == ()


def test_who_destroys_a_token_comes_after_those_who_need_it() -> None:
    graph = CapabilityGraph(
        [journey("end", needs="t", spoils="t"), journey("a", gives="t"), journey("b", needs="t")]
    )
    assert before(graph, "end") == ("a", "b")


def test_of_two_that_need_and_destroy_the_same_token_the_first_given_goes_first() -> None:
    graph = CapabilityGraph(
        [
            journey("one", needs="t", spoils="t"),
            journey("two", needs="t", spoils="t"),
            journey("a", gives="t"),
        ]
    )
    assert before(graph, "two") == ("a", "one")
    assert before(graph, "one") == ("a",)


def test_who_only_destroys_a_token_lets_one_go_first_that_needs_it_too() -> None:
    graph = CapabilityGraph(
        [journey("cleaner", spoils="t"), journey("user", needs="t", spoils="t"), journey("a", gives="t")]
    )
    assert "user" in before(graph, "cleaner")


def test_who_destroys_a_token_goes_first_if_a_user_of_the_token_depends_on_it() -> None:
    graph = CapabilityGraph(
        [journey("wipe", spoils="t", gives="clean"), journey("a", gives="t"), journey("b", needs="t clean")]
    )
    assert before(graph, "b") == ("a", "wipe")
    assert before(graph, "wipe") == ("a",)


def test_a_machine_wide_token_is_spared_until_those_are_through_for_whom_a_user_may_be_replayed() -> None:
    graph = CapabilityGraph(
        [
            journey("stop", spoils="daemon"),
            journey("login", needs="daemon", gives="session"),
            journey("shop", needs="session"),
        ],
        [capability("daemon", scope=Scope.MACHINE, provided=True)],
    )
    assert before(graph, "stop") == ("login", "shop")


def test_a_chain_token_ties_its_journeys_together() -> None:
    graph = CapabilityGraph([journey("b", needs="t"), journey("x"), journey("a", gives="t")])
    assert chains(graph) == {"b": "a", "x": "x", "a": "a"}


def test_a_machine_token_ties_nobody() -> None:
    graph = CapabilityGraph(
        [journey("a", gives="t"), journey("b", needs="t")], [capability("t", scope=Scope.MACHINE)]
    )
    assert chains(graph) == {"a": "a", "b": "b"}


def test_what_a_machine_wide_provider_needs_ties_nobody_who_merely_uses_it() -> None:
    graph = CapabilityGraph(
        [journey("a", gives="base"), journey("b", needs="top")],
        [capability("top", scope=Scope.MACHINE, needs="base", provided=True)],
    )
    assert chains(graph) == {"a": "a", "b": "b"}


def test_what_a_chain_wide_provider_needs_ties_who_uses_it() -> None:
    graph = CapabilityGraph(
        [journey("a", gives="base"), journey("b", needs="top")],
        [capability("top", needs="base", provided=True)],
    )
    assert chains(graph) == {"a": "a", "b": "a"}


def test_destroying_a_chain_token_ties_too() -> None:
    graph = CapabilityGraph([journey("a", gives="t"), journey("z", spoils="t")])
    assert chains(graph) == {"a": "a", "z": "a"}


def test_an_instance_has_the_definition_of_its_base_unless_it_has_its_own() -> None:
    own = capability("db:linux")
    graph = CapabilityGraph([], [capability("db", scope=Scope.MACHINE), own])
    assert graph.scope_of(Token("db:mac")) is Scope.MACHINE
    assert graph.scope_of(Token("db:linux")) is Scope.CHAIN


def test_a_token_is_copyable_by_the_word_of_its_definition_and_only_in_a_chain_state() -> None:
    words = {"copied": Scope.CHAIN, "shared": Scope.MACHINE}
    definitions = [replace(capability(token, scope=scope), copyable=True) for token, scope in words.items()]
    graph = CapabilityGraph([journey("a", gives="undefined")], [*definitions, capability("plain")])
    tokens = ["copied", "copied:linux", "shared", "plain", "undefined", "unknown"]
    assert [token for token in tokens if graph.is_copyable(Token(token))] == ["copied", "copied:linux"]


def test_a_star_means_every_instance_that_somebody_establishes() -> None:
    user = journey("u", needs="db:*")
    graph = CapabilityGraph([journey("a", gives="db:linux"), journey("b", gives="db:mac"), user])
    assert graph.required_by(user) == ("db:linux", "db:mac")
    assert before(graph, "u") == ("a", "b")


@pytest.mark.parametrize(
    "journeys, capabilities, known",
    [
        ([], [], False),
        ([journey("a", gives="t")], [], True),
        ([journey("a", gives="t", python=True)], [], True),
        ([journey("a", gives="t", python=True)], [capability("t")], True),
        ([], [capability("t")], True),
    ],
    ids=["nowhere", "journey", "python alone", "python and definition", "definition"],
)
def test_a_token_is_known_if_a_journey_or_test_establishes_or_a_file_defines_it(
    journeys: list[Journey], capabilities: list[Capability], *, known: bool
) -> None:
    assert CapabilityGraph(journeys, capabilities).is_known(Token("t")) is known


def test_tests_of_one_marked_class_establish_only_together() -> None:
    tests = [
        replace(journey(name, gives="t", python=True), groups={Token("t"): "TestClass"})
        for name in ("x", "y")
    ]
    graph = CapabilityGraph([*tests, journey("a", gives="t")])
    assert [*graph.establishers[Token("t")]] == [("x", "y"), ("a",)]


def test_a_provider_that_does_not_give_a_value_somebody_asks_for_does_not_count() -> None:
    saving = replace(STEP, save=(Save(name="id", pattern=".*"),))
    producer = replace(journey("a", gives="t"), steps=(saving,))
    modest = journey("b", needs="t")
    asking = replace(journey("c", needs="t"), steps=(replace(STEP, run="echo $DOGFOOD_T_ID"),))
    provided = capability("t", provided=True)
    assert CapabilityGraph([producer, modest], [provided]).has_own_provider(Token("t"))
    assert not CapabilityGraph([producer, asking], [provided]).has_own_provider(Token("t"))


def test_order_keeps_what_is_given_and_puts_cycles_last() -> None:
    journeys = [
        journey("x", needs="s", gives="t"),
        journey("y", needs="t", gives="s"),
        journey("late", needs="u"),
        journey("early", gives="u"),
        journey("free"),
    ]
    graph = CapabilityGraph(journeys)
    assert graph.ordered(graph.journeys) == ("early", "late", "free", "x", "y")


def test_the_first_of_two_journeys_with_one_id_counts() -> None:
    first, second = journey("a", gives="t"), journey("a", gives="s")
    assert CapabilityGraph([first, second]).journeys == {"a": first}


def test_a_test_follows_others_in_one_chain_except_those_that_wait_for_it() -> None:
    first = journey("first", gives="one")
    second = journey("second", needs="two")
    third = replace(journey("third", gives="two"), follows=(JourneyId("first"), JourneyId("second")))
    graph = CapabilityGraph([first, second, third])
    assert graph.prerequisites == {"first": (), "second": ("third",), "third": ("first",)}
    assert len(set(graph.chains.values())) == 1


def saving(name: str, gives: str) -> Journey:
    step = Step(location=ANYWHERE, run="true", save=(Save(name="port", pattern="."),))
    return replace(journey(name, gives=gives), steps=(step,))


def naming(variable: str) -> tuple[Step, ...]:
    return (Step(location=ANYWHERE, run=f"curl ${variable}"),)


@pytest.mark.parametrize(
    "journeys, capabilities, wanted",
    [
        ([journey("u", needs="base")], [], set()),
        ([replace(journey("u", needs="base"), steps=naming("DOGFOOD_BASE_PORT"))], [], {"port"}),
        ([replace(journey("u", needs="top"), steps=naming("DOGFOOD_BASE_PORT"))], [], {"port"}),
        ([replace(journey("u", needs="top"), steps=naming("DOGFOOD_BASE_PORTS"))], [], set()),
        ([], [replace(capability("more", needs="top"), provision=naming("DOGFOOD_BASE_PORT"))], {"port"}),
        ([journey("u", needs="base", python=True)], [], {"port"}),
        ([journey("u", needs="top", python=True)], [], set()),
    ],
    ids=[
        "unnamed",
        "direct",
        "through a provider",
        "another name",
        "by a provider",
        "python",
        "python above",
    ],
)
def test_a_value_is_wanted_by_what_names_it_and_is_given_it(
    journeys: list[Journey], capabilities: list[Capability], wanted: set[str]
) -> None:
    graph = CapabilityGraph(
        [saving("a", "base"), *journeys], [capability("top", needs="base"), *capabilities]
    )
    assert graph.values_wanted(Token("base")) == wanted
