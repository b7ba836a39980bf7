"""Findings on what slows a run down: chains that keep work on one worker, and tokens that could be copyable."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from pytest_dogfood.check.errors import definitions_to_paste
from pytest_dogfood.diagnostics import Diagnostic, Location, remark, warning
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import (
    Capability,
    JourneyId,
    Scope,
    StateId,
    Token,
    base_of,
    is_of_a_test,
)
from pytest_dogfood.scheduling.forecast import LEAST_SECONDS, Forecast, make_forecast
from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from pytest_dogfood.scheduling.split import split

LEAST_GAIN = 1.5
"""A chain is reported only if making one of its tokens machine-scoped could make a run this many times faster."""

WORKERS = 8
"""The number of workers, if a run is not told it."""

LEAST_SAVED = 0.1
"""A token is named only if the run would be shorter by this share of its time and by LEAST_SECONDS."""

LEAST_LOST = 1.0
"""Seconds. A token whose copies lose less is not named: the next run may find it otherwise."""

MOST_CANDIDATES = 8


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


def findings_on_copies(
    graph: CapabilityGraph,
    plan: Plan,
    forecast: Forecast,
    copying: Mapping[str, float] = MappingProxyType({}),
    *,
    most_planned: int = 4_000,
) -> Iterator[Diagnostic]:
    """Yield a remark on each token that should be copyable, or should not be, for the run to be shorter.

    `forecast` is that of the plan, and `copying` has the known seconds of the copy with which an item began, by node
    id. At most `most_planned` journeys are planned anew to try tokens, so that a large project is checked as quickly.
    """
    states: dict[StateId, float] = defaultdict(float)
    for planned in plan.journeys:
        states[planned.state] += planned.weight
    # Seen at a glance, without another forecast: no state is so long that its journeys would better run elsewhere.
    even = forecast.total / max(forecast.workers, WORKERS)
    if forecast.total < LEAST_SECONDS or not (copying or max(states.values()) > even * LEAST_SAVED):
        return
    if forecast.workers == 1:
        forecast = forecast_with_copies(graph, plan, WORKERS, copying)
    trial = _Trial(graph, plan, forecast.workers, copying, left=max(1, most_planned // len(plan.journeys)))
    yield from _costly_copies(graph, plan, forecast, copying, trial)
    yield from _tokens_worth_copying(graph, plan, forecast, trial)


def _costly_copies(
    graph: CapabilityGraph, plan: Plan, forecast: Forecast, copying: Mapping[str, float], trial: _Trial
) -> Iterator[Diagnostic]:
    """Yield a remark on each copyable token without which the run would be shorter, because it makes no copies."""
    spent = sum(copying[planned.nodeid] for planned in plan.journeys if planned.nodeid in copying)
    if spent < max(LEAST_LOST, forecast.makespan * LEAST_SAVED):
        return
    for capability in graph.capabilities.values():
        if trial.left and graph.is_copyable(capability.token):
            seconds = trial.seconds_with([replace(capability, copyable=False)])
            if forecast.makespan - seconds >= LEAST_LOST:
                name = repr(str(capability.token))
                message = f"copies for {name} cost more than they save: without 'copyable: true' the run would take "
                message += (
                    f"{seconds:.1f} s instead of {forecast.makespan:.1f} s on {forecast.workers} workers"
                )
                hint = "remove it, or keep large files that no journey changes out of the state"
                yield remark(capability.location, "copies-cost-more", message, hint)


def _tokens_worth_copying(
    graph: CapabilityGraph, plan: Plan, forecast: Forecast, trial: _Trial
) -> Iterator[Diagnostic]:
    """Yield a remark on each token that, copyable, would shorten the run by a tenth and by LEAST_SECONDS at least.

    If none would alone, but several would together, these are named together.
    """
    least = _least_seconds(graph, plan, forecast.workers)
    wanted = forecast.makespan - max(LEAST_SECONDS, forecast.makespan * LEAST_SAVED)
    if least > wanted or not trial.left:
        return
    candidates = _candidates(graph, plan, forecast, wanted)
    found = _shortened(trial, candidates, wanted, enough=least / (1 - LEAST_SAVED))
    for tokens, seconds in found.items():
        if seconds <= wanted:
            yield _worth_copying(graph, tokens, seconds, forecast)


def _shortened(
    trial: _Trial, candidates: Sequence[Token], wanted: float, enough: float
) -> dict[tuple[Token, ...], float]:
    """Return what a run would take, in seconds, by the tokens that would be copyable: each alone, or several together.

    With a token that is `enough`, no other is tried: it could not save much more.
    """
    found: dict[tuple[Token, ...], float] = {}
    for token in candidates[: trial.left]:
        found[token,] = trial.seconds_with_copyable([token])
        if found[token,] < enough:
            return found
    if len(candidates) > 1 and trial.left and min(found.values()) > wanted:
        seconds = trial.seconds_with_copyable(candidates)
        for token in reversed(candidates):
            fewer = [one for one in candidates if one != token]
            without = trial.seconds_with_copyable(fewer) if len(fewer) > 1 and trial.left else seconds + 1
            if without <= seconds:
                candidates, seconds = fewer, without
        found[tuple(candidates)] = seconds
    return found


def _worth_copying(
    graph: CapabilityGraph, tokens: Sequence[Token], seconds: float, forecast: Forecast
) -> Diagnostic:
    names = " and ".join(repr(str(token)) for token in tokens)
    message = f"{names} could be copyable: the run would take {seconds:.1f} s instead of "
    message += f"{forecast.makespan:.1f} s on {forecast.workers} workers"
    hint = f"if {names} {'is' if len(tokens) == 1 else 'are'} true wholly because of files below $DOGFOOD_STATE, "
    hint += "and a copy of them is as good, add 'copyable: true'"
    undefined = [token for token in tokens if graph.capability(token) is None]
    hint += f", in dogfood.yaml:{definitions_to_paste(undefined, '{copyable: true}')}" if undefined else ""
    return remark(_place_of(graph, tokens[0]), "could-be-copyable", message, hint)


def _place_of(graph: CapabilityGraph, token: Token) -> Location:
    """Return the place of a token's definition, else the first that names it or an instance of it."""
    capability = graph.capability(token)
    if capability is not None:
        return capability.location
    journeys = graph.journeys.values()
    named = (tokens for one in journeys for tokens in (one.establishes, one.requires, one.invalidates))
    return next(place for tokens in named for one, place in tokens.items() if base_of(one) == token)


