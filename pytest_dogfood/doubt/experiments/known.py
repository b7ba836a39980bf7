"""What is known of a chain while it is examined: its orders, and what the experiments so far have shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_dogfood.doubt.experiments.orders import ChainOrders, journeys_with_provided
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, Observation
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Token
from pytest_dogfood.scheduling.split import split


class Known:
    """A chain whose ordinary run, `first`, was green. `history` has every experiment, with what was seen."""

    def __init__(
        self,
        graph: CapabilityGraph,
        chain: ChainId,
        first: Observation,
        history: list[tuple[Experiment, Observation]],
        *,
        tested: Collection[JourneyId] | None = None,
    ) -> None:
        self.graph = graph
        self.chain = chain
        self.first = first
        self.orders = ChainOrders(graph, chain, first.order, tested=tested)
        self.history = history
        self.noisy: set[JourneyId] = set()
        """Journeys that failed for no reason that could be found; their failures no longer count."""
        self.bad_providers: set[Token] = set()
        self.weak: set[Token] = set()
        """Tokens whose probes say yes too early."""
        self.invalidates: set[tuple[Token, JourneyId]] = set()

    def learn(self, finding: Finding) -> None:
        """Take a finding into account, so that it is not found again and its consequences are not found at all."""
        match finding.code:
            case Code.UNDECLARED_REQUIRES:
                self.orders.require(finding.journey, finding.guilty)
                tokens = {line.token for line in finding.lines if line.key == "requires"}
                for one in self.orders.members:
                    if not tokens.isdisjoint(self.graph.journeys[one].invalidates):
                        self.orders.put_behind(one, [finding.journey])
            case Code.UNDECLARED_INVALIDATES:
                self.invalidates.add((finding.token, finding.journey))
                users = (*self.orders.users_of(finding.token), *self.graph.establishing(finding.token))
                self.orders.put_behind(finding.journey, [one for one in users if one in self.orders.members])
            case Code.ORDER_MATTERS:
                first, *others = finding.guilty
                self.orders.put_behind(first, others or [finding.journey])
            case Code.PROVIDER_NOT_IDEMPOTENT | Code.PROVIDER_DIFFERS:
                self.bad_providers.add(finding.token)
            case Code.PROBE_TRUE | Code.PROBE_TOO_EARLY:
                self.weak.add(finding.token)
            case Code.NOT_REPEATABLE:
                self.noisy.add(finding.journey)

    def in_same_state(self, journey: JourneyId, other: JourneyId) -> bool:
        """Return whether what a journey leaves is in the state of another one that runs behind it."""
        tree = split(self.graph)
        if journey in tree.positions and other in tree.positions:
            return tree.state_of[journey] == tree.state_of[other] or tree.inherits(other, journey)
        return tree.state_of[journey] == tree.state_of[other]

    def experiment(
        self, journeys: Collection[JourneyId], last: JourneyId, *, probes: bool = False
    ) -> Experiment:
        """Return the experiment that runs some journeys in the usual order, and then `last`."""
        before = self.orders.in_given_order(frozenset(journeys).difference([last]))
        return Experiment(chain=self.chain, order=(*before, last), probes=probes)

    def with_provided(self, journey: JourneyId, tokens: Iterable[Token]) -> Experiment:
        """Return the experiment that runs a journey behind what it needs, with tokens set up by their providers."""
        tokens = tuple(tokens)
        here = journeys_with_provided(self.orders, [journey], tokens)
        order = self.orders.in_given_order(here.difference([journey]))
        return Experiment(chain=self.chain, order=(*order, journey), provided=tokens)

    def seconds_of(self, journey: JourneyId) -> float:
        """Return for how long the state is left alone in place of a journey: the longest time that it took."""
        ends = [seen.ends[journey] for _, seen in self.history if journey in seen.ends]
        return max([0.1, *(end.seconds for end in ends)])

    def text_of_failure(self, journey: JourneyId) -> str:
        """Return how a journey failed the last time, in full; nothing if it did not."""
        ends = (seen.ends[journey] for _, seen in reversed(self.history) if journey in seen.ends)
        return next((end.text for end in ends if not end.outcome.establishes), "")

    def passed_otherwise(self, journey: JourneyId, *, before: Collection[JourneyId], has: bool) -> bool:
        """Return whether a journey has once passed where one of `before` had (not) run before it."""
        for experiment, seen in self.history:
            end = seen.ends.get(journey)
            if end is None or not end.outcome.establishes or experiment.lines or experiment.idle:
                continue
            if journey in seen.order:
                earlier = seen.order[: seen.order.index(journey)]
                if any(one in earlier for one in before) is has:
                    return True
        return False
