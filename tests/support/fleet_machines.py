"""Machines of a fleet on this computer: each is a process with a checkout, a home and a state root of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytest_dogfood.execution import watcher
from tests.support.run_results import Run, inherited, leaving_out, read_junit

LEASE = 10
"""The shortest lease that is allowed, in seconds."""


OWN_NAMESPACES = ("unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child")
"""Words before a command that give it namespaces of its own."""


def wait_until(condition: Callable[[], bool], *, seconds: float = 180) -> None:
    """Wait until a condition holds; several machines on a busy computer take their time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


class Machine:
    """A machine's part of a run that is under way; all that it starts carries a marker."""

    def __init__(self, place: Path, marker: str, process: subprocess.Popen[bytes]) -> None:
        self.place = place
        self.marker = marker
        self.process = process

    @property
    def text(self) -> str:
        return (self.place / "output").read_text(encoding="utf-8", errors="surrogateescape")

    def processes(self) -> list[int]:
        """Return what runs on the machine."""
        return [
            pid for pid in watcher.pids() if watcher.alive(pid, None) and watcher.carries(pid, self.marker)
        ]

    def signal(self, number: int) -> None:
        """Send a signal to everything on the machine at once, as if it were the whole computer."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        while self.processes():
            self.signal(signal.SIGKILL)
            self.process.poll()

    def workers(self) -> list[int]:
        """Return the processes that run its items: children of the one that leads, as xdist starts them."""
        found = []
        for pid in self.processes():
            process = watcher.read_process(pid)
            if (
                process is not None
                and process.parent == self.process.pid
                and "stdin.readline" in watcher.command_of(pid)[-1]
            ):
                found.append(pid)
        return found

    def end(self) -> Run:
        """Wait for its end."""
        status = self.process.wait(timeout=240)
        return Run(status=status, text=self.text, cases=read_junit(self.place / "junit.xml"))


class Fleet:
    """A project, and machines that run it together; what they write goes to `notes`, which all of them reach."""

    def __init__(self, root: Path, url: str, files: Mapping[str, str]) -> None:
        self.root = root
        self.url = url
        self.notes = root / "notes"
        self.machines: list[Machine] = []
        self._tag = uuid.uuid4().hex[:8]
        self._project = root / "project"
        self._project.mkdir()
        (self._project / "pytest.ini").write_text(
            f"[pytest]\ndogfood = true\ndogfood_fleet_lease = {LEASE}\n"
        )
        self.write(files)

    def name(self, run: str) -> str:
        """Return the name of a run of this fleet: others may share its database."""
        return run if run.startswith("ci") else f"{run}-{self._tag}"

    def write(self, files: Mapping[str, str]) -> None:
        """Change the project for the machines that start from now on."""
        for name, text in files.items():
            path = self._project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    def start(
        self,
        run: str,
        *arguments: str,
        workers: int = 2,
        environment: Mapping[str, str] = {},
        namespaces: bool = False,
    ) -> Machine:
        """Start one more machine with a checkout of the project as it is now.

        Without the name of a run it runs all by itself. With `namespaces` it sees only its own processes, mounts and
        host name; only root may do that everywhere.
        """
        number = len(self.machines) + 1
        place = self.root / f"m{number}"
        shutil.copytree(self._project, place / "checkout")
        for name in ("home", "tmp"):
            (place / name).mkdir()
        state = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
        (place / "state").symlink_to(state)
        marker = f"MACHINE_{uuid.uuid4().hex}"
        words = [
            "-p",
            "no:randomly",
            *leaving_out(arguments, *(() if "cacheprovider" in arguments else ("cacheprovider",))),
            "-n",
            str(workers),
        ]
        words += ["-o", f"dogfood_state_root={state}", f"--junitxml={place / 'junit.xml'}"]
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [
                    *(OWN_NAMESPACES if namespaces else ()),
                    *(sys.executable, "-m", "pytest", *words),
                    *(("--dogfood-fleet", self.name(run)) if run else ()),
                    *arguments,
                ],
                cwd=place / "checkout",
                env={
                    **inherited(),
                    marker: "1",
                    "HOME": str(place / "home"),
                    "TMPDIR": str(place / "tmp"),
                    "NOTES": str(self.notes),
                    "COLUMNS": "200",
                    "DOGFOOD_FLEET": self.url,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.machines.append(Machine(place, marker, process))
        return self.machines[-1]

    def noted(self) -> list[str]:
        """Return the lines that journeys have written to $NOTES."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def let_go(self) -> None:
        """Let journeys go on that wait for `$NOTES.go`."""
        self.notes.with_name("notes.go").touch()

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()
            machine.process.wait()
            shutil.rmtree((machine.place / "state").resolve(), ignore_errors=True)


@contextmanager
def fleet(root: Path, url: str, files: Mapping[str, str]) -> Iterator[Fleet]:
    """Make a fleet without machines yet; what they leave running is killed at the end."""
    made = Fleet(root, url, files)
    try:
        yield made
    finally:
        made.close()
