"""What several test files need."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_dogfood import watcher

Dogfood = Callable[..., pytest.RunResult]


@pytest.fixture
def short_root() -> Iterator[Path]:
    """A short private directory for the states of inner runs, whose paths must leave room for sockets."""
    path = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def dogfood(pytester: pytest.Pytester, short_root: Path) -> Dogfood:
    """Run `pytest --dogfood` in the pytester directory, in a process of its own."""

    def run(*arguments: str, on: bool = True) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            *(["--dogfood"] if on else []),
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "-o",
            f"dogfood_state_root={short_root}",
            *arguments,
        )

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What JUnit says of one item; `kind` is the tag within its test case, or "passed"."""

    kind: str
    message: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a person sees of a finished run: the exit status, the text, and per item what JUnit says."""

    status: int
    text: str
    cases: Mapping[str, Case]

    @property
    def closing_line(self) -> str:
        return next(line for line in self.text.splitlines() if re.match(r"dogfood: \d+ journeys? = ", line))


class Scene:
    """A small project in a directory of its own, in which `pytest --dogfood` is run as one types it."""

    def __init__(self, path: Path, state_root: Path) -> None:
        self.path = path
        self._fixed = (
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "-o",
            f"dogfood_state_root={state_root}",
        )
        self._numbers = itertools.count(1)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def lines(self, name: str) -> list[str]:
        """Give the lines of a file that journeys have written, none if there is no such file."""
        path = self.path / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def wait_for(self, name: str) -> None:
        """Wait until a file exists that a running journey writes."""
        deadline = time.monotonic() + 30
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
            *self._fixed,
            f"--junitxml={junit}",
            *arguments,
        ]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        started = subprocess.Popen(
            command, cwd=self.path, env=inherited, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def end() -> Run:
            text, _ = started.communicate(timeout=60)
            return Run(status=started.returncode, text=text, cases=_read_junit(junit))

        return end

    def run(self, *arguments: str) -> Run:
        return self.start(*arguments)()


def _read_junit(path: Path) -> dict[str, Case]:
    if not path.exists():
        return {}
    cases: dict[str, Case] = {}
    for element in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest has just written it
        told = [child for child in element if child.tag in {"failure", "error", "skipped"}]
        case = Case(
            kind="+".join(child.tag for child in told) or "passed",
            message="\n".join(child.get("message", "") for child in told),
            properties={one.get("name", ""): one.get("value", "") for one in element.iter("property")},
        )
        cases[element.get("name", "")] = case
    return cases


@pytest.fixture(scope="session")
def new_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Scene]]:
    """Make scenes, for fixtures of any scope."""
    roots: list[Path] = []

    def make() -> Scene:
        roots.append(Path(tempfile.mkdtemp(prefix="d", dir="/tmp")))
        return Scene(tmp_path_factory.mktemp("scene"), roots[-1])

    yield make
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def scene(new_scene: Callable[[], Scene]) -> Scene:
    return new_scene()


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

    def typed(self, *arguments: str, stdin: str = "", seconds: float = 60) -> pytest.RunResult:
        """Run `pytest` with these arguments and no others."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.path,
            env={**environment, "COLUMNS": "200"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        took = time.monotonic() - started
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), took)

    def dogfood(self, *arguments: str, stdin: str = "", without: Collection[str] = ()) -> pytest.RunResult:
        """Run `pytest --dogfood` with states of its own; `without` names plugins to leave out."""
        quiet = [word for name in ("randomly", *without) for word in ("-p", f"no:{name}")]
        root = f"dogfood_state_root={self.state_root}"
        return self.typed("--dogfood", *quiet, "-o", root, *arguments, stdin=stdin)


@pytest.fixture(scope="session")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mapping[str, str]], Inner]]:
    """Give a function that makes a project out of files and their texts."""
    roots: list[Path] = []

    def make(files: Mapping[str, str]) -> Inner:
        roots.append(Path(tempfile.mkdtemp(prefix="d", dir="/tmp")))
        return Inner(tmp_path_factory.mktemp("inner"), roots[-1]).write(files)

    yield make
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


class Started:
    """A run that is under way."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, junit: Path) -> None:
        self.process = process
        self._output = output
        self.junit = junit

    def end(self) -> Run:
        """Wait for its end."""
        status = self.process.wait(timeout=60)
        text = self._output.read_text(encoding="utf-8", errors="surrogateescape")
        return Run(status=status, text=text, cases=_read_junit(self.junit))


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
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        quiet = ["-p", "no:randomly", "-p", "no:cacheprovider", "-o", f"dogfood_state_root={self.state_root}"]
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "--dogfood", *quiet, f"--junitxml={junit}", *arguments],
                cwd=self.path,
                env={**inherited, self.marker: "1", "COLUMNS": "200", **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Started(process, output, junit)

    def run(self, *arguments: str, **environment: str) -> Run:
        return self.start(*arguments, **environment).end()

    def lines(self, name: str) -> list[str]:
        """Give the lines of a file that journeys have written, none if there is no such file."""
        path = self.path / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def running(self) -> list[int]:
        """Give the processes of this project's runs that have not ended."""
        found = [
            pid for pid in watcher.pids() if watcher.alive(pid, None) and watcher.carries(pid, self.marker)
        ]
        return sorted(found)

    def run_directories(self) -> list[Path]:
        return sorted(path.parent for path in self.state_root.glob("*/project"))


Eventually = Callable[[Callable[[], bool]], bool]


@pytest.fixture
def eventually() -> Eventually:
    """Give a function that waits until something is so, at most 30 seconds, and tells whether it is."""

    def wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        return condition()

    return wait


@pytest.fixture(scope="session")
def new_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Live]]:
    """Make live projects, for fixtures of any scope; what their runs left running is ended."""
    made: list[Live] = []

    def make() -> Live:
        made.append(Live(tmp_path_factory.mktemp("live"), Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))))
        return made[-1]

    yield make
    for live in made:
        watcher.end_everything_marked(live.marker, grace=0)
        shutil.rmtree(live.state_root, ignore_errors=True)


@pytest.fixture
def live(new_live: Callable[[], Live]) -> Live:
    return new_live()
