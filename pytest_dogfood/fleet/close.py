"""Ends a run on several machines: seals it, releases what lost machines have left, and makes one report of all."""

from __future__ import annotations

import os
import shlex
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.execution.process import Command, run
from pytest_dogfood.execution.watcher import start_time
from pytest_dogfood.fleet.agreement import Agreement
from pytest_dogfood.fleet.board import End, FleetToken, Machine, MachineState, RunContents
from pytest_dogfood.fleet.member import now
from pytest_dogfood.fleet.membership import Membership
from pytest_dogfood.fleet.units import loss_in_words, taken_over
from pytest_dogfood.journey import JourneyId, Scope
from pytest_dogfood.outcomes import JourneyResult, Outcome, Proof
from pytest_dogfood.report.manifest import ItemRecord, Manifest, ShardRecord
from pytest_dogfood.report.merge import Merged, merge
from pytest_dogfood.scheduling.pinned_plan import Joined, PinnedPlan
from pytest_dogfood.scheduling.plan import Expected
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.record import Activity, Kind, LostMachine, RunRecord, Versions
from pytest_dogfood.storage.retention import RunLease, checked_root, default_root
from pytest_dogfood.storage.run_directory import project_name
from pytest_dogfood.storage.token_registry import (
    MACHINE,
    MachineRegistry,
    Registry,
    RunIdentity,
    TokenRecord,
)

if TYPE_CHECKING:
    from pytest_dogfood.fleet.database.postgres import PostgresBoard

LARGEST_RECORD = 64 * 1024
"""Bytes of the record of one item that travel to the other machines."""

LARGEST_RUN_RECORD = 64 * 2**20
"""Bytes of the record of one machine's part of a run that travel: with more, the merged report lacks its details."""


NOTHING_RAN = 5
"""Exit status of pytest when it has run no item."""

LOOK_EVERY = 1.0
"""Seconds between two looks at the machines that are waited for."""


class Sealed(Struct, frozen=True, kw_only=True):
    """A run that was sealed, with the tokens that nothing has released, or the machines that are still `here`."""

    tokens: tuple[FleetToken, ...] = ()
    here: tuple[str, ...] = ()


def packed_item_record(record: ItemRecord) -> bytes:
    """Return a record as bytes; of a long text only the end travels, where the failure is, else the beginning."""
    content = msgspec.json.encode(record)
    if len(content) <= LARGEST_RECORD:
        return content
    cut = LARGEST_RECORD // 32
    shorter = replace(
        record,
        text=record.text if len(record.text) <= 4 * cut else f"...\n{record.text[-4 * cut :]}",
        message=_beginning(record.message, cut),
        properties=tuple((_beginning(name, 64), _beginning(value, cut)) for name, value in record.properties),
    )
    while len(content := msgspec.json.encode(shorter)) > LARGEST_RECORD and shorter.properties:
        shorter = replace(shorter, properties=shorter.properties[:-1])
    return content


