"""What would provision tokens in an empty state, why a cache may not stand for that, and the key of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    Capability,
    Inputs,
    Journey,
    JourneyId,
    Mark,
    Pool,
    Scope,
    Script,
    Service,
    Token,
)
from pytest_dogfood.scheduling.recipe import NotCacheableError, key_of, recipe_for
from tests.support.small_graphs import HERE, STEP, journey

INPUTS = Inputs(location=HERE, files=("src",))
BUILT, FETCHED, SERVER, IN = map(Token, ("built", "fetched", "server", "in"))


def capability(token: Token, *needs: Token, scope: Scope = Scope.CHAIN, **more: object) -> Capability:
    made = Capability(
        token=token,
        location=HERE,
        scope=scope,
        requires=dict.fromkeys(needs, HERE),
        provision=(STEP,),
        copyable=scope is Scope.CHAIN,
        inputs=INPUTS if scope is Scope.CHAIN else None,
    )
    return replace(made, **more)


def graph(
    *capabilities: Capability, journeys: Iterable[Journey] = (), pools: Iterable[Pool] = (), **more: object
) -> CapabilityGraph:
    dependent = journey("dependent", requires=" ".join(one.token for one in capabilities[:1]))
    return CapabilityGraph([*journeys, dependent], capabilities, pools=pools, **more)  # type: ignore[arg-type]


LOGIN = replace(journey("login", establishes="in", requires="built"), steps=(STEP,))


def test_what_provides_comes_after_what_it_needs() -> None:
    found = recipe_for(graph(capability(BUILT, FETCHED), capability(FETCHED)), [BUILT])
    assert list(found.makers.items()) == [(FETCHED, "provision"), (BUILT, "provision")]
    assert found.shared == ()


@pytest.mark.parametrize("scope", [Scope.MACHINE, Scope.FLEET])
def test_a_journey_is_replayed_where_nothing_else_provides(scope: Scope) -> None:
    capabilities = [capability(IN, provision=()), capability(BUILT, SERVER), capability(SERVER, scope=scope)]
    found = recipe_for(graph(*capabilities, journeys=[LOGIN]), [IN])
    assert list(found.makers.items()) == [(BUILT, "provision"), (IN, "login")]
    assert found.shared == (SERVER,)
    assert [one.id for one in found.journeys] == ["login"]


def test_all_that_a_replayed_journey_establishes_is_in_the_state() -> None:
    both = replace(LOGIN, establishes={IN: HERE, FETCHED: HERE}, requires={})
    capabilities = [capability(IN, provision=()), capability(FETCHED, provision=())]
    found = recipe_for(graph(*capabilities, journeys=[both]), [IN])
    assert found.makers == {IN: "login", FETCHED: "login"}
    with pytest.raises(NotCacheableError, match="'fetched' is not copyable"):
        recipe_for(graph(capabilities[0], journeys=[both]), [IN])


def test_scripts_are_named() -> None:
    step = replace(STEP, run=Script(path="bin/build.sh"))
    assert recipe_for(graph(capability(BUILT, provision=(step,))), [BUILT]).scripts == ("bin/build.sh",)


POOL = Pool(name="ports", location=HERE, units=("1", "2"))
REFUSED: dict[str, tuple[str, CapabilityGraph]] = {
    "not copyable": ("'built' is not copyable", graph(capability(BUILT, copyable=False))),
    "no inputs": ("'built' has no `inputs:`", graph(capability(BUILT, inputs=None))),
    "undefined base": ("'fetched' is not copyable", graph(capability(BUILT, FETCHED))),
    "a fixture": ("a fixture provides 'built'", graph(capability(BUILT), fixtures={BUILT: "building"})),
    "only a test": (
        "only tests establish 'built'",
        graph(
            capability(BUILT, provision=()), journeys=[journey("a.py::b", establishes="built", python=True)]
        ),
    ),
    "a destroyer": (
        "the provider of 'built' invalidates 'in'",
        graph(capability(BUILT, invalidates={IN: HERE})),
    ),
    "shared files": (
        r"the provider of 'built' uses \$DOGFOOD_SHARED",
        graph(capability(BUILT, provision=(replace(STEP, run="touch $DOGFOOD_SHARED/x"),))),
    ),
    "units of a pool": (
        "the provider of 'built' uses the units of the pool 'ports'",
        graph(
            capability(BUILT, locks={"ports": 1}, provision=(replace(STEP, run="echo $DOGFOOD_LOCK_PORTS"),)),
            pools=[POOL],
        ),
    ),
    "a service": (
        "'server', which it needs, is a service of one run",
        graph(
            capability(BUILT, SERVER),
            capability(
                SERVER, scope=Scope.MACHINE, provision=(), probe=STEP, service=Service(location=HERE, run="x")
            ),
        ),
    ),
    "a release": (
        "'server', which it needs, is released at the end of the run",
        graph(capability(BUILT, SERVER), capability(SERVER, scope=Scope.MACHINE, release=(STEP,))),
    ),
    "a machine token of journeys": (
        "'server', which it needs, ends with the run",
        graph(capability(BUILT, SERVER), capability(SERVER, scope=Scope.MACHINE, provision=())),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_cache_may_not_stand_for_what_depends_on_more(case: str) -> None:
    why, found = REFUSED[case]
    with pytest.raises(NotCacheableError, match=why):
        recipe_for(found, [BUILT])


JOURNEYS: dict[str, tuple[str, Journey]] = {
    "an actor": ("login needs an actor", replace(LOGIN, steps=(replace(STEP, run=None),))),
    "fixtures": ("login uses fixtures", replace(LOGIN, use=("browser",))),
    "a daemon": ("login leaves a process running", replace(LOGIN, leaves="daemon")),
    "a mark": ("login has the mark 'skipif'", replace(LOGIN, marks=(Mark(name="skipif"),))),
    "what it destroys": ("login invalidates 'old'", replace(LOGIN, invalidates={Token("old"): HERE})),
}


@pytest.mark.parametrize("case", JOURNEYS)
def test_a_cache_may_not_stand_for_a_journey_that_does_more(case: str) -> None:
    why, login = JOURNEYS[case]
    with pytest.raises(NotCacheableError, match=why):
        recipe_for(graph(capability(IN, provision=()), capability(BUILT), journeys=[login]), [IN])


def test_another_mark_does_not_matter() -> None:
    marked = replace(LOGIN, marks=(Mark(name="slow"),))
    found = recipe_for(graph(capability(IN, provision=()), capability(BUILT), journeys=[marked]), [IN])
    assert found.journeys == (marked,)


def test_a_cache_may_not_stand_for_what_this_run_does_itself_or_may_not_do() -> None:
    found = graph(capability(IN, provision=()), capability(BUILT), journeys=[LOGIN])
    with pytest.raises(NotCacheableError, match="login is selected"):
        recipe_for(found, [IN], selected=[JourneyId("login")])
    with pytest.raises(NotCacheableError, match="login waits for a gate"):
        recipe_for(found, [IN], gated=[JourneyId("login")])
    with pytest.raises(NotCacheableError, match="'built' is declared blocked"):
        recipe_for(found, [IN], blocked=[BUILT])


def key(*capabilities: Capability, login: Journey = LOGIN, **facts: object) -> str:
    found = graph(*(capabilities or (capability(IN, provision=()), capability(BUILT))), journeys=[login])
    return key_of(recipe_for(found, [IN]), facts)


def test_the_same_makes_the_same_key() -> None:
    assert key(a=1, b="x") == key(b="x", a=1)
    assert len(key()) == 64


SAME: dict[str, Callable[[Journey], Journey]] = {
    "its line": lambda login: replace(login, location=Location(HERE.path, 99)),
    "its rationale": lambda login: replace(login, rationale="because"),
    "its estimate": lambda login: replace(login, estimate=7.0),
    "the line of its step": lambda login: replace(
        login, steps=(replace(STEP, location=Location(HERE.path, 7)),)
    ),
}
DIFFERENT: dict[str, Callable[[Journey], Journey]] = {
    "its step": lambda login: replace(login, steps=(replace(STEP, run="false"),)),
    "one step more": lambda login: replace(login, steps=(STEP, STEP)),
    "its environment": lambda login: replace(login, env={"A": "b"}),
    "its files": lambda login: replace(login, seed_files={"a": "b"}),
    "its directory": lambda login: replace(login, workdir="work"),
    "its clean-up": lambda login: replace(login, cleanup=(STEP,)),
    "its file": lambda login: replace(login, path="other/shop.journey.yaml"),
    "its seconds": lambda login: replace(login, timeout=9.0),
    "what it expects": lambda login: replace(
        login, steps=(replace(STEP, expect=replace(STEP.expect, exit=1)),)
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_nothing_does_not_change_the_key(what: str) -> None:
    assert key(login=SAME[what](LOGIN)) == key()


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_may_change_the_state_changes_the_key(what: str) -> None:
    assert key(login=DIFFERENT[what](LOGIN)) != key()


def test_facts_and_providers_change_the_key() -> None:
    other = replace(STEP, run="make all")
    keys = [
        key(),
        key(a=1),
        key(a="1"),
        key(capability(IN, provision=()), capability(BUILT, provision=(other,))),
        key(capability(IN, provision=()), capability(BUILT, probe=other)),
        key(capability(IN, provision=(), timeout=3.0), capability(BUILT)),
    ]
    assert len(set(keys)) == len(keys)
