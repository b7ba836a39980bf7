"""What tokens without a probe rest on, down to the first ones that have a probe."""

from __future__ import annotations

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.storage.token_registry import MACHINE, Holding, Registry

Placed = tuple[Token, str]
"""A token and its place in the registry."""


class Foundations:
    """Tells which probes speak for a token that has none.

    Such a token holds while all that it rests on holds, and has held since before it was made: a base that was made
    anew knows nothing of what had been built on the one before.
    """

    def __init__(self, graph: CapabilityGraph, registry: Registry) -> None:
        self._graph = graph
        self._registry = registry
        # Valid until something is lost: in a chain of thousands, each item adds one token to what is known.
        self._known: dict[Placed, tuple[Placed, ...]] = {}
        self._losses = 0

    def of(self, token: Token, place: str) -> tuple[Placed, ...] | None:
        """Return the tokens whose probes speak for `token`; None if something that it rested on is lost."""
        if self._losses != self._registry.losses:
            self._losses = self._registry.losses
            self._known.clear()
        lost: set[Placed] = set()
        path: dict[Placed, None] = {(token, place): None}  # a loop: a chain may be longer than the stack
        while path:
            one = next(reversed(path))
            holding = self._registry.holding(*one)
            bases = self._bases(holding)
            unknown = [base for base in bases if not self._is_answered(base, lost) and base not in path]
            if unknown:
                path[unknown[0]] = None
                continue
            del path[one]
            below = None if holding is None else self._combined(holding, bases)
            if below is None:
                lost.add(one)
            else:
                self._known[one] = below
        return self._known.get((token, place))

    def _is_answered(self, placed: Placed, lost: set[Placed]) -> bool:
        return self._has_probe(placed[0]) or placed in lost or placed in self._known

    def _has_probe(self, token: Token) -> bool:
        capability = self._graph.capability(token)
        return capability is not None and capability.probe is not None

    def _bases(self, holding: Holding | None) -> tuple[Placed, ...]:
        if holding is None:
            return ()
        maker = JourneyId(holding.by)
        bases = self._graph.bases_of(holding.token, maker if maker in self._graph.journeys else None)
        home = holding.home or holding.place
        return tuple(
            (base, MACHINE if self._graph.scope_of(base) is Scope.MACHINE else home) for base in bases
        )

    def _combined(self, holding: Holding, bases: tuple[Placed, ...]) -> tuple[Placed, ...] | None:
        found: dict[Placed, None] = {}
        for base in bases:
            if self._registry.age_of(*base) > holding.since:
                return None
            below = (base,) if self._has_probe(base[0]) else self._known.get(base)
            if below is None:
                return None
            found.update(dict.fromkeys(below))
        return tuple(found)
