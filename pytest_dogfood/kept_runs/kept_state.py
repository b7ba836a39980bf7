"""A copy of the directories that a run has kept of a journey, and the variables that its last step had."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.database import FLEET_VARIABLE
from pytest_dogfood.diagnostics import HarnessError, did_you_mean, printable
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.execution.step import expand
from pytest_dogfood.execution.terminal import StepPlace
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import VARIABLE_PATTERN, Journey, Token
from pytest_dogfood.kept_runs.pack import PackIndex
from pytest_dogfood.outcomes import Outcome, listed
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.path_replacement import replace_paths_in_tree
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun, digest_of
from pytest_dogfood.storage.recorder import LONGEST_COMMAND
from pytest_dogfood.storage.retention import name_of_run


class Project(Struct, frozen=True, kw_only=True):
    """The project here, as its files are now."""

    rootdir: Path
    graph: CapabilityGraph
    settings: Settings

    def journey(self, nodeid: str) -> Journey | None:
        return next((one for one in self.graph.journeys.values() if one.nodeid == nodeid), None)


class EnteredPack(Struct, frozen=True, kw_only=True):
    """A pack that is entered: its file as it was named, its index, and the project here."""

    file: str
    index: PackIndex
    project: Project


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

    def __init__(
        self, recorded: RecordedRun, name: str, *, here: Path, pack: EnteredPack | None = None
    ) -> None:
        """Find it by the journey's id or node id; raises HarnessError, with words for the user, if it cannot be.

        Of a `pack` the run's directory is where it was unpacked.
        """
        self._recorded = recorded
        self._pack = pack
        self._has_shared = (recorded.directory / "shared").is_dir()
        self._unmoved: tuple[str, ...] = ()
        self._special: list[str] = []
        self.started: Mapping[str, str] | None = None
        """The values of services that were started for it, by variable; None if none were."""
        self._word = name_of_run(recorded.directory) if pack is None else shlex.quote(pack.file)
        self._run = f"run {self._word}" if pack is None else f"the pack {self._word}"
        root = Path(recorded.run.root)
        if pack is None and not (here.resolve().is_relative_to(root) or root.is_relative_to(here.resolve())):
            raise HarnessError(f"{self._run} is one of another project, {root}: cd there, and enter it again")
        self.root = root if pack is None else pack.project.rootdir
        self.journey = self._find(name)
        anew = f"dogfood enter {shlex.quote(self.journey.id)} sets up what it requires, and runs it"
        result, tried = recorded.results.get(self.journey.id), last_try(recorded, self.journey.id)
        if result is not None and result.outcome is Outcome.DEFERRED and result.cause is not None:
            who = result.cause.who
            journeys = recorded.graph.journeys if recorded.graph is not None else ()
            can_be_entered = any(one.id == who and not one.python for one in journeys)
            raise HarnessError(
                f"{self.journey.id} was deferred in {self._run}, because {who} {result.cause.why}"
                + (f": dogfood enter {shlex.quote(who)} --run {self._word}" if can_be_entered else "")
            )
        if tried is None or not tried.workdir:
            raise HarnessError(f"{self.journey.id} did not begin in {self._run}; {anew}")
        if not tried.variables:
            raise HarnessError(
                f"{self.journey.id} never ended in {self._run}, which leaves its variables unknown; {anew}"
            )
        self._tried = tried
        self.before = Path(tried.variables.get("DOGFOOD_STATE", "/")).parent
        self._parts = (tried.place, os.path.relpath(tried.workdir, self.before))
        leaves = any(Path(part).is_absolute() or ".." in Path(part).parts for part in self._parts)
        home = str(self.before) if pack is None else pack.index.directory
        if leaves or home in {"/", "."} or home != str(self.before):
            raise HarnessError(f"the record of {self._run} names directories that are not below it")
        if not all(_is_directory(recorded.directory / part) for part in self._parts):
            came_to = result.outcome if result is not None else "came to no result"
            raise HarnessError(
                f"{self._run} has not kept the directories of {self.journey.id}, which {came_to}: "
                f"{anew}; pytest --dogfood --dogfood-keep keeps those of all journeys"
            )

    def _find(self, name: str) -> Journey:
        graph = self._recorded.graph
        journeys = graph.journeys if graph is not None else ()
        found = next((one for one in journeys if name in (one.id, one.nodeid)), None)
        if found is None:
            near = near_journeys(name, journeys) or (
                f"dogfood report {self._word} lists what ran"
                if self._pack is None
                else f"it has {listed([one.id for one in journeys if not one.python])}"
            )
            raise HarnessError(f"there is no journey {name!r} in {self._run}; {near}")
        if found.python:
            raise HarnessError(
                f"{found.id} is a Python test, which has no steps: pytest --pdb opens a debugger in it"
            )
        if self._pack is not None and self._pack.project.journey(found.nodeid) is None:
            raise HarnessError(
                f"{self._run} is one of another project, {printable(self._recorded.run.project)}{self._commit}: there "
                f"is no {printable(found.nodeid)} in {self.root}; cd to the project, and check that commit out"
            )
        return found

    @property
    def _commit(self) -> str:
        commit = printable(self._recorded.run.commit)
        return f" at commit {commit[:12]}" if commit else ""

    @property
    def step(self) -> int:
        """The number of the last step that ran; 0 if none did."""
        return self._tried.steps[-1].number if self._tried.steps else 0

    @property
    def state(self) -> str:
        """The name of its state's directory."""
        return self._parts[0]

    def variables(self, directory: Path) -> tuple[dict[str, str], list[str]]:
        """Return what this plugin and the last step had set, for the copy in a directory, and the names of secret ones.

        Of a pack only those count which the journey here sets too: others, such as LD_PRELOAD, could run its files.
        """
        values = self._values()
        secret = [name for name, text in values.items() if text is None or _MASKED in text]
        ignored = self._ignored()
        return {
            name: self._moved(text, directory)
            for name, text in values.items()
            if text is not None and name not in secret and name not in ignored
        }, secret

    def _values(self) -> dict[str, str | None]:
        values: dict[str, str | None] = dict(self._tried.variables)
        for step in self._tried.steps:
            values |= step.saved
        if self._pack is None and self._tried.steps:
            values |= self._tried.steps[-1].env
        return values

    def _ignored(self) -> list[str]:
        """Return the variables in a pack that the journey here does not set."""
        here = self._here
        if here is None:
            return []
        known = {*here.env, *here.matrix, *(save.name for step in here.steps for save in step.save)}
        return [
            name
            for name, text in self._values().items()
            if not (name.startswith("DOGFOOD_") or name in known)
            or not VARIABLE_PATTERN.fullmatch(name)
            or "\0" in (text or "")
        ]

    @property
    def _here(self) -> Journey | None:
        """The journey as the files here have it; None if it is not from a pack."""
        return None if self._pack is None else self._pack.project.journey(self.journey.nodeid)

    def _moved(self, text: str, directory: Path) -> str:
        """Return a text with the paths of the copy in a directory, and of the project here."""
        text = text.replace(str(self.before), str(directory))
        if self._pack is None:
            return text
        # Not within another path: a project may lie in `/app`, beside `/application`.
        root = re.escape(self._recorded.run.root.rstrip("/"))
        here = str(self.root)
        return re.sub(rf"(?<![\w./-]){root}(?![\w.-])", lambda _: here, text) if root else text

    def copy_to(self, directory: Path) -> None:
        """Copy the state, the working directory and what the run shared; raises HarnessError if that fails.

        What is no file is left out, and the banner says so.
        """
        for part in (*self._parts, "shared"):
            source, target = self._recorded.directory / part, directory / part
            if not source.is_dir() or target.exists():  # a working directory may be within the state
                continue
            try:
                shutil.copytree(source, target, symlinks=True, ignore=self._leave_out)
            except (OSError, shutil.Error) as error:
                why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
                raise HarnessError(f"cannot copy {source}: {why}") from error

    def _leave_out(self, folder: str, names: list[str]) -> list[str]:
        """Return the sockets, FIFOs and devices in a directory that is copied, and note them."""
        kinds = {name: _SPECIAL.get(stat.S_IFMT(Path(folder, name).lstat().st_mode)) for name in names}
        special = {name: kind for name, kind in kinds.items() if kind is not None}
        within = os.path.relpath(folder, self._recorded.directory)
        self._special += [f"{within}/{name} ({kind})" for name, kind in special.items()]
        return list(special)

    def move_paths(self, directory: Path) -> None:
        """Let what is in the copy in a directory name that, instead of the directory that the run had."""
        unmoved = replace_paths_in_tree(directory, os.fsencode(self.before), os.fsencode(directory))
        self._unmoved = tuple(map(str, unmoved))

    def place_in(self, directory: Path, marker: str) -> StepPlace:
        """Return what the last step had, in the copy in a directory."""
        values, secret = self.variables(directory)
        left_out = {*secret, FLEET_VARIABLE}
        environment = {name: text for name, text in os.environ.items() if name not in left_out} | values
        here = self._here
        if here is not None and 0 < self.step <= len(here.steps):
            # Of a pack, as the files here have it: a PATH of another machine would lead nowhere.
            for name, text in here.steps[self.step - 1].env.items():
                if name not in values:
                    environment[name] = expand(text, environment)
        workdir = directory / self._parts[1]
        last = self._tried.steps[-1] if self._tried.steps else None
        cwd = Path(self._moved(last.cwd, directory)) if last and last.cwd else workdir
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
            cwd=cwd if _is_directory(cwd) else workdir,
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
        steps = self._tried.steps
        of = f"after step {self.step} of {steps[-1].of}" if steps else "before its first step"
        of_what = f"what {self._run} has kept" if self._pack is None else self._run
        yield f"dogfood: {self.journey.id}, {of}, in a copy of {of_what}"
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
        yield from self._differences(place)

    def _differences(self, place: StepPlace) -> Iterator[str]:
        """Yield in what the copy differs from what the journey had."""
        if self._pack is not None:
            yield from self._differences_of_pack(self._pack)
        secret = self.variables(place.files.parent)[1]
        if secret:
            yield f"  not set:  {', '.join(f'${name}' for name in secret)}, because secret values are not in a record"
        if self.started is not None:
            values = [f"${name}={value}" for name, value in self.started.items()]
            yield f"  started:  {', '.join([*self._services(), *values])}"
        elif services := self._services():
            yield f"  stopped:  {', '.join(services)}, which ran as a service: --start-services starts it again"
        if self._special:
            yield f"  missing:  {listed(self._special)}, which cannot be copied"
        if not self._has_shared:
            yield "  empty:    $DOGFOOD_SHARED, which was not kept"
        activities = self._recorded.activities
        later = {
            one.id: None
            for one in activities[activities.index(self._tried) + 1 :]
            if one.place == self._tried.place and one.kind in {Kind.JOURNEY, Kind.REPLAY, Kind.RELEASE}
        }
        if later:
            yield f"  changed:  what ran in the same state after it may have changed that: {', '.join(later)}"
        if self._unmoved:
            yield f"  old path: binary files still name {self.before}: {listed(self._unmoved)}"

    def _differences_of_pack(self, pack: EnteredPack) -> Iterator[str]:
        graph, here = self._recorded.graph, self._here
        digests = {} if graph is None else graph.digests
        if here is None or digests.get(self.journey.id) != digest_of(here):
            yield f"  differs:  the steps of {self.journey.id} here from those that ran{self._commit}"
        if ignored := self._ignored():
            names = ", ".join(f"${name}" for name in ignored)
            yield f"  not set:  {names}, because {self.journey.id} here does not set them"
        missing = [name for name in pack.index.left_out if name.partition("/")[0] in self._parts]
        if missing:
            yield f"  missing:  {listed(missing)}, which the pack leaves out"

    def _services(self) -> tuple[Token, ...]:
        """Return the tokens that the journey needs and that ran as services."""
        graph = self._recorded.graph
        if graph is None:
            return ()
        capabilities = {one.token: one for one in graph.capabilities}
        needed = graph.graph.needed_by(self.journey)
        return tuple(
            token for token in needed if token in capabilities and capabilities[token].service is not None
        )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, which a record of another machine may have
        return False
