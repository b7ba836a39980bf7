"""A copy of the directories that a run has kept of a journey, and the variables that its steps had."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_dogfood.diagnostics import HarnessError, did_you_mean, printable
from pytest_dogfood.execution.background import Watcher
from pytest_dogfood.execution.step import shell_argv
from pytest_dogfood.execution.terminal import StepPlace
from pytest_dogfood.journey import Journey
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun
from pytest_dogfood.storage.recorder import LONGEST_COMMAND
from pytest_dogfood.storage.retention import RunLease, checked_root, default_root, name_of_run
from pytest_dogfood.storage.run_directory import project_name

_MASKED = "***"
_SPECIAL = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def last_try(recorded: RecordedRun, journey: str) -> Activity | None:
    """Return the last try of a journey as an item in a run; None if there was none."""
    tries = [one for one in recorded.activities if (one.kind, one.id) == (Kind.JOURNEY, journey)]
    return tries[-1] if tries else None


def near_journeys(name: str, journeys: Iterable[Journey]) -> str:
    """Return a hint at what may have been meant: the instances of a journey with a matrix, or an id that is like it."""
    ids = [str(one.id) for one in journeys]
    instances = [one for one in ids if one.startswith(f"{name}[")]
    return (
        f"it has instances: {', '.join(map(shlex.quote, instances))}"
        if instances
        else did_you_mean(name, ids)
    )


class KeptState:
    """What a run has kept of one journey. Its record may be another machine's, and is not trusted with paths."""

    def __init__(self, recorded: RecordedRun, name: str, *, here: Path) -> None:
        """Find it by the journey's id or node id; raises HarnessError, with words for the user, if it cannot be."""
        self._recorded = recorded
        self._run = name_of_run(recorded.directory)
        self.root = root = Path(recorded.run.root)
        if not (here.resolve().is_relative_to(root) or root.is_relative_to(here.resolve())):
            raise HarnessError(
                f"run {self._run} is one of another project, {root}: cd there, and enter it again"
            )
        self.journey = self._find(name)
        anew = f"dogfood enter {shlex.quote(self.journey.id)} sets up what it requires, and runs it"
        result, tried = recorded.results.get(self.journey.id), last_try(recorded, self.journey.id)
        if result is not None and result.outcome is Outcome.DEFERRED and result.cause is not None:
            who = result.cause.who
            journeys = recorded.graph.journeys if recorded.graph is not None else ()
            can_be_entered = any(one.id == who and not one.python for one in journeys)
            raise HarnessError(
                f"{self.journey.id} was deferred in run {self._run}, because {who} {result.cause.why}"
                + (f": dogfood enter {shlex.quote(who)} --run {self._run}" if can_be_entered else "")
            )
        if tried is None or not tried.workdir:
            raise HarnessError(f"{self.journey.id} did not begin in run {self._run}; {anew}")
        if not tried.variables:
            raise HarnessError(
                f"{self.journey.id} never ended in run {self._run}, which leaves its variables unknown; {anew}"
            )
        self._tried = tried
        self._before = Path(tried.variables.get("DOGFOOD_STATE", "/")).parent
        self._parts = (tried.place, os.path.relpath(tried.workdir, self._before))
        if any(Path(part).is_absolute() or ".." in Path(part).parts for part in self._parts):
            raise HarnessError(f"the record of run {self._run} names directories that are not below it")
        if not all((recorded.directory / part).is_dir() for part in self._parts):
            came_to = result.outcome if result is not None else "came to no result"
            raise HarnessError(
                f"run {self._run} has not kept the directories of {self.journey.id}, which {came_to}: "
                f"{anew}; pytest --dogfood --dogfood-keep keeps those of all journeys"
            )

    def _find(self, name: str) -> Journey:
        graph = self._recorded.graph
        journeys = graph.journeys if graph is not None else ()
        found = next((one for one in journeys if name in (one.id, one.nodeid)), None)
        if found is None:
            near = near_journeys(name, journeys) or f"dogfood report {self._run} lists what ran"
            raise HarnessError(f"there is no journey {name!r} in run {self._run}; {near}")
        if found.python:
            raise HarnessError(
                f"{found.id} is a Python test, which has no steps: pytest --pdb opens a debugger in it"
            )
        return found

    @property
    def step(self) -> int:
        """The number of the last step that ran; 0 if none did."""
        return self._tried.steps[-1].number if self._tried.steps else 0

    def variables(self, directory: Path) -> tuple[dict[str, str], list[str]]:
        """Return the variables that this plugin had set, for the copy in a directory, and the names of secret ones."""
        values: dict[str, str | None] = dict(self._tried.variables)
        for step in self._tried.steps:
            values |= step.saved
        secret = [name for name, text in values.items() if text is None or _MASKED in text]
        return {
            name: text.replace(str(self._before), str(directory))
            for name, text in values.items()
            if text is not None and name not in secret
        }, secret

    def copy_to(self, directory: Path) -> None:
        """Copy the state, the working directory and what the run shared; raises HarnessError for what has no copy."""
        for part in (*self._parts, "shared"):
            source, target = self._recorded.directory / part, directory / part
            if not source.is_dir() or target.exists():  # a working directory may be within the state
                continue
            _refuse_special_files(source)
            try:
                shutil.copytree(source, target, symlinks=True)
            except (OSError, shutil.Error) as error:
                why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
                raise HarnessError(f"cannot copy {source}: {why}") from error

    def place_in(self, directory: Path, marker: str) -> StepPlace:
        """Return what the last step had, in the copy in a directory."""
        values, secret = self.variables(directory)
        environment = {name: text for name, text in os.environ.items() if name not in secret} | values
        workdir = directory / self._parts[1]
        last = self._tried.steps[-1] if self._tried.steps else None
        cwd = Path(last.cwd.replace(str(self._before), str(directory))) if last and last.cwd else workdir
        command = last.command if last is not None else ""
        why_not = ""
        if not command:
            why_not = "no step has run"
        elif _MASKED in command:
            why_not = "the command contains a secret, which is not in a record"
        elif len(command) >= LONGEST_COMMAND:
            why_not = f"only the first {LONGEST_COMMAND} characters of the command are in the record"
        argv = () if why_not else shell_argv(command, last.shell or None if last else None)
        return StepPlace(
            name=self.journey.id,
            cwd=cwd if cwd.is_dir() else workdir,
            environment={**environment, marker: "1"},
            files=private_directory(directory / "enter"),
            argv=argv,
            why_not=why_not,
            marker=marker,
        )

    def banner(self, place: StepPlace) -> str:
        """Return what you need to know in the copy, as text that moves no cursor."""
        return "\n".join(map(printable, self._banner(place)))

    def _banner(self, place: StepPlace) -> Iterator[str]:
        graph, steps = self._recorded.graph, self._tried.steps
        of = f"after step {self.step} of {steps[-1].of}" if steps else "before its first step"
        yield f"dogfood: {self.journey.id}, {of}, in a copy of what run {self._run} has kept"
        if steps:
            last = steps[-1]
            yield f"  at:       {last.place}"
            if last.intent:
                yield f"  intent:   {last.intent}"
            first, *others = last.command.rstrip("\n").split("\n")
            yield f"  command:  {first}"
            yield from (f"            {other}" for other in others)
            if last.wrong:
                wrong = last.wrong[0]
                yield f"  failed:   {wrong.what}: expected {wrong.expected}, got {wrong.actual}"
        secret = self.variables(place.files.parent)[1]
        if secret:
            yield f"  not set:  {', '.join(f'${name}' for name in secret)}, because secret values are not in a record"
        services = []
        if graph is not None:
            capabilities = {one.token: one for one in graph.capabilities}
            needed = graph.graph().needed_by(self.journey)
            services = [
                token for token in needed if token in capabilities and capabilities[token].service is not None
            ]
        if services:
            yield f"  stopped:  {', '.join(services)}, which ran as a service"
        if not (self._recorded.directory / "shared").is_dir():
            yield "  empty:    $DOGFOOD_SHARED, which was not kept"
        activities = self._recorded.activities
        later = {
            one.id: None
            for one in activities[activities.index(self._tried) + 1 :]
            if one.place == self._tried.place and one.kind in {Kind.JOURNEY, Kind.REPLAY, Kind.RELEASE}
        }
        if later:
            yield f"  changed:  what ran in the same state after it may have changed that: {', '.join(later)}"


@contextmanager
def entered_copy(kept: KeptState) -> Iterator[StepPlace]:
    """Make the copy, which is removed in the end with all that was started there, and return the place to enter."""
    lease = RunLease(checked_root(default_root()), project_name(kept.root))
    directory = lease.directory.path
    try:
        marker = f"_DOGFOOD_RUN_{lease.directory.id}"
        watcher = Watcher(marker)
        try:
            kept.copy_to(directory)
            private_directory(directory / "shared")
            yield kept.place_in(directory, marker)
        finally:
            watcher.close()
    finally:
        lease.close(keep=())


def _refuse_special_files(source: Path) -> None:
    for folder, _, names in os.walk(source):
        for name in names:
            path = Path(folder, name)
            kind = _SPECIAL.get(stat.S_IFMT(path.lstat().st_mode))
            if kind is not None:
                raise HarnessError(f"{path} is {kind}, which cannot be copied; remove it, or leave --run out")
