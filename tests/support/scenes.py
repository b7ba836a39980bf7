"""Small projects of their own, in which pytest is run as one types it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from tests.support.run_results import NEIGHBOURS, Run, inherited, leaving_out, read_junit


class Scene:
    """A small project in a directory of its own, in which `pytest --dogfood` is run as one types it."""

    def __init__(self, path: Path, state_root: Path) -> None:
        self.path = path
        self.state_root = state_root
        self._numbers = itertools.count(1)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that journeys have written, none if there is no such file."""
        path = self.path / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def wait_for(self, name: str) -> None:
        """Wait until a file exists that a running journey writes."""
        deadline = time.monotonic() + 120  # seconds, for a loaded machine
        while not (self.path / name).exists():
            assert time.monotonic() < deadline, f"{name} does not appear"
            time.sleep(0.02)

    def start(self, *arguments: str) -> Callable[[], Run]:
        """Start a run; the function that this gives waits for its end."""
        junit = self.path / f"junit{next(self._numbers)}.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--dogfood",
            *leaving_out(arguments, "cacheprovider"),
            "-o",
            f"dogfood_state_root={self.state_root}",
            f"--junitxml={junit}",
            *arguments,
        ]
        started = subprocess.Popen(
            command,
            cwd=self.path,
            env=inherited(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def end() -> Run:
            text, _ = started.communicate(timeout=180)
            return Run(status=started.returncode, text=text, cases=read_junit(junit))

        return end

    def run(self, *arguments: str) -> Run:
        return self.start(*arguments)()


class Inner:
    """A small project of its own, and `pytest` run in it as a user types it. For scenes that several tests read."""

    def __init__(self, path: Path, state_root: Path) -> None:
        self.path = path
        self.state_root = state_root
        self.write({"pytest.ini": "[pytest]\n"})

    def write(self, files: Mapping[str, str]) -> Inner:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def typed(self, *arguments: str, stdin: str = "", seconds: float = 180) -> pytest.RunResult:
        """Run `pytest` with these arguments and no others."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.path,
            env={**inherited(), "COLUMNS": "200"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        took = time.monotonic() - started
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), took)

    def dogfood(
        self, *arguments: str, stdin: str = "", without: Collection[str] = (), beside: Collection[str] = ()
    ) -> pytest.RunResult:
        """Run `pytest --dogfood` with states of its own, `without` some plugins, and `beside` some neighbours."""
        quiet = leaving_out([*arguments, *(NEIGHBOURS[name] for name in beside)], *without)
        root = f"dogfood_state_root={self.state_root}"
        return self.typed("--dogfood", *quiet, "-o", root, *arguments, stdin=stdin)
