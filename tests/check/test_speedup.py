from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.check.speed import best_speed_up, collapsed_chains, with_machine_scope
from pytest_dogfood.diagnostics import Severity
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Token
from tests.support.strategies import ANYWHERE, new_journey

IMAGE = Token("image-built")
LOGIN = Token("logged-in")


def around(*tokens: Token, users: int) -> list[Journey]:
    """Make one journey that establishes the tokens, and users of all of them."""
    names = dict.fromkeys(tokens, ANYWHERE)
    makers = [replace(new_journey(f"make-{token}"), establishes={token: ANYWHERE}) for token in tokens]
    return [*makers, *(replace(new_journey(f"use-{n}"), requires=names) for n in range(users))]


@pytest.fixture
def collapsed() -> tuple[CapabilityGraph, dict[JourneyId, float]]:
    """A chain of 41 journeys and 96 seconds, and seven journeys of two seconds beside it."""
    journeys = [*around(IMAGE, users=40), *(new_journey(f"alone-{n}") for n in range(7))]
    weights = dict.fromkeys((one.id for one in journeys), 2.0)
    weights[JourneyId("make-image-built")] = 15.2
    weights |= {JourneyId(f"use-{n}"): 80.8 / 40 for n in range(40)}
    return CapabilityGraph(journeys), weights


def test_a_chain_that_keeps_most_work_on_one_worker_is_named_with_the_token_that_would_free_it(
    collapsed: tuple[CapabilityGraph, dict[JourneyId, float]],
) -> None:
    (found,) = collapsed_chains(*collapsed)
    assert (found.code, found.severity) == ("chain-collapses-parallelism", Severity.WARNING)
    assert found.message == (
        "chain make-image-built: 41 journeys, 96 s of 110 s on one worker; best possible speed-up with 8 workers "
        "is 1.1; making 'image-built' machine-scoped would give 6.4"
    )
    assert "'scope: machine'" in found.hint


def test_making_the_token_machine_scoped_gives_what_the_warning_promised(
    collapsed: tuple[CapabilityGraph, dict[JourneyId, float]],
) -> None:
    graph, weights = collapsed
    freed = with_machine_scope(graph, [IMAGE])
    assert f"{best_speed_up(freed, weights):.1f}" == "6.4"
    assert list(collapsed_chains(freed, weights)) == []


def test_a_chain_whose_token_is_copyable_does_not_collapse() -> None:
    journeys = around(IMAGE, users=40)
    copyable = Capability(token=IMAGE, location=ANYWHERE, copyable=True)
    graph = CapabilityGraph(journeys, [copyable])
    weights = dict.fromkeys(graph.journeys, 1.0)
    assert f"{best_speed_up(graph, weights):.1f}" == "8.0"
    assert list(collapsed_chains(graph, weights)) == []


def test_a_part_that_keeps_most_work_on_one_worker_is_named_by_its_first_journey() -> None:
    part = [replace(one, requires=dict(one.requires) | {IMAGE: ANYWHERE}) for one in around(LOGIN, users=30)]
    other = replace(new_journey("other"), requires={IMAGE: ANYWHERE})
    copyable = Capability(token=IMAGE, location=ANYWHERE, copyable=True)
    graph = CapabilityGraph([*around(IMAGE, users=0), *part, other], [copyable])
    (found,) = collapsed_chains(graph, dict.fromkeys(graph.journeys, 1.0))
    assert found.message.startswith("the part of make-logged-in: 31 journeys, 31 s of 33 s on one worker; ")
    assert "making 'logged-in' machine-scoped would give" in found.message


def test_changing_a_scope_keeps_what_else_the_capability_says() -> None:
    defined = Capability(token=IMAGE, location=ANYWHERE, description="it is there")
    freed = with_machine_scope(CapabilityGraph(around(IMAGE, users=2), [defined]), [IMAGE])
    assert freed.capabilities == {IMAGE: replace(defined, scope=Scope.MACHINE)}


def test_two_tokens_that_both_tie_a_chain_are_named_together() -> None:
    journeys = around(IMAGE, LOGIN, users=20)
    (found,) = collapsed_chains(CapabilityGraph(journeys), dict.fromkeys((one.id for one in journeys), 1.0))
    assert "making 'image-built' and 'logged-in' machine-scoped would give 8.0" in found.message


def test_tests_that_marks_connect_are_worth_a_remark() -> None:
    journeys = around(Token("test_a.py::test_up"), users=20)
    (found,) = collapsed_chains(CapabilityGraph(journeys), dict.fromkeys((one.id for one in journeys), 1.0))
    assert found.severity == Severity.INFO
    assert found.message.endswith("without the marks that depend on 'test_a.py::test_up' it would be 8.0")


def test_journeys_that_wait_for_each_other_anyway_are_not_called_collapsed() -> None:
    steps = [
        replace(
            new_journey(f"j{n}"),
            requires={Token(f"t{n}"): ANYWHERE},
            establishes={Token(f"t{n + 1}"): ANYWHERE},
        )
        for n in range(20)
    ]
    graph = CapabilityGraph(steps)
    assert list(collapsed_chains(graph, dict.fromkeys(graph.journeys, 1.0))) == []


def test_a_chain_that_is_a_small_part_of_the_work_is_not_called_collapsed() -> None:
    journeys = [*around(IMAGE, users=4), *(new_journey(f"alone-{n}") for n in range(95))]
    graph = CapabilityGraph(journeys)
    assert list(collapsed_chains(graph, dict.fromkeys(graph.journeys, 1.0))) == []


def test_work_without_ties_speeds_up_by_the_number_of_workers() -> None:
    graph = CapabilityGraph(new_journey(f"alone-{n}") for n in range(16))
    assert best_speed_up(graph, dict.fromkeys(graph.journeys, 1.0)) == 8.0


def test_nothing_to_do_cannot_be_sped_up() -> None:
    assert best_speed_up(CapabilityGraph([]), {}) == 1.0
