"""The directory of a run: the files that it contains, and the functions that write and remove them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.masking import UNMASKED_SUFFIX
from pytest_dogfood.execution.watcher import alive, start_time
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.storage.files import opened_directory, private_directory, read_as, write_whole

ALONE = "main"
"""Name of the worker if there is only one process."""

RUN = "run.json"
"""File in the directory of a run: its data as a whole, such as versions, arguments and exit status."""

PROJECT = "project"
"""File in the directory of a run: to which project it belongs; the first that is written there."""

RECORDS = "records"
"""Directory in that of a run: its graph, activities and journal."""

JOURNAL = "journal"
"""File among the records of a run: what was begun and how it ended, for its own processes while it lasts."""

SECRETS = "secrets"
"""Directory in that of a run: the secrets of its processes, to mask kept files; never kept itself."""

UNMASKED = "unmasked.json"
"""File in the directory of a kept run: what in it may hold a secret although it was masked, by its path."""

RESULTS = "results.json"
"""File in the directory of a kept run: the result of each journey."""

TRAJECTORIES = "trajectories"
"""Directory in that of a run: the actors' actions. It stays, because a repetition costs money and time."""

OUTPUTS = "out"
"""Directory in that of a run: the output of steps, services and actors."""


def _private(name: str) -> cached_property[Path]:
    """Return a property for a directory below a run's that only its owner may enter, made at its first use."""
    return cached_property(lambda run: private_directory(run.path / name))


class RunDirectory:
    """Layout of a run's directory; every process of the run builds one from the same `path`.

    `tokens` holds records of tokens, with unmasked secrets: it is never kept, and neither is `secrets`, which lists
    these values. In `interrupted`, workers write their process ids, and what a signal interrupted in them. `recorded`
    marks the journeys that have been recorded.
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
    def began(self) -> float:
        """When the run began, in seconds since the epoch."""
        return (self.path / PROJECT).stat().st_mtime

    def join(self, other: RunDirectory) -> None:
        """Use the shared directory of another run instead of an own one."""
        self.shared = other.shared

    @property
    def activities(self) -> Path:
        """The log of the activities of the run."""
        return self.records / "activities"

    @property
    def last_green(self) -> Path:
        """The file with the results of the last green run before this one."""
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
        """Yield the logs of processes that run for longer than a step: services and actors."""
        yield from self.outputs.glob("service-*.log")
        yield from self.outputs.glob("actor-*.log")

    def state_path(self, number: int, worker: str, *, again: int = 1, width: int = 0) -> Path:
        """Return the directory of a state on a worker; a replacement worker has a new name, so a new state.

        With a `width`, the name has that many characters, and also says in `again` which of its directories on this
        worker it is, from 1; 0 is for what is replayed there for the whole machine.
        """
        return self.path / (
            _name_of_width("c", number, worker, again, width) if width else f"c{number}-{worker}"
        )

    def template_path(self, fork: int, worker: str, *, width: int) -> Path:
        """Return the directory of a template that a worker makes for the parts at a fork."""
        return self.path / _name_of_width("t", fork, worker, 1, width)

    def states_numbered(self, number: int, worker: str = "") -> list[Path]:
        """Return the directories of a state on a worker, or on all workers."""
        name = re.compile(rf"c0*{number}-" + (rf"{re.escape(worker)}(-\d+)?" if worker else ".*"))
        found = (path for path in self.path.iterdir() if name.fullmatch(path.name))
        return [path for path in found if not _WORKDIR.search(path.name)]

    def has_other_states(self, number: int, state: Path) -> bool:
        """Return whether the chain has had a state on another worker, which must have died."""
        return any(path != state for path in self.states_numbered(number))

    def fresh_workdir(self, attempt: str) -> Path:
        """Make the working directory of an attempt at a journey."""
        return private_directory(self.path / attempt)

    def unmasked_outputs(self, worker: str) -> Iterator[Path]:
        """Yield the outputs of a worker's steps that were not masked yet."""
        ending = re.compile(rf"(?:.*-)?w\d+-{re.escape(worker)}-[a-z-]+-\d+\.\w+{re.escape(UNMASKED_SUFFIX)}")
        return (path for path in self.outputs.glob(f"*{UNMASKED_SUFFIX}") if ending.fullmatch(path.name))


def _name_of_width(letter: str, number: int, worker: str, again: int, width: int) -> str:
    """Return a name of a certain width, by zeros before the number: a copy's path must be as long as its original's."""
    ending = f"-{worker}-{again}"
    return f"{letter}{str(number).zfill(width - len(letter) - len(ending))}{ending}"


LONGEST_WORKDIR = 32
"""Characters in the name of a working directory, so that a socket fits below it."""


def attempt_name(what: str, worker: str, number: int) -> str:
    """Return a name for the files of one attempt at something; `number` is unique on the worker."""
    ending = f"-w{number}-{worker}"
    readable = _UNSAFE.sub("-", what)[: max(0, LONGEST_WORKDIR - len(ending))].strip("-.")
    return f"{readable}{ending}".lstrip("-")


_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_WORKDIR = re.compile(r"-w\d+-")
"""The end of a working directory's name; its beginning may look like a state's, if a journey is called `c0`."""


def project_name(rootdir: Path) -> str:
    """Return eight hexadecimal digits that identify a project on this machine."""
    return hashlib.sha256(os.fsencode(rootdir.resolve())).hexdigest()[:8]


def write_results(directory: Path, results: Iterable[JourneyResult]) -> None:
    """Write the results of a run to its directory; raises HarnessError if that fails."""
    try:
        write_whole(directory / RESULTS, msgspec.json.encode(tuple(results)))
    except UnicodeError as error:
        raise HarnessError(f"cannot write {directory / RESULTS}: {error}") from error


