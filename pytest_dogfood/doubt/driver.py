"""Runs the experiments of all chains, several in one process of pytest, one process after the other."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType
from typing import Protocol

import msgspec
from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.doubt.experiments.examination import Examination
from pytest_dogfood.doubt.experiments.smallest import Trial
from pytest_dogfood.doubt.experiments.values import Experiment, Observation
from pytest_dogfood.doubt.record import (
    ChainRecord,
    Done,
    DoubtRecord,
    digest_of_chain,
    write_record,
)
from pytest_dogfood.doubt.runs import observed, plan_for
from pytest_dogfood.execution.background import Watcher
from pytest_dogfood.execution.process import Command, run as run_command
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId
from pytest_dogfood.scheduling.pinned_plan import Joined, PinnedPlan
from pytest_dogfood.storage.plan_record import read_plan_record
from pytest_dogfood.storage.record import read_run
from pytest_dogfood.storage.retention import RunLease, checked_root, remove_run
from pytest_dogfood.storage.run_directory import project_name, remove_tree

SECONDS_PER_RUN = 1.5
"""What a run is expected to take beyond its journeys."""

_USAGE_ERROR = 4
_GRACE = 20.0
"""Seconds in which an interrupted run may clean up."""


class Progress(Protocol):
    """Is told before each run: its number, and the experiments in it."""

    def __call__(self, number: int, experiments: Sequence[Experiment], /) -> None: ...


class Target(Struct, frozen=True, kw_only=True):
    """What is examined: the project in `rootdir`, with pytest's `arguments`, which name no files and no nodes.

    `tested` are the journeys whose declarations count. `seconds` has the known durations by journey. `left_out` says
    why a chain is not tested.
    """

    graph: CapabilityGraph
    rootdir: Path
    state_root: Path
    tested: tuple[JourneyId, ...]
    arguments: tuple[str, ...] = ()
    workers: str = ""
    seconds: Mapping[JourneyId, float] = field(default_factory=dict)
    thorough: bool = False
    left_out: Mapping[ChainId, str] = field(default_factory=dict)


class _Chain:
    """A chain in the making: its examination, and the experiment that comes next."""

    def __init__(self, examination: Examination, record: ChainRecord) -> None:
        self.examination = examination
        self.record = record
        self.trial: Trial[None] = examination.run()
        self.next: Experiment | None = next(self.trial)

    @property
    def is_settling(self) -> bool:
        """Whether a suspect is being settled just now; with little time that comes first."""
        return self.examination.suspected is not None

    def go_on(self, seen: Observation) -> None:
        try:
            self.next = self.trial.send(seen)
        except StopIteration:
            self.next = None

    def repeat(self) -> None:
        """Go as far as the record leads; what no longer fits is dropped from it."""
        done, self.record.done = self.record.done, []
        for one in done:
            if one.experiment != self.next:
                break
            self.record.done.append(one)
            self.go_on(one.seen)


class Campaign:
    """All experiments on a project. The examinations have what was found, at any time."""

    def __init__(self, target: Target, record: DoubtRecord, record_path: Path, tell: Progress) -> None:
        self.target = target
        self.runs = 0
        self.experiments = 0
        self.not_reached = False
        """Whether the time was not enough."""
        self._record = record
        self._record_path = record_path
        self._tell = tell
        graph = target.graph
        wanted = dict.fromkeys(
            graph.chains[one] for one in target.tested if graph.chains[one] not in target.left_out
        )
        arguments = (*target.arguments, *(["thorough"] if target.thorough else []))
        digests = {
            chain: digest_of_chain(
                graph,
                chain,
                target.rootdir,
                more=(*arguments, *(one for one in target.tested if graph.chains[one] == chain)),
            )
            for chain in wanted
        }
        kept = {one: known for one, known in record.chains.items() if digests.get(one) == known.digest}
        if all(one in kept and kept[one].is_complete for one in wanted):
            kept = {}  # everything was done, so that it begins again
        for one, digest in digests.items():
            before = record.chains.get(one)
            suspects = [] if before is None else before.suspects
            record.chains[one] = kept.get(one) or ChainRecord(
                digest=digest, earlier=suspects, suspects=suspects
            )
        self._chains = {one: self._chain(one, record.chains[one]) for one in wanted}
        for gone in record.chains.keys() - set(graph.chains.values()):
            del record.chains[gone]
        for made in self._chains.values():
            made.repeat()

    def _chain(self, chain: ChainId, record: ChainRecord) -> _Chain:
        target = self.target
        examination = Examination(
            target.graph, chain, thorough=target.thorough, tested=target.tested, earlier=record.earlier
        )
        return _Chain(examination, record)

    @property
    def examinations(self) -> list[Examination]:
        return [one.examination for one in self._chains.values()]

    def resumed(self) -> int:
        """Return how many experiments the record had."""
        return sum(len(one.record.done) for one in self._chains.values())

    def run(self, *, deadline: float | None = None) -> None:
        """Do what is left, until `deadline` (of the monotonic clock, in seconds).

        Raises HarnessError if no run is possible, and KeyboardInterrupt.
        """
        if not any(chain.next is not None for chain in self._chains.values()):
            return
        with _machine(self.target) as (joined, directory):
            runner = _Runner(self.target, joined, directory)
            while ready := {one: chain for one, chain in self._chains.items() if chain.next is not None}:
                suspected = [] if deadline is None else [one for one in ready.values() if one.is_settling]
                chosen = list(_together(suspected or ready.values()))
                if deadline is not None:
                    now = time.monotonic()
                    chosen = [one for one in chosen if now + self._expected(one) <= deadline]
                    if not chosen:
                        self.not_reached = True
                        return
                experiments = [one.next for one in chosen if one.next is not None]
                self.runs += 1
                self.experiments += len(experiments)
                self._tell(self.runs, experiments)
                seen = runner.run(experiments)
                for one, experiment in zip(chosen, experiments, strict=True):
                    one.record.done.append(Done(experiment, seen[experiment.chain]))
                    one.go_on(seen[experiment.chain])
                    one.record.suspects = [*one.examination.suspicious]
                    one.record.is_complete = one.next is None
                write_record(self._record_path, self._record)

    def _expected(self, chain: _Chain) -> float:
        experiment, first = chain.next, chain.examination.first
        if experiment is None:
            return 0.0
        known = {**self.target.seconds, **{one: end.seconds for one, end in first.ends.items()}}
        order = experiment.order or [
            one for one, name in self.target.graph.chains.items() if name == experiment.chain
        ]
        journeys = sum(known.get(one, 0.0) for one in order)
        return SECONDS_PER_RUN + journeys + experiment.pause + sum(experiment.idle.values())


def _together(chains: Iterable[_Chain]) -> Iterator[_Chain]:
    """Yield the chains whose next experiments can be done in one run.

    An ordinary run has no order, so it goes alone; so does each trial of new lines, as a refusal stops the whole run.
    """
    several: list[_Chain] = []
    for chain in chains:
        experiment = chain.next
        if experiment is None:
            continue
        if experiment.lines:
            yield chain
            return
        several.append(chain)
    ordinary = [one for one in several if one.next is not None and not one.next.order]
    yield from ordinary or several


@contextmanager
def _machine(target: Target) -> Iterator[tuple[Joined, Path]]:
    """Hold what all runs share: their directory, and the tokens of the machine, which are released at the end."""
    lease = RunLease(checked_root(target.state_root), f"{project_name(target.rootdir)}-plan")
    directory = lease.directory.path
    joined = Joined(directory=str(directory), pid=os.getpid())
    watcher = Watcher(f"{_MARKER}={directory}")
    try:
        yield joined, directory
    finally:
        try:
            result = directory / "release.json"
            plan = PinnedPlan(release=True, joined=joined, result=str(result))
            with _removing_run(result):
                status, text = _start(target, plan, directory)
            if status not in {0, 5}:
                sys.stderr.write(f"dogfood doubt: what the machine has was not wholly released:\n{text}\n")
        finally:
            watcher.close()
            lease.close(keep=())


@contextmanager
def _removing_run(result: Path) -> Iterator[None]:
    """Remove what a run has kept, once it was read: nothing leads there, and there are many of them."""
    result.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(HarnessError):
            remove_run(Path(read_plan_record(result).run))


class _Runner:
    """Does the experiments of one run in a process of pytest."""

    def __init__(self, target: Target, joined: Joined, directory: Path) -> None:
        self._target = target
        self._joined = joined
        self._directory = directory

    def run(self, experiments: Sequence[Experiment]) -> dict[ChainId, Observation]:
        """Return what was seen, by chain."""
        target = self._target
        result = self._directory / "result.json"
        plan = plan_for(
            experiments, target.graph, joined=self._joined, result=str(result), only=self._only(experiments)
        )
        try:
            with _removing_run(result):
                status, text = _start(target, plan, self._directory)
                record = read_plan_record(result)
                run = read_run(Path(record.run))
        except HarnessError:
            if len(experiments) > 1 and any(one.order for one in experiments):
                # One of them keeps the others from running.
                return {chain: seen for one in experiments for chain, seen in self.run([one]).items()}
            return self._without_record(experiments, status, text)
        return observed(experiments, target.graph, record, run)

    def _only(self, experiments: Sequence[Experiment]) -> list[JourneyId]:
        chains = {one.chain for one in experiments}
        return [one for one in self._target.tested if self._target.graph.chains[one] in chains]

    def _without_record(
        self, experiments: Sequence[Experiment], status: int, text: str
    ) -> dict[ChainId, Observation]:
        lines = [line for line in text.splitlines() if line.strip()]
        if not any(one.order for one in experiments):
            raise HarnessError(f"the ordinary run came to nothing (pytest ended with {status}):\n{text}")
        errors = [line.removeprefix("ERROR: ") for line in lines if "rror" in line]
        why = (errors or lines or [f"pytest ended with {status}"])[0].strip()
        refused = status == _USAGE_ERROR and any(one.lines for one in experiments)
        seen = Observation(refused=why) if refused else Observation(void=why)
        return {one.chain: seen for one in experiments}


def _start(target: Target, plan: PinnedPlan, directory: Path) -> tuple[int, str]:
    """Run pytest with a plan file; return its exit status, and what it has printed.

    Raises KeyboardInterrupt, once the run has cleaned up, if a signal has come.
    """
    file, out, temporary = (
        directory / "plan.json",
        directory / "out.txt",
        Path(mkdtemp(prefix="t", dir=directory)),
    )
    file.write_bytes(msgspec.json.encode(plan))
    out.unlink(missing_ok=True)
    words = [sys.executable, "-m", "pytest", "--dogfood", f"--dogfood-plan={file}", *target.arguments]
    words += ["--maxfail=0", "-q", "-o", "dogfood_shard=", "--dogfood-shard="]
    # pytest keeps what the tests of the last three runs have left, and these are to be the user's own.
    words += [f"--basetemp={temporary}"]
    words += ["-n", target.workers] if target.workers and not plan.release else []
    environment = {**os.environ, _MARKER: str(directory)}
    command = Command(
        argv=tuple(words), cwd=Path.cwd(), env=environment, stdout=out, stderr=out, grace=_GRACE
    )
    started: list[int] = []
    try:
        with _signals_passed_on(started):
            end = run_command(command, started_as=started)
    finally:
        if not _has_shared_tests(target.graph):
            remove_tree(temporary)
    return end.status, out.read_text(encoding="utf-8", errors="replace")


def _has_shared_tests(graph: CapabilityGraph) -> bool:
    """Return whether a token that outlives a run may lie in a temporary directory of a test."""
    made = (token for one in graph.journeys.values() if one.python for token in one.establishes)
    return any(graph.scope_of(token).is_shared for token in made)


@contextmanager
def _signals_passed_on(started: Sequence[int]) -> Iterator[None]:
    """Pass a first signal on to the process that is `started`, and to none that it has started: it cleans up.

    To end them all at once would end services before what rests on them is released. A second signal does that.
    Raises KeyboardInterrupt at the end if there was one.
    """
    received: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        received.append(number)
        restore()
        if not started:
            raise KeyboardInterrupt
        with suppress(ProcessLookupError):
            os.kill(started[0], signal.SIGINT)

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        for number in tuple(before):
            signal.signal(number, pass_on)
        yield
    finally:
        restore()
    if received:
        raise KeyboardInterrupt


_MARKER = "_DOGFOOD_DOUBT"
"""In the environment of all processes of all runs, so that none of them outlives this one."""
