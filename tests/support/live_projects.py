"""Small projects whose runs can be watched from outside and killed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path

from pytest_dogfood.execution import watcher
from pytest_dogfood.storage.retention import RECORDED
from tests.support.run_results import Run, inherited, leaving_out, read_junit

Eventually = Callable[[Callable[[], bool]], bool]


class Started:
    """A run that is under way."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, junit: Path) -> None:
        self.process = process
        self._output = output
        self.junit = junit

    def end(self) -> Run:
        """Wait for its end."""
        status = self.process.wait(timeout=180)
        text = self._output.read_text(encoding="utf-8", errors="surrogateescape")
        return Run(status=status, text=text, cases=read_junit(self.junit))


class Live:
    """A small project whose runs can be watched from outside and killed: all they start inherits a marker."""

    def __init__(self, path: Path, state_root: Path) -> None:
        self.path = path
        self.state_root = state_root
        self.marker = f"LIVE_{uuid.uuid4().hex}"
        self._numbers = itertools.count(1)

    def write(self, name: str, text: str) -> Live:
        path = self.path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def start(self, *arguments: str, **environment: str) -> Started:
        number = next(self._numbers)
        junit, output = self.path / f"junit{number}.xml", self.path / f"output{number}"
        root = f"dogfood_state_root={self.state_root}"
        quiet = [*leaving_out(arguments, "cacheprovider"), "-o", root]
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "--dogfood", *quiet, f"--junitxml={junit}", *arguments],
                cwd=self.path,
                env={**inherited(), self.marker: "1", "COLUMNS": "200", **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Started(process, output, junit)

    def run(self, *arguments: str, **environment: str) -> Run:
        return self.start(*arguments, **environment).end()

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that journeys have written, none if there is no such file."""
        path = self.path / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def running(self) -> list[int]:
        """Return the processes of this project's runs that have not ended."""
        found = [
            pid for pid in watcher.pids() if watcher.alive(pid, None) and watcher.carries(pid, self.marker)
        ]
        return sorted(found)

    def run_directories(self) -> list[Path]:
        """Return the directories of runs that live, died or were kept, but not those with nothing but a record."""
        found = sorted(path.parent for path in self.state_root.glob("*/project"))
        return [path for path in found if not (path / RECORDED).exists()]
