from __future__ import annotations

import sys

import pytest
from msgspec.structs import replace

from pytest_dogfood.check.errors import diagnose, diagnose_ids
from pytest_dogfood.diagnostics import Diagnostic, InvalidProjectError, Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Pool, Save, Scope, Service, Step, Tier, Token
from tests.support.strategies import ANYWHERE, new_journey

STEP = Step(location=ANYWHERE, run="true")


def at(line: int) -> Location:
    return Location("shop.yaml", line, 3)


def journey(line: int, name: str, *, needs: str = "", gives: str = "", spoils: str = "") -> Journey:
    """Make a journey at a line; its requirements stand on the next, what it destroys on the one after that."""
    return replace(
        new_journey(name),
        location=at(line),
        requires={Token(word): at(line + 1) for word in needs.split()},
        establishes={Token(word): at(line) for word in gives.split()},
        invalidates={Token(word): at(line + 2) for word in spoils.split()},
    )


def capability(line: int, token: str, *, needs: str = "", provided: bool = True) -> Capability:
    return Capability(
        token=Token(token),
        location=at(line),
        requires={Token(word): at(line + 1) for word in needs.split()},
        provision=(STEP,) if provided else (),
    )


def only(*things: Journey | Capability, fixtures: dict[Token, str] | None = None) -> Diagnostic:
    journeys = [one for one in things if isinstance(one, Journey)]
    capabilities = [one for one in things if isinstance(one, Capability)]
    (found,) = diagnose(CapabilityGraph(journeys, capabilities, fixtures))
    return found


def test_an_unknown_token_is_found_where_it_is_required_with_the_nearest_known_one() -> None:
    found = only(journey(10, "a", gives="session"), journey(20, "b", needs="sesion"))
    assert str(found) == (
        "shop.yaml:21:3: journey 'b' names 'sesion', which nothing establishes, provides or defines "
        "[unknown-token]\n    hint: did you mean 'session'?"
    )


def test_an_unknown_token_that_resembles_nothing_comes_with_a_way_out() -> None:
    found = only(journey(10, "a", needs="moon"))
    assert (found.location, found.code) == (at(11), "unknown-token")
    assert found.hint == (
        "let a journey or a test establish it, let a fixture provide it (@pytest_dogfood.provides), "
        "or define it in dogfood.yaml:\n        capabilities:\n          moon: {provision: [{run: COMMAND}]}"
    )


def test_tokens_that_resemble_nothing_come_with_one_hint_for_all_of_them() -> None:
    found = diagnose(CapabilityGraph([journey(10, "a", needs="moon sun"), journey(20, "b", needs="moon")]))
    (hint,) = {one.hint for one in found}
    assert hint.endswith(
        "\n          moon: {provision: [{run: COMMAND}]}\n          sun: {provision: [{run: COMMAND}]}"
    )
    assert str(InvalidProjectError(found)).count("hint: ") == 1


def test_a_token_needs_no_definition_if_a_test_establishes_or_a_fixture_provides_it() -> None:
    test = replace(journey(10, "test_a.py::test_login", gives="logged-in"), python=True)
    user = journey(20, "b", needs="logged-in account")
    assert diagnose(CapabilityGraph([test, user], fixtures={Token("account"): "account"})) == ()


def test_what_a_test_requires_in_vain_is_told_as_of_a_test() -> None:
    test = replace(journey(10, "test_a.py::test_buy", needs="acount"), python=True)
    found = only(test, fixtures={Token("account"): "account"})
    assert found.message == (
        "test 'test_a.py::test_buy' names 'acount', which nothing establishes, provides or defines"
    )
    assert found.hint == "did you mean 'account'?"


def test_a_token_that_python_files_may_give_is_not_unknown_and_is_suggested() -> None:
    graph = CapabilityGraph([journey(10, "a", needs="moon mon")])
    (found,) = diagnose(graph, elsewhere=[Token("moon")])
    assert (found.location, found.hint) == (at(11), "did you mean 'moon'?")


