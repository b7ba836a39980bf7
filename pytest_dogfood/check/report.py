"""What `dogfood check` and `dogfood explain` print, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pytest_dogfood.diagnostics import Diagnostic, Location, Severity, counted, in_text
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Scope, Token, variable_for
from pytest_dogfood.outcomes import JourneyResult, Provisioned, listed
from pytest_dogfood.scheduling.forecast import (
    Forecast,
    ToProvision,
    make_forecast,
    predict_provisioning,
    provider_of,
)
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION, Plan, PlannedJourney, usual_duration
from pytest_dogfood.scheduling.queue import jobs_for

FORMAT_VERSION = 1
"""Version of the JSON. 1: the first."""

NOUNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "remark"}


class Report(Struct, frozen=True, kw_only=True):
    """Everything there is to say. `forecast` is that of the plan; an invalid graph has none.

    `others` are the node ids of tests outside of the graph, which run beside it and are in no forecast. `seconds` is
    what each journey of the project counts as; of those in `guessed` no duration is known. `nothing` says why there is
    nothing to check; it is empty if there is something.
    """

    findings: tuple[Diagnostic, ...]
    plan: Plan = field(default_factory=Plan)
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
    """Put a report together; the forecast is that of the very queue that schedules a run.

    `known` has the durations that are known, in seconds by node id.
    """
    jobs = jobs_for([planned.nodeid for planned in plan.journeys], plan, "load")
    return Report(
        findings=tuple(findings),
        plan=plan,
        to_provision=predict_provisioning(graph, plan, knows_tests=knows_tests),
        shard=shard,
        others=tuple(others),
        seconds=seconds_of_all(graph, known),
        guessed=frozenset(one.id for one in graph.journeys.values() if one.nodeid not in known),
        nothing=_why_nothing(graph, plan, shard=shard, knows_tests=knows_tests),
        forecast=make_forecast(jobs, workers),
    )


def seconds_of_all(graph: CapabilityGraph, known: Mapping[str, float]) -> dict[JourneyId, float]:
    """Return what each journey counts as: its known duration, else the median of those, as in a plan."""
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
"""Gives the text of a finding the colour of its severity."""


def to_lines(report: Report, paint: Paint | None = None) -> Iterator[str]:
    """Write the report for people, findings first."""
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
    for chain, members in chains.items():
        seconds = sum(planned.weight for planned in members)
        where = ", ".join(f"gw{worker}" for worker in sorted({worker_of[one.id] for one in members}))
        yield f"chain {chain} ({len(members)}, {seconds:.1f} s) on {where}:"
        here = {planned.id for planned in members}
        for planned in members:
            after = ", ".join(one for one in planned.after if one not in here and one not in planned.gates)
            yield f"    {planned.id}  (after {after})" if after else f"    {planned.id}"
    yield from _gates(journeys)
    for one in report.to_provision:
        place = "once for the machine" if one.chain is None else f"in the state of chain {one.chain}"
        yield f"provision: {one.token}, {one.how}, {place}; first for {one.needed_by}"
    for gate in dict.fromkeys(gate for planned in journeys for gate in planned.gates):
        if gate not in worker_of:
            yield f"gate: {gate} belongs to another shard, and is replayed here once"
    yield f"critical path: {forecast.critical_seconds:.1f} s: {' -> '.join(report.critical_path)}"
    shard = f" in shard {report.shard}" if report.shard else ""
    beside = f", beside {counted(len(report.others), 'test')} outside of the graph" if report.others else ""
    yield (
        f"{counted(len(journeys), 'journey')} in {counted(len(chains), 'chain')}{shard}: "
        f"{forecast.total:.1f} s of work; with {counted(forecast.workers, 'worker')} about {forecast.makespan:.1f} s, "
        f"at best {forecast.lower_bound:.1f} s{beside}"
    )
    guessed = [planned for planned in journeys if planned.id in report.guessed]
    if len(report.guessed) == len(report.seconds):
        yield f"no durations are known yet: each journey counts as {UNKNOWN_DURATION:g} s"
    elif guessed:
        number = counted(len(guessed), "journey")
        yield f"{number} without a known duration: counted as {guessed[0].weight:.3g} s, the median of the known ones"


def _gates(journeys: Sequence[PlannedJourney]) -> Iterator[str]:
    """Yield which gates stand before which tiers, each once."""
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
            "others": list(report.others),
            "provision": msgspec.to_builtins(report.to_provision),
            "forecast": predicted if report.is_valid and journeys else None,
        },
    }


def explanation(
    graph: CapabilityGraph, report: Report, journey_id: JourneyId, *, shard: str = ""
) -> Iterator[str]:
    """Yield what a journey needs and what brings that, what it enables, and where it runs."""
    journey = graph.journeys[journey_id]
    yield f"{journey_id} ({journey.location})"
    planned = {one.id: one for one in report.plan.journeys}
    direct = graph.required_by(journey)
    for token in graph.needed_by(journey):
        through = "" if token in direct else ", for the provider of something else it needs"
        yield f"  needs {token} ({graph.scope_of(token)}){through}"
        yield f"      {_sources(graph, token, planned)}"
    for token in journey.establishes:
        users = [other.id for other in graph.journeys.values() if token in graph.needed_by(other)]
        yield f"  establishes {token} ({graph.scope_of(token)}) for {', '.join(users) or 'nothing'}"
    for token in journey.invalidates:
        yield f"  invalidates {token} ({graph.scope_of(token)}), so it comes after the others that need it"
    chain = graph.chains[journey_id]
    others = sum(1 for other in graph.journeys if graph.chains[other] == chain) - 1
    if others:
        ties = ", ".join(graph.chain_tokens_of(journey))
        yield f"  chain {chain}: shares one state and one worker with {counted(others, 'other')}, tied by {ties}"
    else:
        yield "  chain: its own; it may run on any worker"
    here = planned.get(journey_id)
    if here is not None:
        after = [other for other in here.after if other not in here.gates]
        yield f"  comes after: {', '.join(after) or 'nothing'}"
        if here.gates:
            yield f"  gates before it: {', '.join(here.gates)}"
        guess = " (a guess, because no duration is known)" if journey_id in report.guessed else ""
        critical = "; on the critical path" if journey_id in report.critical_path else ""
        yield f"  takes {here.weight:.1f} s{guess}{critical}"
        if shard:
            yield f"  runs in shard {shard}"
    elif shard:
        yield f"  does not run in shard {shard}"


def explanation_of_token(graph: CapabilityGraph, plan: Plan, token: Token) -> Iterator[str]:
    """Yield where a token is defined, what gives it, what shows that it is present, and what needs it."""
    capability = graph.capability(token)
    where = f"defined at {capability.location}" if capability else "no file defines it"
    yield f"{token} (token, scope {graph.scope_of(token)}; {where})"
    if capability is not None and capability.description:
        yield f"  description: {capability.description}"
    yield f"  {_sources(graph, token, {one.id for one in plan.journeys})}"
    needs = graph.needs_of_provider(token)
    if needs:
        yield f"  its provider needs: {', '.join(needs)}"
    probe = capability.probe if capability else None
    yield f"  probe: {probe.command if probe else 'none; it is taken on trust'}"
    values = [f"${variable_for(token, name)}" for name in graph.value_names(token)]
    if values:
        yield f"  values: {', '.join(values)}"
    for journey in graph.journeys.values():
        if token in graph.needed_by(journey):
            through = "" if token in graph.required_by(journey) else ", for the provider of something else"
            yield f"  needed by {journey.id} ({journey.location}){through}"
    for other in graph.capabilities.values():
        if token in graph.needs_of_provider(other.token):
            yield f"  needed by the provider of {other.token} ({other.location})"
    yield from (f"  invalidated by {name} ({place})" for name, place in _destroyers(graph, token).items())


def _destroyers(graph: CapabilityGraph, token: Token) -> dict[str, Location]:
    """Return what invalidates a token, with the place that says so."""
    found: dict[str, Location] = {
        one.id: one.invalidates[token] for one in graph.journeys.values() if token in one.invalidates
    }
    for one in graph.capabilities.values():
        if token in one.invalidates:
            found[f"the provider of {one.token}"] = one.invalidates[token]
    return found


def list_of_tokens(graph: CapabilityGraph, tokens: Collection[Token]) -> Iterator[str]:
    """Yield of each token what gives it, what needs it, whether it has a probe, and its values."""
    for token in tokens:
        capability = graph.capability(token)
        probed = "probed" if capability is not None and capability.probe is not None else "no probe"
        yield f"{token} ({graph.scope_of(token)}, {probed})"
        makers: list[str] = [*graph.establishing(token)]
        makers += [f"fixture {graph.fixtures[token]}"] if token in graph.fixtures else []
        if graph.has_own_provider(token):
            makers.append("its service" if capability and capability.service else "its provision steps")
        yield f"  given by: {listed(makers) or 'nothing; it has to be present already'}"
        users: list[str] = [one.id for one in graph.journeys.values() if token in graph.required_by(one)]
        providers = (one.token for one in graph.capabilities.values())
        users += [f"the provider of {one}" for one in providers if token in graph.needs_of_provider(one)]
        yield f"  needed by: {listed(users) or 'nothing'}"
        destroyers = _destroyers(graph, token)
        if destroyers:
            yield f"  invalidated by: {listed(destroyers)}"
        values = [f"${variable_for(token, name)}" for name in graph.value_names(token)]
        if values:
            yield f"  values: {', '.join(values)}"
    if not tokens:
        yield "no tokens: nothing requires, establishes or defines one"


def _sources(graph: CapabilityGraph, token: Token, planned: Collection[JourneyId]) -> str:
    where = "once for the machine" if graph.scope_of(token) is Scope.MACHINE else "in its chain's state"
    provisioned = f"provisioned {provider_of(graph, token)}, {where}"
    makers = [member for member in graph.establishing(token) if member in planned]
    establishers = ", ".join(makers)
    of_tests = bool(makers) and all(graph.journeys[member].python for member in makers)
    if of_tests and not graph.has_independent_provider(token):
        return f"established by {establishers}, which runs first wherever the token is required"
    return f"established by {establishers}; otherwise {provisioned}" if establishers else provisioned


def journey_in_run(results: Mapping[JourneyId, JourneyResult], journey: JourneyId) -> Iterator[str]:
    """Yield where a journey ran in a finished run, what proved each token, and what was provisioned for it."""
    result = results.get(journey)
    if result is None:
        yield "  in that run: it was not an item of it"
        return
    yield f"  in that run: {result.outcome}, on worker {result.worker}, in chain {result.chain}"
    if result.cause is not None:
        yield f"      because {result.cause}"
    yield from (f"      {token}: proved by its {proof}" for token, proof in result.proofs.items())
    yield from (f"      {one.token}: {_provisioned(one)}" for one in result.provisioned)


def token_in_run(results: Mapping[JourneyId, JourneyResult], token: Token) -> Iterator[str]:
    """Yield for which items a token was present in a finished run, what proved it, and what had it provisioned."""
    lines: list[str] = []
    for result in results.values():
        if token in result.proofs:
            lines.append(f"      {result.id}: proved by its {result.proofs[token]}")
        own = (one for one in result.provisioned if one.token == token)
        lines += [f"      {result.id}: {_provisioned(one)}" for one in own]
    yield "  in that run:" if lines else "  in that run: it was not present for any item"
    yield from lines


def _provisioned(one: Provisioned) -> str:
    return f"provisioned {one.how} in {one.where}, {one.seconds:.1f} s"
