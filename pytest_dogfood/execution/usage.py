"""Processes of a run that use a directory: as their working directory, or by a file that they have open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pytest_dogfood.execution import watcher


def find_users(directory: Path, marker: str) -> Iterator[tuple[str, str]]:
    """Yield what is used in a directory, as a path below it, and the process that uses it, such as `sleep (12345)`.

    Only processes that carry `marker` (`NAME=value`, or `NAME` with any value) count, and their descendants, but not
    the caller; nor does one whose files we may not see, such as one of another user or in a browser's sandbox.
    """
    if not watcher.HAS_PROC:
        return
    real = os.path.realpath(directory)
    for process in watcher.find_processes(marker, 0):
        try:
            used = next((path for path in _used_by(process.pid) if f"{path}/".startswith(f"{real}/")), None)
        except OSError:  # it has ended meanwhile, or we may not look
            continue
        if used is not None:
            # The rest of its command line may contain a secret.
            words = watcher.command_of(process.pid) or ["a process"]
            yield used[len(real) + 1 :], f"{os.path.basename(words[0])} ({process.pid})"  # noqa: PTH119 - a word


def _used_by(pid: int) -> Iterator[str]:
    """Yield the paths that a process uses; raises OSError if it has ended or is not ours."""
    proc = Path(f"/proc/{pid}")
    yield from (str((proc / name).readlink()) for name in ("cwd", "root"))
    for file in (proc / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            yield str(file.readlink())
    for line in (proc / "maps").read_bytes().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) > 5:
            yield os.fsdecode(fields[5])