def test_an_unknown_token_is_found_where_it_is_invalidated() -> None:
    found = only(journey(10, "a", spoils="moon"))
    assert (found.location, found.code) == (at(12), "unknown-token")


def test_an_unknown_token_is_found_in_the_requirements_of_a_capability() -> None:
    found = only(capability(10, "t", needs="moon"))
    assert (found.location, found.code) == (at(11), "unknown-token")
    assert "capability 't' names 'moon'" in found.message


def test_an_unknown_token_is_found_where_a_capability_invalidates_it() -> None:
    spoiling = replace(capability(10, "t"), invalidates={Token("moon"): at(12)})
    found = only(spoiling)
    assert (found.location, found.code) == (at(12), "unknown-token")
    assert "capability 't' names 'moon'" in found.message


def outliving(*, needed_by_maker: bool) -> Diagnostic | None:
    """Diagnose a token that outlives another, which the journey that establishes it needs or not."""
    maker = journey(1, "write", gives="written", needs="old" if needed_by_maker else "")
    written = replace(capability(2, "written", provided=False), outlives={Token("old"): at(3)})
    found = diagnose(CapabilityGraph([maker], [capability(4, "old"), written]))
    return found[0] if found else None


def test_a_token_outlives_what_a_journey_needs_that_establishes_it() -> None:
    assert outliving(needed_by_maker=True) is None


def test_a_token_outlives_nothing_that_is_not_needed_to_make_it() -> None:
    found = outliving(needed_by_maker=False)
    assert found is not None
    assert (found.code, found.location) == ("outlives-unrequired", at(3))


def test_a_star_without_any_instance_is_an_unknown_token() -> None:
    found = only(journey(10, "a", gives="data:linux"), journey(20, "b", needs="dat:*"))
    assert (found.location, found.code, found.hint) == (at(21), "unknown-token", "did you mean 'data'?")
    assert found.message == "journey 'b' names every instance of 'dat', but nothing establishes one"


def test_a_cycle_lists_its_whole_path_and_every_place_on_it() -> None:
    found = only(
        journey(10, "a", needs="from-c", gives="from-a"),
        journey(20, "b", needs="from-a", gives="from-b"),
        journey(30, "c", needs="from-b", gives="from-c"),
        journey(40, "outside", needs="from-a"),
    )
    assert str(found) == (
        "shop.yaml:11:3: dependency cycle: a -> c -> b -> a\n"
        "    'a' requires 'from-c' (shop.yaml:11:3)\n"
        "    'c' requires 'from-b' (shop.yaml:31:3)\n"
        "    'b' requires 'from-a' (shop.yaml:21:3) [cycle]\n"
        "    hint: give one of these tokens a 'provision:', or split one of the journeys"
    )


def test_two_cycles_are_both_found() -> None:
    journeys = [
        journey(10, "a", needs="t", gives="s"),
        journey(20, "b", needs="s", gives="t"),
        journey(30, "c", needs="v", gives="u"),
        journey(40, "d", needs="u", gives="v"),
    ]
    assert [one.location for one in diagnose(CapabilityGraph(journeys))] == [at(11), at(31)]


def test_a_cycle_through_the_needs_of_a_provider_names_the_definition() -> None:
    found = only(
        capability(10, "top", needs="base"),
        journey(20, "a", needs="top", gives="t"),
        journey(30, "b", needs="t", gives="base"),
    )
    assert found.location == at(11)
    assert "a -> b -> a\n    'a' requires 'base' (shop.yaml:11:3)\n" in found.message


def test_a_provider_that_needs_itself_is_a_cycle() -> None:
    graph = CapabilityGraph([], [capability(10, "a", needs="b"), capability(20, "b", needs="a")])
    found = diagnose(graph)
    assert [(one.location, one.code) for one in found] == [(at(10), "cycle"), (at(20), "cycle")]
    assert found[0].message == "the provider of 'a' needs 'a' itself, through 'requires'"
    assert found[0].hint == "remove one of the 'requires' in this cycle"


