"""Those who run a graph: each writes it down in its own language, runs it, and is judged by what the jobs noted.

A job notes its start and its end by touching a file, so that the makespan is that of the jobs: how long a runner
takes to start is another row. Jobs of commands are one and the same shell script for every runner.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.bare import run_bare
from tests.benchmarks.graphs import Graph, Job

LOGOUT = "logout"
"""Name of the job that destroys what it needs, where tokens are those of a state."""

QUIET = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
LIMIT = 300

Contender = Callable[[Graph, int], float]
"""Runs a graph with so many workers; gives the seconds from the first start to the last end."""

SCRIPT = """\
: > "$1.start"
sleep "$2"
: > "$1.end"
"""

PYTHON_JOBS = """\
import time
from pathlib import Path

import pytest

LOG = Path({log!r})


def job(name, seconds, *after):
    while not all((LOG / f"{{other}}.end").exists() for other in after):
        time.sleep(0.002)
    (LOG / f"{{name}}.start").touch()
    time.sleep(seconds)
    (LOG / f"{{name}}.end").touch()

"""


def journeys(graph: Graph, workers: int) -> float:
    """Run journeys of one shell step each, joined by machine-wide tokens."""
    return _run(graph, lambda directory: _journeys(graph, directory, workers, scope="machine"))


def python_tests(graph: Graph, workers: int) -> float:
    """Run marked Python tests, joined by machine-wide tokens."""
    return _run(graph, lambda directory: _python_tests(graph, directory, workers))


def co_location(graph: Graph, workers: int) -> float:
    """Run the same journeys with one worker per connected component, as grouping by hand does."""
    return _run(graph, lambda directory: _journeys(graph, directory, workers, scope="chain"))


def copyable(graph: Graph, workers: int, *arguments: str) -> float:
    """Run the same journeys, joined by tokens of a chain's state that is as good when it is copied."""
    return _run(
        graph,
        lambda directory: (*_journeys(graph, directory, workers, scope="chain", copied=True), *arguments),
    )


def provided(graph: Graph, workers: int) -> float:
    """Run the same journeys without their first one, whose token has a provider of its own."""
    first, *rest = graph
    return _run(
        graph,
        lambda directory: _journeys(rest, directory, workers, scope="chain", copied=True, provided=first),
    )


def over_forecast(graph: Graph, workers: int) -> float:
    """Run the same journeys twice; return the second makespan in terms of the forecast after the first run."""
    with scratch() as directory:
        _prepare(directory)
        _journeys(graph, directory, workers, scope="chain", copied=True)
        run = ("pytest", "-q", "-p", "no:randomly", "-n", str(workers), "--dogfood")
        check = ("pytest_dogfood", "check", "--format", "json", "-n", str(workers))
        call(sys.executable, "-m", *run, cwd=directory)
        forecast = json.loads(call(sys.executable, "-m", *check, cwd=directory))["plan"]["forecast"][
            "makespan"
        ]
        call(sys.executable, "-m", *run, cwd=directory)
        return _makespan(graph, directory / "log") / float(forecast)


def polling(graph: Graph, workers: int) -> float:
    """Run plain tests that wait for each other, under xdist's own `--dist load`."""
    return _run(graph, lambda directory: _polling(graph, directory, workers))


def bare(graph: Graph, workers: int) -> float:
    """Run nothing but the jobs, by a loop that knows their durations."""
    with scratch() as directory:
        _prepare(directory)
        run_bare(graph, workers, lambda job: _argv(job, directory), cwd=directory)
        return _makespan(graph, directory / "log")


def ctest(graph: Graph, workers: int) -> float:
    """Run CTest with the true cost of each test."""
    return _run(graph, lambda directory: _ctest(graph, directory, workers))


def make(graph: Graph, workers: int) -> float:
    """Run GNU make."""
    return _run(graph, lambda directory: _make(graph, directory, workers))


OURS: Mapping[str, Contender] = {"journeys": journeys, "Python tests": python_tests}
PEERS: Mapping[str, Contender] = {"bare": bare, "co-location": co_location, "load + polling": polling}
TOOLS: Mapping[str, Contender] = {"ctest": ctest, "make": make}


def available() -> Mapping[str, Contender]:
    """Return all contenders that this machine has, we first."""
    return {**OURS, **PEERS, **{name: one for name, one in TOOLS.items() if shutil.which(name)}}


