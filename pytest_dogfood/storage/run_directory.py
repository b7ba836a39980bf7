"""The directory of a run: where it is, which run owns it, what it contains, what is kept, what is removed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence, Set as AbstractSet
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.output import UNMASKED_SUFFIX
from pytest_dogfood.execution.watcher import alive, start_time
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.settings import LONGEST_STATE_PATH
from pytest_dogfood.storage.files import private_directory, read_as, write_whole

ALONE = "main"
"""Name of the worker where there is only one process."""

RUN = "run.json"
"""File in the directory of a run: what was run, with what, and how it ended."""

RECORDS = "records"
"""Directory in that of a run: its graph, what ran where and when, and what was begun."""

SECRETS = "secrets"
"""Directory in that of a run: the secrets that its processes know, to mask what is kept; never kept itself."""

RESULTS = "results.json"
"""File in the directory of a kept run: what became of each journey."""

TRAJECTORIES = "trajectories"
"""Directory in that of a run: what actors did. It stays, because doing it again costs money and time."""

OUTPUTS = "out"
"""Directory in that of a run: what steps, services and actors printed."""


def _private(name: str) -> cached_property[Path]:
    """Return a directory below a run's that only its owner may enter, made when it is first asked for."""
    return cached_property(lambda run: private_directory(run.path / name))


class RunDirectory:
    """Layout of a run's directory; every process of the run builds one from the same `path`.

    In `tokens` they are recorded, secret values as they are: it is never kept, and neither are `secrets`, which lists
    such values. In `interrupted` workers say how they can be reached, and what a signal met in them. In `recorded` it
    is claimed which journeys have been recorded.
    """

    shared = _private("shared")
    records = _private(RECORDS)
    interrupted = _private("interrupted")
    outputs = _private(OUTPUTS)
    trajectories = _private(TRAJECTORIES)
    plans = _private("plans")
    secrets = _private(SECRETS)

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.tokens = path / "tokens"
        self.recorded = path / "recorded"

    @property
    def activities(self) -> Path:
        """The log of what ran where and when."""
        return self.records / "activities"

    @property
    def last_green(self) -> Path:
        """The file with what the last green run before this one came to."""
        return self.records / "last-green.json"

    @property
    def graph(self) -> Path:
        """The file with the graph of the run."""
        return self.records / "graph.json"

    def actor_log(self, worker: str) -> Path:
        return self.outputs / f"actor-{worker}.log"

    def service_log(self, token: str, place: str) -> Path:
        return self.outputs / f"service-{token}-{place}.log"

    def logs(self) -> Iterator[Path]:
        """Yield the logs of what runs for longer than a step: services and actors."""
        yield from self.outputs.glob("service-*.log")
        yield from self.outputs.glob("actor-*.log")

    def state_path(self, number: int, worker: str) -> Path:
        """Return the state directory of a chain on a worker; a replacement worker has a new name, so a new state."""
        return self.path / f"c{number}-{worker}"

    def has_other_states(self, number: int, state: Path) -> bool:
        """Return whether the chain has had a state on some other worker, which must have died."""
        others = (path for path in self.path.glob(f"c{number}-*") if not _WORKDIR.search(path.name))
        return any(path != state for path in others)

    def fresh_workdir(self, attempt: str) -> Path:
        """Make the working directory of an attempt at a journey."""
        return private_directory(self.path / attempt)

    def unmasked_outputs(self, worker: str) -> Iterator[Path]:
        """Yield the outputs that steps of a worker's have left, and in which secrets were not hidden yet."""
        ending = re.compile(rf"(?:.*-)?w\d+-{re.escape(worker)}-[a-z-]+-\d+\.\w+{re.escape(UNMASKED_SUFFIX)}")
        return (path for path in self.outputs.glob(f"*{UNMASKED_SUFFIX}") if ending.fullmatch(path.name))


LONGEST_WORKDIR = 32
"""Characters in the name of a working directory, so that a socket fits below it."""


def attempt_name(what: str, worker: str, number: int) -> str:
    """Return a name for one attempt at something, by which its files are called; `number` is unique on the worker."""
    ending = f"-w{number}-{worker}"
    readable = _UNSAFE.sub("-", what)[: max(0, LONGEST_WORKDIR - len(ending))].strip("-.")
    return f"{readable}{ending}".lstrip("-")


_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_WORKDIR = re.compile(r"-w\d+-")
"""The end of a working directory's name: a journey may be called `c0`, as the state of a chain begins."""


def project_name(rootdir: Path) -> str:
    """Return eight hexadecimal digits that stand for a project on this machine."""
    return hashlib.sha256(os.fsencode(rootdir.resolve())).hexdigest()[:8]


def write_results(directory: Path, results: Iterable[JourneyResult]) -> None:
    """Leave the results of a run that is kept in its directory; raises HarnessError where that cannot be done."""
    try:
        write_whole(directory / RESULTS, msgspec.json.encode(tuple(results)))
    except UnicodeError as error:
        raise HarnessError(f"cannot write {directory / RESULTS}: {error}") from error


