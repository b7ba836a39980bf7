from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.check.advice import advise
from pytest_dogfood.diagnostics import Diagnostic, Location, Severity
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Pool, Save, Scope, Service, Step, Tier, Token
from tests.support.strategies import ANYWHERE, new_journey

STEP = Step(location=ANYWHERE, run="true")
NO_COMMAND = Step(location=ANYWHERE, intent="look at it")


def place(line: int, column: int) -> Location:
    return Location("shop.yaml", line, column)


def journey(line: int, name: str, *, needs: str = "", gives: str = "", spoils: str = "") -> Journey:
    """Make a journey at column 3; what it needs stands at column 20, what it gives at 40, what it spoils at 60."""
    return replace(
        new_journey(name),
        location=place(line, 3),
        requires={Token(word): place(line, 20) for word in needs.split()},
        establishes={Token(word): place(line, 40) for word in gives.split()},
        invalidates={Token(word): place(line, 60) for word in spoils.split()},
    )


def capability(
    line: int,
    token: str,
    *,
    needs: str = "",
    probed: bool = True,
    provided: bool = True,
    shared: bool = False,
) -> Capability:
    return Capability(
        token=Token(token),
        location=place(line, 3),
        scope=Scope.MACHINE if shared else Scope.CHAIN,
        requires={Token(word): place(line, 20) for word in needs.split()},
        probe=STEP if probed else None,
        provision=(STEP,) if provided else (),
    )


def advice(*things: Journey | Capability) -> tuple[Diagnostic, ...]:
    """Advise on things, without a remark that tokens have no definition: most tests need none."""
    journeys = [one for one in things if isinstance(one, Journey)]
    graph = CapabilityGraph(journeys, [one for one in things if isinstance(one, Capability)])
    return without_undefined(advise(graph))