def results_of_run(directory: Path) -> dict[JourneyId, JourneyResult]:
    """Read the results of a kept run; raises OSError or ValueError if there are none."""
    content = (directory / RESULTS).read_bytes()
    results = msgspec.json.decode(content, type=tuple[JourneyResult, ...])
    return {result.id: result for result in results}


class Unmasked(NamedTuple):
    """Something in a kept run that may hold a secret although the run was masked: its path without it, and why."""

    shown: str
    why: str


def write_unmasked(directory: Path, found: Mapping[str, Unmasked]) -> None:
    """Write what of a run may hold secrets although it was masked, by its path in it; raises HarnessError."""
    # Not by msgspec: names of files need not be UTF-8.
    write_whole(directory / UNMASKED, json.dumps(found, indent=0).encode() + b"\n")


def read_unmasked(directory: Path) -> dict[str, Unmasked]:
    """Return what `write_unmasked` has written; nothing if it has not. Raises HarnessError if that is unreadable."""
    path = directory / UNMASKED
    try:
        return {str(name): Unmasked(*map(str, one)) for name, one in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from error


def remove_unless_empty(path: Path) -> None:
    """Remove a tree unless it is empty. An empty directory is removed with the run's: removing each costs time."""
    with suppress(OSError), os.scandir(path) as entries:
        if next(entries, None) is None:
            return
    remove_tree(path)


def remove_tree(path: Path) -> tuple[str, ...]:
    """Remove a tree, however deep, even without write permission in it; return the paths that could not be removed."""
    if path.is_symlink() or not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()
        return ()
    # A process that still runs may write a file while the rest is removed.
    failed = _remove_directory(path) and _remove_directory(path)
    return tuple(name for name in dict.fromkeys(failed) if os.path.lexists(name))


def _remove_directory(path: Path) -> list[str]:
    """Remove a directory without recursion, which has a limit; return the paths that could not be removed."""
    failed: list[str] = []
    folders = [""]

    @contextmanager
    def noting(name: str) -> Iterator[None]:
        try:
            yield
        except OSError:
            failed.append(f"{path}/{name}".rstrip("/"))

    with suppress(OSError):
        path.chmod(stat.S_IRWXU)
    with noting(""), opened_directory(str(path)) as top:
        for folder in folders:
            with noting(folder), opened_directory(folder, below=top) as here, os.scandir(here) as entries:
                for entry in list(entries):
                    name = f"{folder}/{entry.name}".lstrip("/")
                    with noting(name):
                        if not entry.is_dir(follow_symlinks=False):
                            os.unlink(entry.name, dir_fd=here)
                            continue
                        folders.append(name)
                        if entry.stat(follow_symlinks=False).st_mode & stat.S_IRWXU != stat.S_IRWXU:
                            os.chmod(entry.name, stat.S_IRWXU, dir_fd=here)
        for folder in reversed(folders[1:]):
            above, _, name = folder.rpartition("/")
            with noting(folder), opened_directory(above, below=top) as here:
                os.rmdir(name, dir_fd=here)
    with noting(""):
        path.rmdir()
    return failed


class WorkerSignalFiles:
    """The files in `directory` in which a worker writes its process id, for signals, and what they interrupted."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._answering = directory / f"{worker}.pid"
        self._interrupted = directory / f"{worker}.met"
        self._cut = directory / f"{worker}.cut"

    def begin(self) -> None:
        """Write that this process handles signals."""
        pid = os.getpid()
        with suppress(OSError):  # on a full disk it runs without, and ends when xdist closes its channel
            self._answering.write_text(f"{pid} {start_time(pid) or ''}")

    def end(self) -> None:
        """Remove the process id, so that no more signals are sent."""
        self._answering.unlink(missing_ok=True)

    def write_interrupted(self, item: str, report: str) -> None:
        """Write the report of an interrupted item, by its node id; raises HarnessError if that fails."""
        write_whole(self._interrupted, msgspec.json.encode({item: report}))

    def write_cut(self, steps: Sequence[str]) -> None:
        """Write the steps of clean-up and release that were cut; raises HarnessError if that fails."""
        write_whole(self._cut, msgspec.json.encode(list(steps)))


class WorkerProcesses:
    """The workers of a run that handle signals, known by the files that each writes in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[int, str | None] = {}

    def signal(self, number: int) -> None:
        """Send a signal to each worker that still accepts signals."""
        for path in self._directory.glob("*.pid"):
            with suppress(OSError, ValueError):
                pid, _, born = path.read_text().partition(" ")
                self._known[int(pid)] = born or None
                if alive(int(pid), born or None):
                    os.kill(int(pid), number)

    def kill(self) -> None:
        """Kill every worker, even those that no longer accept signals."""
        self.signal(signal.SIGKILL)
        for pid, born in self._known.items():
            with suppress(OSError):
                if alive(pid, born):
                    os.kill(pid, signal.SIGKILL)

    def interrupted(self) -> dict[str, str]:
        """Return the workers' reports of interrupted items, by node id; raises HarnessError if one is unreadable."""
        found = [read_as(path, dict[str, str]) or {} for path in sorted(self._directory.glob("*.met"))]
        return {item: report for one in found for item, report in one.items()}

    def cut_steps(self) -> list[str]:
        """Return the steps that were cut in the workers; raises HarnessError for an unreadable file."""
        found = [read_as(path, list[str]) or [] for path in sorted(self._directory.glob("*.cut"))]
        return [step for steps in found for step in steps]
