"""Runs whose workers are processes and whose states are directories, but whose steps are played, without a shell.

The product itself gives the items their states and provisions what they need; `Simulation` hands out the items as the
queue does. A played step does to the files of its state what a journey's command would do, and writes down what it
found there. Workers are killed at any system call, copies fail, and journeys read what they have not declared.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import watcher
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.replay import DeferredError, Request
from pytest_dogfood.provisioning.templates import StateTemplates
from pytest_dogfood.scheduling.plan import PlannedJourney
from pytest_dogfood.scheduling.queue import Queue
from pytest_dogfood.session.item_run import ItemRun, ProductFailure
from pytest_dogfood.settings import Leaks, Settings
from pytest_dogfood.storage.file_copy import FileCopier
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.run_directory import RunDirectory
from pytest_dogfood.storage.token_registry import MACHINE, MachineRegistry, Registry, RunIdentity
from tests.support.played_steps import Event, Faults, PlayedWorkspace, Player
from tests.support.played_workers import NO_WORKER, Simulation


class PlayedWorker:
    """A worker of a run: what pytest's hooks do with an item, without pytest."""

    def __init__(self, simulation: PlayedStates, name: str) -> None:
        run = RunDirectory(simulation.directory)
        self._graph = simulation.scene.graph()
        self._planned = simulation.plan.by_nodeid()
        self._player = Player(simulation.scene, simulation.faults, simulation.log)
        root = simulation.directory.parent
        self._workspace = PlayedWorkspace(
            run=run,
            rootdir=root,
            invoked_from=root,
            worker=name,
            settings=Settings(leaks=Leaks.ALLOW),
            keeper=SecretKeeper(),
            locks=root / "locks",
            player=self._player,
        )
        machine = MachineRegistry(root / "machine", RunIdentity(run=run.id, pid=os.getppid(), born=None))
        presence = Presence(self._graph, Registry(run.tokens), machine, self._workspace)
        self._provisioner = Provisioner(presence, Journal(run.records), {})
        self._templates = StateTemplates(simulation.plan, self._provisioner)
        self._failed_in: list[str] = []
        self._run: ItemRun

    def start(self, nodeid: str) -> dict[str, object]:
        """Begin an item and set it up."""
        self._failed_in = []
        self._run = self._new_run(self._planned[nodeid], 0)
        self._run.begin()
        self._set_up()
        return {}

    def end(self, nodeid: str) -> dict[str, object]:
        """Run the item that has begun, once more if it fails, and end it."""
        assert self._run.planned.nodeid == nodeid
        self._call()
        if self._run.outcome is Outcome.FAILED:
            self._set_up()
            self._call()
        run = self._run
        run.retract_result()
        run.end()
        self._templates.end(run.planned, run.state, keeps=run.keeps_directories, named=run.request.kept)
        kept = [path for path in run.result().kept.split(":") if path]
        return {"outcome": run.outcome, "kept": kept, "failed_in": self._failed_in}

    def _new_run(self, planned: PlannedJourney, number: int) -> ItemRun:
        state = self._templates.state_for(planned, again=number > 1)
        return ItemRun(
            journey=self._graph.journeys[planned.id],
            planned=planned,
            provisioner=self._provisioner,
            templates=self._templates,
            state=state,
            number=number,
            request=Request(journey=planned.id, state=state),
            locks=self._workspace.named_locks(),
            attempt=self._workspace.attempt_at(planned.id),
        )

    def _set_up(self) -> None:
        self._run = run = self._new_run(self._run.planned, self._run.number + 1)
        try:
            run.prepare(None)
            run.complete()
            run.refusal = None
        except DeferredError as error:
            run.outcome, run.cause = Outcome.DEFERRED, error.cause
        except HarnessError as error:
            run.outcome = Outcome.ERROR
            run.with_what_next(str(error))

    def _call(self) -> None:
        run = self._run
        if run.refusal is None:
            self._player.item = run.journey.id
            try:
                self._run_steps()
                if run.journey.establishes:
                    run.establish()
            except ProductFailure:
                run.outcome = Outcome.FAILED
            except HarnessError as error:
                run.outcome = Outcome.ERROR
                run.with_what_next(str(error))
            self._player.item = ""
            self._workspace.changes.note(f"{run.journey.id} ran")
        run.clean_up()
        run.leave()
        run.retract_result()
        run.record()
        if run.keeps_directories:
            self._failed_in.append(run.state.name)

    def _run_steps(self) -> None:
        run = self._run
        if not run.journey.python:
            run.run_steps(verbose=False)
            return
        root, state = self._workspace.rootdir, run.state.path
        environment = self._workspace.environment(workdir=root, state=state, directory=root)
        if self._player.play(f"journey {run.journey.id}", environment):
            raise ProductFailure(run.with_what_next("it failed"), "it failed")