def _beginning(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def packed_run_record(record: ShardRecord) -> bytes:
    """Return the record of a machine's part of a run as bytes; empty if it is too large to travel."""
    content = zlib.compress(msgspec.json.encode(record))
    return content if len(content) <= LARGEST_RUN_RECORD else b""


def _run_record(content: bytes) -> ShardRecord | None:
    try:
        return msgspec.json.decode(zlib.decompress(content), type=ShardRecord) if content else None
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def seal(board: PostgresBoard, name: str, contents: RunContents, *, wait: float) -> Sealed:
    """Seal a run once no machine is part of it any more; `board` is that of a machine `name` without workers.

    Machines that give no sign of life for a lease are declared lost. Others are waited for, up to `wait` seconds; if
    they are still there then, nothing is changed.
    """
    lease = Agreement.unpacked(contents.agreement).lease
    membership = Membership(name, lease, now())
    board.join(Machine(name=name, workers=0), contents.agreement, ())
    until = now() + wait
    while True:
        sent = now()
        machines = board.beat()
        for silent in membership.beat(machines, sent=sent, now=now()):
            board.declare_lost(silent.name, silent.beats)
        here = [one.name for one in machines if one.state is MachineState.HERE and one.name != name]
        if not here and board.close_run():
            return Sealed(tokens=board.leave() or ())
        if now() >= until:
            board.leave()
            return Sealed(here=tuple(here))
        time.sleep(LOOK_EVERY)


def release_left(tokens: Sequence[FleetToken], directory: Path) -> str:
    """Release tokens, the youngest of which comes first; return what pytest says if that has failed, else nothing.

    It is done by a run of the project in `directory` that runs no items, and finds the tokens as if it had made them.
    Raises HarnessError if its directory cannot be made.
    """
    lease = RunLease(checked_root(default_root()), f"{project_name(directory)}-close")
    try:
        here = lease.directory
        registry = Registry(here.tokens)
        me = RunIdentity(run=here.id, pid=os.getpid(), born=start_time(os.getpid()))
        leases = MachineRegistry(registry.shared / Scope.FLEET, me)
        for age, one in enumerate(tokens):
            registry.claim(one.token, MACHINE, one.values)
            if one.by:
                record = TokenRecord(
                    token=one.token,
                    place=MACHINE,
                    by=one.by,
                    proof=Proof.PROVIDER,
                    values=one.values,
                    since=-float(age),
                )
                registry.record(record)
            leases.take_lease(one.token, ours=True, values=one.values)
        joined = Joined(directory=str(here.path), pid=os.getpid())
        plan, output = here.path / "plan.json", here.path / "output"
        content = PinnedPlan(release=True, joined=joined, result=str(here.path / "result.json"))
        plan.write_bytes(msgspec.json.encode(content))
        words = (sys.executable, "-m", "pytest", "--dogfood", f"--dogfood-plan={plan}", "-q")
        end = run(Command(argv=words, cwd=directory, env=os.environ, stdout=output, stderr=output))
        said = output.read_text(encoding="utf-8", errors="replace")
        return "" if end.status in {0, NOTHING_RAN} else said
    finally:
        lease.close(keep=())


def merge_machines(contents: RunContents) -> Merged:
    """Return the run as one, with each machine in the place of a shard; items without an end are unaccounted for.

    Raises HarnessError if what the machines agreed on cannot be read.
    """
    agreement = Agreement.unpacked(contents.agreement)
    names = [machine.name for machine in contents.machines if machine.workers]  # not who closed it
    number_of = {name: number for number, name in enumerate(names, 1)}
    ends: dict[str, list[End]] = defaultdict(list)
    for end in contents.ends:
        ends[end.machine].append(end)
    at = {end.nodeid: number_of.get(end.machine, 1) for end in contents.ends}
    expected = Expected(
        graph=agreement.graph,
        shards={nodeid: at.get(nodeid, 1) for nodeid in agreement.items},
        journeys={nodeid: JourneyId(one) for nodeid, one in agreement.journeys.items()},
    )
    manifests = [
        Manifest(
            shard=Shard(number, len(names)),
            expected=expected,
            items=tuple(_item_record(end) for end in ends[name]),
            results=tuple(
                result_of(end, JourneyId(agreement.journeys[end.nodeid]))
                for end in ends[name]
                if end.nodeid in agreement.journeys
            ),
            gates=tuple(map(JourneyId, agreement.gates)),
            min_measured=int(agreement.options.get("dogfood_min_measured", "0")),
            record=_run_record(contents.run_records.get(name, b""))
            or _record_by_ends(name, contents, agreement, ends[name]),
        )
        for name, number in number_of.items()
    ]
    first = min((contents.joined.get(name, 0.0) for name in names), default=0.0)
    begins = {name: contents.joined.get(name, 0.0) - first for name in names}
    units: dict[str, list[str]] = defaultdict(list)
    for end in contents.ends:
        units[end.unit].append(end.nodeid)
    taken = taken_over(contents.losses, units, {end.nodeid: end.machine for end in contents.ends})
    merged = merge(manifests, names)
    merged = replace(
        merged,
        troubles=(*merged.troubles, *_failed_releases(names, manifests)),
        begins=begins,
        lost=tuple(
            LostMachine(name=name, at=begins[name] + after, said=loss_in_words(after, taken[name]))
            for name, after in contents.losses.after.items()
            if name in begins
        ),
        taken_over={nodeid: name for name, items in taken.items() for nodeid in items},
    )
    if contents.stopped and merged.unaccounted:
        merged = replace(merged, troubles=(*merged.troubles, f"stopped by {contents.stopped}"))
    return merged


def _failed_releases(names: Sequence[str], manifests: Sequence[Manifest]) -> Iterator[str]:
    """Yield what machines could not release at their end: the ends of their items had been counted before."""
    for name, manifest in zip(names, manifests, strict=True):
        for one in manifest.record.activities if manifest.record is not None else ():
            if one.kind is Kind.RELEASE and not one.for_ and one.outcome.is_bad:
                wrong = [f": {step.place}, exit {step.exit}" for step in one.steps if step.wrong]
                yield f"{one.id} could not be released on {name}{''.join(wrong[:1])}"


def _record_by_ends(
    name: str, contents: RunContents, agreement: Agreement, ends: Sequence[End]
) -> ShardRecord:
    """Return the record of a part of the run whose machine was lost before it could send it: what its ends tell."""
    joined = contents.joined.get(name, 0.0)
    started = contents.began + joined
    activities, others = [], Counter[str]()
    for end in ends:
        item, journey = _item_record(end), agreement.journeys.get(end.nodeid)
        if journey is None:
            others[str(item.outcome)] += 1
            if not item.outcome.is_bad:
                continue
        worker = "" if journey is None else result_of(end, JourneyId(journey)).worker.partition("/")[2]
        activities.append(
            Activity(
                id=journey or end.nodeid,
                kind=Kind.TEST if journey is None else Kind.JOURNEY,
                lane=worker,
                started=contents.began + contents.ended.get(end.nodeid, joined) - item.seconds,
                seconds=item.seconds,
                outcome=item.outcome,
                text=item.text if item.outcome.is_bad else "",
                again=f"pytest --dogfood {shlex.quote(end.nodeid)}",
            )
        )
    return ShardRecord(
        run=RunRecord(
            id="",
            project=contents.run,
            root="",
            started=started,
            workers=next(one.workers for one in contents.machines if one.name == name),
            versions=Versions(
                dogfood=agreement.version, python=agreement.python, platform=agreement.platform
            ),
            commit=agreement.commit,
            seconds=contents.losses.after.get(name, 0.0),
            others=others,
        ),
        graph=None,
        activities=tuple(activities),
        texts={},
    )


def result_of(end: End, journey: JourneyId) -> JourneyResult:
    """Return what a machine says of an item of the graph; what cannot be read is an error of the harness."""
    try:
        result = msgspec.json.decode(end.result, type=JourneyResult)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        result = JourneyResult(id=journey, outcome=Outcome.ERROR)
    return replace(
        result, id=journey, worker=f"{end.machine}/{result.worker}".rstrip("/"), kept="", trajectory=""
    )


def outcome_of(end: End) -> Outcome:
    """Return the outcome of an item; one that this version does not know is an error."""
    try:
        return Outcome(end.outcome)
    except ValueError:
        return Outcome.ERROR


def _item_record(end: End) -> ItemRecord:
    try:
        return replace(msgspec.json.decode(end.record, type=ItemRecord), nodeid=end.nodeid)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        why = f"what {end.machine} wrote about this cannot be read"
        return ItemRecord(nodeid=end.nodeid, outcome=outcome_of(end), message=why, text=why)
