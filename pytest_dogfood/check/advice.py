"""Findings that do not forbid a run: warnings and remarks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pytest_dogfood.check.definitions import (
    Mentioned,
    doubtful_definitions,
    fixtures_for_unknown_tokens,
    misspelt_tokens,
    undefined_tokens,
)
from pytest_dogfood.check.errors import definitions_to_paste, users_in
from pytest_dogfood.check.variables import unknown_variables
from pytest_dogfood.diagnostics import Diagnostic, Location, did_you_mean, in_order_of_place, remark, warning
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, JourneyId, Token, is_of_a_test
from pytest_dogfood.outcomes import listed
from pytest_dogfood.scheduling.split import split


def advise(
    graph: CapabilityGraph,
    *,
    environment: Collection[str] = (),
    mentioned: Mentioned | None = None,
    is_whole: bool = True,
) -> tuple[Diagnostic, ...]:
    """Return the warnings and remarks on a graph without errors, in order of place.

    `environment` names the variables that commands inherit. `mentioned` is given if Python tests were not collected:
    they may require tokens too. So may other journeys, if the graph is not that of the whole project (`is_whole`).
    """
    return in_order_of_place(
        [
            *_tier_inversions(graph),
            *doubtful_definitions(graph, mentioned, is_whole=is_whole),
            *undefined_tokens(graph),
            *_several_establishers(graph),
            *_starving_invalidations(graph),
            *_establishers_that_cannot_run_alone(graph),
            *_journeys_that_cannot_run(graph),
            *_journeys_without_actor(graph),
            *fixtures_for_unknown_tokens(graph),
            *misspelt_tokens(graph, mentioned),
            *_fixtures_that_end_too_early(graph),
            *_unused_pools(graph),
            *unknown_variables(graph, environment),
        ]
    )


def _unused_pools(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    locks = {lock for user in users_in(graph) for lock in user.locks}
    for pool in graph.pools.values():
        if pool.name not in locks:
            message = f"no journey and no capability locks the pool {pool.name!r}"
            near = did_you_mean(pool.name, locks - graph.pools.keys())
            hint = near or f"add `lock: [{pool.name}]` to the journeys that use its units, or remove it"
            yield remark(pool.location, "unused-pool", message, hint)


def _where_required(graph: CapabilityGraph, journey: Journey, tokens: Collection[Token]) -> Location:
    """Return the place where the journey names the first of the tokens, itself or as `:*`; else the journey's own."""
    for named, place in journey.requires.items():
        if any(token in tokens for token in graph.instances_of(named)):
            return place
    return journey.location


