"""Puts the manifests of all shards together, and says what does not add up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from pytest_dogfood.manifest import ItemRecord
from pytest_dogfood.manifest import Manifest
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.outcomes import Tally
from pytest_dogfood.outcomes import listed

FORMAT_VERSION = 1
"""Version of the merged JSON. 1: the first."""


class ShardsDisagreeError(Exception):
    """The manifests do not belong together; the text says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One run over all shards. Nothing is lost: an item that ran on several shards keeps the worst of its outcomes."""

    manifests: tuple[Manifest, ...]
    missing_shards: tuple[int, ...]
    unaccounted: tuple[str, ...]
    ran_twice: tuple[str, ...]
    prerequisites: tuple[str, ...]
    replayed: tuple[str, ...]
    disputed_gates: tuple[str, ...]
    items: tuple[ItemRecord, ...]
    tally: Tally

    @property
    def exit_status(self) -> int:
        """1 if something failed, is missing or is in dispute, else 0."""
        bad = {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED}
        wrong = any(item.outcome in bad for item in self.items) or bool(self.failed_in_replay())
        return int(bool(wrong or self.missing_shards or self.unaccounted or self.disputed_gates))

    def failed_in_replay(self) -> tuple[str, ...]:
        """Name the journeys that failed in a replay and in no item."""
        bad = {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED}
        seen = {result.id for result in self.tally.results.values() if result.outcome in bad}
        return tuple(
            dict.fromkeys(
                journey
                for manifest in self.manifests
                for journey, outcome in manifest.replayed.items()
                if outcome in bad and journey not in seen
            )
        )

    def durations(self) -> dict[str, float]:
        """Give the seconds of every item that ran to its end, by node id, for the committed durations file."""
        measured = [item for item in self.items if item.outcome.measured]
        return {item.nodeid: item.seconds for item in measured}


def merge(manifests: Sequence[Manifest]) -> Merged:
    """Merge the manifests of one run; raises ShardsDisagreeError if they are not of one run."""
    _refuse_strangers(manifests)
    ordered = tuple(sorted(manifests, key=lambda one: one.shard.index))
    total = ordered[0].shard.total
    here = {manifest.shard.index for manifest in ordered}
    expected = ordered[0].expected
    runs: dict[str, list[ItemRecord]] = defaultdict(list)
    for manifest in ordered:
        for item in manifest.items:
            runs[item.nodeid].append(item)
    ran = [result.id for manifest in ordered for result in manifest.results]
    tally = Tally(tuple(dict.fromkeys([*expected.journeys.values(), *ran])))
    for result in (result for manifest in ordered for result in manifest.results):
        known = tally.results.get(result.id)
        if known is None or _badness(result.outcome) > _badness(known.outcome):
            tally.add(result)
    return Merged(
        manifests=ordered,
        missing_shards=tuple(number for number in range(1, total + 1) if number not in here),
        unaccounted=tuple(nodeid for nodeid in expected.shards if nodeid not in runs),
        ran_twice=tuple(
            nodeid for nodeid, all_ in runs.items() if sum(not one.prerequisite for one in all_) > 1
        ),
        prerequisites=tuple(nodeid for nodeid, all_ in runs.items() if any(one.prerequisite for one in all_)),
        replayed=tuple(dict.fromkeys(journey for manifest in ordered for journey in manifest.replayed)),
        disputed_gates=tuple(_disputed_gates(ordered)),
        items=tuple(max(all_, key=lambda one: _badness(one.outcome)) for all_ in runs.values()),
        tally=tally,
    )


def _refuse_strangers(manifests: Sequence[Manifest]) -> None:
    if not manifests:
        raise ShardsDisagreeError("there is nothing to merge")
    digests = {manifest.digest for manifest in manifests}
    if len(digests) > 1:
        words = ", ".join(f"shard {one.shard} has {one.digest}" for one in manifests)
        raise ShardsDisagreeError(
            f"the shards made different plans: {words}; they must see the same files, the same committed "
            "durations and the same selection"
        )
    numbers = [manifest.shard.index for manifest in manifests]
    again = sorted({number for number in numbers if numbers.count(number) > 1})
    if again:
        raise ShardsDisagreeError(f"shard {again[0]} is there twice: give each shard's manifest once")


def _disputed_gates(manifests: Sequence[Manifest]) -> Iterator[str]:
    gates = dict.fromkeys(gate for manifest in manifests for gate in manifest.gates)
    for gate in gates:
        closed = {
            result.closes_a_gate for manifest in manifests for result in manifest.results if result.id == gate
        } | {manifest.replayed[gate].closes_a_gate for manifest in manifests if gate in manifest.replayed}
        if len(closed) > 1:
            yield gate


_ORDER = (
    Outcome.PASSED,
    Outcome.XPASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
    Outcome.NO_ACTOR,
    Outcome.DEFERRED,
    Outcome.ERROR,
    Outcome.CRASHED,
    Outcome.FAILED,
)


def _badness(outcome: Outcome) -> int:
    return _ORDER.index(outcome)


def in_words(merged: Merged) -> Iterator[str]:
    """Say what does not add up, then give the closing line over all shards."""
    total = merged.manifests[0].shard.total
    for number in merged.missing_shards:
        yield f"missing: shard {number}/{total}; its items are unaccounted for"
    if merged.unaccounted:
        yield f"unaccounted: {listed(merged.unaccounted, most=20)}"
    if merged.ran_twice:
        yield f"ran on more than one shard: {listed(merged.ran_twice, most=20)}"
    if merged.prerequisites:
        yield f"ran as prerequisites: {listed(merged.prerequisites, most=20)}"
    if merged.replayed:
        yield f"replayed in the set-up of others: {listed(merged.replayed, most=20)}"
    if failed := merged.failed_in_replay():
        yield f"failed when replayed: {listed(failed, most=20)}"
    for gate in merged.disputed_gates:
        yield f"gate {gate} was open on one shard and closed on another"
    for cause, results in merged.tally.causes().items():
        yield f"deferred: {listed(result.id for result in results)}, because {cause}"
    yield merged.tally.closing_line()
    count = len(merged.items)
    yield f"dogfood: {len(merged.manifests)} of {total} shards, {count} items; plan {merged.manifests[0].digest}"


def to_json(merged: Merged) -> dict[str, Any]:
    """Give the merged run as JSON-safe values; see the reference for its fields."""
    return {
        "version": FORMAT_VERSION,
        "digest": merged.manifests[0].digest,
        "shards": merged.manifests[0].shard.total,
        "missing_shards": list(merged.missing_shards),
        "unaccounted": list(merged.unaccounted),
        "ran_twice": list(merged.ran_twice),
        "prerequisites": list(merged.prerequisites),
        "replayed": list(merged.replayed),
        "disputed_gates": list(merged.disputed_gates),
        "items": msgspec.to_builtins(merged.items),
        "journeys": [_journey_to_json(result) for result in merged.tally.results.values()],
        "exit_status": merged.exit_status,
    }


def _journey_to_json(result: JourneyResult) -> dict[str, Any]:
    return result.to_json()


def to_junit(merged: Merged) -> bytes:
    """Give one JUnit file for all shards, as pytest writes it for one."""
    kinds = [_element_for(item.outcome) for item in merged.items]
    suite = ET.Element(
        "testsuite",
        name="pytest",
        tests=str(len(kinds)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(item.seconds for item in merged.items):.3f}",
    )
    for item in merged.items:
        _add_case(suite, item)
    root = ET.Element("testsuites", name="pytest tests")
    root.append(suite)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _element_for(outcome: Outcome) -> str:
    return {
        Outcome.FAILED: "failure",
        Outcome.ERROR: "error",
        Outcome.CRASHED: "error",
        Outcome.DEFERRED: "skipped",
        Outcome.SKIPPED: "skipped",
        Outcome.NO_ACTOR: "skipped",
        Outcome.XFAILED: "skipped",
    }.get(outcome, "")


def _add_case(suite: ET.Element, item: ItemRecord) -> None:
    path, _, rest = item.nodeid.partition("::")
    within, _, name = rest.rpartition("::")
    stem = path.removesuffix(".py").replace("/", ".")
    classname = ".".join(filter(None, [stem, within.replace("::", ".")]))
    case = ET.SubElement(suite, "testcase", classname=classname, name=_xml(name), time=f"{item.seconds:.3f}")
    if item.properties:
        properties = ET.SubElement(case, "properties")
        for key, value in item.properties:
            ET.SubElement(properties, "property", name=key, value=_xml(value))
    kind = _element_for(item.outcome)
    if kind:
        first = item.text.strip().split("\n", 1)[0]
        ET.SubElement(case, kind, message=_xml(first)).text = _xml(item.text)


def _xml(text: str) -> str:
    """Replace what XML 1.0 cannot hold."""
    return "".join(
        char
        if char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff"
        else f"#x{ord(char):02X}"
        for char in text
    )
