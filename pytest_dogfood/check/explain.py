"""The output of `dogfood explain`: the needs of a journey or token, their providers, and the results in a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from pytest_dogfood.check.report import Report, beginning_in_words
from pytest_dogfood.diagnostics import Location, counted
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    JourneyId,
    Token,
    is_named_by,
    is_of_a_test,
    units_in_words,
    variable_for,
)
from pytest_dogfood.outcomes import JourneyResult, Provisioned, listed
from pytest_dogfood.scheduling.forecast import provider_of
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.scheduling.recipe import NotCacheableError, recipe_for
from pytest_dogfood.scheduling.split import split


def tokens_to_explain(graph: CapabilityGraph) -> tuple[Token, ...]:
    """Return the tokens with names of their own: not those that only mean that a test has passed."""
    named = dict.fromkeys([*graph.tokens, *graph.fixtures])
    return tuple(token for token in named if not is_of_a_test(token))


def explain(
    graph: CapabilityGraph,
    report: Report,
    name: str,
    *,
    shard: str = "",
    results: Mapping[JourneyId, JourneyResult] | None = None,
    steps: Callable[[JourneyId], Iterable[str]] = lambda _: (),
) -> Iterator[str]:
    """Yield the explanation of a name, or of all tokens without one; nothing if no journey or token has the name.

    `results` are those of a run, if one was given, and `steps` describes the steps of a journey that ran in it.
    """
    tokens = tokens_to_explain(graph)
    journeys = [one.id for one in graph.journeys.values() if is_named_by(name, one.id, one.nodeid)]
    for one in journeys:
        yield from explanation(graph, report, one, shard=shard)
        yield from () if results is None else journey_in_run(results, one)
        yield from steps(one)
    if not name:
        yield from list_of_tokens(graph, tokens, results)
        yield from () if results is None else journeys_in_run(results)
    elif name in report.others:
        yield f"{name}: this test neither requires, establishes nor invalidates a token, so it is outside of the graph"
    elif not journeys and name in tokens:
        yield from explanation_of_token(graph, report.plan, Token(name))
        yield from () if results is None else token_in_run(results, Token(name))


def explanation(
    graph: CapabilityGraph, report: Report, journey_id: JourneyId, *, shard: str = ""
) -> Iterator[str]:
    """Yield the needs of a journey and their sources, the tokens that it establishes, and its place in the plan."""
    journey = graph.journeys[journey_id]
    yield f"{journey_id} ({journey.location})"
    planned = {one.id: one for one in report.plan.journeys}
    direct = graph.required_by(journey)
    for token in graph.needed_by(journey):
        through = "" if token in direct else ", for the provider of another token it needs"
        yield f"  needs {token} ({graph.scope_of(token)}){through}"
        yield f"      {_sources(graph, token, planned)}"
    for token in journey.establishes:
        users = [other.id for other in graph.journeys.values() if token in graph.needed_by(other)]
        yield f"  establishes {token} ({graph.scope_of(token)}) for {', '.join(users) or 'nothing'}"
    for token in journey.invalidates:
        yield f"  invalidates {token} ({graph.scope_of(token)}), so it comes after the others that need it"
    yield from _locks(graph, journey.locks)
    yield from _chain_and_state(graph, journey_id)
    here = planned.get(journey_id)
    if here is not None:
        after = [other for other in here.after if other not in here.gates]
        yield f"  comes after: {', '.join(after) or 'nothing'}"
        if here.gates:
            yield f"  gates before it: {', '.join(here.gates)}"
        guess = " (a guess, because no duration is known)" if journey_id in report.guessed else ""
        critical = "; on the critical path" if journey_id in report.critical_path else ""
        yield f"  takes {here.weight:.1f} s{guess}{critical}"
        if shard:
            yield f"  runs in shard {shard}"
    elif shard:
        yield f"  does not run in shard {shard}"


def explanation_of_token(graph: CapabilityGraph, plan: Plan, token: Token) -> Iterator[str]:
    """Yield the definition of a token, its sources, its probe and values, and its users."""
    capability = graph.capability(token)
    where = f"defined at {capability.location}" if capability else "no file defines it"
    yield f"{token} (token, scope {graph.scope_of(token)}; {where})"
    if capability is not None and capability.description:
        yield f"  description: {capability.description}"
    yield f"  {_sources(graph, token, {one.id for one in plan.journeys})}"
    needs = graph.needs_of_provider(token)
    if needs:
        yield f"  its provider needs: {', '.join(needs)}"
    yield from _locks(graph, capability.locks if capability else {}, whose="its provider ")
    probe = capability.probe if capability else None
    yield f"  probe: {probe.command if probe else 'none; it is taken on trust'}"
    if graph.is_copyable(token):
        yield "  copyable: a copy of its files is as good"
    if capability is not None and capability.inputs is not None:
        yield f"  {_cached(graph, token)}"
    values = [f"${variable_for(token, name)}" for name in graph.value_names(token)]
    if values:
        yield f"  values: {', '.join(values)}"
    for journey in graph.journeys.values():
        if token in graph.needed_by(journey):
            through = "" if token in graph.required_by(journey) else ", for the provider of another token"
            yield f"  needed by {journey.id} ({journey.location}){through}"
    for other in graph.capabilities.values():
        if token in graph.needs_of_provider(other.token):
            yield f"  needed by the provider of {other.token} ({other.location})"
    yield from (f"  invalidated by {name} ({place})" for name, place in _destroyers(graph, token).items())


def _cached(graph: CapabilityGraph, token: Token) -> str:
    try:
        recipe_for(graph, [token])
    except NotCacheableError as error:
        return f"not cached: {error}"
    return "cached: a later run restores it, unless its inputs have changed"


def _locks(graph: CapabilityGraph, locks: Mapping[str, int], *, whose: str = "") -> Iterator[str]:
    """Yield the locks that are held, and how many units each has."""
    for name, units in locks.items():
        pool = graph.pools.get(name)
        number, place = (f"{units} of ", f"; {pool.location}") if pool else ("", "")
        yield f"  {whose}locks {number}{name} ({units_in_words(pool.units if pool else ())}{place})"


def _destroyers(graph: CapabilityGraph, token: Token) -> dict[str, Location]:
    """Return the journeys and providers that invalidate a token, with the places that name it."""
    found: dict[str, Location] = {
        one.id: one.invalidates[token] for one in graph.journeys.values() if token in one.invalidates
    }
    for one in graph.capabilities.values():
        if token in one.invalidates:
            found[f"the provider of {one.token}"] = one.invalidates[token]
    return found


def list_of_tokens(
    graph: CapabilityGraph,
    tokens: Collection[Token],
    results: Mapping[JourneyId, JourneyResult] | None = None,
) -> Iterator[str]:
    """Yield for each token its sources, its users, whether it has a probe, its values, and its results in a run."""
    for token in tokens:
        capability = graph.capability(token)
        probed = "probed" if capability is not None and capability.probe is not None else "no probe"
        copyable = ", copyable" if graph.is_copyable(token) else ""
        yield f"{token} ({graph.scope_of(token)}, {probed}{copyable})"
        makers: list[str] = [*graph.establishing(token)]
        makers += [f"{one}, an instance of it" for one in graph.instances_of(Token(f"{token}:*"))]
        makers += [f"fixture {graph.fixtures[token]}"] if token in graph.fixtures else []
        if graph.has_own_provider(token):
            makers.append("its service" if capability and capability.service else "its provision steps")
        yield f"  given by: {listed(makers) or 'nothing; it must be present already'}"
        users: list[str] = [one.id for one in graph.journeys.values() if token in graph.required_by(one)]
        providers = (one.token for one in graph.capabilities.values())
        users += [f"the provider of {one}" for one in providers if token in graph.needs_of_provider(one)]
        yield f"  needed by: {listed(users) or 'nothing'}"
        destroyers = _destroyers(graph, token)
        if destroyers:
            yield f"  invalidated by: {listed(destroyers)}"
        values = [f"${variable_for(token, name)}" for name in graph.value_names(token)]
        if values:
            yield f"  values: {', '.join(values)}"
        yield from (() if results is None else token_in_run(results, token))
    if not tokens:
        yield "no tokens: nothing requires, establishes or defines one"


def _chain_and_state(graph: CapabilityGraph, journey: JourneyId) -> Iterator[str]:
    """Yield what a journey's chain is, in which of its states it runs, and how that begins."""
    tree, chain = split(graph), graph.chains[journey]
    others = sum(one == chain for one in graph.chains.values()) - 1
    if not others:
        yield "  chain: its own; it may run on any worker"
        return
    ties = ", ".join(graph.chain_tokens_of(graph.journeys[journey]))
    states = sum(bool(members) for state, members in tree.members.items() if tree.chain_of[state] == chain)
    if states == 1:
        yield f"  chain {chain}: shares one state and one worker with {counted(others, 'other')}, tied by {ties}"
        return
    yield f"  chain {chain}: with {counted(others, 'other')}, tied by {ties}; it is split into {states} states"
    state = tree.state_of[journey]
    members, fork = tree.members[state], tree.forks.get(state)
    before = ", ".join(members[: members.index(journey)])
    begins = "" if fork is None else f", which {beginning_in_words(fork.state, fork.after)}"
    yield f"  state of {state}{begins}: it runs there {f'after {before}' if before else 'first'}"
    parts = [part for part in tree.numbers if part in tree.forks and tree.forks[part].after == journey]
    if parts:
        begin = "begins as a copy" if len(parts) == 1 else "begin as copies"
        yield f"  behind it {counted(len(parts), 'part')} of the chain {begin}: {listed(parts)}"


