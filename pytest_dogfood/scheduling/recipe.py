"""Tells from the files what would run to provision tokens in an empty state, and whether a cache may stand for that.

What is restored from a cache was made by another run. So all that has made it must be known and unchanged: each token
in the state names what its files are made from, and what runs for it leaves nothing anywhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    Capability,
    Journey,
    JourneyId,
    Script,
    Step,
    Token,
    variable_for_lock,
)
from pytest_dogfood.walks import in_order, reachable

PROVIDER = "provision"
"""The maker of a token that is made by its own provision steps; other makers are journeys."""

_MARKS = frozenset({"skip", "skipif", "xfail"})
_SAYS_NOTHING = frozenset({"description", "estimate", "feature", "own_env", "rationale", "source"})
"""Fields of definitions that do not change what runs."""


class NotCacheableError(Exception):
    """The state of some tokens cannot be taken from a cache; the text says why."""


class Recipe(Struct, frozen=True, kw_only=True):
    """What provisions tokens in an empty state.

    `makers` maps each token that is in the state then to what makes it, those on which others rest first. `shared`
    names the tokens outside of all states that are needed for that. `capabilities` and `journeys` define all this.
    """

    makers: Mapping[Token, str]
    shared: tuple[Token, ...]
    capabilities: tuple[Capability, ...]
    journeys: tuple[Journey, ...]

    def steps(self) -> Iterator[Step]:
        """Yield all steps that may run, and the probes."""
        for capability in self.capabilities:
            yield from (*capability.provision, *([capability.probe] if capability.probe else ()))
        for journey in self.journeys:
            yield from (*journey.steps, *journey.cleanup)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The paths of the scripts that it runs, relative to the rootdir."""
        commands = [step.run for step in self.steps()]
        commands += [one.inputs.run.run for one in self.capabilities if one.inputs and one.inputs.run]
        return tuple(dict.fromkeys(run.path for run in commands if isinstance(run, Script)))


def recipe_for(
    graph: CapabilityGraph,
    tokens: Iterable[Token],
    *,
    selected: Collection[JourneyId] = (),
    gated: Collection[JourneyId] = (),
    blocked: Collection[Token] = (),
) -> Recipe:
    """Return what provisions tokens of a chain in an empty state; raises NotCacheableError.

    `selected` are the journeys that the run itself runs: they are never replaced. `gated` are those behind a gate that
    another shard runs, and `blocked` the tokens that are declared unavailable.
    """
    recipe = _unchecked_recipe(graph, tokens)
    for capability in recipe.capabilities:
        _refuse_traces(graph, capability, f"the provider of {capability.token!r}")
    for journey in recipe.journeys:
        _refuse_journey(graph, journey)
        if journey.id in selected:
            raise NotCacheableError(f"{journey.id} is selected, and so it is run")
        if journey.id in gated:
            raise NotCacheableError(f"{journey.id} waits for a gate that another shard runs")
    for token in (*recipe.makers, *recipe.shared):
        if token in blocked:
            raise NotCacheableError(f"{token!r} is declared blocked")
    return recipe


def _unchecked_recipe(graph: CapabilityGraph, tokens: Iterable[Token]) -> Recipe:
    needs: dict[Token, tuple[Token, ...]] = {}

    def needed_for(token: Token) -> tuple[Token, ...]:
        if graph.scope_of(token).is_shared:
            _refuse_shared_token(graph, token)
            return graph.needs_of_provider(token)  # what needs it also sees their values
        maker = _maker_of(graph, token)
        needs[token] = graph.needs_of_provider(token) if maker is None else graph.required_by(maker)
        return needs[token]

    found = reachable(tokens, needed_for)
    makers: dict[Token, str] = {}
    journeys: dict[JourneyId, Journey] = {}
    for token in in_order(needs):
        maker = _maker_of(graph, token)
        if maker is None:
            makers[token] = PROVIDER
        else:
            journeys[maker.id] = maker
            makers |= dict.fromkeys(maker.establishes, maker.id)
    return Recipe(
        makers=makers,
        shared=tuple(token for token in found if graph.scope_of(token).is_shared),
        capabilities=tuple(_capability_with_inputs(graph, token) for token in makers),
        journeys=tuple(journeys.values()),
    )