def test_a_very_long_chain_is_no_cycle_and_no_problem() -> None:
    journeys = [
        journey(number, f"j{number}", needs=f"t{number - 1}" if number else "", gives=f"t{number}")
        for number in range(3000)
    ]
    assert diagnose(CapabilityGraph(journeys)) == ()


def test_two_journeys_of_a_chain_share_a_directory_only_if_one_depends_on_the_other() -> None:
    one, two = (
        replace(journey(line, name, needs="t"), workdir="desk") for line, name in ((20, "x"), (30, "y"))
    )
    found = only(journey(10, "a", gives="t"), one, two)
    assert (found.location, found.code) == (at(30), "workdir-conflict")
    assert (
        found.message == "'y' and 'x' (shop.yaml:20:3) share workdir 'desk', but neither depends on the other"
    )
    assert found.hint == "use another workdir, or let one require a token that the other establishes"


def test_dependents_and_strangers_may_use_one_name_for_a_directory() -> None:
    journeys = [
        replace(one, workdir="desk")
        for one in (journey(10, "a", gives="t"), journey(20, "b", needs="t"), journey(30, "stranger"))
    ]
    assert diagnose(CapabilityGraph(journeys)) == ()


def test_two_tokens_that_give_the_same_variable_to_one_journey_are_a_conflict() -> None:
    def saving(name: str) -> tuple[Step, ...]:
        return (replace(STEP, save=(Save(name=name, pattern=".*"),)),)

    found = only(
        replace(journey(10, "a", gives="web"), steps=saving("up_port")),
        replace(journey(20, "b", gives="web-up"), steps=saving("port")),
        journey(30, "c", needs="web web-up"),
    )
    assert (found.location, found.code) == (at(30), "variable-conflict")
    assert found.message == "'c' would get $DOGFOOD_WEB_UP_PORT from both 'web' and 'web-up'"
    assert found.hint == "rename a saved value, a port or a token"


CLASHING = (
    replace(journey(10, "a", gives="web"), steps=(replace(STEP, save=(Save(name="up_port", pattern="."),)),)),
    replace(capability(20, "web-up"), provision=(replace(STEP, save=(Save(name="port", pattern="."),)),)),
    capability(30, "page", needs="web-up"),
)
"""Tokens `web`, and `web-up` below `page`, that both give $DOGFOOD_WEB_UP_PORT."""


def test_a_required_token_and_one_that_only_a_provider_needs_may_give_one_variable() -> None:
    graph = CapabilityGraph([CLASHING[0], journey(40, "c", needs="web page")], CLASHING[1:])
    assert diagnose(graph) == ()


def test_they_are_a_conflict_if_a_step_uses_that_variable() -> None:
    step = replace(STEP, run="curl $DOGFOOD_WEB_UP_PORT")
    found = only(*CLASHING, replace(journey(40, "c", needs="web page"), steps=(step,)))
    assert (found.location, found.code) == (at(40), "variable-conflict")
    assert found.message == "'c' would get $DOGFOOD_WEB_UP_PORT from both 'web' and 'web-up'"


def test_instances_that_only_a_provider_provides_may_give_the_same_variable_too() -> None:
    service = Service(location=at(1), run="serve", ports=("port",))
    found = only(
        replace(capability(10, "db", provided=False), probe=STEP, service=service),
        replace(capability(20, "db-a", provided=False), probe=STEP, service=service),
        journey(30, "c", needs="db:a db-a"),
    )
    assert (found.location, found.code) == (at(30), "variable-conflict")
    assert found.message == "'c' would get $DOGFOOD_DB_A_PORT from both 'db:a' and 'db-a'"


def test_a_longer_name_is_another_variable() -> None:
    step = replace(STEP, run="curl $DOGFOOD_WEB_UP_PORTS")
    graph = CapabilityGraph(
        [CLASHING[0], replace(journey(40, "c", needs="web page"), steps=(step,))], CLASHING[1:]
    )
    assert diagnose(graph) == ()


