"""Turns experiments into plan files, and what a run has recorded into what was seen of each experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from pytest_dogfood.doubt.experiments.values import (
    Experiment,
    HalfWay,
    JourneyEnd,
    Observation,
    ProbeAnswer,
)
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, StateId, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.scheduling.pinned_plan import Added, Entry, Idle, Joined, PinnedPlan
from pytest_dogfood.scheduling.split import StateTree, split
from pytest_dogfood.storage.plan_record import LineRecord, PlanRecord
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun

PAUSE = ""
"""In place of a journey's id: an entry that is only a pause."""


class RunLine(Struct, frozen=True):
    """A line of a plan file, and for each of its entries the journey that it stands for."""

    entries: tuple[Entry, ...]
    names: tuple[JourneyId, ...]


def lines_of(experiment: Experiment, tree: StateTree) -> dict[StateId, RunLine]:
    """Return the line of each state of an experiment."""
    entries: dict[StateId, list[tuple[Entry, JourneyId]]] = {}
    for one in experiment.order:
        line = entries.setdefault(tree.state_of[one], [])
        if experiment.pause and one == experiment.order[-1]:
            line.append((Idle(experiment.pause), JourneyId(PAUSE)))
        seconds = experiment.idle.get(one)
        line.append((one if seconds is None else Idle(round(seconds, 3)), one))
    return {
        state: RunLine(tuple(entry for entry, _ in line), tuple(name for _, name in line))
        for state, line in entries.items()
    }


def plan_for(
    experiments: Sequence[Experiment],
    graph: CapabilityGraph,
    *,
    joined: Joined,
    result: str,
    only: Sequence[JourneyId] = (),
) -> PinnedPlan:
    """Return the plan file of a run that does several experiments, each in a chain of its own.

    Experiments without an order are those of the ordinary run, in which the journeys `only` take part.
    """
    added: dict[JourneyId, dict[str, list[Token]]] = {}
    for experiment in experiments:
        for line in experiment.lines:
            added.setdefault(line.journey, {}).setdefault(line.key, []).append(line.token)
    tree = split(graph)
    orders = tuple(line.entries for one in experiments for line in lines_of(one, tree).values())
    return PinnedPlan(
        orders=orders or None,
        only=None if orders else tuple(only),
        probes=any(one.probes for one in experiments),
        files=any(one.probes for one in experiments),
        steps=any(one.steps for one in experiments),
        stops={journey: step for one in experiments for journey, step in one.stops.items()},
        twice=tuple(token for one in experiments for token in one.twice),
        added=tuple(
            Added(journey=journey, **{key: tuple(tokens) for key, tokens in keys.items()})
            for journey, keys in added.items()
        ),
        joined=joined,
        result=result,
    )


def observed(
    experiments: Sequence[Experiment], graph: CapabilityGraph, record: PlanRecord, run: RecordedRun
) -> dict[ChainId, Observation]:
    """Return what a run has shown of each of its experiments."""
    tree = split(graph)
    found: dict[ChainId, Observation] = {}
    for experiment in experiments:
        planned = lines_of(experiment, tree)
        lines = [line for line in record.lines if tree.chain_of.get(line.state) == experiment.chain]
        missing = planned.keys() - {line.state for line in lines}
        if missing or not lines:
            found[experiment.chain] = Observation(void="the run did not begin it")
            continue
        found[experiment.chain] = _observed_of(experiment, planned, lines, run)
    return found


