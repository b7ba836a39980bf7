"""The output of `dogfood check`, as text and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pytest_dogfood.diagnostics import Diagnostic, Severity, counted, in_text, seconds_in_words
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, StateId
from pytest_dogfood.scheduling.forecast import (
    Forecast,
    ToProvision,
    make_forecast,
    predict_provisioning,
)
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION, Plan, PlannedJourney, usual_duration
from pytest_dogfood.scheduling.queue import jobs_for
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.walks import inverted

FORMAT_VERSION = 1
"""Version of the JSON. 1: the first."""

NOUNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "remark"}


class PlannedState(Struct, frozen=True, kw_only=True):
    """A state of a chain that is split, and its items. A part begins as a `copy_of` a state as `behind` leaves it.

    Without `behind` that state has run no journey: it holds what is provisioned for several of its parts.
    """

    id: StateId
    chain: ChainId
    copy_of: StateId | None
    behind: JourneyId | None
    journeys: tuple[JourneyId, ...]


class Report(Struct, frozen=True, kw_only=True):
    """All findings, the plan, and its forecast; an invalid graph has no forecast.

    `states` are those of chains that are split, each after the one that it copies, with or without items.
    `others` are the node ids of tests outside the graph, which run too and are in no forecast. `seconds` has the
    duration assumed for each journey of the project; those in `guessed` have no known one. `nothing` is the reason why
    there is nothing to check; empty if there is something.
    """

    findings: tuple[Diagnostic, ...]
    plan: Plan = field(default_factory=Plan)
    states: tuple[PlannedState, ...] = ()
    to_provision: tuple[ToProvision, ...] = ()
    shard: str = ""
    others: tuple[str, ...] = ()
    seconds: Mapping[JourneyId, float] = field(default_factory=dict)
    guessed: frozenset[JourneyId] = frozenset()
    nothing: str = ""
    forecast: Forecast = field(default_factory=lambda: make_forecast((), 1))

    @property
    def is_valid(self) -> bool:
        return not any(found.severity is Severity.ERROR for found in self.findings)

    @property
    def critical_path(self) -> tuple[JourneyId, ...]:
        """Return the journeys that no number of workers can run at the same time; empty without a forecast."""
        return tuple(self.plan.journeys[index].id for index in self.forecast.critical_path)

    def strict(self) -> Report:
        """Return the same report with every warning an error."""
        worse = tuple(
            replace(found, severity=Severity.ERROR) if found.severity is Severity.WARNING else found
            for found in self.findings
        )
        return replace(self, findings=worse)


def report_on(
    graph: CapabilityGraph,
    plan: Plan,
    findings: Sequence[Diagnostic],
    *,
    known: Mapping[str, float] = MappingProxyType({}),
    workers: int = 1,
    shard: str = "",
    others: Sequence[str] = (),
    knows_tests: bool = False,
) -> Report:
    """Return a report; its forecast uses the same queue that schedules a run.

    `known` has the known durations, in seconds by node id.
    """
    jobs = jobs_for([planned.nodeid for planned in plan.journeys], plan, "load")
    return Report(
        findings=tuple(findings),
        plan=plan,
        states=_states_of(graph, plan),
        to_provision=predict_provisioning(graph, plan, knows_tests=knows_tests),
        shard=shard,
        others=tuple(others),
        seconds=seconds_of_all(graph, known),
        guessed=frozenset(one.id for one in graph.journeys.values() if one.nodeid not in known),
        nothing=_why_nothing(graph, plan, shard=shard, knows_tests=knows_tests),
        forecast=make_forecast(jobs, workers),
    )


def _states_of(graph: CapabilityGraph, plan: Plan) -> tuple[PlannedState, ...]:
    """Return the states of those chains that have several and an item in one of them; copies follow what they copy."""
    tree = split(graph)
    items: dict[StateId, list[JourneyId]] = defaultdict(list)
    for planned in plan.journeys:
        items[planned.state].append(planned.id)
    chains = {tree.chain_of[state] for state in items} & {tree.chain_of[part] for part in tree.forks}
    copies = inverted({part: [fork.state] for part, fork in tree.forks.items()})
    found: list[PlannedState] = []
    waiting = [state for state in tree.members if state not in tree.forks and tree.chain_of[state] in chains]
    waiting.reverse()
    while waiting:
        state = waiting.pop()
        waiting += sorted(copies.get(state, []), key=lambda part: -tree.numbers[part])
        fork = tree.forks.get(state)
        found.append(
            PlannedState(
                id=state,
                chain=tree.chain_of[state],
                copy_of=None if fork is None else fork.state,
                behind=None if fork is None else fork.after,
                journeys=tuple(items.get(state, ())),
            )
        )
    return tuple(found)


def seconds_of_all(graph: CapabilityGraph, known: Mapping[str, float]) -> dict[JourneyId, float]:
    """Return the duration assumed for each journey: the known one, else the median of those, as in a plan."""
    usual = usual_duration(known.values())
    return {journey.id: known.get(journey.nodeid, usual) for journey in graph.journeys.values()}


def _why_nothing(graph: CapabilityGraph, plan: Plan, *, shard: str, knows_tests: bool) -> str:
    if plan.journeys or (graph.journeys and shard):
        return ""
    if graph.journeys:
        return "no journey is selected"
    if graph.capabilities:
        return ""
    name = "name a file like shop.journey.yaml, or let dogfood write a first one: dogfood new project DIR"
    if knows_tests:
        return f"there is no journey file here, and no test requires or establishes a token: {name}"
    return (
        f"there is no journey file here: {name}; "
        "this command does not look at Python tests, but pytest --dogfood-check does"
    )


Paint = Callable[[Severity, str], str]
"""Colours the text of a finding by its severity."""


def to_lines(report: Report, paint: Paint | None = None) -> Iterator[str]:
    """Yield the lines of the report for people, findings first."""
    for found, text in in_text(report.findings):
        words = text if found.severity is Severity.ERROR else f"{found.severity}: {text}"
        yield paint(found.severity, words) if paint else words
    if report.is_valid and report.plan.journeys:
        yield from _plan_lines(report)
    counts = Counter(found.severity for found in report.findings)
    words = ", ".join(counted(counts[one], NOUNS[one]) for one in Severity if counts[one])
    if report.is_valid and report.nothing:
        yield f"dogfood: nothing to check ({words or 'no findings'}): {report.nothing}"
    else:
        valid = "valid" if report.is_valid else "not valid"
        yield f"dogfood: the graph is {valid} ({words or 'no findings'}); nothing was run"


def _plan_lines(report: Report) -> Iterator[str]:
    journeys, forecast = report.plan.journeys, report.forecast
    worker_of = {journeys[slot.index].id: slot.worker for slot in forecast.slots}
    chains: dict[str, list[PlannedJourney]] = {}
    for planned in journeys:
        chains.setdefault(planned.chain, []).append(planned)
    states: dict[str, list[PlannedState]] = defaultdict(list)
    for state in report.states:
        states[state.chain].append(state)
    for chain, members in chains.items():
        yield from _chain_lines(chain, members, states.get(chain, ()), worker_of)
    yield from _gates(journeys)
    yield from _provisioning_lines(report)
    for gate in dict.fromkeys(gate for planned in journeys for gate in planned.gates):
        if gate not in worker_of:
            yield f"gate: {gate} belongs to another shard, and is replayed here once"
    yield f"critical path: {forecast.critical_seconds:.1f} s: {' -> '.join(report.critical_path)}"
    shard = f" in shard {report.shard}" if report.shard else ""
    of_chains = len({(planned.chain, planned.state) for planned in journeys})
    split_into = f" and {of_chains} states" if report.states else ""
    beside = f", beside {counted(len(report.others), 'test')} outside of the graph" if report.others else ""
    yield (
        f"{counted(len(journeys), 'journey')} in {counted(len(chains), 'chain')}{split_into}{shard}: "
        f"{forecast.total:.1f} s of work; with {counted(forecast.workers, 'worker')} about {forecast.makespan:.1f} s, "
        f"at best {forecast.lower_bound:.1f} s{beside}"
    )
    guessed = [planned for planned in journeys if planned.id in report.guessed]
    if len(report.guessed) == len(report.seconds):
        yield f"no durations are known yet: each journey counts as {UNKNOWN_DURATION:g} s"
    elif guessed:
        number = counted(len(guessed), "journey")
        weight = seconds_in_words(guessed[0].weight)
        yield f"{number} without a known duration: counted as {weight}, the median of the known ones"


def _chain_lines(
    chain: str,
    members: Sequence[PlannedJourney],
    states: Sequence[PlannedState],
    worker_of: Mapping[JourneyId, int],
) -> Iterator[str]:
    """Yield the journeys of a chain, by its states if it is split."""
    if not states:
        yield f"chain {_with_work(chain, members, worker_of)}:"
        yield from (f"    {_with_others(planned, members)}" for planned in members)
        return
    number = sum(bool(state.journeys) for state in states)
    yield f"chain {_with_work(chain, members, worker_of)}, in {counted(number, 'state')}:"
    by_state: dict[str, list[PlannedJourney]] = defaultdict(list)
    for planned in members:
        by_state[planned.state].append(planned)
    above: dict[StateId | None, list[PlannedJourney]] = {None: []}
    for state in states:
        own = by_state[state.id]
        above[state.id] = [*above[state.copy_of], *own]
        lines = [_with_others(planned, above[state.id]) for planned in own]
        if lines:
            line = f"    state of {_with_work(state.id, own, worker_of)}{_beginning(state)}"
            yield line if lines == [state.id] else f"{line}:"
            yield from () if lines == [state.id] else (f"        {one}" for one in lines)


def _provisioning_lines(report: Report) -> Iterator[str]:
    split_chains = {state.chain for state in report.states}
    for one in report.to_provision:
        place = f"once for the {one.scope}" if one.chain is None else f"in the state of chain {one.chain}"
        if one.chain in split_chains:
            own = one.parts > 0 and one.behind is None
            place = "in a state of its own" if own else f"in the state of {one.state}"
            place += "" if one.behind is None or str(one.behind) == one.state else f" behind {one.behind}"
            place += f", once for the {one.parts} parts that begin as copies of it" if one.parts else ""
        yield f"provision: {one.token}, {one.how}, {place}; first for {one.needed_by}"


def _with_work(name: str, members: Sequence[PlannedJourney], worker_of: Mapping[JourneyId, int]) -> str:
    """Return the name of a chain or state with its number of items, its work, and where that would run."""
    seconds = sum(planned.weight for planned in members)
    where = ", ".join(f"gw{worker}" for worker in sorted({worker_of[one.id] for one in members}))
    return f"{name} ({len(members)}, {seconds:.1f} s) on {where}"


def _with_others(planned: PlannedJourney, beside: Sequence[PlannedJourney]) -> str:
    """Return the id of an item, with those before it that are not `beside` it, in its state or one that this copies."""
    here = {one.id for one in beside}
    after = ", ".join(one for one in planned.after if one not in here and one not in planned.gates)
    return f"{planned.id}  (after {after})" if after else planned.id


def _beginning(state: PlannedState) -> str:
    if state.copy_of is None:
        return ""
    return f", {beginning_in_words(state.copy_of, state.behind)}"


def beginning_in_words(copy_of: StateId, behind: JourneyId | None) -> str:
    """Complete a sentence on a part: how its state begins."""
    if behind is None:
        return "begins as a copy of what several parts need"
    of = "" if str(behind) == copy_of else f" of the state of {copy_of}"
    return f"begins as a copy{of} behind {behind}"


def _gates(journeys: Sequence[PlannedJourney]) -> Iterator[str]:
    """Yield the gates before each tier, each once."""
    tiers: dict[JourneyId, dict[str, None]] = {}
    for planned in sorted(journeys, key=lambda one: one.tier):
        for gate in planned.gates:
            tiers.setdefault(gate, {})[str(planned.tier)] = None
    before: dict[str, list[JourneyId]] = {}
    for gate, behind in tiers.items():
        before.setdefault(" and ".join(behind), []).append(gate)
    for names, gates in before.items():
        yield f"gates before {names}: {', '.join(gates)}"


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON-safe values; see the reference for its fields."""
    journeys, forecast = report.plan.journeys, report.forecast
    predicted = {
        "seconds_of_work": forecast.total,
        "makespan": forecast.makespan,
        "lower_bound": forecast.lower_bound,
        "critical_path": {"seconds": forecast.critical_seconds, "journeys": list(report.critical_path)},
        "slots": [
            {"journey": journeys[one.index].id, "worker": one.worker, "start": one.start, "end": one.end}
            for one in forecast.slots
        ],
    }
    return {
        "version": FORMAT_VERSION,
        "valid": report.is_valid,
        "findings": [
            {
                "code": found.code,
                "severity": str(found.severity),
                **asdict(found.location),
                "message": found.message,
                "hint": found.hint,
            }
            for found in report.findings
        ],
        "plan": {
            "digest": report.plan.digest,
            "workers": forecast.workers,
            "shard": report.shard or None,
            "journeys": [
                {
                    "id": planned.id,
                    "nodeid": planned.nodeid,
                    "chain": planned.chain,
                    "state": planned.state,
                    "tier": str(planned.tier),
                    "after": list(planned.after),
                    "gates": list(planned.gates),
                    "requires": list(planned.requires),
                    "establishes": list(planned.establishes),
                    "invalidates": list(planned.invalidates),
                    "seconds": planned.weight,
                    "guessed": planned.id in report.guessed,
                    "prerequisite": planned.prerequisite,
                }
                for planned in journeys
            ],
            "states": msgspec.to_builtins(report.states),
            "others": list(report.others),
            "provision": msgspec.to_builtins(report.to_provision),
            "forecast": predicted if report.is_valid and journeys else None,
        },
    }
