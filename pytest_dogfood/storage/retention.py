"""Keeps and finds runs: which run owns a directory, what stays of it, and which old runs are removed."""

from __future__ import annotations

import os
import secrets
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Set as AbstractSet
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.settings import LONGEST_STATE_PATH
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.run_directory import (
    JOURNAL,
    OUTPUTS,
    PROJECT,
    RECORDS,
    RESULTS,
    RUN,
    SECRETS,
    TRAJECTORIES,
    UNMASKED,
    RunDirectory,
    Unmasked,
    project_name,
    remove_tree,
    write_unmasked,
)

if TYPE_CHECKING:
    from pytest_dogfood.execution.masking import SecretKeeper

KEPT_RUNS = 3
"""The number of runs, kept on request or after a failure, that stay on disk for one project, as with tmp_path.

As many others stay with only their record.
"""

KEPT = "kept"
RECORDED = "recorded-only"
"""Files that mark a kept run, and a run of which only the record was kept."""


class RunLease:
    """Owns a run's directory as long as the run lives, by an OS lock that ends with the process."""

    def __init__(self, root: Path, project: str) -> None:
        self._root = root
        self._project = project
        name = secrets.token_hex(3)
        self._lock = FileLock(root / f"{project}.{name}.lock", mode=0o600)
        with _alone(root, project):
            clear_leftovers(root, project)
            self._lock.acquire(blocking=False)
            self.directory = RunDirectory(private_directory(root / name))
            (self.directory.path / PROJECT).write_text(project)

    def close(self, *, keep: Iterable[Path], only_record: bool = False) -> tuple[str, ...]:
        """Remove the run's directory except for the paths to keep; return what could not be removed."""
        kept = {path.resolve() for path in keep if path.exists()}
        left: list[str] = []
        if kept:
            for path in self.directory.path.iterdir():
                if path.resolve() not in kept and path.name != PROJECT:
                    left.extend(remove_tree(path))
            if only_record:  # the activities say what the journal does, and more
                (self.directory.records / JOURNAL).unlink(missing_ok=True)
            (self.directory.path / (RECORDED if only_record else KEPT)).touch()
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
    """Let one run at a time remove leftovers: a lock file that is not yet locked looks like a dead run's."""
    with FileLock(root / f"{project}.lock", mode=0o600).acquire(poll_interval=0.02):
        yield


def default_root() -> Path:
    """Return the directory for runs: short, so that sockets fit below the states, and private to the user."""
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > len("/tmp/some-where") and os.access("/tmp", os.W_OK):  # noqa: S108 - only for its shortness; what we make there is private
        temporary = Path("/tmp")  # noqa: S108
    return temporary / f"df-{os.getuid()}"


def checked_root(root: Path) -> Path:
    """Make the directory for runs; raises HarnessError if it is not ours, or too long for sockets below a state."""
    try:
        os.fspath(root).encode()
    except UnicodeError as error:
        raise HarnessError(f"{root!r} is not UTF-8: set dogfood_state_root to a place that is") from error
    problem = too_long_for_sockets(root)
    if problem:
        raise HarnessError(f"{problem}: set dogfood_state_root to a shorter place [state-path-too-long]")
    return private_directory(root)


def too_long_for_sockets(root: Path) -> str:
    """Return an error if sockets would not fit below the states of runs in this directory; empty if they do."""
    longest = len(str(root / "ffffff" / "c9999-gw99-9"))
    if longest <= LONGEST_STATE_PATH:
        return ""
    return (
        f"state directories below {root} would have paths of {longest} characters; at most "
        f"{LONGEST_STATE_PATH} leave room for a socket"
    )


def clear_leftovers(root: Path, project: str) -> None:
    """Remove the files of dead runs of the project, and all but the newest kept runs; live runs hold their lock."""
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


def remove_run(run: Path) -> None:
    """Remove what was kept of a run that has ended."""
    root, project = run.parent, _project_of(run)
    with _alone(root, project):
        remove_tree(run)
        (root / f"{project}.{run.name}.lock").unlink(missing_ok=True)