def test_a_provider_that_uses_a_variable_of_two_tokens_is_a_conflict_too() -> None:
    step = replace(STEP, run="curl $DOGFOOD_WEB_UP_PORT")
    found = only(*CLASHING, replace(capability(50, "d", needs="web page"), provision=(step,)))
    assert (found.location, found.code) == (at(50), "variable-conflict")
    assert found.message.startswith("the definition of 'd' would get")


def test_a_gate_cannot_need_what_it_holds_back() -> None:
    found = only(
        replace(journey(10, "late", gives="t"), tier=Tier.DEEP),
        journey(20, "middle", needs="t", gives="s"),
        replace(journey(30, "gate", needs="s"), tier=Tier.SMOKE, gating=True),
    )
    assert (found.location, found.code) == (at(30), "gate-needs-later-tier")
    assert (
        "'gate' is a gate of tier 'smoke', but needs 'late' of the later tier 'deep' (shop.yaml:10:3)"
        in found.message
    )
    assert found.hint == "move 'late' to tier 'smoke' or an earlier one, or remove 'gating: true'"


@pytest.mark.parametrize(
    "tier, codes", [(Tier.DEEP, ["cycle", "gate-needs-later-tier"]), (Tier.SMOKE, ["cycle"])]
)
def test_a_gate_that_needs_a_cycle_is_wrong_only_if_that_holds_a_later_tier(
    tier: Tier, codes: list[str]
) -> None:
    journeys = [
        replace(journey(10, "a", needs="from-b", gives="from-a"), tier=Tier.SMOKE),
        replace(journey(20, "b", needs="from-a", gives="from-b"), tier=tier),
        replace(journey(30, "gate", needs="from-a"), tier=Tier.SMOKE, gating=True),
    ]
    assert [one.code for one in diagnose(CapabilityGraph(journeys))] == codes


def test_a_fixture_cannot_provide_for_the_whole_machine() -> None:
    shared = replace(capability(10, "t"), scope=Scope.MACHINE)
    found = only(shared, fixtures={Token("t"): "server"})
    assert (found.location, found.code) == (at(10), "fixture-for-machine-token")
    assert found.message == "'t' has scope 'machine', but fixture 'server' provides it within one worker"
    assert found.hint == "use 'provision:' or 'service:', or give the capability scope 'chain'"


def test_a_fixture_cannot_provide_what_is_copied() -> None:
    copyable = replace(capability(10, "t"), copyable=True)
    found = only(copyable, fixtures={Token("t:a"): "server"})
    assert (found.location, found.code) == (at(10), "copyable-with-fixture")
    assert (
        found.message == "'t:a' is copyable, but fixture 'server' provides it, which is set up in one worker"
    )
    assert found.hint == "use 'provision:', or remove 'copyable: true'"
    assert diagnose(CapabilityGraph([], [capability(10, "t")], {Token("t:a"): "server"})) == ()


def test_a_definition_that_nothing_can_bring_about_is_empty() -> None:
    found = only(capability(10, "t", provided=False))
    assert (found.location, found.code) == (at(10), "empty-capability")
    assert found.message == "'t' has no probe and no provider, and nothing establishes it"
    assert found.hint == "add 'provision:', 'service:' or 'probe:', or 'establishes' to a journey or a test"


def test_a_definition_of_which_a_python_file_speaks_is_not_empty() -> None:
    graph = CapabilityGraph([], [capability(10, "t", provided=False)])
    assert diagnose(graph, elsewhere=[Token("t")]) == ()


@pytest.mark.parametrize("instance", ["t", "t:linux"])
def test_a_definition_whose_token_or_instance_is_established_is_not_empty(instance: str) -> None:
    graph = CapabilityGraph([journey(5, "a", gives=instance)], [capability(10, "t", provided=False)])
    assert diagnose(graph) == ()


def test_an_id_that_stands_twice_is_found_at_the_second_place() -> None:
    (found,) = diagnose_ids([journey(10, "a"), journey(20, "a"), journey(30, "b")], [])
    assert (found.location, found.code) == (at(20), "duplicate-id")
    assert found.message == "journey id 'a' is already used, at shop.yaml:10:3"
    assert found.hint == "journey ids are unique in the whole project: rename one of the two"