def _observed_of(
    experiment: Experiment,
    planned: Mapping[StateId, RunLine],
    lines: Sequence[LineRecord],
    run: RecordedRun,
) -> Observation:
    places = {place for line in lines for place in line.places}
    ran = {journey for line in lines for journey in line.ran}
    own = {one.id: one for one in run.activities if one.kind is Kind.JOURNEY and one.id in ran}
    order = experiment.order or tuple(journey for line in lines for journey in line.ran)
    ends = {}
    for journey in order:
        result, activity = run.results.get(journey), own.get(journey)
        if result is None or journey not in ran:
            continue
        seconds = activity.seconds if activity is not None else 0.0
        text = _lasting(activity.text) if activity is not None else str(result.cause or "")
        if result.outcome is Outcome.PASSED:
            ends[journey] = JourneyEnd(outcome=result.outcome, seconds=seconds)
        else:
            way = way_of(activity, text) if activity is not None else text
            ends[journey] = JourneyEnd(outcome=result.outcome, way=way, text=text, seconds=seconds)
    provisions = [one for one in run.activities if one.kind is Kind.PROVISION and one.place in places]
    provisions = [
        one for one in provisions if one.how.startswith(("by its provision steps", "by its service"))
    ]
    again = [one for one in provisions if one.how.endswith("a second time") and one.outcome.is_bad]
    probes: list[ProbeAnswer] = []
    released: dict[JourneyId, list[Token]] = {}
    half_way: list[HalfWay] = []
    written: dict[JourneyId, tuple[str, ...]] = {}
    for line in lines:
        names = planned[line.state].names if line.state in planned else line.ran
        probes += _answers(line, names)
        half_way += _half_way(line)
        written.update(_written(line, names))
        for journey, token in _released(line, names, run.activities):
            released.setdefault(journey, []).append(token)
    return Observation(
        ends=ends,
        order=tuple(one for one in order if one in ends),
        probes=tuple(probes),
        released={journey: tuple(tokens) for journey, tokens in released.items()},
        provisioned=tuple(dict.fromkeys(Token(one.id) for one in provisions)),
        failed_again={Token(one.id): one.text for one in again},
        half_way=tuple(half_way),
        written=written,
        void=next((line.void for line in lines if line.void), ""),
    )


def _answers(line: LineRecord, names: Sequence[JourneyId]) -> Iterator[ProbeAnswer]:
    for seen in line.observations:
        after = names[seen.position - 1] if seen.position else seen.behind
        if seen.step or (seen.part_of and not after):
            continue  # a copy of what providers have set up is no empty state
        for answer in seen.answers:
            if answer.present is not None:
                yield ProbeAnswer(token=answer.token, after=after, present=answer.present, state=line.state)


def _half_way(line: LineRecord) -> Iterator[HalfWay]:
    for seen in line.observations:
        for answer in seen.answers:
            if seen.step and answer.present:
                yield HalfWay(token=answer.token, journey=JourneyId(seen.entry), step=seen.step)


MOST_FILES = 200
"""The most files of one journey that are remembered."""


def _written(line: LineRecord, names: Sequence[JourneyId]) -> Iterator[tuple[JourneyId, tuple[str, ...]]]:
    for seen in line.observations:
        if seen.position and not seen.step and (seen.written or seen.removed):
            yield names[seen.position - 1], (*seen.written, *seen.removed)[:MOST_FILES]


def _released(
    line: LineRecord, names: Sequence[JourneyId], activities: Sequence[Activity]
) -> Iterator[tuple[JourneyId, Token]]:
    """Yield the tokens that were released in a state, each with the journey behind which that was."""
    for activity in activities:
        if activity.kind is Kind.RELEASE and activity.place in line.places:
            earlier = [seen.position for seen in line.observations if seen.at <= activity.started]
            last = max(earlier, default=0)
            if last:
                yield names[last - 1], Token(activity.id)


def way_of(activity: Activity, text: str) -> str:
    """Return in few words how a journey failed, the same whenever it fails at the same step in the same way."""
    if activity.outcome is Outcome.ERROR:
        return f"set-up: {_steady(text.partition(chr(10))[0])}"
    if activity.outcome is Outcome.CRASHED:
        return "its worker crashed"
    bad = [step for step in activity.steps if step.wrong or step.timed_out or step.ended_at]
    if bad:
        step = bad[-1]
        what = "time limit" if step.timed_out else ", ".join(one.what for one in step.wrong)
        return f"step {step.number} of {step.of}: {what or 'it failed'}"
    errors = [line for line in text.splitlines() if line.startswith("E  ")]
    return _steady(errors[0] if errors else text.strip().rpartition("\n")[2])


def _lasting(text: str) -> str:
    """Return a failure without its last lines, which name directories and commands that soon lead nowhere."""
    lines = text.rstrip().splitlines()
    while lines and lines[-1].partition(":")[0] in {"reproduce", "kept", "shell", ""}:
        lines.pop()
    return "\n".join(lines)


def _steady(line: str) -> str:
    """Return a line without what differs from run to run: paths, numbers, addresses."""
    line = re.sub(r"(?:/[\w.+@-]+){2,}", "/…", line)
    return re.sub(r"0x[0-9a-f]+|\d+", "#", line).strip()[:200]
