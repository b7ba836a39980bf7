"""The files that outputs of commands go to.

On some file systems it costs more to make a file than to run a shell, and most commands leave at least one of their
outputs empty. So a file that nothing was written to serves another command.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import to_harness_error
from pytest_dogfood.execution.masking import Secrets
from pytest_dogfood.execution.process import open_private

UNMASKED = ".raw"
"""Suffix of an output that may still hold secrets; whoever finds one after a death removes it."""


class Spares:
    """Files of one kind that nothing was written to. They keep their names until something is."""

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def add(self, path: Path) -> None:
        self._paths.append(path)

    def open(self) -> tuple[Path, int] | None:
        """Open the youngest that is still empty and that no process in the background holds; forget the others."""
        while self._paths:
            path = self._paths.pop()
            descriptor = _opened_if_as_new(path)
            if descriptor is not None:
                return path, descriptor
        return None


def _opened_if_as_new(path: Path) -> int | None:
    if sys.platform != "linux":
        return None  # nothing tells who else has a file open
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A lease for writing is granted if nobody else has the file open, see fcntl(2). To ask is all we want; who
        # opens it in between sends us a signal, so let that be one that does nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        if not os.fstat(descriptor).st_size:
            return descriptor
    except OSError:  # somebody has, or this file system knows no leases
        pass
    os.close(descriptor)
    return None


class Output(Struct):
    """One output of one command: a file in `directory` that is called `name` once it is settled; now it is at `path`.

    Without `spares` it may hold secrets until then. It says so, and nobody uses it again.
    """

    directory: Path
    name: str
    spares: Spares | None
    path: Path | None = None

    def open(self) -> int:
        """Open the file for a command to write to, readable by its owner only."""
        if self.spares is None:
            self.path = self.directory / (self.name + UNMASKED)
        elif (spare := self.spares.open()) is not None:
            self.path, descriptor = spare
            return descriptor
        else:
            self.path = self.directory / self.name
        return open_private(self.path, fresh=True)

    def settle(self, secrets: Secrets) -> None:
        """Hide secrets in the file and give it its name; if nothing was written to it, there is none any more.

        Raises HarnessError where the file cannot be had, for instance because a command has removed it.
        """
        if self.path is None:
            return
        with to_harness_error(f"keep the output {self.path}"):
            self.path = self._settled(self.path, secrets)

    def _settled(self, path: Path, secrets: Secrets) -> Path | None:
        if path.stat().st_size:
            if self.spares is None:
                secrets.mask_file(path)
            return path if path.name == self.name else path.replace(self.directory / self.name)
        if self.spares is None:
            path.unlink()
        else:
            self.spares.add(path)
        return None

    def discard(self) -> None:
        """Remove what may hold secrets, for nobody is going to settle it."""
        if self.spares is None and self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None