class _Trial:
    """Plans the same items with other tokens copyable; `left` is how many times it still may."""

    def __init__(
        self, graph: CapabilityGraph, plan: Plan, workers: int, copying: Mapping[str, float], *, left: int
    ) -> None:
        planned = {one.id for one in plan.journeys}
        self._graph = graph
        self._selected = [one for one in graph.journeys if one in planned]
        self._durations = {one.nodeid: one.weight for one in plan.journeys}
        self._workers = workers
        self._copying = copying
        self.left = left

    def seconds_with(self, definitions: Iterable[Capability]) -> float:
        """Return how long the run would take with other definitions."""
        self.left -= 1
        graph = self._graph.redefined(definitions)
        plan = make_plan(graph, self._selected, durations=self._durations)
        return forecast_with_copies(graph, plan, self._workers, self._copying).makespan

    def seconds_with_copyable(self, tokens: Iterable[Token]) -> float:
        """Return how long the run would take if these tokens were copyable."""
        known = ((one, self._graph.capability(one)) for one in tokens)
        return self.seconds_with(
            replace(capability, token=token, copyable=True)
            if capability
            else Capability(token=token, location=_place_of(self._graph, token), copyable=True)
            for token, capability in known
        )


def forecast_with_copies(
    graph: CapabilityGraph, plan: Plan, workers: int, copying: Mapping[str, float]
) -> Forecast:
    """Return the forecast of a plan in which the first item of each part takes also as long as its copy is known to."""
    jobs = jobs_for([planned.nodeid for planned in plan.journeys], plan, "load")
    begun: set[StateId] = set()
    forks = split(graph).forks if copying else {}
    for index, planned in enumerate(plan.journeys):
        if planned.state in forks and planned.state not in begun:
            begun.add(planned.state)
            more = copying.get(planned.nodeid, 0.0)
            jobs[index] = replace(jobs[index], weight=jobs[index].weight + more)
    return make_forecast(jobs, workers)


def _least_seconds(graph: CapabilityGraph, plan: Plan, workers: int) -> float:
    """Return the time that a run needs at least, even if no two journeys had to share a state."""
    length: dict[JourneyId, float] = {}
    for planned in plan.journeys:
        # Not `planned.after`: a part also comes after all that its copy rests on.
        before = (*graph.prerequisites[planned.id], *planned.gates)
        length[planned.id] = planned.weight + max((length.get(other, 0.0) for other in before), default=0.0)
    return max(*length.values(), sum(planned.weight for planned in plan.journeys) / workers, 0.0)


def _candidates(graph: CapabilityGraph, plan: Plan, forecast: Forecast, wanted: float) -> list[Token]:
    """Return the tokens that could be copyable and tie the states that end last, those with most work behind first."""
    ends: dict[StateId, float] = defaultdict(float)
    for slot in forecast.slots:
        state = plan.journeys[slot.index].state
        ends[state] = max(slot.end, ends[state])
    behind: dict[JourneyId, float] = defaultdict(float)
    score: dict[Token, float] = defaultdict(float)
    uses: Counter[Token] = Counter()
    for planned in reversed(plan.journeys):
        # What comes after several journeys counts in part for each of them.
        behind[planned.id] += planned.weight
        before = graph.prerequisites[planned.id]
        for other in before:
            behind[other] += behind[planned.id] / len(before)
        if ends[planned.state] > wanted:
            named = graph.chain_tokens_of(graph.journeys[planned.id])
            for token in dict.fromkeys(base_of(one) for one in named if not is_of_a_test(one)):
                uses[token] += 1
                score[token] += behind[planned.id] if token not in planned.establishes else 0.0
    possible = [token for token, count in uses.items() if count > 1 and could_be_copyable(graph, token)]
    return sorted(possible, key=lambda token: -score[token])[:MOST_CANDIDATES]


def could_be_copyable(graph: CapabilityGraph, token: Token) -> bool:
    """Return whether the definition of a token may say that it is copyable, and does not yet."""
    if base_of(token) in map(base_of, graph.fixtures):
        return False
    capability = graph.capability(token)
    if capability is None:
        return not is_of_a_test(token)
    is_more = capability.service or capability.release or capability.scope is not Scope.CHAIN
    return not (is_more or capability.copyable)
