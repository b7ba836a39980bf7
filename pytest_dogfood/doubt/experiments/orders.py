"""Which journeys may change places in one chain, and planned orders in which they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Token
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.walks import Precedence, in_order, reachable

Pair = tuple[JourneyId, JourneyId]


class ChainOrders:
    """The journeys of one chain, in the order of an ordinary run, and in which other orders they may run.

    What is learnt about the chain is added with `require`, `put_behind` and `seen`; nothing of it is ever taken back.
    """

    def __init__(
        self,
        graph: CapabilityGraph,
        chain: ChainId,
        order: Sequence[JourneyId],
        *,
        tested: Collection[JourneyId] | None = None,
    ) -> None:
        self.graph = graph
        self.chain = chain
        self.members = tuple(order)
        self._here = frozenset(order)
        self._tested = self._here if tested is None else frozenset(tested)
        self._needs: dict[JourneyId, dict[JourneyId, None]] = {
            one: dict.fromkeys(self._declared_needs(one)) for one in order
        }
        before = {
            one: [*needs, *(other for other in graph.prerequisites_in_one_state[one] if other in self._here)]
            for one, needs in self._needs.items()
        }
        self._precedence = Precedence(before)
        # Tests of one module share what pytest sets up for it, and are written to be read from top to bottom.
        last: dict[str, JourneyId] = {}
        for one in order:
            journey = graph.journeys[one]
            if journey.python:
                if journey.path in last:
                    self._precedence.put_behind(one, [last[journey.path]])
                last[journey.path] = one
        self._seen: set[Pair] = set()
        self._destroyed = {
            (maker, one)
            for one in order
            for token in graph.journeys[one].invalidates
            if graph.has_probe(token)
            for maker in graph.establishing(token)
        }

    def _declared_needs(self, journey: JourneyId) -> Iterable[JourneyId]:
        found = self.graph.journeys[journey]
        makers = (maker for token in self.graph.needed_by(found) for maker in self.graph.establishing(token))
        return (one for one in (*makers, *found.follows) if one in self._here and one != journey)

    def closure(
        self, journeys: Iterable[JourneyId], *, without: Collection[JourneyId] = ()
    ) -> frozenset[JourneyId]:
        """Return journeys with all that they need, as far as it is declared or was found out."""
        return frozenset(
            reachable(journeys, lambda one: [need for need in self._needs[one] if need not in without])
        )

    def needs_of(self, journey: JourneyId) -> tuple[JourneyId, ...]:
        """Return the journeys that a journey needs directly."""
        return tuple(self._needs[journey])

    def users_of(self, token: Token) -> tuple[JourneyId, ...]:
        """Return the journeys that need a token directly, in the order of an ordinary run."""
        journeys = self.graph.journeys
        return tuple(one for one in self.members if token in self.graph.needed_by(journeys[one]))

    def is_tested(self, journey: JourneyId) -> bool:
        """Return whether the declarations of a journey are tested."""
        return journey in self._tested

    def allows(self, order: Sequence[JourneyId]) -> bool:
        """Return whether journeys may run in an order, as far as is known."""
        before = self._precedence.as_mapping()
        place = {one: number for number, one in enumerate(order)}
        return place.keys() <= self._here and all(
            place.get(other, -1) < place[one] for one in order for other in before[one]
        )

    def require(self, journey: JourneyId, needs: Iterable[JourneyId]) -> None:
        """Learn that a journey needs others."""
        needs = tuple(needs)
        self._needs[journey] |= dict.fromkeys(needs)
        self._precedence.put_behind(journey, needs)

    def put_behind(self, journey: JourneyId, others: Iterable[JourneyId]) -> None:
        """Learn that a journey must not run before others."""
        self._precedence.put_behind(journey, [one for one in others if one != journey])

    def unseen(self) -> frozenset[Pair]:
        """Return the pairs that may run in this order, in one state, and of which that was not yet seen."""
        tree = split(self.graph)
        states = defaultdict(list)
        for one in self.members:
            states[tree.state_of[one]].append(one)
        return self._possible(
            (first, then)
            for members in states.values()
            for first in members
            for then in members
            if first != then
            and (first in self._tested or then in self._tested)
            and (first, then) not in self._seen
        )

    def _possible(self, pairs: Iterable[Pair]) -> frozenset[Pair]:
        """Return those of the pairs of which neither rests on the other."""
        before = self._precedence.as_mapping()
        rests_on = {one: reachable(before[one], before.__getitem__) for one in self.members}
        return frozenset(
            (first, then)
            for first, then in pairs
            if then not in rests_on[first] and first not in rests_on[then]
        )

    def seen(self, order: Sequence[JourneyId], judged: Collection[JourneyId]) -> None:
        """Remember which pairs of the `judged` journeys ran in this order.

        What a journey does to a token shows only before another one destroys it: if it ran behind that, it is still to
        be seen between the two.
        """
        judged = frozenset(judged)
        order = [one for one in order if one in judged]
        seen = {(first, then) for number, first in enumerate(order) for then in order[number + 1 :]}
        hidden = {
            (maker, then): (then, destroyer)
            for maker, destroyer in seen & self._destroyed
            for then in order[order.index(destroyer) + 1 :]
            if (maker, then) not in self._seen
        }
        possible = self._possible(hidden.values()) if hidden else frozenset()
        for pair, later in hidden.items():
            if later in possible:
                seen.discard(pair)
                self._seen.discard(later)
        self._seen |= seen

    def in_given_order(self, journeys: Collection[JourneyId]) -> tuple[JourneyId, ...]:
        """Return some journeys as in an ordinary run, but behind those that they were found to need."""
        before = self._precedence.as_mapping()
        order = in_order({one: before[one] for one in self.members})
        return tuple(one for one in order if one in journeys)

    def next_order(self, *, more: int = 0) -> tuple[JourneyId, ...]:
        """Return an order in which many pairs run that were not seen yet; empty if there are none.

        With `more`, it is planned together with the order after it: each leaves pairs to the other one.
        """
        unseen = self.unseen()
        before = self._precedence.as_mapping()
        order = _moved_up(_greedy(self.members, before, unseen), before, unseen)
        if more:
            order = self._first_of_two(order, before, unseen)
        return order if _kept(order, unseen) else ()

    def rest(self) -> tuple[JourneyId, ...]:
        """Return an order of only those journeys, with what they need, whose pairs were not seen yet; empty if none."""
        order = self.next_order()
        pairs = _kept(order, self.unseen()) if order else ()
        wanted = self.closure({one for pair in pairs for one in pair})
        return tuple(one for one in order if one in wanted)

    def _first_of_two(
        self,
        order: tuple[JourneyId, ...],
        before: Mapping[JourneyId, Collection[JourneyId]],
        unseen: frozenset[Pair],
    ) -> tuple[JourneyId, ...]:
        """Return an order near the given one which, with a second one, leaves few pairs."""

        def planned(
            first: tuple[JourneyId, ...], forced: Sequence[Pair]
        ) -> tuple[tuple[JourneyId, ...], frozenset[Pair]]:
            precedence = Precedence(before)
            for one, then in forced:
                precedence.put_behind(then, [one])
            narrow = precedence.as_mapping()
            left = unseen - _kept(first, unseen)
            second = _moved_up(_greedy(self.members, narrow, left), narrow, left)
            for _ in range(_PASSES):
                first = _moved_up(first, before, unseen - _kept(second, unseen))
                second = _moved_up(second, narrow, unseen - _kept(first, unseen))
            return first, unseen - _kept(first, unseen) - _kept(second, unseen)

        best, left = planned(order, [])
        forced: list[Pair] = []
        for pair in sorted(left)[:_FORCED]:  # a pair that is left: is it worth more than what it displaces?
            if pair in left:
                other, still = planned(best, [*forced, pair])
                if len(still) < len(left):
                    best, left, forced = other, still, [*forced, pair]
        return best


_FORCED = 12
"""How many of the pairs that two orders leave are tried as fixed parts of the second one."""


def _kept(order: Sequence[JourneyId], pairs: Collection[Pair]) -> frozenset[Pair]:
    """Return the pairs that run as they are in this order."""
    place = {one: number for number, one in enumerate(order)}
    return frozenset((first, then) for first, then in pairs if place[first] < place[then])


def _greedy(
    members: Sequence[JourneyId], before: Mapping[JourneyId, Collection[JourneyId]], wanted: Collection[Pair]
) -> list[JourneyId]:
    """Return an order, always with the journey next that gains most pairs over those that are left."""
    number_of = {one: number for number, one in enumerate(members)}
    behind, ahead = [0] * len(members), [0] * len(members)
    for first, then in wanted:
        behind[number_of[first]] |= 1 << number_of[then]
        ahead[number_of[then]] |= 1 << number_of[first]
    waiting = [{number_of[other] for other in before[one]} for one in members]
    left = (1 << len(members)) - 1
    order: list[JourneyId] = []
    while left:
        # Of those that gain the same, the last one given: that turns around what was always in the same order.
        number = max(
            (number for number in number_of.values() if left >> number & 1 and not waiting[number]),
            key=lambda number: (
                (behind[number] & left).bit_count() - (ahead[number] & left).bit_count(),
                number,
            ),
        )
        order.append(members[number])
        left &= ~(1 << number)
        for others in waiting:
            others.discard(number)
    return order


_PASSES = 8
"""How often an order is gone through for a better place for each journey."""


def _moved_up(
    order: Sequence[JourneyId], before: Mapping[JourneyId, Collection[JourneyId]], wanted: Collection[Pair]
) -> tuple[JourneyId, ...]:
    """Return an order that is better by moving single journeys to where most wanted pairs are kept."""
    order, pairs = list(order), frozenset(wanted)
    rests = {one: frozenset(others) for one, others in before.items()}
    for _ in range(_PASSES):
        was = list(order)
        for one in was:
            place = order.index(one)
            best, gain = place, 0
            for step, end in ((1, len(order)), (-1, -1)):
                total = 0
                for number in range(place + step, end, step):
                    other = order[number]
                    if one in rests[other] if step > 0 else other in rests[one]:
                        break
                    first, then = (other, one) if step > 0 else (one, other)
                    total += ((first, then) in pairs) - ((then, first) in pairs)
                    if total > gain:
                        best, gain = number, total
            if best != place:
                order.remove(one)
                order.insert(best, one)
        if order == was:
            break
    return tuple(order)


def provider_runs(
    orders: ChainOrders, provided: Collection[Token]
) -> list[tuple[tuple[JourneyId, ...], tuple[Token, ...]]]:
    """Return runs in which tokens are set up by their own provider: the journeys to run, and the tokens so provided.

    Each journey that needs such a token runs once. One that itself establishes such a token for another one cannot run
    beside that, so that it comes in a later run.
    """
    graph = orders.graph
    left = [
        one
        for one in orders.members
        if any(token in provided for token in graph.needed_by(graph.journeys[one]))
    ]
    runs: list[tuple[tuple[JourneyId, ...], tuple[Token, ...]]] = []
    while left:
        chosen: list[JourneyId] = []
        run: frozenset[JourneyId] = frozenset()
        tokens: dict[Token, None] = {}
        for one in reversed(left):  # those on which nothing rests come first
            wanted = [token for token in graph.needed_by(graph.journeys[one]) if token in provided]
            trial = journeys_with_provided(orders, (*chosen, one), {*tokens, *wanted})
            made = {token for member in trial for token in graph.journeys[member].establishes}
            if not made & {*tokens, *wanted}:
                chosen.append(one)
                run, tokens = trial, {**tokens, **dict.fromkeys(wanted)}
        if not chosen:  # it needs a token of a journey that cannot be left out
            left.pop()
            continue
        left = [one for one in left if one not in chosen]
        runs.append((orders.in_given_order(run), tuple(token for token in provided if token in tokens)))
    return runs


def journeys_with_provided(
    orders: ChainOrders, journeys: Iterable[JourneyId], provided: Collection[Token]
) -> frozenset[JourneyId]:
    """Return journeys and those that they need, without those in whose place a provider sets up a token."""
    graph = orders.graph

    def needs(journey: JourneyId) -> list[JourneyId]:
        tokens = [token for token in graph.needed_by(graph.journeys[journey]) if token not in provided]
        makers = dict.fromkeys(maker for token in tokens for maker in graph.establishing(token))
        replaced = {
            maker
            for token in graph.needed_by(graph.journeys[journey])
            if token in provided
            for maker in graph.establishing(token)
        }
        return [one for one in orders.needs_of(journey) if one in makers or one not in replaced]

    return frozenset(reachable(journeys, needs))