def _sources(graph: CapabilityGraph, token: Token, planned: Collection[JourneyId]) -> str:
    scope = graph.scope_of(token)
    where = f"once for the {scope}" if scope.is_shared else "in its chain's state"
    provisioned = f"provisioned {provider_of(graph, token)}, {where}"
    makers = [member for member in graph.establishing(token) if member in planned]
    establishers = ", ".join(makers)
    of_tests = bool(makers) and all(graph.journeys[member].python for member in makers)
    if of_tests and not graph.has_independent_provider(token):
        return f"established by {establishers}, which runs first wherever the token is required"
    return f"established by {establishers}; otherwise {provisioned}" if establishers else provisioned


def journey_in_run(results: Mapping[JourneyId, JourneyResult], journey: JourneyId) -> Iterator[str]:
    """Yield a journey's result in a finished run, the proof of each token, and the tokens provisioned for it."""
    result = results.get(journey)
    if result is None:
        yield "  in that run: it was not an item of it"
        return
    yield f"  in that run: {result.outcome}, on worker {result.worker}, in chain {result.chain}"
    if result.cause is not None:
        yield f"      because {result.cause}"
    yield from (f"      {token}: proved by its {proof}" for token, proof in result.proofs.items())
    yield from (f"      {one.token}: {_provisioned(one)}" for one in result.provisioned)


def journeys_in_run(results: Mapping[JourneyId, JourneyResult]) -> Iterator[str]:
    """Yield the result of each item of a finished run."""
    yield "the items of that run:"
    for result in results.values():
        because = f", because {result.cause}" if result.cause is not None else ""
        yield f"  {result.id}: {result.outcome}, on worker {result.worker}, in chain {result.chain}{because}"


def token_in_run(results: Mapping[JourneyId, JourneyResult], token: Token) -> Iterator[str]:
    """Yield the items for which a token was present in a finished run, its proof, and its provisioning."""
    lines: list[str] = []
    for result in results.values():
        if token in result.proofs:
            lines.append(f"      {result.id}: proved by its {result.proofs[token]}")
        own = (one for one in result.provisioned if one.token == token)
        lines += [f"      {result.id}: {_provisioned(one)}" for one in own]
    yield "  in that run:" if lines else "  in that run: it was not present for any item"
    yield from lines


def _provisioned(one: Provisioned) -> str:
    return f"provisioned {one.how} in {one.where}, {one.seconds:.1f} s"
