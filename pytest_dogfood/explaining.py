"""Why a journey is where it is, and where a token comes from, for a person who wonders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_dogfood.foreseeing import how_provided
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope, Token, variable_for
from pytest_dogfood.outcomes import JourneyResult, Provisioned
from pytest_dogfood.scheduling.plan import Plan


def explanation(
    graph: CapabilityGraph, plan: Plan, journey_id: JourneyId, *, shard: str = ""
) -> Iterator[str]:
    """Say what a journey needs, who brings that, what it enables, and where it runs."""
    journey = graph.journeys[journey_id]
    yield f"{journey_id} ({journey.location})"
    planned = {one.id: one for one in plan.journeys}
    direct = graph.required_by(journey)
    for token in graph.needed_by(journey):
        through = "" if token in direct else ", for the provider of something else it needs"
        yield f"  needs {token} ({graph.scope_of(token)}){through}"
        yield f"      {_bringers(graph, token, planned)}"
    for token in journey.establishes:
        users = [other.id for other in graph.journeys.values() if token in graph.needed_by(other)]
        yield f"  establishes {token} ({graph.scope_of(token)}) for {', '.join(users) or 'nothing'}"
    chain = graph.chains[journey_id]
    members = [other for other in graph.journeys if graph.chains[other] == chain]
    ties = graph.tying(journey)
    if len(members) > 1:
        others = "1 other" if len(members) == 2 else f"{len(members) - 1} others"
        yield f"  chain {chain}: shares one state and one worker with {others}, tied by {', '.join(ties)}"
    else:
        yield "  chain: its own; it may run on any worker"
    here = planned.get(journey_id)
    if here is not None:
        yield f"  comes after: {', '.join(here.after) or 'nothing'}"
        if here.gates:
            yield f"  gates before it: {', '.join(here.gates)}"
        if shard:
            yield f"  runs in shard {shard}"
    elif shard:
        yield f"  does not run in shard {shard}"


def explanation_of_token(graph: CapabilityGraph, plan: Plan, token: Token) -> Iterator[str]:
    """Say where a token is defined, who brings it, what shows that it is there, and who needs it."""
    capability = graph.capability(token)
    where = f"defined at {capability.location}" if capability else "known because a journey establishes it"
    yield f"{token} (token, scope {graph.scope_of(token)}; {where})"
    if capability is not None and capability.description:
        yield f"  description: {capability.description}"
    yield f"  {_bringers(graph, token, {one.id: one for one in plan.journeys})}"
    needs = graph.needs_of_provider(token)
    if needs:
        yield f"  its provider needs: {', '.join(needs)}"
    probe = capability.probe if capability else None
    yield f"  probe: {probe.command if probe else 'none; what establishes it is taken at its word'}"
    values = [f"${variable_for(token, name)}" for name in graph.value_names(token)]
    if values:
        yield f"  values: {', '.join(values)}"
    for journey in graph.journeys.values():
        if token in graph.needed_by(journey):
            through = "" if token in graph.required_by(journey) else ", for the provider of something else"
            yield f"  needed by {journey.id} ({journey.location}){through}"


def _bringers(graph: CapabilityGraph, token: Token, planned: Mapping[JourneyId, object]) -> str:
    establishers = [member for member in graph.establishing(token) if member in planned]
    otherwise = f"otherwise provisioned {how_provided(graph, token)}"
    where = "once for the machine" if graph.scope_of(token) is Scope.MACHINE else "in its chain's state"
    if establishers:
        return f"established by {', '.join(establishers)}; {otherwise}, {where}"
    return f"{otherwise.removeprefix('otherwise ')}, {where}"


def what_happened(results: Mapping[JourneyId, JourneyResult], journey: JourneyId) -> Iterator[str]:
    """Say where a journey ran in a finished run, what proved each token, and what was provisioned for it."""
    result = results.get(journey)
    if result is None:
        yield "  in that run: it was not an item of it"
        return
    yield f"  in that run: {result.outcome}, on worker {result.worker}, in chain {result.chain}"
    if result.cause is not None:
        yield f"      because {result.cause}"
    for token, proof in result.proofs.items():
        yield f"      {token}: proved by its {proof}"
    for one in result.provisioned:
        yield f"      {one.token}: {_act(one)}"


def _act(one: Provisioned) -> str:
    return f"provisioned {one.how} in {one.where}, {one.seconds:.1f} s"


def what_became_of(results: Mapping[JourneyId, JourneyResult], token: Token) -> Iterator[str]:
    """Say for which items a token was present in a finished run, what proved it, and who had it provisioned."""
    asked = [one for one in results.values() if token in one.proofs or token in _provisioned_by(one)]
    yield "  in that run:" if asked else "  in that run: it was not present for any item"
    for result in asked:
        if token in result.proofs:
            yield f"      {result.id}: proved by its {result.proofs[token]}"
        for one in result.provisioned:
            if one.token == token:
                yield f"      {result.id}: {_act(one)}"


def _provisioned_by(result: JourneyResult) -> tuple[Token, ...]:
    return tuple(one.token for one in result.provisioned)
