"""The errors of a capability graph, found without running anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from pytest_dogfood.diagnostics import Diagnostic, Location, did_you_mean, error, in_order_of_place
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    Capability,
    Journey,
    JourneyId,
    Pool,
    Scope,
    Tier,
    Token,
    base_of,
    means_every_instance,
    variable_for_lock,
)
from pytest_dogfood.walks import reachable


def diagnose(
    graph: CapabilityGraph, *, elsewhere: Collection[Token] = (), complete: bool = True
) -> tuple[Diagnostic, ...]:
    """Return every error of the graph, in order of place.

    `elsewhere` holds the tokens that uncollected Python files may establish or provide. If the graph is not `complete`,
    only errors that more journeys could not resolve are returned.
    """
    found = [*_cycles(graph), *_shared_variables(graph), *_gates_that_wait_for_later_tiers(graph)]
    if complete:
        found += _unknown_tokens(graph, elsewhere)
        found += _shared_directories(graph)
        found += _fixtures_for_machine_or_copyable_tokens(graph)
        if any(one.scope is Scope.FLEET for one in graph.capabilities.values()):
            from pytest_dogfood.check.fleet import errors_of_the_fleet  # most projects have no such token

            found += errors_of_the_fleet(graph)
        found += _wrong_definitions(graph, elsewhere)
        found += _wrong_pools(graph)
    return in_order_of_place(found)


def diagnose_ids(
    journeys: Sequence[Journey], capabilities: Sequence[Capability], pools: Sequence[Pool] = ()
) -> tuple[Diagnostic, ...]:
    """Find ids and definitions that occur twice in the project; the graph holds only one of each."""
    once = "define it once, in a dogfood.yaml above both places if both need it"
    rename = "journey ids are unique in the whole project: rename one of the two"
    ids = ((one.id, one.location) for one in journeys)
    tokens = ((one.token, one.location) for one in capabilities)
    names = ((one.name, one.location) for one in pools)
    return in_order_of_place(
        [
            *_repeated(ids, "duplicate-id", "journey id {!r} is already used", rename),
            *_repeated(tokens, "duplicate-capability", "capability {!r} is already defined", once),
            *_repeated(names, "duplicate-pool", "pool {!r} is already defined", once),
        ]
    )


def _repeated(
    named: Iterable[tuple[str, Location]], code: str, problem: str, hint: str
) -> Iterator[Diagnostic]:
    first: dict[str, Location] = {}
    for name, place in named:
        if first.setdefault(name, place) != place:
            yield error(place, code, f"{problem.format(name)}, at {first[name]}", hint)


def _wrong_pools(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for pool in graph.pools.values():
        variable = variable_for_lock(pool.name)
        for token in sorted(graph.variables.get(variable, ())):
            message = f"the pool {pool.name!r} and a value of {token!r} would both set ${variable}"
            hint = "rename the pool, the value or the token"
            yield error(pool.location, "variable-conflict", message, hint)
    for user in users_in(graph):
        for lock, count in user.locks.items():
            there = graph.units_of(lock)
            if count > there:
                message = f"{_name_of(user)} locks {count} of {lock!r}, but "
                if lock in graph.pools:
                    message += f"the pool has only {there} ({graph.pools[lock].location})"
                    hint = f"lock at most {there}, or add units to the pool"
                else:
                    message += "there is no pool of that name, so there is only 1"
                    hint = did_you_mean(lock, graph.pools)
                    hint = hint or f"add `pools: {{{lock}: {count}}}` to dogfood.yaml"
                yield error(user.location, "pool-too-small", message, hint)


def unknown_tokens(graph: CapabilityGraph) -> list[tuple[str, Token, Location]]:
    """Return each use of a token without a source or definition: its user, the token, and the place."""
    found: list[tuple[str, Token, Location]] = []
    for user in users_in(graph):
        for token, place in tokens_named_by(user):
            if not (graph.instances_of(token) if means_every_instance(token) else graph.is_known(token)):
                found.append((_name_of(user), token, place))
    return found


def users_in(graph: CapabilityGraph) -> tuple[Journey | Capability, ...]:
    """Return everything that names tokens and locks."""
    return (*graph.journeys.values(), *graph.capabilities.values())


def tokens_named_by(user: Journey | Capability) -> tuple[tuple[Token, Location], ...]:
    """Return the tokens that a journey or a definition uses but does not establish, with their places."""
    outlived = user.outlives if isinstance(user, Capability) else {}
    return (*user.requires.items(), *user.invalidates.items(), *outlived.items())


def _name_of(user: Journey | Capability) -> str:
    if isinstance(user, Capability):
        return f"capability {user.token!r}"
    return f"{'test' if user.python else 'journey'} {user.id!r}"


def definitions_to_paste(tokens: Iterable[Token], definition: str = "{provision: [{run: COMMAND}]}") -> str:
    """Return the lines of a dogfood.yaml that defines the tokens, for the end of a hint."""
    lines = (f"\n          {token}: {definition}" for token in tokens)
    return f"\n        capabilities:{''.join(lines)}"


def _unknown_tokens(graph: CapabilityGraph, elsewhere: Collection[Token]) -> Iterator[Diagnostic]:
    unknown = [named for named in unknown_tokens(graph) if named[1] not in elsewhere]
    known = dict.fromkeys([*graph.tokens, *graph.fixtures, *elsewhere])
    hints = {token: did_you_mean(base_of(token), map(base_of, known)) for _, token, _ in unknown}
    for token in hints:
        if not means_every_instance(token):
            hints[token] = did_you_mean(token, known)
    to_define = list(dict.fromkeys(base_of(token) for token, hint in hints.items() if not hint))
    hint = (
        "let a journey or a test establish it, let a fixture provide it (@pytest_dogfood.provides), "
        f"or define it in dogfood.yaml:{definitions_to_paste(to_define)}"
    )
    for user, token, location in unknown:
        message = f"{user} names {token!r}, which nothing establishes, provides or defines"
        if means_every_instance(token):
            message = f"{user} names every instance of {base_of(token)!r}, but nothing establishes one"
        yield error(location, "unknown-token", message, hints[token] or hint)


def _cycles(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    done: set[JourneyId] = set()
    for start in graph.journeys:
        path = {} if start in done else {start: iter(graph.prerequisites[start])}
        while path:
            _, others = next(reversed(path.items()))
            other = next(others, None)
            if other is None:
                done.add(path.popitem()[0])
            elif other in path:
                names = list(path)
                yield _cycle(graph, [*names[names.index(other) :], other])
            elif other not in done:
                path[other] = iter(graph.prerequisites[other])
    for capability in graph.capabilities.values():
        token = capability.token
        if token in reachable(graph.needs_of_provider(token), graph.needs_of_provider):
            message = f"the provider of {token!r} needs {token!r} itself, through 'requires'"
            yield error(capability.location, "cycle", message, "remove one of the 'requires' in this cycle")


def _cycle(graph: CapabilityGraph, path: Sequence[JourneyId]) -> Diagnostic:
    places: list[Location] = []
    words = ""
    for one, other in pairwise(path):
        journey = graph.journeys[one]
        needed = graph.needed_by(journey)
        token = next(token for token in needed if other in graph.establishing(token))
        capabilities = filter(None, map(graph.capability, needed))
        requirements = [journey.requires, *(capability.requires for capability in capabilities)]
        named = [pair for requires in requirements for pair in requires.items()]
        places.append(next(place for name, place in named if token in graph.instances_of(name)))
        words += f"\n    {one!r} requires {token!r} ({places[-1]})"
    hint = "give one of these tokens a 'provision:', or split one of the journeys"
    return error(places[0], "cycle", f"dependency cycle: {' -> '.join(path)}{words}", hint)


def _shared_directories(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    sharing: dict[tuple[str, str], list[Journey]] = defaultdict(list)
    for journey in graph.journeys.values():
        if journey.workdir is not None:
            sharing[graph.chains[journey.id], journey.workdir].append(journey)
    for (_, name), journeys in sharing.items():
        before = {journey.id: graph.all_before(journey.id) for journey in journeys}
        for one, other in combinations(journeys, 2):
            if one.id not in before[other.id] and other.id not in before[one.id]:
                message = (
                    f"{other.id!r} and {one.id!r} ({one.location}) share workdir {name!r}, "
                    "but neither depends on the other"
                )
                hint = "use another workdir, or let one require a token that the other establishes"
                yield error(other.location, "workdir-conflict", message, hint)


def _shared_variables(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Find variables that would get values from two required tokens, or that are used and from any two needed ones.

    Between a required token and one that only its provider needs, the required one normally sets the variable.
    """
    clashes = {variable: tokens for variable, tokens in graph.variables.items() if len(tokens) > 1}
    for user in users_in(graph) if clashes else ():
        if isinstance(user, Capability):
            name = f"the definition of {user.token!r}"
            required = (user.token, *graph.needs_of_provider(user.token))
        else:
            name, required = repr(user.id), graph.required_by(user)
        needed = graph.with_bases(required)
        for variable, tokens in clashes.items():
            both = [token for token in required if token in tokens]
            if len(both) < 2 and user.mentions(variable):
                both = [token for token in needed if token in tokens]
            if len(both) > 1:
                message = f"{name} would get ${variable} from both {both[0]!r} and {both[1]!r}"
                hint = "rename a saved value, a port or a token"
                yield error(user.location, "variable-conflict", message, hint)


