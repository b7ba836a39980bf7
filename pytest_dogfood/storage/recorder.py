"""Writes the record of a run, in each of its processes: a line for each activity, at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.output import Output
from pytest_dogfood.execution.process import ParentProcess
from pytest_dogfood.execution.runner import StepResult, StepsResult
from pytest_dogfood.execution.step import CommandObservation, ShellRunner
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.storage.files import SharedLog, append_line
from pytest_dogfood.storage.record import Activity, Kind, StepRecord, WrongRecord
from pytest_dogfood.storage.run_directory import RunDirectory

LONGEST_COMMAND = 4 * 1024
"""The most characters of a command that are kept."""


_LONG = frozenset({Kind.JOURNEY, Kind.REPLAY, Kind.PROVISION, Kind.RELEASE, Kind.CLEANUP})
"""Activities that are recorded at their beginning, too: they may kill their process."""


class Note(Struct):
    """Facts on an activity that only its own code knows; the rest comes from its steps or an exception."""

    outcome: Outcome | None = None
    text: str = ""
    again: str = ""
    how: str = ""
    started: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)


class Recorder:
    """Records what this process does; `item` is the journey that it runs, `attempt` counts reruns of it from 1.

    If the record cannot be written, the run goes on without it: `problem` says why.
    """

    def __init__(
        self, run: RunDirectory, lane: str, keeper: SecretKeeper, parent: ParentProcess | None = None
    ) -> None:
        self._run = run
        self._lane = lane
        self._keeper = keeper
        self._parent = parent
        self._log = SharedLog(run.activities, Activity)
        self._shared: frozenset[str] = frozenset()
        self.item = ""
        self.attempt = 1
        self.problem = ""

    @contextmanager
    def activity(
        self,
        kind: Kind,
        name: str,
        runner: ShellRunner | None = None,
        done: StepsResult | None = None,
        *,
        place: str = "",
    ) -> Iterator[Note]:
        """Record the block as an activity, once it has ended, with the steps that `done` then has."""
        note = Note()
        if kind in _LONG:
            self.begin(kind, name, note, runner, place=place)
        try:
            yield note
        except BaseException as error:
            note.outcome, note.text = note.outcome or Outcome.ERROR, note.text or str(error)
            raise
        finally:
            self.write(kind, name, note, runner, done, place=place)

    def begin(
        self, kind: Kind, name: str, note: Note, runner: ShellRunner | None, *, place: str = ""
    ) -> None:
        """Record that an activity begins, so that it is known even if it never ends."""
        prefix = None if runner is None else runner.outputs / f"{runner.name}-"
        outputs = "" if prefix is None else prefix.relative_to(self._run.path).as_posix()
        begun = self._under_way(kind, name, note, runner, place=place)
        self.append(replace(begun, begun=True, outputs=outputs))

    def write(
        self,
        kind: Kind,
        name: str,
        note: Note,
        runner: ShellRunner | None,
        done: StepsResult | None,
        *,
        place: str = "",
    ) -> None:
        """Record an activity that ends now, with the secrets masked that are known by now."""
        mask, failed = self._keeper.mask, done is not None and done.failure is not None
        known: Mapping[str, str] = {} if runner is None else runner.environment
        self.append(
            replace(
                self._under_way(kind, name, note, runner, place=place),
                seconds=round(time.monotonic() - note.began, 4),
                outcome=note.outcome or (Outcome.FAILED if failed else Outcome.PASSED),
                how=note.how,
                steps=() if done is None else tuple(self._step(one, done, known) for one in done.results),
                text=mask(note.text),
                again=mask(note.again),
                variables={} if runner is None else self._set_here(runner.environment),
            )
        )

    def _under_way(
        self, kind: Kind, name: str, note: Note, runner: ShellRunner | None, *, place: str
    ) -> Activity:
        """Return what is known of an activity from its beginning on."""
        return Activity(
            id=name,
            kind=kind,
            lane=self._lane,
            started=round(note.started, 3),
            seconds=0.0,
            outcome=Outcome.CRASHED,
            for_="" if self.item == name else self.item,
            place=place,
            attempt=self.attempt,
            workdir="" if runner is None else str(runner.workdir),
        )

    def append(self, activity: Activity) -> None:
        """Write one line as it is. What is under way when the leading process dies has not ended by itself."""
        if self.problem or (self._parent is not None and self._parent.has_died()):
            return
        try:
            self._share_secrets()
            self._log.append(activity)
        except HarnessError as error:
            self.problem = str(error)

    def _share_secrets(self) -> None:
        """Share this process's secrets with the leading process, which at the end masks kept files with all of them."""
        new = self._keeper.values - self._shared
        if new:
            append_line(self._run.secrets / str(os.getpid()), msgspec.json.encode(sorted(new)))
            self._shared |= new

    def _set_here(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that this run has set, secrets masked."""
        return {
            name: self._keeper.mask(value)
            for name, value in environment.items()
            if name.startswith("DOGFOOD_")
            or not (name.startswith(("_", "PYTEST_")) or os.environ.get(name) == value)
        }

    def _step(self, result: StepResult, done: StepsResult, known: Mapping[str, str]) -> StepRecord:
        step, mask = result.step, self._keeper.mask
        seen = result.seen
        ran = seen if isinstance(seen, CommandObservation) else None
        files = {} if ran is None else ran.outputs
        own = {} if ran is None else {name: ran.environment[name] for name in step.env}
        out, err = (self._kept(files.get(stream)) for stream in ("stdout", "stderr"))
        return StepRecord(
            place=str(step.location),
            number=result.number,
            of=result.total,
            started=round(result.started, 3),
            seconds=round(result.seconds, 4),
            intent=mask(step.intent),
            command=mask(step.command)[:LONGEST_COMMAND],
            cwd=str(ran.cwd) if step.cwd and ran is not None else "",
            shell=step.shell or "",
            exit=None if seen is None else seen.status,
            timed_out=seen is not None and seen.timed_out,
            tries=result.tries,
            ended_at="" if seen is None or seen.ended_at is None else mask(str(seen.ended_at)),
            out=out,
            err=err,
            wrong=tuple(
                WrongRecord(one.what, mask(one.expected), mask(one.actual), tuple(map(mask, one.diff)))
                for one in result.wrong
            ),
            env={name: mask(value) for name, value in own.items() if known.get(name) != value},
            saved={
                save.name: None if save.secret else mask(done.values[save.name])
                for save in step.save
                if save.name in done.values
            },
        )

    def _kept(self, output: Output | None) -> str:
        """Name the file of an output, relative to the run's directory."""
        path = None if output is None else output.path
        return "" if path is None else path.relative_to(self._run.path).as_posix()


def secrets_of_all(run: RunDirectory) -> Iterator[str]:
    """Yield the secrets of all processes of the run; raises HarnessError if they cannot be read."""
    for path in sorted(run.secrets.glob("*")):
        with to_harness_error(f"read {path}"):
            lines = path.read_bytes().splitlines()
        for line in lines:
            yield from msgspec.json.decode(line, type=list[str])