def _tier_inversions(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for journey in graph.journeys.values():
        for other_id in graph.prerequisites[journey.id]:
            other = graph.journeys[other_id]
            if other.tier > journey.tier and not journey.gating:
                message = f"{journey.id!r} of tier '{journey.tier}' needs {other.id!r} "
                message += f"of the later tier '{other.tier}' ({other.location})"
                hint = f"move {other.id!r} to tier '{journey.tier}', or {journey.id!r} to tier '{other.tier}'"
                place = _where_required(graph, journey, other.establishes)
                yield warning(place, "tier-inversion", message, hint)


def _several_establishers(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for token, establishers in graph.establishers.items():
        if len(establishers) > 1:
            names = [members[0] for members in establishers]
            place = graph.journeys[names[0]].establishes[token]
            message = f"{token!r} is established by {listed(names)}, tried in this order when it has to be provisioned"
            hint = "nothing to do if you mean that: dependents run after all of them, and one that passes is enough"
            yield remark(place, "several-establishers", message, hint)


def _starving_invalidations(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    tree = split(graph)
    for journey in graph.journeys.values():
        before = {journey.id, *graph.prerequisites[journey.id]}
        for token, place in journey.invalidates.items():
            others = () if graph.has_independent_provider(token) else graph.journeys.values()
            starved = [one.id for one in others if one.id not in before and token in graph.needed_by(one)]
            if graph.is_copyable(
                token
            ):  # it is destroyed in one state, and in those that are copied from that later
                starved = [one for one in starved if tree.inherits(one, journey.id)]
            if starved:
                makers = graph.establishing(token)
                for_ever = bool(makers) and all(graph.journeys[one].python for one in makers)
                then = ", and only a Python test establishes it, which cannot be replayed" if for_ever else ""
                message = f"{journey.id!r} destroys {token!r} before {listed(starved)} can use it{then}"
                hint = f"give {token!r} a 'provision:', or let {journey.id!r} depend on its users"
                yield warning(place, "invalidates-starves", message, hint)


def _fixtures_that_end_too_early(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Warn of tokens used outside the scope of a fixture on which they rest: they are lost with the fixture."""
    for base, scope in graph.fixture_scopes.items():
        if scope == "session":
            continue
        for token in graph.tokens:
            makers = [graph.journeys[one] for one in graph.establishing(token)]
            homes = {_home(maker, scope) for maker in makers if base in graph.required_by(maker)}
            others = graph.journeys.values() if homes else ()
            users = (one for one in others if token in one.requires)
            far = next((one for one in users if _home(one, scope) not in homes), None)
            if far is not None:
                message = f"{far.id!r} requires {token!r}, which rests on {base!r}; "
                message += f"the fixture {graph.fixtures[base]!r} provides that, and ends with its {scope}"
                hint = f"give the fixture scope 'session', or keep the users of {token!r} in the same {scope}"
                yield warning(far.requires[token], "fixture-ends-too-early", message, hint)


def _home(journey: Journey, scope: str) -> str:
    """Return the package, module, class or node id with which a fixture of a scope ends, for an item."""
    homes = {
        "package": journey.path.rpartition("/")[0],
        "module": journey.path,
        "class": journey.nodeid.rpartition("::")[0],
    }
    return homes.get(scope, journey.nodeid)


def _establishers_that_cannot_run_alone(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    required = {token for journey in graph.journeys.values() for token in graph.needed_by(journey)}
    tests: dict[Token, Journey] = {}
    for token in graph.establishers:
        members = [graph.journeys[member] for member in graph.establishing(token)]
        replayable = any(not one.python and not graph.lacks_actor(one.id) for one in members)
        otherwise = is_of_a_test(token) or graph.has_independent_provider(token)
        if token not in required or replayable or otherwise:
            continue
        if members[0].python:
            tests[token] = members[0]
            continue
        message = f"only {members[0].id!r} establishes {token!r}, and it has a step without a command, "
        message += "so it cannot be replayed where a selection leaves it out"
        hint = f"define how to provision it, in dogfood.yaml:{definitions_to_paste([token])}"
        yield warning(members[0].establishes[token], "cannot-run-alone", message, hint)
    if tests:  # one remark for all: a Python test cannot be changed so that it can be replayed
        first = next(iter(tests))
        message = f"only Python tests establish {listed(map(repr, tests))}: a test cannot be replayed, "
        message += "so it runs as an item of its own where a selection requires its token"
        hint = "nothing to do if that is quick enough; else let a fixture provide the token "
        hint += f"(@pytest_dogfood.provides), or define it in dogfood.yaml:{definitions_to_paste(tests)}"
        yield remark(tests[first].establishes[first], "cannot-run-alone", message, hint)


def _journeys_that_cannot_run(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    cannot: dict[JourneyId, Token] = {}
    for journey_id in graph.ordered(graph.journeys):
        for token in graph.needed_by(graph.journeys[journey_id]):
            members = graph.establishing(token)
            impossible = members and all(member in cannot or graph.lacks_actor(member) for member in members)
            capability = graph.capability(token)
            may_be_present = capability is not None and capability.probe is not None
            if impossible and not graph.has_independent_provider(token) and not may_be_present:
                cannot[journey_id] = token
    for journey_id, token in cannot.items():
        place = _where_required(graph, graph.journeys[journey_id], (token,))
        message = f"{journey_id!r} can never run: no journey that establishes {token!r} has commands"
        hint = f"give {token!r} a 'provision:', or write commands for one of those journeys"
        yield warning(place, "unreachable", message, hint)


def _journeys_without_actor(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for journey in graph.journeys.values():
        if graph.lacks_actor(journey.id):
            place = next(step.location for step in journey.steps if step.run is None)
            message = f"{journey.id!r} would be skipped: "
            message += "this step has no command, and there is no actor to choose one"
            hint = "name an actor with ini dogfood_actor, or give the step a command with `run:`"
            if journey.is_gui:
                hint = "a plugin implements pytest_dogfood_gui_action for 'modality: gui'"
            yield remark(place, "no-actor", message, hint)
