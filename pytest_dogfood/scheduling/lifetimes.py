"""How long tokens live, and in which order they are released."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.walks import depths, in_order, inverted, reachable


class Lifetimes:
    """Counts what keeps each token of a run alive.

    A token lives while an item that names it is unfinished, or while another token that rests on it lives. What a
    replay makes besides may have neither: it dies with the first of the tokens that it rests on.
    """

    def __init__(self, plan: Plan) -> None:
        self._named = {one.id: one.uses for one in plan.journeys}
        self._rests_on = plan.rests_on
        self._reasons = Counter(token for tokens in self._named.values() for token in tokens)
        self._dies_with: dict[Token, list[Token]] = {}
        self._dead: set[Token] = set()
        bases_first = in_order(self._rests_on)
        self._heights = depths(bases_first, self._rests_on)
        for token in reversed(bases_first):  # each after all that may keep it alive
            bases = self._rests_on[token]
            if self._reasons[token]:
                self._reasons.update(bases)
            else:
                for base in bases:
                    self._dies_with.setdefault(base, []).append(token)

    def finish(self, item: JourneyId) -> tuple[Token, ...]:
        """Count an item as finished, once; return the tokens that it was the last to keep alive, bases last."""
        died: list[Token] = []
        over = list(self._named.pop(item, ()))
        while over:  # a loop: a chain of tokens may be longer than the stack
            token = over.pop()
            self._reasons[token] -= 1
            if not self._reasons[token]:
                # Tokens that rest on others come first, and so before the token with which they die.
                dying = reachable(
                    [token],
                    lambda one: (top for top in self._dies_with.get(one, ()) if top not in self._dead),
                )
                self._dead.update(dying)
                died += reversed(dying)
                over += self._rests_on.get(token, ())
        return tuple(died)

    def below(self, tokens: Iterable[Token]) -> frozenset[Token]:
        """Return `tokens`, and all tokens on which they rest, directly or indirectly."""
        return frozenset(reachable(tokens, lambda token: self._rests_on.get(token, ())))

    def above(self, token: Token) -> frozenset[Token]:
        """Return all tokens that rest on `token`, directly or indirectly."""
        resting = inverted(self._rests_on)
        return frozenset(reachable([token], resting.__getitem__)) - {token}

    def in_release_order(self, made: Iterable[tuple[Token, str, float]]) -> list[tuple[Token, str, float]]:
        """Put tokens, each with its place and the time since when it exists (seconds), in order of release.

        What rests on others comes before them, otherwise the youngest first. By age alone it would be wrong: a base
        that was lost and made again is younger than what rests on it.
        """
        return sorted(made, key=lambda one: (-self._heights.get(one[0], -1), -one[2], one[0], one[1]))
