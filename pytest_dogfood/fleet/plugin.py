"""The plugin of the process that leads one machine's part of a run on several machines.

The scheduler asks it for the queue, for leave to hand out items, and for what has ended elsewhere. It passes the
results of this machine on to the others, and those of the others to this machine's tally, journal and releases.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest
from msgspec.structs import replace

from pytest_dogfood.collection.stash import PROJECT, SETTINGS
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.watcher import end_processes
from pytest_dogfood.fleet.agreement import Agreement, differences, digests_of, python_in_words
from pytest_dogfood.fleet.board import (
    Answer,
    Board,
    End,
    FleetToken,
    Joined,
    Machine,
    Turn,
)
from pytest_dogfood.fleet.close import outcome_of, packed_item_record, packed_run_record, result_of
from pytest_dogfood.fleet.member import Member, Request, now
from pytest_dogfood.fleet.membership import Membership
from pytest_dogfood.fleet.options import RunName
from pytest_dogfood.fleet.summary import FleetSummary, RunSoFar
from pytest_dogfood.fleet.turns import Turns
from pytest_dogfood.fleet.units import order_of_chains, units_of, with_units
from pytest_dogfood.git.command import GitError, checked_out
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Cause, Outcome, Proof, listed, reason_of
from pytest_dogfood.provisioning.workspace import run_marker
from pytest_dogfood.report.manifest import shard_record
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.scheduling.queue import Job
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from pytest_dogfood.session.record_writer import ItemRecords
from pytest_dogfood.storage.journal import Journal, Why
from pytest_dogfood.storage.record import read_run
from pytest_dogfood.storage.token_registry import MACHINE, Registry, TokenRecord
from pytest_dogfood.walks import reachable

if TYPE_CHECKING:
    from pytest_dogfood.session.leader import Leader
    from pytest_dogfood.xdist.scheduler import DogfoodScheduler, Worker

LONGEST_AGE = 3600.0
"""Seconds after which a machine does not join a finished run whose name a person has chosen, most likely by mistake."""

LOST_ON = "dogfood_lost_on"
"""JUnit property of an item that ran when a machine was lost: that machine."""


class FleetPlugin:
    """Takes part in a run for this machine; `others` of the scheduler."""

    def __init__(
        self,
        config: pytest.Config,
        leader: Leader,
        scheduler: DogfoodScheduler,
        *,
        board: Board,
        machine: Machine,
        run: RunName,
        lease: float,
    ) -> None:
        self._config = config
        self._leader = leader
        self._scheduler = scheduler
        self._board = board
        self._me = machine
        self._run = run
        self._lease = lease
        self._member: Member | None = None
        self._membership = Membership(machine.name, lease, now())
        self._queue = SharedQueue(())
        self._turns = Turns(machine.name, self._queue, ())
        self._ids: Sequence[str] = ()
        self._places: Mapping[str, int] = {}
        self._planned: Mapping[str, PlannedJourney] = {}
        self._journal: Journal | None = None
        self._so_far = RunSoFar()
        self._joined: Joined | None = None
        self._lost_on: dict[str, str] = {}
        self._idle = 0
        self._failures_here: set[str] = set()
        self._records = ItemRecords()
        config.pluginmanager.register(self._records, "dogfood-fleet-records")
        config.pluginmanager.register(
            FleetSummary(str(run), machine.name, self._so_far), "dogfood-fleet-summary"
        )

    # What the scheduler asks.

    def join(self, ids: Sequence[str], jobs: Sequence[Job]) -> SharedQueue:
        """Take part in the run, and return the queue of this machine; raises pytest.UsageError if it may not."""
        plan = self._leader.plan or Plan()
        twice = [nodeid for nodeid, number in Counter(ids).items() if number > 1]
        if twice:
            raise pytest.UsageError(
                f"--dogfood-fleet needs a node id for each item, but several are called {listed(twice)}"
            )
        jobs = with_units(ids, jobs, self._leader.together)
        self._ids, self._places = ids, {nodeid: index for index, nodeid in enumerate(ids)}
        self._planned = plan.by_nodeid()
        self._so_far.journeys = {nodeid: one.id for nodeid, one in self._planned.items()}
        run = self._leader.run
        self._journal = Journal(run.records) if run is not None and self._planned else None
        try:
            agreement = replace(self._agreement(ids, plan), order=order_of_chains(ids, jobs))
            self._membership = Membership(self._me.name, self._lease, now())
            joined = self._board.join(self._me, agreement.packed(), units_of(jobs))
            self._refuse(joined, agreement)
        except HarnessError as error:
            raise pytest.UsageError(f"--dogfood-fleet {self._run}: {error}") from error
        self._queue = SharedQueue(jobs)
        self._turns = Turns(self._me.name, self._queue, ids, self._needs())
        self._joined = joined
        if not joined.closed:
            self._member = Member(self._board, self._membership, wake=self._scheduler.wake)
            self._member.start()
        return self._queue

    def _needs(self) -> dict[str, set[Token]]:
        """Return the tokens that the items of each unit need, directly or not."""
        rests_on = self._leader.plan.rests_on if self._leader.plan is not None else {}
        found: dict[str, set[Token]] = defaultdict(set)
        for nodeid, planned in self._planned.items():
            if nodeid in self._places:
                unit = self._queue.unit_of(self._places[nodeid])
                found[unit].update(reachable(planned.uses, lambda token: rests_on.get(token, ())))
        return found

    def _agreement(self, ids: Sequence[str], plan: Plan) -> Agreement:
        config, settings = self._config, self._config.stash[SETTINGS]
        project = config.stash[PROJECT]()
        paths = {config.rootpath / nodeid.partition("::")[0] for nodeid in ids}
        try:
            commit, _ = checked_out(config.rootpath)
        except GitError:
            commit = ""
        return Agreement(
            items=tuple(sorted(ids)),
            journeys={nodeid: one.id for nodeid, one in sorted(self._planned.items())},
            gates=tuple(sorted({gate for one in plan.journeys for gate in one.gates})),
            graph=self._leader.graph,
            files=digests_of(
                config.rootpath, [*paths, *(config.rootpath / file.path for file in project.files)]
            ),
            python=python_in_words(),
            platform=f"{platform.system()} {platform.machine()}",
            version=version("pytest-dogfood"),
            commit=commit,
            options={
                "--dist": str(config.getoption("dist", "")),
                "--dogfood-blocked": " ".join(sorted(settings.blocked)),
                "--dogfood-provision": str(settings.provision),
                "dogfood_min_measured": str(settings.min_measured),
            },
            lease=self._lease,
        )

    def _refuse(self, joined: Joined, agreement: Agreement) -> None:
        """Raise HarnessError if this machine may not take part, and say what differs."""
        if joined.agreement:
            there = Agreement.unpacked(joined.agreement)
            differing = differences(there, agreement, run=str(self._run)) or [
                "something that has no name differs"
            ]
            lines = "\n".join(f"    {line}" for line in differing)
            raise HarnessError(f"this machine would run something else than the others:\n{lines}")
        ended = f"was closed {joined.closed}" if joined.closed else ""
        if joined.finished and joined.age > LONGEST_AGE:
            ended = ended or f"was done {joined.finished}"
        if ended and not self._run.by_ci:
            raise HarnessError(f"the run {ended}; choose another name")

    def may_hand_out(self) -> bool:
        return self._member is not None and self._member.may_act() and not self._so_far.stopped

    def ended(self, index: int) -> None:
        """Let the others know how an item has ended here, unless a signal ended it."""
        nodeid = self._ids[index]
        record = self._records.items.get(nodeid)
        if (
            self._member is None
            or record is None
            or nodeid in self._so_far.ended_by
            or self._leader.interruption()
        ):
            return
        planned = self._planned.get(nodeid)
        result = self._leader.tally.results.get(planned.id) if planned is not None else None
        outcome = record.outcome if result is None else result.outcome
        self._so_far.ended_by[nodeid] = self._me.name
        said = b"" if result is None else msgspec.json.encode(result.to_json())
        self._turns.end(index, str(outcome), said, packed_item_record(record))
        if outcome is Outcome.ERROR and self._leader.run is not None:
            self._turns.fail(Registry(self._leader.run.tokens).failed())
        self._ask(self._idle)

    def need(self, idle: int) -> None:
        """Ask for units for idle workers; what is asked for counts until the next call."""
        self._idle = idle
        self._ask(idle)

    def _ask(self, idle: int) -> None:
        if self._member is None:
            return
        turn = self._turns.next_turn(idle) if self._turns.wants_turn(idle) else None
        aside = self._turns.aside()
        self._member.ask(Request(turn=turn, seen=self._turns.seen, aside=aside, waits=bool(idle)))

    def ended_elsewhere(self) -> Iterator[int]:
        """Count what the other machines have told, and yield the items that have ended there."""
        if self._joined is not None:
            joined, self._joined = self._joined, None
            yield from self._take_over_all(joined.ends)
            self._turns.join(joined)
            self._stop(joined.stopped)
            if joined.closed:
                self._scheduler.abort()  # what has no end here never gets one
        if self._member is None:
            return
        try:
            answers = self._member.hear()
        except HarnessError as error:
            self._lose_touch(str(error))
        for answer, turn in answers:
            yield from self._apply(answer, turn)
        self._so_far.machines = self._membership.machines
        self._turns.look_at(self._membership.machines.values())
        self._ask(0)  # the scheduler says how many workers are idle when it has handed out what there is

    def _apply(self, answer: Answer, turn: Turn | None) -> Iterator[int]:
        yield from self._take_over_all(self._turns.news_in(answer))
        changes = self._turns.apply(answer, turn)
        if changes.lost:
            self._membership.lose()
            self._lose_touch(self._membership.why_fenced)
        for unit in changes.taken:
            self._lost_on |= dict(zip(unit.lost_in, unit.lost_on, strict=True))
        for index in changes.crashed:
            self._report_given_up(self._ids[index])
            self.ended(index)
            yield index
        self._stop(changes.stopped)

    def _take_over_all(self, ends: Iterable[End]) -> Iterator[int]:
        for end in ends:
            if end.nodeid in self._places and end.nodeid not in self._so_far.ended_by:
                self._so_far.ended_by[end.nodeid] = end.machine
                self._take_over(end)
                yield self._places[end.nodeid]

    def _take_over(self, end: End) -> None:
        """Count an item that has ended on another machine, as if it had ended here."""
        planned, bad = self._planned.get(end.nodeid), outcome_of(end).is_bad
        if planned is not None:
            result = result_of(end, planned.id)
            bad = result.outcome.is_bad
            if self._journal is not None:
                self._journal.ended(planned.id, Why.ITEM, result.worker, result.outcome, result.cause)
            self._leader.tally.add(result)
        self._leader.finished(end.nodeid)
        if bad:
            self._so_far.bad_elsewhere[end.nodeid] = end.machine
            self._count_failures()

    def _report_given_up(self, nodeid: str) -> None:
        """Report an item as crashed that is not tried again, because machines were lost with it."""
        planned = self._planned.get(nodeid)
        if planned is not None and self._journal is not None:
            # Nothing else tells the workers, which would replay it for its dependents.
            cause = Cause(who=planned.id, why=reason_of(Outcome.CRASHED))
            self._journal.ended(planned.id, Why.ITEM, self._me.name, Outcome.CRASHED, cause)
        text = (
            f"{nodeid} is not tried again: machines were lost while it, or what is taken with it, was running"
        )
        report = pytest.TestReport(
            nodeid,
            (nodeid.partition("::")[0], None, nodeid),
            {},
            "failed",
            text,
            "???",  # type: ignore[arg-type] # as xdist reports a crash
        )
        self._config.hook.pytest_runtest_logreport(report=report)

    # Failures of all machines count for -x and --maxfail.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._lost_on:
            report.user_properties.append((LOST_ON, self._lost_on[report.nodeid]))
        if report.failed and not hasattr(report, "wasxfail"):
            self._failures_here.add(report.nodeid)
            self._count_failures()

    def _count_failures(self) -> None:
        most = self._config.getoption("maxfail", 0)
        if (
            most
            and len(self._failures_here) + len(self._so_far.bad_elsewhere) >= most
            and self._member is not None
        ):
            self._member.stop_run(f"{self._me.name}: --maxfail {most}")

    def _stop(self, why: str) -> None:
        """Hand out nothing more if some machine has stopped the run."""
        if why and not self._so_far.stopped:
            self._so_far.stopped = why
            self._scheduler.abort()

    def _lose_touch(self, why: str) -> NoReturn:
        """End the steps that run here, and the run on this machine: others do its work now."""
        self._so_far.trouble = why
        if self._leader.run is not None:
            end_processes(run_marker(self._leader.run.id))
        pytest.exit(why, returncode=int(pytest.ExitCode.INTERNAL_ERROR))

    # The end.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Leave the run after all else, such as the release of what only this machine has."""
        try:
            return (yield)
        finally:
            self._leave()

    @pytest.hookimpl(wrapper=True, trylast=True, specname="pytest_runtestloop")
    def pytest_end_loop(self) -> Generator[None, object, object]:
        """Note that from now on this process answers no events, and is alive all the same."""
        try:
            return (yield)
        finally:
            if self._member is not None:
                self._member.is_ending = True

    def _leave(self) -> None:
        member = self._member
        if member is None or self._so_far.trouble:
            return
        try:
            if not member.flush(self._turns.last_turns(), self._lease):
                self._so_far.trouble = (
                    "lost touch with the fleet at the end; others run again what they do not know"
                )
                return
            if self._so_far.has_losses:
                self._so_far.note_losses(self._board.losses(), self._queue.units, self._ids)
            if (tokens := self._board.leave()) is not None:
                self._release(tokens)
                self._board.leave()
        except HarnessError as error:
            self._so_far.trouble = str(error)
        finally:
            member.close()

    def _release(self, tokens: Sequence[FleetToken]) -> None:
        """Release the tokens of the fleet, the youngest of which comes first; this machine is the last one."""
        release = self._leader.release
        if release is None or release.fleet is None:
            return
        release.fleet.is_last = True
        rows = [
            TokenRecord(
                token=row.token, place=MACHINE, by=row.by, proof=Proof.PROVIDER, values=row.values, since=-age
            )
            for age, row in enumerate(tokens)
        ]
        self._leader.report_late_errors(release.release_for_all_machines(rows))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Worker, error: object | None) -> None:
        if error is not None and self._member is not None:
            self._member.end_holds(node.gateway.id)

    @pytest.hookimpl(trylast=True, specname="pytest_sessionfinish")
    def pytest_send_record(self) -> None:
        """Send the record of this machine's part for one report of the whole run, which does without it otherwise."""
        run = self._leader.run
        if self._member is None or self._so_far.trouble or run is None:
            return
        with suppress(HarnessError):
            self._board.run_record(packed_run_record(shard_record(read_run(run.path))))