def test_a_capability_that_is_defined_twice_is_found_at_the_second_place() -> None:
    (found,) = diagnose_ids([], [capability(10, "t"), capability(20, "t")])
    assert (found.location, found.code) == (at(20), "duplicate-capability")
    assert found.message == "capability 't' is already defined, at shop.yaml:10:3"
    assert found.hint == "define it once, in a dogfood.yaml above both places if both need it"


def test_everything_is_found_at_once_in_order_of_place() -> None:
    graph = CapabilityGraph(
        [journey(30, "b", needs="moon"), journey(10, "a", needs="sun")], [capability(20, "t", provided=False)]
    )
    assert [(one.location.line, one.code) for one in diagnose(graph)] == [
        (11, "unknown-token"),
        (20, "empty-capability"),
        (31, "unknown-token"),
    ]


def calls_for(gates: int) -> int:
    """Count the calls that the diagnosis of a row of gates takes, each of which needs the one before it."""
    row = [
        replace(
            journey(3 * number + 1, f"gate-{number}", needs=f"t{number}", gives=f"t{number + 1}"), gating=True
        )
        for number in range(gates)
    ]
    graph = CapabilityGraph([journey(1, "first", gives="t0"), *row])
    count = 0

    def on(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on)
    try:
        diagnose(graph)
    finally:
        sys.setprofile(None)
    return count


def test_the_diagnosis_of_a_row_of_gates_is_linear() -> None:
    assert calls_for(400) < 2.5 * calls_for(200)


def pool(line: int, name: str, *units: str) -> Pool:
    return Pool(name=name, location=at(line), units=units)


GPUS = pool(3, "gpu", "1", "2")


ONLY_TWO = (
    "but the pool has only 2 (shop.yaml:3:3) [pool-too-small]\n"
    "    hint: lock at most 2, or add units to the pool"
)
NO_POOL = "but there is no pool of that name, so there is only 1 [pool-too-small]\n    hint: "


@pytest.mark.parametrize(
    "pools, said",
    [
        ([GPUS], ONLY_TWO),
        ([], f"{NO_POOL}add `pools: {{gpu: 3}}` to dogfood.yaml"),
        ([pool(3, "gpus", "1", "2", "3")], f"{NO_POOL}did you mean 'gpus'?"),
    ],
)
def test_a_journey_that_locks_more_units_than_there_are_is_refused(pools: list[Pool], said: str) -> None:
    train = replace(journey(10, "train"), locks={"gpu": 3})
    (found,) = diagnose(CapabilityGraph([train], pools=pools))
    assert str(found) == f"shop.yaml:10:3: journey 'train' locks 3 of 'gpu', {said}"


def test_a_capability_that_locks_more_units_than_there_are_is_refused() -> None:
    trained = replace(capability(20, "trained"), locks={"gpu": 3})
    (found,) = diagnose(CapabilityGraph([], [trained], pools=[GPUS]))
    assert (found.location, found.code) == (at(20), "pool-too-small")


def test_what_locks_as_many_units_as_there_are_is_fine() -> None:
    assert diagnose(CapabilityGraph([replace(journey(10, "train"), locks={"gpu": 2})], pools=[GPUS])) == ()


def test_a_pool_that_is_defined_twice_is_reported_at_the_second_place() -> None:
    (found,) = diagnose_ids([], [], [GPUS, pool(7, "gpu", "a")])
    assert str(found).startswith(
        "shop.yaml:7:3: pool 'gpu' is already defined, at shop.yaml:3:3 [duplicate-pool]"
    )


def test_a_pool_and_a_value_that_set_one_variable_are_reported() -> None:
    step = replace(STEP, save=(Save(name="account", pattern=".+"),))
    lock = Capability(token=Token("lock"), location=at(5), provision=(step,))
    (found,) = diagnose(CapabilityGraph([], [lock], pools=[pool(3, "account", "a")]))
    assert (found.location, found.code) == (at(3), "variable-conflict")
    assert found.message == "the pool 'account' and a value of 'lock' would both set $DOGFOOD_LOCK_ACCOUNT"