def find_run(name: str | None, directory: Path, root: Path | None = None) -> Path:
    """Return the directory of a run by its path or id, `name`; without a name, that of the project's last run.

    The project is the one that contains `directory`; `root` is the directory for its runs, if not the default one.
    Raises HarnessError with a message for the user.
    """
    root = root or default_root()
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


def name_of_run(run: Path) -> str:
    """Return the shell word by which `find_run` finds a run from any directory: its id if that is enough."""
    return run.name if run.parent == default_root() else shlex.quote(str(run))


@contextmanager
def held_run(run: Path) -> Iterator[None]:
    """Keep the directory of a run from being removed meanwhile; raises HarnessError unless the run has ended orderly.

    Of one that was killed nothing has masked the secrets in the files that its steps have made.
    """
    lock_file = run.parent / f"{_project_of(run)}.{run.name}.lock"
    name = name_of_run(run)
    with ExitStack() as stack:
        if lock_file.exists():  # not beside a run that was copied to another place
            try:
                stack.enter_context(FileLock(lock_file, mode=0o600).acquire(blocking=False))
            except Timeout as error:
                raise HarnessError(f"run {name} is still under way: wait for its end") from error
        if not any((run / marker).exists() for marker in (KEPT, RECORDED)):
            raise HarnessError(
                f"run {name} was killed before the secrets in its files could be masked: run it again, "
                f"or use its record, dogfood report {name}"
            )
        yield


def _project_of(run: Path) -> str:
    try:
        return (run / PROJECT).read_text()
    except OSError:
        return ""


class Retention:
    """Decides what stays of a run; `failed` are the directories of failed items, `everything` is --dogfood-keep.

    With `outputs`, those of steps stay even if nothing has failed.
    """

    def __init__(
        self, run: RunDirectory, *, failed: AbstractSet[Path], everything: bool, outputs: bool = False
    ) -> None:
        self._run = run
        self._outputs = outputs
        self._failed = failed
        self._everything = everything
        there = any(path.exists() for path in (*failed, run.path / TRAJECTORIES))
        self.directory = run.path if everything or there else None

    @property
    def for_actors_only(self) -> bool:
        """Whether the directory stays only for the actors' trajectories."""
        return self.directory is not None and not self._everything and not self._failed

    def paths(self) -> AbstractSet[Path]:
        """Return the paths to keep; never the tokens, whose records hold unmasked secrets."""
        if self._everything:
            return set(self._run.path.iterdir()) - {self._run.tokens, self._run.path / SECRETS}
        outputs = {self._run.path / OUTPUTS} if self._failed or self._outputs else set()
        return {*self._failed, *outputs, self._run.path / TRAJECTORIES, *self.record()}

    def record(self) -> AbstractSet[Path]:
        """Return the paths that stay of every run that has begun: its record and results."""
        if not (self._run.path / RUN).exists():
            return set()
        return {self._run.path / name for name in (RUN, RESULTS, RECORDS, UNMASKED)}


def mask_kept(run: RunDirectory, paths: Iterable[Path], keeper: SecretKeeper) -> None:
    """Mask secrets in files of a run, and write down which may hold one all the same; raises HarnessError for these.

    Names and links are not changed, because something may rely on them; they are written down too.
    """
    unmasked: dict[str, Unmasked] = {}
    problem: HarnessError | None = None
    for file in (one for path in paths for one in (path, *path.rglob("*"))):
        why = ""
        if keeper.mask(file.name) != file.name:
            why = "its name contains a secret value"
        elif file.is_symlink():
            if keeper.mask(target := str(file.readlink())) != target:
                why = "the path that it links to contains a secret value"
        elif file.is_file():
            try:
                keeper.mask_file(file)
            except HarnessError as error:
                why, problem = "secret values in it could not be masked", problem or error
        if why:
            name = file.relative_to(run.path).as_posix()
            unmasked[name] = Unmasked(keeper.mask(name), why)
    if unmasked:
        write_unmasked(run.path, unmasked)
    if problem is not None:
        raise problem
