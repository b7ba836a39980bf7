"""How much faster more workers can make a project, and which token stands in the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic, Severity
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, ChainId, Journey, JourneyId, Scope, Token, is_of_a_test

WORTH_A_WORD = 1.5
"""A chain is spoken of only if taking one of its tokens apart could make a run this many times faster."""

WORTH_WAITING_FOR = 10.0
"""Seconds of work below which nobody minds that it is done on one worker."""

WORKERS = 8


def collapsed_chains(graph: CapabilityGraph, weights: Mapping[JourneyId, float]) -> Iterator[Diagnostic]:
    """Warn of chains that keep most of the work on one worker; `weights` are in seconds."""
    total = sum(weights.values())
    now = best_speed_up(graph, weights)
    for chain, members in _members(graph).items():
        seconds = sum(weights[member] for member in members)
        if seconds < WORTH_WAITING_FOR or seconds * WORKERS <= total * WORTH_A_WORD:
            continue
        ties = _tokens_of(graph, members)
        choices = [(token,) for token in ties] + ([ties] if len(ties) > 1 else [])
        gain = {choice: best_speed_up(_freed(graph, choice), weights) for choice in choices}
        # The first of the best: one token rather than all of them.
        best = next(
            (one for one in choices if gain[one] >= now * WORTH_A_WORD and gain[one] == max(gain.values())),
            None,
        )
        if best is not None:
            names = " and ".join(repr(str(token)) for token in best)
            yield Diagnostic(
                location=graph.journeys[members[0]].location,
                code="chain-collapses-parallelism",
                severity=Severity.WARNING,
                message=f"chain {chain}: {len(members)} journeys, {seconds:.0f} s of {total:.0f} s on one worker; "
                f"best possible speed-up with {WORKERS} workers is {now:.1f}; "
                f"making {names} machine-scoped would give {gain[best]:.1f}",
                hint=f"if {names} may be true for the whole machine and not only in one state directory, "
                "'scope: machine' lets the journeys run side by side",
            )


def _freed(graph: CapabilityGraph, tokens: tuple[Token, ...]) -> CapabilityGraph:
    for token in tokens:
        graph = with_scope(graph, token, Scope.MACHINE)
    return graph


def best_speed_up(
    graph: CapabilityGraph, weights: Mapping[JourneyId, float], workers: int = WORKERS
) -> float:
    """Give how many times faster than one worker `workers` could be at best, by the longest way and chain."""
    total = sum(weights.values())
    longest = 0.0
    length: dict[JourneyId, float] = {}
    for journey in graph.ordered(graph.journeys):
        before = max(
            (length[other] for other in graph.prerequisites[journey] if other in length), default=0.0
        )
        length[journey] = before + weights[journey]
        longest = max(longest, length[journey])
    for members in _members(graph).values():
        longest = max(longest, sum(weights[member] for member in members))
    bound = max(longest, total / workers)
    return total / bound if bound else 1.0


def with_scope(graph: CapabilityGraph, token: Token, scope: Scope) -> CapabilityGraph:
    """Give the same graph as if the token had another scope."""
    known = graph.capability(token)
    place = graph.journeys[graph.establishing(token)[0]].location if graph.establishing(token) else None
    if known is not None:
        changed = replace(known, token=token, scope=scope)
    elif place is not None:
        changed = Capability(token=token, location=place, scope=scope)
    else:
        return graph
    others = [one for one in graph.capabilities.values() if one.token != token]
    return CapabilityGraph(graph.journeys.values(), [*others, changed], graph.fixtures)


def _members(graph: CapabilityGraph) -> dict[ChainId, list[JourneyId]]:
    members: dict[ChainId, list[JourneyId]] = defaultdict(list)
    for journey, chain in graph.chains.items():
        members[chain].append(journey)
    return dict(members)


def _tokens_of(graph: CapabilityGraph, members: list[JourneyId]) -> tuple[Token, ...]:
    """Give the tokens that tie a chain together, those with the most users first; a dozen are enough to try."""
    uses: dict[Token, int] = defaultdict(int)
    for member in members:
        journey: Journey = graph.journeys[member]
        for token in graph.tying(journey):
            uses[token] += 1
    shared = [token for token, count in uses.items() if count > 1 and not is_of_a_test(token)]
    return tuple(sorted(shared, key=lambda token: -uses[token])[:12])
