"""Random projects for property tests: one generator, driven by Hypothesis or by a seeded die."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from random import Random

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Step, Tier, Token

ANYWHERE = Location("generated.yaml", 1, 1)


class Scene(Struct, frozen=True, kw_only=True):
    """A project that is sound by construction, and which of its journeys find the product wanting."""

    journeys: tuple[Journey, ...]
    capabilities: tuple[Capability, ...]
    failing: frozenset[JourneyId]

    def graph(self) -> CapabilityGraph:
        return CapabilityGraph(self.journeys, self.capabilities)

    @property
    def ids(self) -> list[JourneyId]:
        return [journey.id for journey in self.journeys]

    def capability(self, token: Token) -> Capability:
        """Return the definition of a token, or what counts where there is none."""
        found = {capability.token: capability for capability in self.capabilities}
        return found.get(token, Capability(token=token, location=ANYWHERE))

    def is_shared(self, token: Token) -> bool:
        return self.capability(token).scope is Scope.MACHINE

    def establishers(self, token: Token) -> list[Journey]:
        return [journey for journey in self.journeys if token in journey.establishes]

    def destroyers(self, token: Token) -> list[Journey]:
        return [journey for journey in self.journeys if token in journey.invalidates]

    def expected(self, selected: Collection[JourneyId]) -> dict[JourneyId, str]:
        """Return what becomes of the selected journeys: passed, failed, error or deferred, from the graph alone.

        A journey that is not selected counts as replayed: no gate holds it back.
        """
        by_id = {journey.id: journey for journey in self.journeys}

        @cache
        def outcome(journey_id: JourneyId) -> str:
            journey = by_id[journey_id]
            if journey_id in selected and any(
                outcome(gate) != "passed" for gate in selected if self._gates(by_id[gate], journey)
            ):
                return "deferred"
            problem = first_amiss(journey.requires)
            return problem or ("failed" if journey_id in self.failing else "passed")

        @cache
        def missing(token: Token) -> str:
            establishers = self.establishers(token)
            if any(outcome(journey.id) == "passed" for journey in establishers):
                return ""
            capability = self.capability(token)
            if capability.provision:
                return first_amiss(capability.requires)
            return "deferred" if establishers else "error"

        def first_amiss(tokens: Collection[Token]) -> str:
            """Return what becomes of what needs tokens: what was not established counts before anything is set up."""
            not_established = (
                "deferred"
                for token in tokens
                if not self.capability(token).provision and missing(token) == "deferred"
            )
            return next(not_established, "") or next(filter(None, map(missing, tokens)), "")

        return {journey_id: outcome(journey_id) for journey_id in selected}

    @staticmethod
    def _gates(gate: Journey, journey: Journey) -> bool:
        return gate.gating and gate.tier < journey.tier


def new_journey(name: str, *, path: str = "made.journey.yaml", line: int = 1) -> Journey:
    """Make a journey with one step, to be varied with `replace`."""
    return Journey(
        id=JourneyId(name),
        location=Location(path, line, 5),
        path=path,
        nodeid=f"{path}::{name}",
        steps=(Step(location=Location(path, line + 1, 9), run="true"),),
    )


def random_scene(dice: Random, *, least: int = 0, most: int = 12) -> Scene:
    """Build a sound project: every token has a rank; those below it may establish it, the others may need it."""
    count = dice.randint(least, most)
    ranks = {
        Token(f"token-{number}"): rank
        for number, rank in enumerate(sorted(dice.randrange(count + 1) for _ in range(count)))
    }
    establishers = {
        token: frozenset(dice.sample(range(rank), min(rank, dice.choice([0, 1, 1, 1, 2]))))
        for token, rank in ranks.items()
    }
    capabilities = tuple(
        capability
        for token in ranks
        if (capability := _random_capability(dice, token, ranks, established=bool(establishers[token])))
    )
    shared = {one.token for one in capabilities if one.scope is Scope.MACHINE}
    journeys = [
        _random_journey(
            dice, number, ranks, [token for token in ranks if number in establishers[token]], shared
        )
        for number in range(count)
    ]
    dice.shuffle(journeys)
    failing = frozenset(journey.id for journey in journeys if dice.random() < 0.15)
    return Scene(
        journeys=tuple(without_gates_that_wait_for_later_tiers(journeys, capabilities)),
        capabilities=capabilities,
        failing=failing,
    )


def _random_capability(
    dice: Random, token: Token, ranks: dict[Token, int], *, established: bool
) -> Capability | None:
    provisioned = dice.random() < (0.2 if established else 0.7)
    probed = dice.random() < 0.4 or not (established or provisioned)
    shared = dice.random() < 0.35
    if not (provisioned or probed or shared):
        return None
    below = list(ranks)[: list(ranks).index(token)]
    # A provider that needs something stands alone here: what may be provided or replayed must give the same.
    needs = dice.sample(below, 1) if provisioned and below and not established and dice.random() < 0.4 else []
    step = Step(location=ANYWHERE, run="true")
    return Capability(
        token=token,
        location=ANYWHERE,
        scope=Scope.MACHINE if shared else Scope.CHAIN,
        requires=dict.fromkeys(needs, ANYWHERE),
        probe=step if probed else None,
        provision=(step,) if provisioned else (),
    )


def _random_journey(
    dice: Random, number: int, ranks: dict[Token, int], establishes: list[Token], shared: Collection[Token]
) -> Journey:
    wishes = [token for token, rank in ranks.items() if rank <= number]
    requires = dice.sample(wishes, min(len(wishes), dice.choice([0, 1, 1, 2, 3])))
    # Who may be replayed spares what others on other workers rely on, and what is established later than its own:
    # else two journeys could go on destroying each other's work for ever.
    spoils = [
        token
        for token in ranks
        if not establishes or (token not in shared and ranks[token] < min(ranks[one] for one in establishes))
    ]
    invalidates = dice.sample(spoils, 1) if spoils and dice.random() < 0.15 else []
    name = JourneyId(f"j{number}")
    path = f"part{dice.randrange(3)}.journey.yaml"
    return Journey(
        id=name,
        location=Location(path, number + 1, 5),
        path=path,
        nodeid=f"{path}::{name}",
        steps=(Step(location=Location(path, number + 1, 9), run="true"),),
        requires=dict.fromkeys(requires, Location(path, number + 1, 20)),
        establishes=dict.fromkeys(establishes, Location(path, number + 1, 40)),
        invalidates=dict.fromkeys(invalidates, Location(path, number + 1, 60)),
        tier=dice.choice([Tier.SMOKE, Tier.CORE, Tier.CORE, Tier.DEEP]),
        gating=dice.random() < 0.15,
        estimate=dice.choice([None, 0.0, 0.5, 30.0]),
    )


def without_gates_that_wait_for_later_tiers(
    journeys: list[Journey], capabilities: tuple[Capability, ...]
) -> Iterator[Journey]:
    graph = CapabilityGraph(journeys, capabilities)
    for journey in journeys:
        later = any(graph.journeys[other].tier > journey.tier for other in ancestors(graph, journey.id))
        yield replace(journey, gating=journey.gating and not later)


def with_copyable_tokens(scene: Scene, dice: Random) -> Scene:
    """Make some tokens of chains copyable, from few of them to all, in a sound project."""
    share = dice.choice([0.2, 0.5, 0.8, 1.0])
    named = {token for one in scene.journeys for token in (*one.requires, *one.establishes)}
    capabilities = {one.token: one for one in scene.capabilities}
    for token in sorted(named):
        capability = scene.capability(token)
        if capability.scope is Scope.CHAIN and not capability.release and dice.random() < share:
            capabilities[token] = replace(capability, copyable=True)
    return replace(scene, capabilities=tuple(capabilities.values()))


def ancestors(graph: CapabilityGraph, journey: JourneyId) -> set[JourneyId]:
    """Return everything that must be finished before a journey, and before that in turn."""
    found: set[JourneyId] = set()
    waiting = [journey]
    while waiting:
        new = set(graph.prerequisites[waiting.pop()]) - found
        found |= new
        waiting.extend(new)
    return found


dice = st.integers(0, 2**32 - 1).map(Random)
"""A seeded die: much faster than Hypothesis's own, which would record every throw."""


def scenes(*, least: int = 0, most: int = 12) -> st.SearchStrategy[Scene]:
    """Random sound projects. What fails shrinks by the number of journeys."""
    sizes = st.integers(least, most)
    return st.builds(lambda size, die: random_scene(die, least=size, most=size), sizes, dice)