class _Process:
    """A worker in a process of its own, which does one thing after another."""

    def __init__(self, simulation: PlayedStates, name: str) -> None:
        self._channel, other = socket.socketpair()
        self._replies = self._channel.makefile("r")
        self.dice = Random(simulation.dice.random())  # noqa: S311 - a die
        self.pid = os.fork()
        if not self.pid:
            self._channel.close()
            _serve(simulation, name, other, self.dice)
        other.close()

    def do(self, what: str, nodeid: str = "", kill: int = 0) -> dict[str, Any] | None:
        """Let the worker do something and return its reply; None if it has died at its `kill`-th system call."""
        with suppress(BrokenPipeError):
            self._channel.sendall(json.dumps([what, nodeid, kill]).encode() + b"\n")
        line = self._replies.readline()
        if not line:
            self.end()
            return None
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            self.end()
            raise AssertionError(f"{what} of {nodeid}: {reply['error']}")
        return reply

    def end(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._replies.close()
            self._channel.close()
        self.pid = 0


def _serve(simulation: PlayedStates, name: str, channel: socket.socket, dice: Random) -> None:
    left = 0

    def count(event: str, _: object) -> None:
        nonlocal left
        if left and (event == "open" or event.startswith("os.")):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        watcher.HAS_PROC = (
            False  # played steps leave no processes, and to list them takes longer than all the rest
        )
        if simulation.faults.full:
            _fill_disk(simulation.faults.full, dice)
        if simulation.control is not None:
            simulation.control()
        worker = PlayedWorker(simulation, name)
        for line in channel.makefile("r"):
            what, nodeid, left = json.loads(line)
            reply = worker.start(nodeid) if what == "start" else worker.end(nodeid)
            channel.sendall(json.dumps(reply).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - the leader shows it
        left = 0
        with suppress(OSError):
            channel.sendall(json.dumps({"error": traceback.format_exc()}).encode() + b"\n")
    finally:
        os._exit(0)


def _fill_disk(share: float, dice: Random) -> None:
    """Let some copies of files fail in this process, as on a disk that is full for a moment."""
    copy = FileCopier.copy

    def copy_or_fail(self: FileCopier, *given: Any) -> None:
        if dice.random() < share:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(self, *given)

    setattr(FileCopier, "copy", copy_or_fail)  # noqa: B010 - mypy would not have it


@dataclass(kw_only=True)
class PlayedStates(Simulation):
    """A run of a plan by real workers, in the directory of a run. `control` breaks a rule in each of them."""

    directory: Path
    faults: Faults = field(default_factory=Faults)
    control: Callable[[], None] | None = None
    dead: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    failed_in: set[str] = field(default_factory=set)
    ended_by_dead: dict[JourneyId, str] = field(default_factory=dict)
    _processes: dict[str, _Process] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.directory.parent / f"{self.directory.name}.log" / "log"

    def run(self) -> dict[JourneyId, str]:
        self.directory.mkdir(mode=0o700)
        self.log.parent.mkdir()
        self.deaths = self.faults.deaths
        try:
            return super().run()
        finally:
            for process in self._processes.values():
                process.end()

    def events(self) -> Iterator[Event]:
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            what, who, where, *found = line.split(" ")
            yield Event(what, JourneyId(who), where, tuple(found))

    def homes_of_machine_tokens(self) -> set[str]:
        """Return the states in which tokens of the whole machine were made: these may rest on files there."""
        records = self.directory / "tokens" / "records"
        known = [json.loads(line) for line in (records.read_text().splitlines() if records.exists() else ())]
        return {one["record"]["home"] for one in known if one["place"] == MACHINE and one["record"]}

    def killed_in_replays(self) -> set[JourneyId]:
        """Return the journeys that are not tried again, because workers have died in replays of them."""
        journal = Journal(RunDirectory(self.directory).records)
        ends = {one.id: journal.end_of(one.id) for one in self.scene.journeys}
        return {one for one, end in ends.items() if end is not None and end.outcome is Outcome.CRASHED}

    def _process(self, worker: str) -> _Process:
        if worker not in self._processes:
            self._processes[worker] = _Process(self, worker)
        return self._processes[worker]

    def _start(self, nodeid: str, worker: str) -> None:
        super()._start(nodeid, worker)
        if nodeid not in self.plan.by_nodeid():
            return
        dies = worker != NO_WORKER and self.deaths > 0 and self.dice.random() < 0.1
        kill = self.dice.randint(1, 150) if dies else 0
        if self._process(worker).do("start", nodeid, kill) is None:
            self.dead.add(worker)

    def _is_to_die(self, worker: str) -> bool:
        return worker in self.dead or super()._is_to_die(worker)

    def _end(self, nodeid: str, worker: str) -> None:
        planned = self.plan.by_nodeid().get(nodeid)
        if planned is not None:
            reply = self._process(worker).do("end", nodeid)
            assert reply is not None, f"{worker} has died of {nodeid}"
            self.outcomes[planned.id] = reply["outcome"]
            self.kept |= set(reply["kept"])
            self.failed_in |= set(reply["failed_in"])

    def _die(self, worker: str, ids: list[str], busy: dict[str, list[int]], queue: Queue) -> None:
        planned = self.plan.by_nodeid().get(ids[busy[worker][0]])
        if worker not in self.dead and planned is not None:
            self._process(worker).do("end", planned.nodeid, self.dice.randint(1, 200))
        self._process(worker).end()
        self.dead.add(worker)
        super()._die(worker, ids, busy, queue)
        journal = Journal(RunDirectory(self.directory).records)
        if planned is not None:
            # One that died before it could write down that it began may be replayed, as if it were not selected.
            end = journal.end_of(planned.id)
            self.ended_by_dead[planned.id] = "passed" if end is None else str(end.outcome)