def _capability_with_inputs(graph: CapabilityGraph, token: Token) -> Capability:
    capability = graph.capability(token)
    if capability is None or not graph.is_copyable(token):
        raise NotCacheableError(f"{token!r} is not copyable")
    if capability.inputs is None:
        raise NotCacheableError(f"{token!r} has no `inputs:`")
    return capability


def _maker_of(graph: CapabilityGraph, token: Token) -> Journey | None:
    """Return the journey that is replayed for a token; None if its own steps provide it."""
    _capability_with_inputs(graph, token)
    if token in graph.fixtures:
        raise NotCacheableError(f"a fixture provides {token!r}")
    if graph.has_own_provider(token):
        return None
    journeys = [graph.journeys[one] for one in graph.establishing(token)]
    # In the order in which they are tried.
    for journey in sorted((one for one in journeys if not one.python), key=lambda one: bool(one.use)):
        return journey
    raise NotCacheableError(f"only tests establish {token!r}")


def _refuse_shared_token(graph: CapabilityGraph, token: Token) -> None:
    """Refuse a token that ends with the run: what was built on it is of no use in the next one."""
    capability = graph.capability(token)
    by_fixture = token in graph.fixtures
    if capability is None or by_fixture or not (capability.probe or capability.provision):
        raise NotCacheableError(f"{token!r}, which it needs, ends with the run that has established it")
    if capability.service or capability.release:
        what = "is a service of one run" if capability.service else "is released at the end of the run"
        raise NotCacheableError(f"{token!r}, which it needs, {what}")


def _refuse_journey(graph: CapabilityGraph, journey: Journey) -> None:
    if journey.needs_actor:
        raise NotCacheableError(f"{journey.id} needs an actor")
    if journey.use:
        raise NotCacheableError(f"{journey.id} uses fixtures")
    if journey.leaves:
        raise NotCacheableError(f"{journey.id} leaves a process running")
    marks = [mark.name for mark in journey.marks if mark.name in _MARKS]
    if marks:
        raise NotCacheableError(f"{journey.id} has the mark {marks[0]!r}")
    _refuse_traces(graph, journey, journey.id)


def _refuse_traces(graph: CapabilityGraph, made: Capability | Journey, who: str) -> None:
    """Refuse what depends on, or changes, more than its state and its inputs."""
    if made.invalidates:
        raise NotCacheableError(f"{who} invalidates {next(iter(made.invalidates))!r}")
    if made.mentions("DOGFOOD_SHARED"):
        raise NotCacheableError(f"{who} uses $DOGFOOD_SHARED, which ends with the run")
    for lock in made.locks:
        if lock in graph.pools and made.mentions(variable_for_lock(lock)):
            raise NotCacheableError(f"{who} uses the units of the pool {lock!r}, which differ in each run")


def key_of(recipe: Recipe, facts: Mapping[str, object]) -> str:
    """Return the key of a state: the same if and only if all definitions and all facts are the same.

    `facts` are what the files do not say, such as digests of inputs: values that JSON has.
    """
    definitions = [_plain(one) for one in (*recipe.capabilities, *recipe.journeys)]
    content = [list(recipe.makers.items()), definitions, facts]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _plain(value: object) -> object:
    """Return a definition as values that JSON has: without lines and columns, and without what only people read."""
    if isinstance(value, Location):
        return value.path
    if isinstance(value, Struct):
        names = [field.name for field in fields(value) if field.name not in _SAYS_NOTHING]
        return [type(value).__name__, *([name, _plain(getattr(value, name))] for name in names)]
    if isinstance(value, Mapping):
        return [[_plain(name), _plain(one)] for name, one in value.items()]
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
