"""The manifests of all shards put together, what does not add up, and the merged run in words, as JSON and as JUnit."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Outcome, Tally, badness, listed
from pytest_dogfood.report.manifest import ItemRecord, Manifest, graph_of_all
from pytest_dogfood.storage.record import Activity, LostMachine, RecordedRun, RunRecord

_ENDS = {2: "was interrupted", 3: "met an internal error", 4: "could not be run", 5: "found nothing to run"}


class ShardsDisagreeError(Exception):
    """The manifests do not belong together; the text says which and why."""


class Merged(Struct, frozen=True, kw_only=True):
    """One run over all shards. Nothing is lost: what ran on several shards keeps the worst of its outcomes.

    Where something maps to numbers, they are those of the shards where it happened.
    """

    manifests: tuple[Manifest, ...]
    missing_shards: tuple[int, ...]
    unaccounted: Mapping[str, int]
    """Items that were expected and ran nowhere, with the shard that should have run them."""
    ran_twice: Mapping[str, tuple[int, ...]]
    prerequisites: Mapping[str, tuple[int, ...]]
    replayed: Mapping[str, tuple[int, ...]]
    disputed_gates: Mapping[JourneyId, Mapping[int, Outcome]]
    uncollected: Mapping[str, str]
    troubles: tuple[str, ...]
    """Shards whose exit status none of their items explains, and that too little was measured by all of them."""
    items: tuple[tuple[int, ItemRecord], ...]
    """Every item once, with the shard whose record is kept, in the order of the shards."""
    tally: Tally
    machines: tuple[str, ...] = ()
    """The names of the machines, if the parts of the run are theirs and not those of shards."""
    begins: Mapping[str, float] = {}
    """How many seconds after the first of them each machine began; shards begin when they like."""
    lost: tuple[LostMachine, ...] = ()
    taken_over: Mapping[str, str] = {}
    """The items that others have run in the place of a lost machine, by node id, with that machine."""

    def place(self, number: int) -> str:
        """Return where something ran, for people."""
        return self.machines[number - 1] if self.machines else f"shard {number}"

    def places(self, numbers: Sequence[int]) -> str:
        if self.machines:
            return ", ".join(map(self.place, numbers))
        return f"shard{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"

    @property
    def total(self) -> int:
        return self.manifests[0].shard.total

    @property
    def exit_status(self) -> int:
        """1 if something failed, is missing or is in dispute, else 0."""
        missing = self.missing_shards or self.unaccounted or self.uncollected
        wrong = any(item.outcome.is_bad for item in self.records()) or self.failed_in_replay()
        return int(bool(missing or wrong or self.disputed_gates or self.troubles))

    def failed_in_replay(self) -> tuple[JourneyId, ...]:
        """Name the journeys that failed in a replay and in no item."""
        seen = {result.id for result in self.tally.results.values() if result.outcome.is_bad}
        replays = (replay for manifest in self.manifests for replay in manifest.replayed.items())
        failed = [one for one, outcome in replays if outcome.is_bad]
        failed += [JourneyId(cause.who) for cause in self.tally.unseen_causes()]  # of machines
        return tuple(dict.fromkeys(one for one in failed if one not in seen))

    def records(self) -> Iterator[ItemRecord]:
        return (item for _, item in self.items)

    def durations(self) -> dict[str, float]:
        """Return the seconds of every item that was measured, by node id, for the committed durations file."""
        journeys = self.manifests[0].expected.journeys
        found: dict[str, float] = {}
        for item in self.records():
            if item.outcome.measured:
                result = self.tally.results.get(journeys.get(item.nodeid, JourneyId("")))
                found[item.nodeid] = item.seconds if result is None else result.own_seconds(item.seconds)
        return found


def merge(manifests: Sequence[Manifest], machines: Sequence[str] = ()) -> Merged:
    """Merge the manifests of one run, in whatever order; raises ShardsDisagreeError if they are not of one run.

    With `machines`, the parts are theirs, in this order, and none is missing.
    """
    if not manifests:
        raise ShardsDisagreeError("there is nothing to merge")
    if len({manifest.digest for manifest in manifests}) > 1:
        words = ", ".join(f"shard {one.shard} has {one.digest}" for one in manifests)
        raise ShardsDisagreeError(
            f"the shards made different plans: {words}; they must be of the same number, and see the same "
            "files, the same committed durations and the same selection"
        )
    ordered = tuple(sorted(manifests, key=lambda one: one.shard.index))
    for one, other in pairwise(ordered):
        if one.shard == other.shard:
            raise ShardsDisagreeError(
                f"shard {one.shard.index} is there twice: give each shard's manifest once"
            )
    expected = ordered[0].expected
    here = {manifest.shard.index for manifest in ordered}
    items = [(manifest.shard.index, item) for manifest in ordered for item in manifest.items]
    ran = _by_shard((shard, item.nodeid) for shard, item in items if not item.prerequisite)
    missing = expected.shards.keys() - {item.nodeid for _, item in items}
    tally = _tally(ordered)
    too_little = tally.too_little(max(manifest.min_measured for manifest in ordered))
    return Merged(
        manifests=ordered,
        missing_shards=tuple(n for n in range(1, ordered[0].shard.total + 1) if n not in here),
        unaccounted={nodeid: expected.shards[nodeid] for nodeid in sorted(missing)},
        ran_twice={nodeid: shards for nodeid, shards in ran.items() if len(shards) > 1},
        prerequisites=_by_shard((shard, item.nodeid) for shard, item in items if item.prerequisite),
        replayed=_by_shard((one.shard.index, journey) for one in ordered for journey in one.replayed),
        disputed_gates=_disputed_gates(ordered),
        uncollected={nodeid: text for one in ordered for nodeid, text in one.uncollected.items()},
        troubles=tuple(filter(None, [*map(_trouble, ordered), too_little])),
        items=_worst(items),
        tally=tally,
        machines=tuple(machines),
    )


def _tally(manifests: Sequence[Manifest]) -> Tally:
    results = [result for manifest in manifests for result in manifest.results]
    planned = [*manifests[0].expected.journeys.values(), *(result.id for result in results)]
    gates = [gate for manifest in manifests for gate in manifest.gates]
    tally = Tally(tuple(dict.fromkeys(planned)), gates=tuple(dict.fromkeys(gates)))
    for result in results:
        tally.add(max(tally.results.get(result.id, result), result, key=lambda one: badness(one.outcome)))
    return tally


def _worst(items: Iterable[tuple[int, ItemRecord]]) -> tuple[tuple[int, ItemRecord], ...]:
    """Return every item once, with the shard where its outcome was worst."""
    kept: dict[str, tuple[int, ItemRecord]] = {}
    for shard, item in items:
        known = kept.get(item.nodeid, (shard, item))
        kept[item.nodeid] = max(known, (shard, item), key=lambda pair: badness(pair[1].outcome))
    return tuple(sorted(kept.values(), key=lambda pair: pair[0]))


def _by_shard(pairs: Iterable[tuple[int, str]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for shard, name in pairs:
        found[name][shard] = None
    return {name: tuple(shards) for name, shards in found.items()}


def _disputed_gates(manifests: Sequence[Manifest]) -> dict[JourneyId, dict[int, Outcome]]:
    """Return the outcomes, by shard, of the gates that were closed on one shard and open on another."""
    disputed: dict[JourneyId, dict[int, Outcome]] = {}
    for gate in dict.fromkeys(gate for manifest in manifests for gate in manifest.gates):
        decided: list[tuple[int, Outcome, bool]] = []
        for manifest in manifests:
            replayed = [manifest.replayed[gate]] if gate in manifest.replayed else []
            results = [one for one in manifest.results if one.id == gate]
            decided += ((manifest.shard.index, one, one.closes_a_gate) for one in replayed)
            decided += ((manifest.shard.index, one.outcome, one.closes_a_gate) for one in results)
        if len({closed for _, _, closed in decided}) > 1:
            disputed[gate] = {shard: outcome for shard, outcome, _ in decided}
    return disputed


def _trouble(manifest: Manifest) -> str:
    """Return that a shard was not green for a reason that is in none of its items.

    That it measured too little by itself is none: without shards, what all of them have measured counts.
    """
    status = manifest.exit_status
    told = [*(item.outcome for item in manifest.items), *manifest.replayed.values()]
    results = {result.id: result for result in manifest.results}
    too_little = Tally(tuple(results), results=results).too_little(manifest.min_measured)
    explained = manifest.uncollected or too_little or any(outcome.is_bad for outcome in told)
    if not status or (status == 1 and explained):
        return ""
    how = _ENDS.get(status, "was not green, though none of its items failed")
    return f"shard {manifest.shard} {how} (exit status {status})"


MOST = 20
"""Names in a line; the JSON has them all."""


def to_lines(merged: Merged) -> Iterator[str]:
    """Yield what went wrong and what does not add up, then the closing line over all shards."""
    for number in merged.missing_shards:
        yield f"missing: shard {number}/{merged.total}; its items are unaccounted for"
    yield from merged.troubles
    if merged.unaccounted:
        yield f"unaccounted: {listed(merged.unaccounted, most=MOST)}"
    if merged.uncollected:
        yield f"could not be collected: {listed(merged.uncollected, most=MOST)}"
    bad = [(number, item) for number, item in merged.items if item.outcome.is_bad]
    yield from (f"{item.outcome}: {item.nodeid} on {merged.place(number)}" for number, item in bad)
    for cause, results in merged.tally.causes().items():
        yield f"deferred: {listed((result.id for result in results), most=MOST)}, because {cause}"
    if failed := merged.failed_in_replay():
        yield f"failed when replayed: {listed(failed, most=MOST)}"
    for gate, outcomes in merged.disputed_gates.items():
        words = ", ".join(f"{outcome} on {merged.place(number)}" for number, outcome in outcomes.items())
        yield f"gate {gate} was decided differently: {words}"
    for result in merged.tally.gates_left_open():
        yield f"gate left open: {result.id} ({result.outcome})"
    yield from _more_than_once(merged)
    yield from (f"{one.name} was {one.said}" for one in merged.lost)
    yield merged.tally.closing_line()
    count = counted(len(merged.items), "item")
    if merged.machines:
        yield f"dogfood: {counted(len(merged.machines), 'machine')}, {count}"
        return
    shards = counted(merged.total, "shard")
    yield f"dogfood: {len(merged.manifests)} of {shards}, {count}; plan {merged.manifests[0].digest}"


def _more_than_once(merged: Merged) -> Iterator[str]:
    for heading, where in (
        (f"ran on more than one {'machine' if merged.machines else 'shard'}", merged.ran_twice),
        ("ran as prerequisites", merged.prerequisites),
        ("replayed in the set-up of others", merged.replayed),
    ):
        names = [f"{name} ({merged.places(shards)})" for name, shards in where.items()]
        if names:
            yield f"{heading}: {listed(names, most=MOST)}"


FORMAT_VERSION = 1
"""Version of the JSON. 1: the first."""


def to_json(merged: Merged) -> dict[str, Any]:
    """Return the merged run as JSON-safe values; see the reference for its fields."""
    values: dict[str, Any] = msgspec.to_builtins(
        {
            "version": FORMAT_VERSION,
            "digest": merged.manifests[0].digest,
            "exit_status": merged.exit_status,
            "closing_line": merged.tally.closing_line(),
            "shards": merged.total,
            "missing_shards": merged.missing_shards,
            "machines": merged.machines,
            "lost_machines": {one.name: one.said for one in merged.lost},
            "taken_over": merged.taken_over,
            "troubles": merged.troubles,
            "unaccounted": merged.unaccounted,
            "uncollected": merged.uncollected,
            "ran_twice": merged.ran_twice,
            "prerequisites": merged.prerequisites,
            "replayed": merged.replayed,
            "failed_in_replay": merged.failed_in_replay(),
            "disputed_gates": merged.disputed_gates,
            "items": [{"shard": number, **msgspec.to_builtins(item)} for number, item in merged.items],
            "journeys": [result.to_json() for result in merged.tally.results.values()],
        },
        str_keys=True,
    )
    return values


_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {
    Outcome.FAILED: ("failure", ""),
    Outcome.ERROR: ("error", ""),
    Outcome.CRASHED: ("error", ""),
    Outcome.DEFERRED: ("skipped", "pytest.skip"),
    Outcome.SKIPPED: ("skipped", "pytest.skip"),
    Outcome.NO_ACTOR: ("skipped", "pytest.skip"),
    Outcome.XFAILED: ("skipped", "pytest.xfail"),
}


def to_junit(merged: Merged) -> bytes:
    """Return a JUnit file as pytest writes it for one run; what did not run, or could not be collected, is an error."""
    items = list(merged.records())
    for nodeid, shard in merged.unaccounted.items():
        why = "left no manifest" if shard in merged.missing_shards else "did not run it"
        text = f"unaccounted: shard {shard}/{merged.total} {why}"
        if merged.machines:
            text = "unaccounted: no machine ran it to its end"
        items.append(ItemRecord(nodeid=nodeid, outcome=Outcome.ERROR, message=text, text=text))
    for nodeid, text in merged.uncollected.items():
        message = "could not be collected"
        items.append(ItemRecord(nodeid=nodeid, outcome=Outcome.ERROR, message=message, text=text))
    kinds = Counter(_TAGS[item.outcome][0] for item in items if item.outcome in _TAGS)
    root = ET.Element("testsuites", name="pytest tests")
    suite = ET.SubElement(
        root,
        "testsuite",
        name="pytest",
        tests=str(len(items)),
        failures=str(kinds["failure"]),
        errors=str(kinds["error"]),
        skipped=str(kinds["skipped"]),
        time=f"{sum(item.seconds for item in items):.3f}",
    )
    for item in items:
        address, bracket, parameters = item.nodeid.partition("[")  # parameters may hold any of the separators
        path, *within = address.split("::")
        *packages, name = [path.removesuffix(".py").replace("/", "."), *within]
        names = {"classname": _xml(".".join(packages)), "name": _xml(name + bracket + parameters)}
        case = ET.SubElement(suite, "testcase", names, time=f"{item.seconds:.3f}")
        if item.properties:
            properties = ET.SubElement(case, "properties")
            for key, value in item.properties:
                ET.SubElement(properties, "property", name=_xml(key), value=_xml(value))
        if item.outcome in _TAGS:
            tag, kind = _TAGS[item.outcome]
            about = {"type": kind} if kind else {}
            ET.SubElement(case, tag, about, message=_xml(item.message)).text = _xml(item.text)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda found: f"#x{ord(found[0]):02X}", text)


def merged_run(merged: Merged) -> RecordedRun:
    """Return one run of all shards; a shard without a record adds its results only."""
    shards = [(one.shard.index, one.record) for one in merged.manifests if one.record is not None]
    started = min((record.run.started for _, record in shards), default=0.0)
    begins = {shard: merged.begins.get(merged.place(shard), 0.0) for shard, _ in shards}
    journeys = merged.manifests[0].expected.journeys
    return RecordedRun(
        directory=Path(),
        run=_frame(
            merged,
            [replace(one.run, seconds=begins[shard] + one.run.seconds) for shard, one in shards],
            started,
        ),
        graph=graph_of_all([record.graph for _, record in shards if record.graph is not None]),
        activities=tuple(
            _shifted(activity, shard, merged.place(shard), started + begins[shard] - record.run.started)
            for shard, record in shards
            for activity in record.activities
        ),
        results=merged.tally.results,
        last_green=next((record.last_green for _, record in shards if record.last_green), None),
        texts={f"{shard}/{name}": text for shard, record in shards for name, text in record.texts.items()},
        lost=merged.lost,
        taken_over={
            one: name
            for nodeid, name in merged.taken_over.items()
            for one in (nodeid, journeys.get(nodeid, nodeid))
        },
    )


def _frame(merged: Merged, runs: list[RunRecord], started: float) -> RunRecord:
    total = merged.total
    others = Counter[str]()
    for run in runs:
        others.update(run.others)
    runs = sorted(runs, key=lambda run: not run.id)  # those of lost machines say little
    first = runs[0] if runs else RunRecord(id="", project="", root="", started=started)
    return replace(
        first,
        id=" ".join(run.id for run in runs if run.id),
        started=started,
        workers=sum(run.workers for run in runs) or 1,
        shard=counted(total, "machine") if merged.machines else f"{len(merged.manifests)} of {total} shards",
        seconds=max((run.seconds for run in runs), default=0.0),
        exit_status=merged.exit_status,
        closing_line=merged.tally.closing_line(),
        others=dict(others),
    )


def _shifted(activity: Activity, shard: int, place: str, seconds: float) -> Activity:
    def moved(name: str) -> str:
        return f"{shard}/{name}" if name else ""

    return replace(
        activity,
        lane=", ".join(filter(None, [place, activity.lane])),
        started=activity.started + seconds,
        steps=tuple(
            replace(step, started=step.started + seconds, out=moved(step.out), err=moved(step.err))
            for step in activity.steps
        ),
    )