def _gates_that_wait_for_later_tiers(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    gates = [journey for journey in graph.journeys.values() if journey.gating]
    # The latest tier among each journey and all that it needs, or a later one in a cycle: computed for all journeys in
    # one walk, so that many gates cost no more than one.
    latest: dict[JourneyId, Tier] = {}
    for journey_id in graph.ordered(graph.journeys) if gates else ():
        needed = (latest.get(other, Tier.DEEP) for other in graph.prerequisites[journey_id])
        latest[journey_id] = max((graph.journeys[journey_id].tier, *needed))
    for journey in gates:
        for other in graph.prerequisites[journey.id]:
            if latest[other] > journey.tier:
                behind = reachable([other], graph.prerequisites.__getitem__)
                later = max(map(graph.journeys.__getitem__, behind), key=lambda one: one.tier)
                if later.tier > journey.tier:
                    message = (
                        f"{journey.id!r} is a gate of tier '{journey.tier}', but needs {later.id!r} "
                        f"of the later tier '{later.tier}' ({later.location}), which the gate would hold back"
                    )
                    hint = f"move {later.id!r} to tier '{journey.tier}' or an earlier one, or remove 'gating: true'"
                    yield error(journey.location, "gate-needs-later-tier", message, hint)


def _fixtures_for_machine_or_copyable_tokens(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    for token, fixture in graph.fixtures.items():
        capability = graph.capability(token)
        if capability is not None and capability.scope is Scope.MACHINE:
            message = f"{token!r} has scope 'machine', but fixture {fixture!r} provides it within one worker"
            hint = "use 'provision:' or 'service:', or give the capability scope 'chain'"
            yield error(capability.location, "fixture-for-machine-token", message, hint)
        elif capability is not None and graph.is_copyable(token):
            message = (
                f"{token!r} is copyable, but fixture {fixture!r} provides it, which is set up in one worker"
            )
            hint = "use 'provision:', or remove 'copyable: true'"
            yield error(capability.location, "copyable-with-fixture", message, hint)


def _wrong_definitions(graph: CapabilityGraph, elsewhere: Collection[Token]) -> Iterator[Diagnostic]:
    made = {base_of(token) for token in (*graph.establishers, *graph.fixtures, *elsewhere)}
    for name, capability in graph.capabilities.items():
        if capability.is_empty and name not in made:
            message = f"{name!r} has no probe and no provider, and nothing establishes it"
            hint = "add 'provision:', 'service:' or 'probe:', or 'establishes' to a journey or a test"
            yield error(capability.location, "empty-capability", message, hint)
        makers = [graph.journeys[one] for one in graph.establishing(name)]
        # Otherwise Python tests may establish it, which are known only after collection.
        is_made = makers or capability.provision or capability.service or capability.requires
        needed = {*capability.requires, *(token for maker in makers for token in maker.requires)}
        for token, location in capability.outlives.items() if is_made else ():
            if token not in needed:
                message = f"{name!r} outlives {token!r}, but nothing that makes it requires that"
                hint = f"add it to `requires`, or remove it: {name!r} does not rest on it"
                yield error(location, "outlives-unrequired", message, hint)