@contextmanager
def scratch() -> Iterator[Path]:
    """Return a directory for one measurement."""
    directory = Path(tempfile.mkdtemp(prefix="dogfood-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def call(*argv: str, cwd: Path) -> str:
    """Run a program as a user would, without what this shell says to it; raises if it does not succeed."""
    unwanted = ("PYTEST_", "COV_", "MAKE", "CTEST_", "DOGFOOD_", "_DOGFOOD_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{argv} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return done.stdout


def pytest(*arguments: str, cwd: Path) -> str:
    """Run pytest with this very Python."""
    return call(sys.executable, "-m", "pytest", *QUIET, *arguments, cwd=cwd)


def _run(graph: Graph, write: Callable[[Path], tuple[str, ...]]) -> float:
    with scratch() as directory:
        _prepare(directory)
        call(*write(directory), cwd=directory)
        return _makespan(graph, directory / "log")


def _prepare(directory: Path) -> None:
    (directory / "log").mkdir()
    (directory / "job.sh").write_text(SCRIPT)
    (directory / "pytest.ini").write_text("[pytest]\n")


def _makespan(graph: Graph, log: Path) -> float:
    starts = {job.name: (log / f"{job.name}.start").stat().st_mtime for job in graph}
    ends = {job.name: (log / f"{job.name}.end").stat().st_mtime for job in graph}
    _check_order(graph, starts, ends)
    return max(ends.values()) - min(starts.values())


def _check_order(graph: Graph, starts: Mapping[str, float], ends: Mapping[str, float]) -> None:
    for job in graph:
        for before in job.after:
            if starts[job.name] < ends[before] - 0.005:  # the clock of files ticks every few milliseconds
                raise RuntimeError(f"{job.name} started before {before} had ended")


def _argv(job: Job, directory: Path) -> list[str]:
    return ["/bin/sh", str(directory / "job.sh"), str(directory / "log" / job.name), str(job.seconds)]


def _pytest(directory: Path, workers: int, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", *QUIET, "-n", str(workers), *arguments, str(directory))


def _token(name: str) -> str:
    return f"done-{name}"


def _needed(graph: Sequence[Job]) -> set[str]:
    return {before for job in graph for before in job.after}


def _settings(
    graph: Sequence[Job], directory: Path, scope: str, *, copied: bool = False, provided: Job | None = None
) -> None:
    capabilities: dict[str, dict[str, object]] = {
        _token(name): {
            "description": f"{name} has ended",
            "scope": scope,
            **({"copyable": True} if copied else {}),
        }
        for name in sorted(_needed(graph))
    }
    if provided is not None:
        capabilities[_token(provided.name)]["provision"] = [{"run": _argv(provided, directory)}]
    (directory / "dogfood.yaml").write_text(json.dumps({"capabilities": capabilities}))


def _journeys(
    graph: Sequence[Job],
    directory: Path,
    workers: int,
    *,
    scope: str,
    copied: bool = False,
    provided: Job | None = None,
) -> tuple[str, ...]:
    needed = _needed(graph)
    written = [
        {
            "id": job.name,
            "estimate": f"{round(job.seconds * 1000)}ms",
            **({"requires": [_token(name) for name in job.after]} if job.after else {}),
            **({"establishes": [_token(job.name)]} if job.name in needed else {}),
            **({"invalidates": [_token(job.after[0])]} if job.name == LOGOUT else {}),
            "steps": [{"run": _argv(job, directory)}],
        }
        for job in graph
    ]
    _settings(graph, directory, scope, copied=copied, provided=provided)
    (directory / "bench.journey.json").write_text(json.dumps({"journeys": written}))
    return _pytest(directory, workers, "--dogfood")


def _python_tests(graph: Graph, directory: Path, workers: int) -> tuple[str, ...]:
    needed = _needed(graph)
    lines = [PYTHON_JOBS.format(log=str(directory / "log"))]
    durations: dict[str, float] = {}
    for job in graph:
        name = f"test_{job.name.replace('-', '_')}"
        durations[f"test_bench.py::{name}"] = job.seconds
        if job.after:
            lines.append(f"@pytest.mark.requires(*{[_token(other) for other in job.after]!r})")
        if job.name in needed:
            lines.append(f"@pytest.mark.establishes({_token(job.name)!r})")
        lines.append(f"def {name}():\n    job({job.name!r}, {job.seconds!r})\n")
    _settings(graph, directory, "machine")
    committed = {"version": 1, "durations": durations}
    (directory / "dogfood-durations.json").write_text(json.dumps(committed))
    (directory / "test_bench.py").write_text("\n".join(lines))
    return _pytest(directory, workers, "--dogfood")


def _polling(graph: Graph, directory: Path, workers: int) -> tuple[str, ...]:
    lines = [PYTHON_JOBS.format(log=str(directory / "log"))]
    for job in graph:
        arguments = ", ".join(map(repr, (job.name, job.seconds, *job.after)))
        lines.append(f"def test_{job.name.replace('-', '_')}():\n    job({arguments})\n")
    (directory / "test_bench.py").write_text("\n".join(lines))
    return _pytest(directory, workers, "--dist", "load", "-p", "no:dogfood")


def _ctest(graph: Graph, directory: Path, workers: int) -> tuple[str, ...]:
    lines: list[str] = []
    for job in graph:
        lines.append(f"add_test({job.name} {' '.join(_argv(job, directory))})")
        depends = f' DEPENDS "{";".join(job.after)}"' if job.after else ""
        lines.append(f"set_tests_properties({job.name} PROPERTIES COST {job.seconds}{depends})")
    (directory / "CTestTestfile.cmake").write_text("\n".join(lines))
    return ("ctest", "-j", str(workers), "--test-dir", str(directory))


def _make(graph: Graph, directory: Path, workers: int) -> tuple[str, ...]:
    names = " ".join(job.name for job in graph)
    lines = [f"all: {names}", f".PHONY: all {names}"]
    lines += [f"{job.name}: {' '.join(job.after)}\n\t@{' '.join(_argv(job, directory))}" for job in graph]
    (directory / "Makefile").write_text("\n".join(lines) + "\n")
    return ("make", "-s", "-j", str(workers), "-f", "Makefile", "all")
