"""The directory of one run: where its states, working directories, outputs and records are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.storage.files import private_directory, write_whole

ALONE = "main"
"""Name of the worker where there is only one process."""

RESULTS = "results.json"
"""File in the directory of a kept run: what became of each journey."""

TRAJECTORIES = "trajectories"
"""Directory in that of a run: what actors did. It stays, for nobody gets that again for nothing."""

OUTPUTS = "out"
"""Directory in that of a run: what steps, services and actors printed."""


class RunDirectory:
    """Layout of a run's directory; every process of the run builds one from the same `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @cached_property
    def shared(self) -> Path:
        return private_directory(self.path / "shared")

    @cached_property
    def records(self) -> Path:
        return private_directory(self.path / "records")

    @cached_property
    def tokens(self) -> Path:
        """Where tokens are recorded, secret values as they are: it is never kept."""
        return self.path / "tokens"

    @cached_property
    def interrupted(self) -> Path:
        """Where workers say how they can be reached, and what a signal met in them."""
        return private_directory(self.path / "interrupted")

    @property
    def recorded(self) -> Path:
        """Where it is claimed which journeys have been recorded."""
        return self.path / "recorded"

    @cached_property
    def outputs(self) -> Path:
        return private_directory(self.path / OUTPUTS)

    @cached_property
    def trajectories(self) -> Path:
        return private_directory(self.path / TRAJECTORIES)

    def actor_log(self, worker: str) -> Path:
        return self.outputs / f"actor-{worker}.log"

    def service_log(self, token: str, place: str) -> Path:
        return self.outputs / f"service-{token}-{place}.log"

    def logs(self) -> Iterator[Path]:
        """Give the logs of what runs for longer than a step: services and actors."""
        yield from self.outputs.glob("service-*.log")
        yield from self.outputs.glob("actor-*.log")

    @property
    def plans(self) -> Path:
        return private_directory(self.path / "plans")

    def state(self, number: int, worker: str) -> Path:
        """Give the state directory of a chain on a worker; a replacement worker has a new name, so a new state."""
        return private_directory(self.state_path(number, worker))

    def state_path(self, number: int, worker: str) -> Path:
        return self.path / f"c{number}-{worker}"

    def has_other_states(self, number: int, state: Path) -> bool:
        """Whether the chain has had a state on some other worker, which must have died."""
        return any(path != state for path in self.path.glob(f"c{number}-*"))

    def fresh_workdir(self, worker: str, number: int) -> Path:
        return private_directory(self.path / f"w{number}-{worker}")


def project_name(rootdir: Path) -> str:
    """Give eight hexadecimal digits that stand for a project on this machine."""
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


def remove_if_filled(path: Path) -> None:
    """Remove a tree that takes up room. An empty directory goes with the run's: removing each by itself costs time."""
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        if next(entries, None) is None:
            return
    remove_tree(path)


def remove_tree(path: Path) -> tuple[str, ...]:
    """Remove a tree, also where somebody took the write permission away; give the paths that stayed."""
    failed: list[str] = []

    def again(action: Callable[[str], object], name: str, _: object) -> None:
        try:
            Path(name).parent.chmod(0o700)
            with contextlib.suppress(OSError):
                Path(name).chmod(0o700)
            action(name)
        except OSError:
            failed.append(os.fspath(name))

    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    else:
        shutil.rmtree(path, onerror=again)
        if failed and path.exists():
            failed.clear()
            shutil.rmtree(path, onerror=again)
    return tuple(name for name in failed if os.path.lexists(name))