def without_undefined(found: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    return tuple(one for one in found if "no definition" not in one.message)


def only(*things: Journey | Capability) -> Diagnostic:
    (found,) = advice(*things)
    return found


def test_a_sound_graph_gives_rise_to_no_advice() -> None:
    assert advice(journey(1, "a", gives="t"), journey(2, "b", needs="t"), capability(9, "t")) == ()


def test_an_earlier_tier_that_requires_a_later_one_is_found_at_the_token_it_requires() -> None:
    late = replace(journey(1, "late", gives="t"), tier=Tier.DEEP)
    early = replace(journey(2, "early", needs="t"), tier=Tier.SMOKE)
    found = only(late, early)
    assert (found.code, found.severity, found.location) == ("tier-inversion", Severity.WARNING, place(2, 20))
    assert found.message == "'early' of tier 'smoke' needs 'late' of the later tier 'deep' (shop.yaml:1:3)"
    assert found.hint == "move 'late' to tier 'smoke', or 'early' to tier 'deep'"


def test_a_tier_inversion_by_every_instance_is_found_at_the_star() -> None:
    late = replace(journey(1, "late", gives="t:one"), tier=Tier.DEEP)
    assert only(late, journey(2, "early", needs="t:*")).location == place(2, 20)


def test_a_tier_inversion_through_a_provider_is_found_at_the_journey() -> None:
    late = replace(journey(1, "late", gives="t"), tier=Tier.DEEP)
    assert only(late, journey(2, "early", needs="u"), capability(9, "u", needs="t")).location == place(2, 3)


def test_a_capability_without_a_probe_is_worth_a_remark() -> None:
    found = only(journey(1, "a", needs="t"), capability(9, "t", probed=False))
    assert (found.code, found.severity, found.location) == ("no-probe", Severity.INFO, place(9, 3))


def test_tokens_without_a_definition_are_remarked_together_once_for_each_file() -> None:
    elsewhere = {Token("z"): Location("other.yaml", 5, 7)}
    journeys = [
        journey(2, "b", gives="u:one t"),
        journey(1, "a", gives="u:two defined test.py::test_a"),
        replace(journey(5, "c"), establishes=elsewhere),
    ]
    found = advise(CapabilityGraph(journeys, [capability(9, "defined")]))
    assert [(one.location, one.message) for one in found if one.code == "no-probe"] == [
        (Location("other.yaml", 5, 7), "'z' has no definition, so no probe: it is taken on trust"),
        (place(2, 40), "'u', 't' have no definition, so no probe: they are taken on trust"),
    ]


def test_a_capability_nobody_requires_is_worth_a_remark() -> None:
    found = only(journey(1, "a", gives="t"), capability(9, "t"))
    assert (found.code, found.severity, found.location) == ("nobody-requires", Severity.INFO, place(9, 3))


REMARK = "remove it, or add it to 'requires:' of the journeys that need it"


@pytest.mark.parametrize(
    "things, severity, hint",
    [
        ((), Severity.WARNING, "did you mean 'logged-in'? That is required, and no file defines it"),
        ((capability(8, "logged-in"),), Severity.INFO, f"did you mean 'logged-in'? Else {REMARK}"),
    ],
)
@pytest.mark.parametrize("tests_are_known", [True, False])
def test_a_definition_named_nearly_like_a_token_that_is_required_may_be_meant_for_that(
    things: tuple[Capability, ...], severity: Severity, hint: str, *, tests_are_known: bool
) -> None:
    journeys = [journey(1, "a", gives="logged-in:ada"), journey(2, "b", needs="logged-in:ada")]
    graph = CapabilityGraph(journeys, [*things, capability(9, "loged-in")])
    (found,) = without_undefined(advise(graph, mentioned=None if tests_are_known else lambda _: ()))
    assert (found.code, found.location) == ("nobody-requires", place(9, 3))
    assert (found.severity, found.message, found.hint) == (severity, "nothing requires 'loged-in'", hint)


@pytest.mark.parametrize(
    "token, gives",
    [("shop-open", ""), ("logged-in-2", ""), ("loged-in", "loged-in")],
    ids=["another name", "another number", "established"],
)
def test_a_definition_of_no_use_is_passed_over_where_tests_are_not_known_unless_it_is_a_slip(
    token: str, gives: str
) -> None:
    journeys = [journey(1, "a", gives=f"logged-in-1 {gives}"), journey(2, "b", needs="logged-in-1")]
    graph = CapabilityGraph(journeys, [capability(9, token)])
    assert without_undefined(advise(graph, mentioned=lambda _: ())) == ()
    assert [one.code for one in without_undefined(advise(graph))] == ["nobody-requires"]


def test_a_slip_in_a_definition_is_none_where_python_or_what_was_not_read_may_use_it() -> None:
    graph = CapabilityGraph(
        [journey(1, "a", gives="logged-in"), journey(2, "b", needs="logged-in")], [capability(9, "loged-in")]
    )
    assert without_undefined(advise(graph, mentioned=lambda tokens: tokens)) == ()
    assert without_undefined(advise(graph, mentioned=lambda _: (), is_whole=False)) == ()


def test_a_capability_that_is_required_by_one_instance_is_required() -> None:
    assert advice(journey(1, "a", gives="t:x"), journey(2, "b", needs="t:x"), capability(9, "t")) == ()


def test_several_establishers_are_named_in_the_order_in_which_they_are_tried() -> None:
    found = only(journey(1, "z", gives="t"), journey(2, "a", gives="t"))
    assert (found.code, found.severity, found.location) == (
        "several-establishers",
        Severity.INFO,
        place(1, 40),
    )
    assert "established by z, a, tried in this order" in found.message


def test_a_machine_capability_whose_provider_needs_a_chain_token_is_found_at_that_need() -> None:
    found = only(
        journey(1, "a", needs="up"), capability(8, "base"), capability(9, "up", needs="base", shared=True)
    )
    assert (found.code, found.severity, found.location) == (
        "machine-needs-chain",
        Severity.WARNING,
        place(9, 20),
    )


def test_what_destroys_a_token_that_others_still_need_is_found_at_the_token_it_destroys() -> None:
    # The spoiler establishes what the user needs, so it cannot come after it.
    found = [
        one
        for one in advice(
            journey(1, "maker", gives="t"),
            journey(2, "spoiler", gives="u", spoils="t"),
            journey(3, "user", needs="t u"),
        )
        if one.code == "invalidates-starves"
    ]
    assert [(one.severity, one.location) for one in found] == [(Severity.WARNING, place(2, 60))]
    assert found[0].message == "'spoiler' destroys 't' before user can use it"


def test_what_destroys_a_copyable_token_starves_only_what_finds_its_state() -> None:
    def starved_by(*things: Journey) -> list[str]:
        found = advice(*things, replace(capability(9, "t", provided=False), copyable=True), copyable_u)
        return [one.message for one in found if one.code == "invalidates-starves"]

    copyable_u = replace(capability(8, "u", provided=False), copyable=True)
    maker, user = journey(1, "maker", gives="t"), journey(4, "user", needs="t")
    assert starved_by(maker, journey(2, "spoiler", needs="t", spoils="t"), user) == []
    spoiler = journey(2, "spoiler", needs="t", gives="u", spoils="t")
    assert starved_by(maker, spoiler, journey(3, "b", needs="t u"), journey(4, "c", needs="t u"), user) == [
        "'spoiler' destroys 't' before b, c can use it"
    ]


def test_what_destroys_a_token_that_can_be_provisioned_again_starves_nobody() -> None:
    assert (
        advice(
            journey(1, "maker", gives="t"),
            journey(2, "spoiler", gives="u", spoils="t"),
            journey(3, "user", needs="t u"),
            capability(9, "t"),
        )
        == ()
    )


def test_a_python_test_as_the_only_establisher_cannot_run_alone() -> None:
    test = replace(journey(1, "test_x.py::test_it", gives="t"), python=True)
    found = only(test, journey(2, "b", needs="t"), capability(9, "t", provided=False))
    assert (found.code, found.severity, found.location) == (
        "cannot-run-alone",
        Severity.INFO,
        place(1, 40),
    )
    assert found.message.startswith("only Python tests establish 't': ")


def test_all_tokens_that_only_python_tests_establish_are_told_at_once() -> None:
    tests = [
        replace(journey(number, f"test_x.py::test_{number}", gives=f"t{number}", needs="t1"), python=True)
        for number in range(1, 10)
    ]
    user = journey(20, "user", needs=" ".join(f"t{number}" for number in range(1, 10)))
    (found,) = advice(*[replace(tests[0], requires={}), *tests[1:]], user)
    assert found.message.startswith("only Python tests establish 't1', 't2', 't3', 't4', 't5' and 4 more: ")
    assert found.hint.count("{provision: [{run: COMMAND}]}") == 9


def test_what_rests_on_a_journey_without_commands_is_unreachable() -> None:
    found = advice(
        replace(journey(1, "a", gives="t"), steps=(NO_COMMAND,)),
        journey(2, "b", needs="t", gives="u"),
        journey(3, "c", needs="u"),
    )
    assert [(one.code, one.location) for one in found if one.code == "unreachable"] == [
        ("unreachable", place(2, 20)),
        ("unreachable", place(3, 20)),
    ]


@pytest.mark.parametrize("modality, hint", [("", "ini dogfood_actor"), ("gui", "pytest_dogfood_gui_action")])
def test_a_step_without_a_command_is_remarked_on_where_nobody_acts(modality: str, hint: str) -> None:
    acted = replace(journey(1, "a"), steps=(STEP, NO_COMMAND), modality=modality)
    found = only(acted)
    assert (found.code, found.severity, found.location) == ("no-actor", Severity.INFO, ANYWHERE)
    assert hint in found.hint


def test_nothing_is_missing_where_somebody_acts() -> None:
    acted = replace(journey(1, "a", gives="t"), steps=(NO_COMMAND,))
    graph = CapabilityGraph([acted, journey(2, "b", needs="t")], has_actor=lambda found: found is acted)
    assert without_undefined(advise(graph)) == ()


def saying(text: str, number: int = 3, name: str = "c", needs: str = "") -> Journey:
    return replace(journey(number, name, needs=needs), steps=(replace(STEP, run=text),))


def saving(name: str, gives: str) -> Journey:
    step = replace(STEP, save=(Save(name=name, pattern="."),))
    return replace(journey(1, "a", gives=gives), steps=(step,))


@pytest.mark.parametrize(
    "text, hint",
    [
        ('test "$DOGFOOD_T_NMAE"', "did you mean $DOGFOOD_T_NAME?"),
        ('test "${DOGFOOD_T_COLOUR}"', "let the journey that establishes 't' save a value 'colour'"),
        ('test "${DOGFOOD_U_PORT}"', "it is a value of 'u': add that to 'requires:'"),
        ("cd $DOGFOOD_STAT", "did you mean $DOGFOOD_STATE?"),
    ],
)
def test_a_variable_that_nobody_gives_is_worth_a_warning(text: str, hint: str) -> None:
    service = Service(location=place(9, 3), run="serve", ports=("port",))
    found = only(
        saving("name", "t"),
        saying(text, needs="t"),
        replace(journey(4, "d", needs="u"), steps=(replace(STEP, run="curl $DOGFOOD_U_PORT"),)),
        replace(capability(9, "u", shared=True), service=service),
    )
    assert (found.code, found.severity, found.location) == (
        "unknown-variable",
        Severity.WARNING,
        STEP.location,
    )
    assert found.hint == hint


@pytest.mark.parametrize(
    "text",
    [
        'test "$DOGFOOD_T_NAME"',
        "ls $DOGFOOD_STATE $DOGFOOD_SHARED $DOGFOOD_WORKDIR $DOGFOOD_ROOT $DOGFOOD_DIR $DOGFOOD_RUN",
        "echo $DOGFOOD_JOURNEY $DOGFOOD_CHAIN $DOGFOOD_WORKER",
        "export DOGFOOD_T_OTHER=1; echo $DOGFOOD_T_OTHER",
        'for DOGFOOD_CHAINS in 1 2; do echo "$DOGFOOD_CHAINS"; done',
        "while read -r DOGFOOD_DIRS; do ls $DOGFOOD_DIRS; done",
        "echo ${DOGFOOD_T_OTHER:-none} ${DOGFOOD_STATES:=3} $DOGFOOD_STATES ${DOGFOOD_RUNS+x}",
        r"echo \$DOGFOOD_STAT",
        "echo $DOGFOOD_WORKER_ID ${DOGFOOD_STATE_DIR}",
        "deploy $DOGFOOD_CLUSTER_ADDRESS",
        "deploy $MY_DOGFOOD_STAT",
    ],
)
def test_a_variable_that_somebody_gives_or_that_is_none_of_ours_is_passed_over(text: str) -> None:
    assert advice(saving("name", "t"), saying(text, needs="t")) == ()


def test_an_instance_that_only_its_provider_brings_about_has_the_values_of_that() -> None:
    step = replace(STEP, save=(Save(name="id", pattern="."),))
    found = advice(
        saying("test $DOGFOOD_ACCOUNT_ALICE_ID", needs="account:alice"),
        replace(capability(9, "account", shared=True), provision=(step,)),
    )
    assert found == ()


def test_what_python_saves_is_not_known_and_passed_over() -> None:
    test = replace(journey(1, "test.py::test_a", gives="t"), python=True, steps=())
    found = advice(test, saying("echo $DOGFOOD_T_NAME", needs="t"), capability(9, "t", provided=True))
    assert found == ()


def test_a_definition_is_given_the_values_of_its_own_token_and_of_what_its_provider_needs() -> None:
    probe = replace(STEP, run="test $DOGFOOD_T_NAME && test $DOGFOOD_U_KEY")
    things = (
        saving("name", "t"),
        journey(2, "b", needs="t u"),
        replace(
            capability(8, "u"),
            service=Service(location=place(8, 3), run="serve $DOGFOOD_U_KEY", ports=("key",)),
        ),
    )
    assert advice(*things, replace(capability(9, "t", needs="u"), probe=probe)) == ()
    found = only(*things, replace(capability(9, "t"), probe=probe))
    message = (
        "the definition of 't' uses $DOGFOOD_U_KEY, which is not defined here: the shell takes it as empty"
    )
    assert found.message == message


def test_a_fixture_for_a_token_that_nobody_knows_is_worth_a_warning_if_a_known_one_is_near() -> None:
    things = ([journey(1, "a", needs="session")], [capability(9, "session")])
    (found,) = advise(CapabilityGraph(*things, fixtures={Token("sesion"): "log_in"}))
    assert (found.code, found.severity, found.location) == ("unknown-token", Severity.WARNING, place(9, 3))
    assert found.message == "fixture 'log_in' provides 'sesion', which no file defines"
    assert found.hint == "did you mean 'session'?"
    assert advise(CapabilityGraph(*things, fixtures={Token("elsewhere"): "log_in"})) == ()


def a_module_fixture_below(scope: str, *, used_in: str) -> tuple[Diagnostic, ...]:
    """Advise on a token that rests on a fixture's, is made in test_a.py and used in another file."""
    makes = replace(journey(1, "makes", needs="server", gives="migrated"), path="test_a.py", python=True)
    uses = replace(journey(2, "uses", needs="migrated"), path=used_in, python=True)
    graph = CapabilityGraph(
        [makes, uses],
        [Capability(token=Token("server"), location=ANYWHERE, probe=STEP)],
        {Token("server"): "serve"},
        fixture_scopes={Token("server"): scope},
    )
    return tuple(one for one in advise(graph) if one.code == "fixture-ends-too-early")


def test_a_token_that_is_used_outside_the_scope_of_a_fixture_that_it_rests_on_is_warned_of() -> None:
    (found,) = a_module_fixture_below("module", used_in="test_b.py")
    assert found.location == place(2, 20)
    assert "the fixture 'serve' provides that, and ends with its module" in found.message


@pytest.mark.parametrize("scope,used_in", [("module", "test_a.py"), ("session", "test_b.py")])
def test_a_token_that_is_used_within_the_scope_of_the_fixture_is_not(scope: str, used_in: str) -> None:
    assert a_module_fixture_below(scope, used_in=used_in) == ()


ORPHAN = capability(9, "logged-in", provided=False)


def misspelt(found: tuple[Diagnostic, ...]) -> list[tuple[Severity, Location, str, str]]:
    return [
        (one.severity, one.location, one.message, one.hint) for one in found if one.code == "unknown-token"
    ]


@pytest.mark.parametrize("instance", ["", ":ada"])
def test_a_token_that_nothing_requires_is_a_slip_where_one_like_it_is_brought_by_nothing(
    instance: str,
) -> None:
    found = advice(journey(1, "a", gives=f"loged-in{instance}"), journey(2, "b", needs="logged-in"), ORPHAN)
    assert misspelt(found) == [
        (
            Severity.WARNING,
            place(1, 40),
            f"'a' establishes 'loged-in{instance}', which nothing requires and no file defines",
            f"did you mean 'logged-in{instance}'? Nothing establishes or provides 'logged-in'",
        )
    ]


@pytest.mark.parametrize(
    "things",
    [
        (journey(1, "a", gives="loged-in logged-in"), ORPHAN),
        (journey(1, "a", gives="loged-in"), capability(9, "logged-in")),
        (journey(1, "a", gives="loged-in"), journey(2, "b", needs="loged-in"), ORPHAN),
        (journey(1, "a", gives="loged-in"), journey(2, "b", gives="c", spoils="loged-in"), ORPHAN),
        (journey(1, "a", gives="loged-in"), capability(2, "loged-in"), ORPHAN),
        (journey(1, "a", gives="loged-in"), capability(2, "b", needs="loged-in"), ORPHAN),
        (journey(1, "a", gives="signed-out"), ORPHAN),
        (journey(1, "a", gives="user-1"), capability(9, "user-2", provided=False)),
    ],
)
def test_a_token_that_is_used_or_like_none_that_lacks_a_source_is_no_slip(
    things: tuple[Journey | Capability, ...],
) -> None:
    assert misspelt(advice(*things)) == []


def test_a_token_that_a_fixture_provides_or_python_files_name_may_be_as_it_is() -> None:
    journeys = [journey(1, "a", gives="loged-in")]
    provided = CapabilityGraph(journeys, [ORPHAN], fixtures={Token("logged-in"): "log_in"})
    assert misspelt(advise(provided)) == []
    graph = CapabilityGraph(journeys, [ORPHAN])
    assert len(misspelt(advise(graph))) == 1
    assert misspelt(advise(graph, mentioned=lambda tokens: {Token("loged-in")} & set(tokens))) == []


@pytest.mark.parametrize(
    "locks, hint",
    [
        ({"printer": 1}, "add `lock: [account]` to the journeys that use its units, or remove it"),
        ({"acount": 1}, "did you mean 'acount'?"),
    ],
)
def test_a_pool_that_nothing_locks_is_worth_a_remark(locks: dict[str, int], hint: str) -> None:
    accounts = Pool(name="account", location=place(2, 5), units=("a", "b"))
    (found,) = advise(CapabilityGraph([replace(journey(10, "buy"), locks=locks)], pools=[accounts]))
    assert (found.location, found.code, found.severity) == (place(2, 5), "unused-pool", Severity.INFO)
    assert (found.message, found.hint) == ("no journey and no capability locks the pool 'account'", hint)
