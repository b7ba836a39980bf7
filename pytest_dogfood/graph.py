"""The capability graph: the providers and dependents of each token, and the order and chains that follow from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import cached_property
from itertools import chain

from pytest_dogfood.journey import (
    Capability,
    ChainId,
    Journey,
    JourneyId,
    Pool,
    Scope,
    Token,
    base_of,
    means_every_instance,
    variable_for,
)
from pytest_dogfood.walks import DisjointSets, Precedence, in_order, inverted, reachable

HasActor = Callable[[Journey], bool]


class CapabilityGraph:
    """Journeys of the whole project and the capabilities between them; never of a selection.

    `fixtures` maps tokens to the fixtures that provide them, `fixture_scopes` to pytest's scopes of these; `has_actor`
    tells whether a journey has an actor for its steps without a command; by default none has. Journeys keep the order
    in which they are given.
    """

    def __init__(
        self,
        journeys: Iterable[Journey],
        capabilities: Iterable[Capability] = (),
        fixtures: Mapping[Token, str] | None = None,
        *,
        fixture_scopes: Mapping[Token, str] | None = None,
        pools: Iterable[Pool] = (),
        has_actor: HasActor | None = None,
    ) -> None:
        self._has_actor = has_actor
        self.journeys: dict[JourneyId, Journey] = {}
        for journey in journeys:
            self.journeys.setdefault(journey.id, journey)
        self.capabilities: dict[Token, Capability] = {}
        for capability in capabilities:
            self.capabilities.setdefault(capability.token, capability)
        self.fixtures: dict[Token, str] = dict(fixtures or {})
        self.fixture_scopes: dict[Token, str] = dict(fixture_scopes or {})
        self.pools: dict[str, Pool] = {}
        for pool in pools:
            self.pools.setdefault(pool.name, pool)
        self._required: dict[JourneyId, tuple[Token, ...]] = {}
        self._needed: dict[JourneyId, tuple[Token, ...]] = {}
        self._chained: dict[JourneyId, tuple[Token, ...]] = {}
        self._wanted: dict[Token, frozenset[str]] = {}

    def redefined(self, definitions: Iterable[Capability]) -> CapabilityGraph:
        """Return the same graph with these definitions, which differ from those here only in what is copyable.

        What was found out about this graph stays known, so that several tokens can be tried in a large project.
        """
        definitions, other = tuple(definitions), copy(self)
        other.capabilities = {**self.capabilities, **{one.token: one for one in definitions}}
        # How the journeys of one state wait for each other does not depend on what is copyable; how all do may.
        vars(other)["prerequisites_in_one_state"] = self.prerequisites_in_one_state
        vars(other).pop("tokens", None)
        changed = {one.token for one in definitions}
        if any(base_of(token) in changed for one in self.journeys.values() for token in one.invalidates):
            vars(other).pop("prerequisites", None)
        return other

    @cached_property
    def establishers(self) -> Mapping[Token, tuple[tuple[JourneyId, ...], ...]]:
        """The groups of journeys that establish each token, in the order of the journeys.

        A group, such as the tests of a marked class, does so only together; any other journey is a group of its own.
        """
        groups: dict[Token, dict[str, list[JourneyId]]] = defaultdict(dict)
        for journey in self.journeys.values():
            for token in journey.establishes:
                key = journey.groups.get(token, journey.id)
                groups[token].setdefault(key, []).append(journey.id)
        return {token: tuple(map(tuple, by_key.values())) for token, by_key in groups.items()}

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """Every token that a journey establishes or a file defines, in that order."""
        return tuple(dict.fromkeys([*self.establishers, *self.capabilities]))

    @cached_property
    def _instances(self) -> Mapping[Token, list[Token]]:
        return inverted({token: [base_of(token)] for token in self.establishers if token != base_of(token)})

    def instances_of(self, token: Token) -> tuple[Token, ...]:
        """Return the tokens meant by a requirement: `db-ready:*` means every instance that is established."""
        if means_every_instance(token):
            return tuple(self._instances.get(base_of(token), ()))
        return (token,)

    def capability(self, token: Token) -> Capability | None:
        """Return the definition of a token; an instance has that of its base unless it has its own."""
        known = self.capabilities.get(token)
        return self.capabilities.get(base_of(token)) if known is None and ":" in token else known

    def lacks_actor(self, journey: JourneyId) -> bool:
        """Return whether a journey has a step without a command, and no actor to choose one."""
        found = self.journeys[journey]
        return found.needs_actor and (self._has_actor is None or not self._has_actor(found))

    def scope_of(self, token: Token) -> Scope:
        capability = self.capability(token)
        return capability.scope if capability else Scope.CHAIN

    def is_copyable(self, token: Token) -> bool:
        """Return whether the token is true wholly because of files in its chain's state, so that a copy is as good."""
        capability = self.capability(token)
        return capability is not None and capability.copyable and capability.scope is Scope.CHAIN

    def has_probe(self, token: Token) -> bool:
        capability = self.capability(token)
        return capability is not None and capability.probe is not None

    def is_known(self, token: Token) -> bool:
        """Return whether a journey or a test establishes the token, a fixture provides it, or a file defines it."""
        return token in self.establishers or token in self.fixtures or self.capability(token) is not None

    def has_independent_provider(self, token: Token) -> bool:
        """Return whether something other than an establishing journey can provide the token with its values."""
        return token in self.fixtures or self.has_own_provider(token)

    def has_own_provider(self, token: Token) -> bool:
        """Return whether the token's own definition can provide it with every value that is used."""
        capability = self.capability(token)
        if capability is None or not (capability.provision or capability.service):
            return False
        return self.values_wanted(token) <= _given_by_provider(capability)

    def required_by(self, journey: Journey) -> tuple[Token, ...]:
        """Return the tokens that a journey requires directly, with `:*` expanded."""
        if journey.id not in self._required:
            each = [one for token in journey.requires for one in self.instances_of(token)]
            self._required[journey.id] = tuple(dict.fromkeys(each))
        return self._required[journey.id]

    def needs_of_provider(self, token: Token) -> tuple[Token, ...]:
        """Return the tokens that must be present before the token's own provider may run."""
        capability = self.capability(token)
        if capability is None:
            return ()
        return tuple(one for need in capability.requires for one in self.instances_of(need))

    def with_bases(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        """Return tokens and those that their capabilities require in turn, the nearer ones first."""
        return tuple(reachable(tokens, self.needs_of_provider))

    def bases_of(self, token: Token, maker: JourneyId | None) -> tuple[Token, ...]:
        """Return the tokens on which a token rests if `maker` has established it, or its own provider (None).

        Excluded are those that its capability `outlives`, and those that its maker invalidates.
        """
        capability = self.capability(token)
        if maker is not None:
            needs, destroyed = self.required_by(self.journeys[maker]), self.journeys[maker].invalidates
        elif capability is not None:
            needs, destroyed = self.needs_of_provider(token), capability.invalidates
        else:
            return ()
        outlived = capability.outlives if capability is not None else {}
        if not (outlived or destroyed):
            return needs
        return tuple(one for one in needs if one not in outlived and one not in destroyed)

    def rests_on(self, token: Token) -> tuple[Token, ...]:
        """Return all tokens on which a token may rest, whichever provider or journey makes it."""
        makers = (None, *self.establishing(token))
        return tuple(dict.fromkeys(one for maker in makers for one in self.bases_of(token, maker)))

    def locks_needed(
        self,
        gates: Mapping[JourneyId, Iterable[JourneyId]],
        *,
        tokens: Iterable[Token] = (),
        journeys: Iterable[JourneyId] = (),
    ) -> Counter[str]:
        """Return the units of every lock that may be needed to provision `tokens` and to replay `journeys`.

        They are those of the capabilities, of the journeys that may be replayed, and of the tokens that these need in
        turn. `gates` maps journeys to the gates that may be replayed before them.
        """
        if not self._has_locks:
            return Counter()
        locks: Counter[str] = Counter()
        seen: set[Token] = set()
        replayed: set[JourneyId] = set()
        waiting, to_replay = list(tokens), list(journeys)
        while waiting or to_replay:
            if to_replay:
                journey = self.journeys[to_replay.pop()]
                if journey.id not in replayed and not journey.python:
                    replayed.add(journey.id)
                    locks |= Counter(journey.locks)  # one after the other, so the larger number is enough
                    waiting += self.required_by(journey)
                    to_replay += gates.get(journey.id, ())
                continue
            token = waiting.pop()
            if token not in seen:
                seen.add(token)
                capability = self.capability(token)
                locks |= Counter(capability.locks if capability is not None else ())
                waiting += self.needs_of_provider(token)
                to_replay += self.establishing(token)
        return locks

    def units_of(self, lock: str) -> int:
        """Return the number of units of a lock: one unless a pool has its name."""
        return len(self.pools[lock].units) if lock in self.pools else 1

    @cached_property
    def _has_locks(self) -> bool:
        journeys, capabilities = self.journeys.values(), self.capabilities.values()
        return any(one.locks for one in journeys) or any(one.locks for one in capabilities)

    def needed_by(self, journey: Journey) -> tuple[Token, ...]:
        """Return the tokens that a journey requires, and those that their providers require in turn."""
        if journey.id not in self._needed:
            self._needed[journey.id] = self.with_bases(self.required_by(journey))
        return self._needed[journey.id]

    def establishing(self, token: Token) -> tuple[JourneyId, ...]:
        """Return every journey that has a part in establishing the token."""
        return self._establishing.get(token, ())

    @cached_property
    def _establishing(self) -> Mapping[Token, tuple[JourneyId, ...]]:
        return {token: tuple(chain.from_iterable(groups)) for token, groups in self.establishers.items()}

    @cached_property
    def prerequisites(self) -> Mapping[JourneyId, tuple[JourneyId, ...]]:
        """For each journey those that must be finished before it: the journeys that establish the tokens it needs.

        A journey that invalidates a token comes after the others that use or establish it, and a test after those that
        it follows, unless that makes a cycle. A copyable token is invalidated in one state only, and the others do not
        wait for that.
        """
        found = Precedence(
            {
                journey.id: [
                    member
                    for token in self.needed_by(journey)
                    for member in self.establishing(token)
                    if member != journey.id
                ]
                for journey in self.journeys.values()
            }
        )
        for journey in self.journeys.values():
            for token in journey.invalidates:
                if not self.is_copyable(token):
                    self._put_last(journey.id, token, found)
            if journey.follows:
                found.put_behind(journey.id, journey.follows)
        return found.as_mapping()

    @cached_property
    def prerequisites_in_one_state(self) -> Mapping[JourneyId, tuple[JourneyId, ...]]:
        """The prerequisites of each journey, and what it comes after where both run in the same state."""
        found = Precedence(self.prerequisites)
        for journey in self.journeys.values():
            for token in filter(self.is_copyable, journey.invalidates):
                self._put_last(journey.id, token, found)
        return found.as_mapping()

    def all_before(self, journey: JourneyId) -> frozenset[JourneyId]:
        """Return every journey that is finished before `journey` starts, if both run."""
        return frozenset(reachable(self.prerequisites[journey], self.prerequisites.__getitem__))

    def _put_last(self, last: JourneyId, token: Token, found: Precedence) -> None:
        """Put a journey that destroys a token after all others that use or establish it, unless that makes a cycle.

        Of two journeys that both need and destroy it, the first given comes first. A shared token is destroyed only
        after all journeys for which one of its users may have to be replayed.
        """
        users = self._dealing_with.get(token, [])
        position = users.index(last) if last in users else len(users)
        others = dict.fromkeys(
            other
            for number, other in enumerate(users)
            if number < position or token not in self.journeys[other].invalidates
        )
        if self.scope_of(token).is_shared:
            others |= dict.fromkeys(behind for other in users for behind in found.waiting_for(other))
        found.put_behind(last, others)

    @cached_property
    def _dealing_with(self) -> Mapping[Token, list[JourneyId]]:
        return inverted({one.id: {*one.establishes, *self.needed_by(one)} for one in self.journeys.values()})

    @cached_property
    def chains(self) -> Mapping[JourneyId, ChainId]:
        """The chain of each journey: journeys share it if they name the same chain-scoped token or follow each other.

        A token of the machine or the fleet connects no journeys, and neither do the tokens that its provider needs.
        """
        same = DisjointSets(self.journeys)
        first_with: dict[str, JourneyId] = {}
        for journey in self.journeys.values():
            # Tests that only together establish a token also stay together: the last one must know of the others.
            for tie in (*self.chain_tokens_of(journey), *journey.groups.values()):
                same.join(journey.id, first_with.setdefault(tie, journey.id))
            for other in journey.follows:
                same.join(journey.id, other)
        names: dict[JourneyId, ChainId] = {}
        for journey_id in self.ordered(self.journeys):
            names.setdefault(same.head(journey_id), ChainId(journey_id))
        return {journey: names[same.head(journey)] for journey in self.journeys}

    def chain_tokens_of(self, journey: Journey) -> tuple[Token, ...]:
        """Return the `chain`-scoped tokens for which this journey needs its chain's state."""
        if journey.id in self._chained:
            return self._chained[journey.id]
        named = (*self.required_by(journey), *journey.establishes, *journey.invalidates)

        def chained(tokens: Iterable[Token]) -> list[Token]:
            return [token for token in tokens if self.scope_of(token) is Scope.CHAIN]

        found = reachable(chained(reversed(named)), lambda token: chained(self.needs_of_provider(token)))
        self._chained[journey.id] = tuple(found)
        return self._chained[journey.id]

    def ordered(self, journeys: Iterable[JourneyId]) -> tuple[JourneyId, ...]:
        """Put journeys after their prerequisites, otherwise as given. Those in a cycle come last, as given."""
        return in_order({journey: self.prerequisites[journey] for journey in journeys})

    @cached_property
    def variables(self) -> Mapping[str, frozenset[Token]]:
        """The tokens from which each environment variable may get its value, as far as the files show.

        They include required instances that no journey establishes: a provider sets them up.
        """
        required = [token for one in self.journeys.values() for token in self.required_by(one)]
        required += [token for one in self.capabilities for token in self.needs_of_provider(one)]
        carried = {
            token: [variable_for(token, name) for name in self.value_names(token)]
            for token in dict.fromkeys([*self.tokens, *required])
        }
        return {variable: frozenset(tokens) for variable, tokens in inverted(carried).items()}

    def value_names(self, token: Token) -> tuple[str, ...]:
        """Return the names of the values that a token may have, as far as the files show."""
        capability = self.capability(token)
        given = _given_by_provider(capability) if capability is not None else frozenset()
        steps = (step for member in self.establishing(token) for step in self.journeys[member].steps)
        return tuple(dict.fromkeys([*sorted(given), *(saved.name for step in steps for saved in step.save)]))

    def values_wanted(self, token: Token) -> frozenset[str]:
        """Return the names of a token's values that its users mention, so that the token is of no use without them.

        Users are journeys, and capabilities whose provider needs the token. A Python test that requires the token
        counts as using all its values, because its code is not read.
        """
        if token not in self._wanted:
            names = self.value_names(token)
            users = self._users.get(token, ()) if names else ()
            self._wanted[token] = frozenset(
                name for name in names if any(self._wants(user, token, name) for user in users)
            )
        return self._wanted[token]

    def _wants(self, user: Journey | Capability, token: Token, name: str) -> bool:
        if isinstance(user, Journey) and user.python:
            return token in self.required_by(user)
        return user.mentions(variable_for(token, name))

    @cached_property
    def _users(self) -> Mapping[Token, tuple[Journey | Capability, ...]]:
        found: dict[Token, list[Journey | Capability]] = defaultdict(list)
        for journey in self.journeys.values():
            for token in self.needed_by(journey):
                found[token].append(journey)
        for capability in self.capabilities.values():
            for token in self.with_bases(self.needs_of_provider(capability.token)):
                found[token].append(capability)
        return {token: tuple(users) for token, users in found.items()}


def _given_by_provider(capability: Capability) -> frozenset[str]:
    ports = capability.service.ports if capability.service else ()
    return frozenset([*ports, *(saved.name for step in capability.provision for saved in step.save)])
