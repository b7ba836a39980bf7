"""Findings on what slows a run down: chains that keep work on one worker, and tokens that could be copyable."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic, remark, warning
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, StateId, Token, is_of_a_test
from pytest_dogfood.scheduling.forecast import LEAST_SECONDS
from pytest_dogfood.scheduling.split import split

LEAST_GAIN = 1.5
"""A chain is reported only if making one of its tokens machine-scoped could make a run this many times faster."""

WORKERS = 8


def collapsed_chains(graph: CapabilityGraph, weights: Mapping[JourneyId, float]) -> Iterator[Diagnostic]:
    """Warn of chains that keep most of the work on one worker; `weights` are in seconds.

    For tests that dependency marks connect, it is a remark: such a suite is meant to run as it is.
    """
    total = sum(weights.values())
    now = best_speed_up(graph, weights)
    tree = split(graph)
    states: dict[StateId, list[JourneyId]] = defaultdict(list)
    for journey, state in tree.state_of.items():
        states[state].append(journey)
    for state, members in states.items():
        seconds = sum(weights[member] for member in members)
        if seconds < LEAST_SECONDS or seconds * WORKERS <= total * LEAST_GAIN:
            continue
        uses = Counter(token for member in members for token in graph.chain_tokens_of(graph.journeys[member]))
        shared = [token for token, count in uses.items() if count > 1]
        ties = sorted(shared, key=lambda token: -uses[token])[:12]  # a dozen are enough to try
        choices = [*((token,) for token in ties), tuple(ties)]
        gain = {choice: best_speed_up(with_machine_scope(graph, choice), weights) for choice in choices}
        best = max(choices, key=gain.__getitem__)  # the first of the best: one token rather than all
        if gain[best] >= now * LEAST_GAIN:
            names = " and ".join(repr(str(token)) for token in best)
            where = graph.journeys[members[0]].location
            code = "chain-collapses-parallelism"
            what = f"the part of {state}" if state in tree.forks else f"chain {state}"
            message = (
                f"{what}: {len(members)} journeys, {seconds:.0f} s of {total:.0f} s on one worker; "
                f"best possible speed-up with {WORKERS} workers is {now:.1f}; "
            )
            if any(map(is_of_a_test, best)):
                message += f"without the marks that depend on {names} it would be {gain[best]:.1f}"
                hint = "if what the test leaves is true for the whole machine, let it establish a token of scope "
                hint += "'machine', and let the others require that"
                yield remark(where, code, message, hint)
            else:
                message += f"making {names} machine-scoped would give {gain[best]:.1f}"
                hint = f"if {names} may be true for the whole machine and not only in one state directory, "
                hint += "'scope: machine' lets the journeys run side by side"
                yield warning(where, code, message, hint)


def best_speed_up(graph: CapabilityGraph, weights: Mapping[JourneyId, float]) -> float:
    """Return the best possible speed-up of WORKERS over one worker, limited by the longest path and state."""
    total = sum(weights.values())
    length: dict[JourneyId, float] = {}
    for journey in graph.ordered(graph.journeys):
        before = (length[other] for other in graph.prerequisites[journey] if other in length)
        length[journey] = max(before, default=0.0) + weights[journey]
    states: dict[StateId, float] = defaultdict(float)
    for journey, state in split(graph).state_of.items():
        states[state] += weights[journey]
    bound = max(*length.values(), *states.values(), total / WORKERS, 0.0)
    return total / bound if bound else 1.0


def with_machine_scope(graph: CapabilityGraph, tokens: Iterable[Token]) -> CapabilityGraph:
    """Return the same graph with machine scope for those tokens that a journey establishes or a file defines."""
    capabilities = dict(graph.capabilities)
    for token in tokens:
        known = graph.capability(token)
        if known is None and graph.establishing(token):
            known = Capability(token=token, location=graph.journeys[graph.establishing(token)[0]].location)
        if known is not None:
            capabilities[token] = replace(known, token=token, scope=Scope.MACHINE)
    return CapabilityGraph(graph.journeys.values(), capabilities.values(), graph.fixtures)
