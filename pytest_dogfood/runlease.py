"""Who holds the directory of a run, where such directories are, and what is cleared of those of dead runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.settings import LONGEST_STATE_PATH
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.run_directory import RunDirectory, remove_tree

KEPT_RUNS = 3
"""How many runs that were kept, on request or for a failure, stay on disk for one project, as with tmp_path."""

LONGEST_STATE_NAME = "c99999-gw99"


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

    def close(self, *, keep: Iterable[Path]) -> tuple[str, ...]:
        """Remove the run's directory but for the paths to keep; give what could not be removed."""
        kept = {path.resolve() for path in keep}
        left: list[str] = []
        if kept:
            for path in self.directory.path.iterdir():
                if path.resolve() not in kept and path.name != "project":
                    left.extend(remove_tree(path))
            (self.directory.path / "kept").touch()
        else:
            left.extend(remove_tree(self.directory.path))
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()
        if kept:
            with _alone(self._root, self._project):
                clear_leftovers(self._root, self._project)
        return tuple(left)


@contextlib.contextmanager
def _alone(root: Path, project: str) -> Iterator[None]:
    """Let one run at a time look for leftovers: a lock that exists and is not yet held looks like a dead run's."""
    with FileLock(root / f"{project}.lock", mode=0o600).acquire(poll_interval=0.02):
        yield


def default_root() -> Path:
    """Give the place for runs: short, so that sockets fit below the states, and private to the user."""
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
    """Say what is wrong if sockets would not fit below the states of runs in this place; empty if they do."""
    longest = len(str(root / "ffffff" / LONGEST_STATE_NAME))
    if longest <= LONGEST_STATE_PATH:
        return ""
    return (
        f"state directories below {root} would have paths of {longest} characters; at most "
        f"{LONGEST_STATE_PATH} leave room for a socket"
    )


def clear_leftovers(root: Path, project: str) -> None:
    """Remove what dead runs of the project left, and all but the newest kept runs; live runs hold their lock."""
    kept: list[tuple[float, Path, Path]] = []
    for lock_file in sorted(root.glob(f"{project}.*.lock")):
        path = root / lock_file.name.split(".")[1]
        lock = FileLock(lock_file, mode=0o600)
        try:
            with lock.acquire(blocking=False):
                if (path / "kept").exists():
                    kept.append((path.stat().st_mtime, path, lock_file))
                else:
                    remove_tree(path)
                    lock_file.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue
    for _, path, lock_file in sorted(kept)[:-KEPT_RUNS]:
        remove_tree(path)
        lock_file.unlink(missing_ok=True)
