"""A project in a directory, run by pytest in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.ordinary import judge
from tests.ordinary.judge import Event
from tests.support.run_results import inherited, leaving_out

LIMIT = 120
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is left of a run: the outcomes as JUnit has them, the log, what a person reads, the exit status."""

    outcomes: Mapping[str, str]
    log: tuple[Event, ...]
    text: str
    status: int
    command: str

    @property
    def is_reported(self) -> bool:
        """Whether the run has said what all of it came to."""
        return re.search(r"^dogfood: .*(journey|test)s? = ", self.text, re.MULTILINE) is not None


@dataclass(slots=True)
class Project:
    """Files in a directory; every run has a log of its own. `remembers` lets runs know of those before."""

    directory: Path
    runs: int = 0
    remembers: bool = False

    def start(self, *arguments: str, **environment: str) -> Run:
        """Start `pytest --dogfood`."""
        self.runs += 1
        log, report = self.directory / f"log{self.runs}", self.directory / f"report{self.runs}.xml"
        quiet = leaving_out(arguments, *([] if self.remembers else ["cacheprovider"]))
        states = f"dogfood_state_root={self.directory / 's'}"
        command = [sys.executable, "-m", "pytest", "--dogfood", "-q", *quiet, "-o", states]
        command += [f"--junitxml={report}", *arguments]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        output = self.directory / f"output{self.runs}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={
                    **inherited(),
                    "PATH": path,
                    **environment,
                    "DF_LOG": str(log),
                    "DF_PROJECT": str(self.directory),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(process=process, log=log, report=report, output=output, arguments=arguments)

    def run(self, *arguments: str, **environment: str) -> Seen:
        """Run `pytest --dogfood` once."""
        return self.start(*arguments, **environment).end()

    def last_failed(self) -> set[str]:
        """Return the node ids that `--lf` would run."""
        path = self.directory / ".pytest_cache/v/cache/lastfailed"
        return set(json.loads(path.read_text())) if path.exists() else set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is under way."""

    process: subprocess.Popen[bytes]
    log: Path
    report: Path
    output: Path
    arguments: tuple[str, ...]

    def events(self) -> tuple[Event, ...]:
        return judge.read(self.log.read_text()) if self.log.exists() else ()

    def end(self) -> Seen:
        """Wait for its end."""
        try:
            self.process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return Seen(
            outcomes=outcomes(self.report),
            log=self.events(),
            text=self.output.read_text(errors="replace"),
            status=self.process.returncode,
            command=" ".join(self.arguments),
        )


def outcomes(report: Path) -> dict[str, str]:
    """Return what JUnit says of each item, by name; a run that was killed may have left no report."""
    found: dict[str, str] = {}
    words = {"failure": "failed", "error": "error", "skipped": "skipped"}
    for case in ET.parse(report).iter("testcase") if report.exists() and report.stat().st_size else ():  # noqa: S314 - our own run wrote it
        told = [words[child.tag] for child in case if child.tag in words]
        causes = [one for one in case.iter("property") if one.get("name") == "dogfood.root_cause"]
        outcome = told[-1] if told else "passed"
        found[str(case.get("name"))] = "deferred" if outcome == "skipped" and causes else outcome
    return found
