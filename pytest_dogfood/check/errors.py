"""What is wrong with a capability graph, found without running anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import combinations, pairwise

from pytest_dogfood.diagnostics import Diagnostic, Location, did_you_mean, in_order_of_place
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    Capability,
    Journey,
    JourneyId,
    Scope,
    Tier,
    Token,
    base_of,
    means_every_instance,
    variable_for,
)
from pytest_dogfood.walks import reachable

Check = Callable[[CapabilityGraph], Iterable[Diagnostic]]


def diagnose(
    graph: CapabilityGraph, *, elsewhere: Collection[Token] = (), complete: bool = True
) -> tuple[Diagnostic, ...]:
    """Return every error of the graph, in order of place.

    `elsewhere` holds the tokens that Python files speak of; whether those are established is not known to files.
    Where the graph is not `complete`, only what no further journey could put right is an error.
    """
    for_good: tuple[Check, ...] = (_cycles, _shared_variables, _gates_that_wait_for_later_tiers)
    as_it_stands: tuple[Check, ...] = (
        _unknown_tokens,
        _outlived_without_need,
        _shared_directories,
        _fixtures_for_machine_tokens,
        lambda graph: _capabilities_nobody_can_bring(graph, elsewhere),
    )
    checks = (*for_good, *as_it_stands) if complete else for_good
    return in_order_of_place(found for check in checks for found in check(graph))


def diagnose_ids(journeys: Iterable[Journey], capabilities: Iterable[Capability]) -> tuple[Diagnostic, ...]:
    """Find ids and definitions that stand twice in the project, which the graph itself could not hold."""
    return in_order_of_place(
        [
            *_twice(
                ((journey.id, journey.location) for journey in journeys),
                code="duplicate-id",
                words="journey id {name!r} is taken already, by {first}",
                hint="journey ids are unique in the whole project: rename one of the two",
            ),
            *_twice(
                ((capability.token, capability.location) for capability in capabilities),
                code="duplicate-capability",
                words="capability {name!r} is defined already, at {first}",
                hint="define it once, in a dogfood.yaml above both places if both need it",
            ),
        ]
    )


def _twice(
    named: Iterable[tuple[str, Location]], *, code: str, words: str, hint: str
) -> Iterator[Diagnostic]:
    first: dict[str, Location] = {}
    for name, location in named:
        if first.setdefault(name, location) != location:
            message = words.format(name=name, first=first[name])
            yield Diagnostic(location=location, code=code, message=message, hint=hint)


def _requirements(graph: CapabilityGraph) -> Iterator[tuple[str, Token, Location]]:
    for journey in graph.journeys.values():
        for token, location in journey.requires.items():
            yield f"journey {journey.id!r}", token, location
        for token, location in journey.invalidates.items():
            yield f"journey {journey.id!r}", token, location
    for capability in graph.capabilities.values():
        named = (capability.requires, capability.invalidates, capability.outlives)
        for token, location in (pair for tokens in named for pair in tokens.items()):
            yield f"capability {capability.token!r}", token, location


def _outlived_without_need(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Report what a capability outlives though nothing that makes it needs it."""
    for capability in graph.capabilities.values():
        makers = [graph.journeys[one] for one in graph.establishing(capability.token)]
        if not (makers or capability.provision or capability.service or capability.requires):
            continue  # Python tests may establish it, which are known once they are collected
        needed = {*capability.requires, *(token for maker in makers for token in maker.requires)}
        for token, location in capability.outlives.items():
            if token not in needed:
                yield Diagnostic(
                    location=location,
                    code="outlives-unrequired",
                    message=f"{capability.token!r} outlives {token!r}, but nothing that makes it requires that",
                    hint=f"add it to `requires`, or remove it: {capability.token!r} does not rest on it",
                )