def results_of_run(directory: Path) -> dict[JourneyId, JourneyResult]:
    """Read the results of a kept run; raises OSError or ValueError where there are none."""
    content = (directory / RESULTS).read_bytes()
    results = msgspec.json.decode(content, type=tuple[JourneyResult, ...])
    return {result.id: result for result in results}


def find_run(name: str | None, directory: Path) -> Path:
    """Return the directory of a run: `name` is that, or the run's id; without it the last run of the project here.

    The project is the one that `directory` is in. Raises HarnessError with words for the user.
    """
    root = default_root()
    if name is not None:
        found = next((path for path in (directory / name, root / name) if (path / RUN).is_file()), None)
        if found is None:
            raise HarnessError(
                f"there is no run {name}: {directory / name} and {root / name} contain no {RUN}"
            )
        return found
    projects = {project_name(place) for place in (directory.resolve(), *directory.resolve().parents)}
    runs = [path.parent for path in root.glob(f"*/{RUN}") if _project_of(path.parent) in projects]
    if not runs:
        raise HarnessError(
            f"no run of this project is left in {root}: run pytest --dogfood, or name the directory of a run"
        )
    return max(runs, key=lambda run: (run / RUN).stat().st_mtime)


def _project_of(run: Path) -> str:
    try:
        return (run / "project").read_text()
    except OSError:
        return ""


def remove_if_filled(path: Path) -> None:
    """Remove a tree that takes up room. An empty directory goes with the run's: removing each by itself costs time."""
    with suppress(OSError), os.scandir(path) as entries:
        if next(entries, None) is None:
            return
    remove_tree(path)


def remove_tree(path: Path) -> tuple[str, ...]:
    """Remove a tree, also where the write permission was taken away; return the paths that stayed."""
    failed: list[str] = []

    def again(action: Callable[[str], object], name: str, _: object) -> None:
        try:
            Path(name).parent.chmod(0o700)
            with suppress(OSError):
                Path(name).chmod(0o700)
            action(name)
        except OSError:
            failed.append(os.fspath(name))

    if path.is_symlink() or not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()
    else:
        shutil.rmtree(path, onerror=again)
        if failed and path.exists():
            failed.clear()
            shutil.rmtree(path, onerror=again)
    return tuple(name for name in failed if os.path.lexists(name))


KEPT_RUNS = 3
"""How many runs that were kept, on request or for a failure, stay on disk for one project, as with tmp_path.

As many others stay with nothing but their record.
"""

KEPT = "kept"
RECORDED = "recorded-only"
"""Files that mark a run that was kept, and one of which only the record was."""


class RunLease:
    """Holds a run's directory for as long as the run lives, by an OS lock that dies with the process."""

    def __init__(self, root: Path, project: str) -> None:
        self._root = root
        self._project = project
        name = secrets.token_hex(3)
        self._lock = FileLock(root / f"{project}.{name}.lock", mode=0o600)
        with _alone(root, project):
            clear_leftovers(root, project)
            self._lock.acquire(blocking=False)
            self.directory = RunDirectory(private_directory(root / name))
            (self.directory.path / "project").write_text(project)

    def close(self, *, keep: Iterable[Path], record_only: bool = False) -> tuple[str, ...]:
        """Remove the run's directory except for the paths to keep; return what could not be removed."""
        kept = {path.resolve() for path in keep if path.exists()}
        left: list[str] = []
        if kept:
            for path in self.directory.path.iterdir():
                if path.resolve() not in kept and path.name != "project":
                    left.extend(remove_tree(path))
            (self.directory.path / (RECORDED if record_only else KEPT)).touch()
        else:
            left.extend(remove_tree(self.directory.path))
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()
        if kept:
            with _alone(self._root, self._project):
                clear_leftovers(self._root, self._project)
        return tuple(left)


@contextmanager
def _alone(root: Path, project: str) -> Iterator[None]:
    """Let one run at a time look for leftovers: a lock that exists and is not yet held looks like a dead run's."""
    with FileLock(root / f"{project}.lock", mode=0o600).acquire(poll_interval=0.02):
        yield


def default_root() -> Path:
    """Return the place for runs: short, so that sockets fit below the states, and private to the user."""
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > len("/tmp/some-where") and os.access("/tmp", os.W_OK):  # noqa: S108 - only for its shortness; what we make there is private
        temporary = Path("/tmp")  # noqa: S108
    return temporary / f"df-{os.getuid()}"


def checked_root(root: Path) -> Path:
    """Make the place for runs; raises HarnessError if it is not ours or too long for sockets below a state."""
    try:
        os.fspath(root).encode()
    except UnicodeError as error:
        raise HarnessError(f"{root!r} is not UTF-8: set dogfood_state_root to a place that is") from error
    problem = too_long_for_sockets(root)
    if problem:
        raise HarnessError(f"{problem}: set dogfood_state_root to a shorter place [state-path-too-long]")
    return private_directory(root)


