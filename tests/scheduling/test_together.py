"""Items are bound to one machine where nothing could provide on another what they need."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Scope, Step, Token
from pytest_dogfood.scheduling.together import groups_on_one_machine
from tests.scheduling.test_plan import journey
from tests.support.strategies import ANYWHERE


def shared(token: str, scope: Scope = Scope.MACHINE, needs: Sequence[str] = ()) -> Capability:
    return Capability(
        token=Token(token), location=ANYWHERE, scope=scope, requires={Token(one): ANYWHERE for one in needs}
    )


def provided(token: str, needs: Sequence[str] = ()) -> Capability:
    return replace(shared(token, needs=needs), provision=(Step(location=ANYWHERE, run="true"),))


def groups(journeys: Sequence[Journey], *capabilities: Capability) -> list[set[str]]:
    graph = CapabilityGraph(journeys, capabilities)
    return [set(group) for group in groups_on_one_machine(graph, [one.id for one in journeys])]


TEST = journey("test-a", gives="up", python=True)
USES = [journey("b", needs="up"), journey("c", needs="up")]
APART = journey("apart")


def test_what_only_a_test_establishes_for_a_machine_binds_those_who_need_it() -> None:
    assert groups([TEST, *USES, APART], shared("up")) == [{"test-a", "b", "c"}]


def test_a_journey_that_uses_fixtures_binds_as_well() -> None:
    fixture = replace(journey("with-fixture", gives="up"), use=("helper",))
    assert groups([fixture, *USES], shared("up")) == [{"with-fixture", "b", "c"}]


@pytest.mark.parametrize(
    "made", [[journey("a", gives="up")], [TEST, journey("a", gives="up")]], ids=["journey", "both"]
)
def test_a_journey_that_can_be_replayed_binds_nobody(made: list[Journey]) -> None:
    tests = {one.id for one in made if one.python}
    assert groups([*made, *USES], shared("up")) == ([{*tests, "b", "c"}] if tests else [])


def test_a_provider_binds_nobody_and_what_holds_on_every_machine_neither() -> None:
    assert groups([TEST, *USES], provided("up")) == []
    assert groups([TEST, *USES], shared("up", Scope.FLEET)) == []


def test_what_a_provider_or_a_replay_needs_binds_too() -> None:
    through_provider = [TEST, journey("d", needs="web")]
    assert groups([*through_provider, APART], shared("up"), provided("web", ["up"])) == [{"test-a", "d"}]
    through_replay = [TEST, journey("m", needs="up", gives="web"), journey("d", needs="web")]
    assert groups([*through_replay, APART], shared("up"), shared("web")) == [{"test-a", "m", "d"}]


def test_a_chain_is_together_anyway() -> None:
    assert groups([TEST, *USES]) == []


def test_parts_are_bound_to_the_test_whose_state_they_copy() -> None:
    copyable = replace(shared("up", Scope.CHAIN), copyable=True)
    assert groups([TEST, *USES, APART], copyable) == [{"test-a", "b", "c"}]
    assert groups([journey("a", gives="up"), *USES], copyable) == []