def _unknown_tokens(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for who, token, location in _requirements(graph):
        if means_every_instance(token) and not graph.instances_of(token):
            yield Diagnostic(
                location=location,
                code="unknown-token",
                message=f"{who} asks for every instance of {base_of(token)!r}, and no journey establishes one",
                hint=did_you_mean(base_of(token), map(base_of, graph.tokens)),
            )
        elif not means_every_instance(token) and not graph.is_known(token):
            yield _unknown_token(graph, who, token, location)


def _unknown_token(graph: CapabilityGraph, who: str, token: Token, location: Location) -> Diagnostic:
    if token in graph.establishers:
        which = "which only Python tests establish"
        hint = "define it under 'capabilities:', in a dogfood.yaml for example, so that files know of it too"
    else:
        which = "which no journey establishes and no file defines"
        hint = did_you_mean(token, graph.tokens) or (
            "add 'establishes' to the journey that brings it about, or define it under 'capabilities:'; "
            "a token that only Python tests establish must be defined there"
        )
    return Diagnostic(
        location=location, code="unknown-token", message=f"{who} names {token!r}, {which}", hint=hint
    )


def _cycles(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    prerequisites = graph.prerequisites
    done: set[JourneyId] = set()
    for start in graph.journeys:
        path: list[JourneyId] = []
        on_path: dict[JourneyId, int] = {}
        trail = [(start, iter(prerequisites[start]))] if start not in done else []
        if trail:
            on_path[start] = 0
            path.append(start)
        while trail:
            journey, others = trail[-1]
            other = next(others, None)
            if other is None:
                trail.pop()
                done.add(path.pop())
                del on_path[journey]
            elif other in on_path:
                yield _cycle(graph, [*path[on_path[other] :], other])
            elif other not in done:
                on_path[other] = len(path)
                path.append(other)
                trail.append((other, iter(prerequisites[other])))
    yield from _cycles_of_providers(graph)


def _cycle(graph: CapabilityGraph, path: list[JourneyId]) -> Diagnostic:
    edges = [_edge(graph, one, other) for one, other in pairwise(path)]
    words = "".join(f"\n    {journey!r} requires {token!r} ({place})" for journey, token, place in edges)
    return Diagnostic(
        location=edges[0][2],
        code="cycle",
        message=f"journeys wait for each other: {' -> '.join(path)}{words}",
        hint="break the circle: let one of them provide for itself, or split what it establishes",
    )


def _edge(graph: CapabilityGraph, one: JourneyId, other: JourneyId) -> tuple[JourneyId, Token, Location]:
    journey = graph.journeys[one]
    needed = graph.needed_by(journey)
    places: dict[Token, Location] = {}
    for requires in (journey.requires, *(found.requires for found in map(graph.capability, needed) if found)):
        for named, place in requires.items():
            for instance in graph.instances_of(named):
                places.setdefault(instance, place)
    token = next(token for token in needed if other in graph.establishing(token))
    return one, token, places[token]


def _cycles_of_providers(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for capability in graph.capabilities.values():
        token = capability.token
        if token in reachable(graph.needs_of_provider(token), graph.needs_of_provider):
            yield Diagnostic(
                location=capability.location,
                code="cycle",
                message=f"the provider of {token!r} needs {token!r} itself, through 'requires'",
                hint="remove one of the 'requires' on the way round",
            )


def _shared_directories(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    sharing: dict[tuple[str, str], list[Journey]] = defaultdict(list)
    for journey in graph.journeys.values():
        if journey.workdir is not None:
            sharing[graph.chains[journey.id], journey.workdir].append(journey)
    for (_, name), journeys in sharing.items():
        before = {journey.id: graph.all_before(journey.id) for journey in journeys}
        for one, other in combinations(journeys, 2):
            if one.id not in before[other.id] and other.id not in before[one.id]:
                yield Diagnostic(
                    location=other.location,
                    code="workdir-conflict",
                    message=f"{other.id!r} and {one.id!r} ({one.location}) share workdir {name!r}, "
                    "but neither depends on the other",
                    hint="name another workdir, or let one require what the other establishes",
                )


def _shared_variables(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Find variables that two required tokens would give, or that something uses which two other tokens would give.

    Of a token that is required and one that only its provider needs, the required one gives the value otherwise.
    """
    owners: dict[str, set[Token]] = defaultdict(set)
    for token in graph.tokens:
        for name in graph.value_names(token):
            owners[variable_for(token, name)].add(token)
    clashes = {variable: tokens for variable, tokens in owners.items() if len(tokens) > 1}
    for who, user, required in _users(graph) if clashes else ():
        needed = graph.with_bases(required)
        for variable, tokens in clashes.items():
            both = [token for token in required if token in tokens]
            if len(both) < 2 and user.speaks_of(variable):
                both = [token for token in needed if token in tokens]
            if len(both) > 1:
                yield Diagnostic(
                    location=user.location,
                    code="variable-conflict",
                    message=f"{who} would get ${variable} from both {both[0]!r} and {both[1]!r}",
                    hint="rename a saved value, a port or a token",
                )


def _users(graph: CapabilityGraph) -> Iterator[tuple[str, Journey | Capability, tuple[Token, ...]]]:
    """Yield everything that is given the values of tokens, with the tokens that it names itself."""
    for journey in graph.journeys.values():
        yield repr(journey.id), journey, graph.required_by(journey)
    for token, capability in graph.capabilities.items():
        yield f"the definition of {token!r}", capability, (token, *graph.needs_of_provider(token))


def _gates_that_wait_for_later_tiers(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    gates = [journey for journey in graph.journeys.values() if journey.gating]
    latest = _latest_tiers(graph) if gates else {}
    for journey in gates:
        for other in graph.prerequisites[journey.id]:
            if latest[other] > journey.tier:
                needed = reachable([other], graph.prerequisites.__getitem__)
                later = max(map(graph.journeys.__getitem__, needed), key=lambda one: one.tier)
                if later.tier > journey.tier:
                    yield Diagnostic(
                        location=journey.location,
                        code="gate-needs-later-tier",
                        message=f"{journey.id!r} gates after tier '{journey.tier}' but needs {later.id!r} "
                        f"of tier '{later.tier}' ({later.location}), which its gate would hold back",
                        hint="move the one it needs to its tier or an earlier one, or drop 'gating: true'",
                    )


def _latest_tiers(graph: CapabilityGraph) -> dict[JourneyId, Tier]:
    """Return the latest tier among each journey and all that it needs, or a later one where they form a cycle."""
    found: dict[JourneyId, Tier] = {}
    for journey in graph.ordered(graph.journeys):
        needed = (found.get(other, Tier.DEEP) for other in graph.prerequisites[journey])
        found[journey] = max((graph.journeys[journey].tier, *needed))
    return found


def _fixtures_for_machine_tokens(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for token, fixture in graph.fixtures.items():
        capability = graph.capability(token)
        if capability is not None and capability.scope is Scope.MACHINE:
            yield Diagnostic(
                location=capability.location,
                code="fixture-for-machine-token",
                message=f"{token!r} has scope 'machine', but fixture {fixture!r} provides it within one worker",
                hint="use 'provision:' or 'service:', or give the capability scope 'chain'",
            )


def _capabilities_nobody_can_bring(
    graph: CapabilityGraph, elsewhere: Collection[Token]
) -> Iterator[Diagnostic]:
    provided = {base_of(token) for token in (*graph.establishers, *graph.fixtures, *elsewhere)}
    for capability in graph.capabilities.values():
        if capability.is_empty and capability.token not in provided:
            yield Diagnostic(
                location=capability.location,
                code="empty-capability",
                message=f"{capability.token!r} has no probe and no provider, and nothing establishes it",
                hint="add 'provision:', 'service:' or 'probe:', or 'establishes' to a journey or a test",
            )