def too_long_for_sockets(root: Path) -> str:
    """Return what is wrong if sockets would not fit below the states of runs in this place; empty if they do."""
    longest = len(str(root / "ffffff" / "c99999-gw99"))
    if longest <= LONGEST_STATE_PATH:
        return ""
    return (
        f"state directories below {root} would have paths of {longest} characters; at most "
        f"{LONGEST_STATE_PATH} leave room for a socket"
    )


def clear_leftovers(root: Path, project: str) -> None:
    """Remove what dead runs of the project left, and all but the newest kept runs; live runs hold their lock."""
    kept: dict[str, list[tuple[float, Path, Path]]] = {KEPT: [], RECORDED: []}
    for lock_file in sorted(root.glob(f"{project}.*.lock")):
        path = root / lock_file.name.split(".")[1]
        lock = FileLock(lock_file, mode=0o600)
        try:
            with lock.acquire(blocking=False):
                marker = next((name for name in kept if (path / name).exists()), None)
                if marker is not None:
                    kept[marker].append((path.stat().st_mtime, path, lock_file))
                else:
                    remove_tree(path)
                    lock_file.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue
    for runs in kept.values():
        for _, path, lock_file in sorted(runs)[:-KEPT_RUNS]:
            remove_tree(path)
            lock_file.unlink(missing_ok=True)


class WorkerSignalFiles:
    """The files in `directory` by which a worker tells where signals are to go, and what they met in it."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._answering = directory / f"{worker}.pid"
        self._interrupted = directory / f"{worker}.met"
        self._cut = directory / f"{worker}.cut"

    def begin(self) -> None:
        """Say that this process answers signals."""
        pid = os.getpid()
        with suppress(OSError):  # on a full disk it runs all the same, and ends when xdist closes its channel
            self._answering.write_text(f"{pid} {start_time(pid) or ''}")

    def end(self) -> None:
        """Say that it has taken one, and wants no more."""
        self._answering.unlink(missing_ok=True)

    def write_interrupted(self, item: str, report: str) -> None:
        """Write down what of an item, named by its node id, was running; raises HarnessError if that cannot be done."""
        write_whole(self._interrupted, msgspec.json.encode({item: report}))

    def write_cut(self, steps: Sequence[str]) -> None:
        """Name the steps of clean-up and release that were cut; raises HarnessError where that cannot be done."""
        write_whole(self._cut, msgspec.json.encode(list(steps)))


class WorkerProcesses:
    """The workers of a run that answer signals, each known by files in `directory` that it writes itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[int, str | None] = {}

    def signal(self, number: int) -> None:
        """Send a signal to each worker that still wants to be told."""
        for path in self._directory.glob("*.pid"):
            with suppress(OSError, ValueError):
                pid, _, born = path.read_text().partition(" ")
                self._known[int(pid)] = born or None
                if alive(int(pid), born or None):
                    os.kill(int(pid), number)

    def kill(self) -> None:
        """Kill every worker, also those that no longer want to be told."""
        self.signal(signal.SIGKILL)
        for pid, born in self._known.items():
            with suppress(OSError):
                if alive(pid, born):
                    os.kill(pid, signal.SIGKILL)

    def interrupted(self) -> dict[str, str]:
        """Return what signals met in the workers, by node id; raises HarnessError for a file that cannot be read."""
        found = [read_as(path, dict[str, str]) or {} for path in sorted(self._directory.glob("*.met"))]
        return {item: report for one in found for item, report in one.items()}

    def cut_steps(self) -> list[str]:
        """Return the steps that were cut in the workers; raises HarnessError for a file that cannot be read."""
        found = [read_as(path, list[str]) or [] for path in sorted(self._directory.glob("*.cut"))]
        return [step for steps in found for step in steps]


class Retention:
    """Decides it once; `failed` are the directories of items that did not do well, `everything` is --dogfood-keep."""

    def __init__(self, run: RunDirectory, *, failed: AbstractSet[Path], everything: bool) -> None:
        self._run = run
        self._failed = failed
        self._everything = everything
        there = any(path.exists() for path in (*failed, run.path / TRAJECTORIES))
        self.directory = run.path if everything or there else None

    @property
    def for_actors_only(self) -> bool:
        """Whether the directory stays for nothing but what actors did."""
        return self.directory is not None and not self._everything and not self._failed

    def paths(self) -> AbstractSet[Path]:
        """Name what stays of the directory; tokens never do, whose records hold secret values as they are."""
        if self._everything:
            return set(self._run.path.iterdir()) - {self._run.tokens, self._run.path / SECRETS}
        outputs = {self._run.path / OUTPUTS} if self._failed else set()
        return {*self._failed, *outputs, self._run.path / TRAJECTORIES, *self.record()}

    def record(self) -> AbstractSet[Path]:
        """Name what stays of any run that has begun: what ran where and when, and what it came to."""
        if not (self._run.path / RUN).exists():
            return set()
        return {self._run.path / RUN, self._run.path / RESULTS, self._run.path / RECORDS}
