"""Which journeys come back into a selection, as by -k: those that something selected needs and nothing can replay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, JourneyId, Scope, Tier, Token
from pytest_dogfood.scheduling.plan import gates_by_tier


def prerequisites_to_run(
    graph: CapabilityGraph, selected: Collection[JourneyId], *, elsewhere: Collection[JourneyId] = ()
) -> tuple[JourneyId, ...]:
    """Name the journeys that must come back into a selection as items, since they cannot be replayed for others.

    A Python test cannot be replayed within another's set-up, nor what uses fixtures; nor can, on any worker but their
    own, what needs them, or what a fixture provides, in the state of its chain. All else is left to be provisioned.
    Of what may establish a needed token all come back that cannot be replayed: any other may fail, and then one that
    passes is enough. `elsewhere` are the items of other shards. What would come back if there were no shards comes back
    here too, where something here needs it. Gates of other shards are needed by those that stand behind them. In which
    order the items stand changes nothing.
    """
    if not graph.fixtures and not any(map(_is_run_by_pytest, graph.journeys.values())):
        return ()
    replayable = Replayable(graph)
    present = set(selected)
    wanted: dict[JourneyId, None] = {}
    seen: set[Token] = set()
    waiting: list[Token] = []
    in_run = _as_one_run(graph, present.union(elsewhere)) if elsewhere else set(selected)
    brought_without_shards = in_run.difference(present, elsewhere)
    gates = gates_by_tier(graph, (journey for journey in elsewhere if journey not in present))
    asked: set[Tier] = set()

    def wait_for_needs(journey: Journey) -> None:
        waiting.extend(graph.needed_by(journey))
        if journey.id in in_run and journey.tier not in asked:
            asked.add(journey.tier)
            come_about(gates[journey.tier], anywhere=True)

    def come_about(journeys: Iterable[JourneyId], *, anywhere: bool) -> None:
        for journey in _with_those_they_follow(graph, journeys):
            found = graph.journeys[journey]
            in_reach = replayable.alone(journey) if anywhere else not _is_run_by_pytest(found)
            if journey not in present and (not in_reach or journey in brought_without_shards):
                wanted[journey] = None
            wait_for_needs(found)

    for journey in filter(present.__contains__, graph.journeys):
        wait_for_needs(graph.journeys[journey])
        come_about(graph.journeys[journey].follows, anywhere=False)
    present.update(wanted)
    while waiting:
        token = waiting.pop()
        if token not in seen and not graph.has_independent_provider(token):
            seen.add(token)
            come_about(graph.establishing(token), anywhere=graph.scope_of(token) is Scope.MACHINE)
            present.update(wanted)
            in_run.update(wanted)
    return tuple(journey for journey in graph.journeys if journey in wanted)


def _is_run_by_pytest(journey: Journey) -> bool:
    """Return whether a journey is a test, or uses fixtures: those of another item may be others, or none."""
    return journey.python or bool(journey.use)


def _as_one_run(graph: CapabilityGraph, selected: set[JourneyId]) -> set[JourneyId]:
    """Return what would run without shards; the same on each of them."""
    return selected | set(prerequisites_to_run(graph, selected))


def _with_those_they_follow(
    graph: CapabilityGraph, journeys: Iterable[JourneyId]
) -> Mapping[JourneyId, None]:
    found: dict[JourneyId, None] = {}
    waiting = list(journeys)
    while waiting:
        journey = waiting.pop()
        if journey not in found:
            found[journey] = None
            waiting.extend(graph.journeys[journey].follows)
    return found


class Replayable:
    """Which journeys can be replayed on whatever worker needs them."""

    def __init__(self, graph: CapabilityGraph) -> None:
        self._graph = graph
        self._known: dict[JourneyId, bool] = {}
        for journey in graph.ordered(graph.journeys):  # each rests on what is known by then
            self.alone(journey)

    def alone(self, journey_id: JourneyId) -> bool:
        if journey_id not in self._known:
            journey = self._graph.journeys[journey_id]
            self._known[journey_id] = not _is_run_by_pytest(journey) and all(
                map(self._can_be_had, self._graph.needed_by(journey))
            )
        return self._known[journey_id]

    def _can_be_had(self, token: Token) -> bool:
        """Return whether a token is in reach of a replay: machine-wide ones are, whoever has brought them about.

        What a fixture provides is not: it is set up for an item, where that can see it and in the state of its chain.
        """
        if token in self._graph.fixtures:
            return False
        if self._graph.scope_of(token) is Scope.MACHINE or self._graph.has_own_provider(token):
            return True
        candidates = self._graph.establishers.get(token, ())
        return all(self.alone(member) for one in candidates for member in one.members)
