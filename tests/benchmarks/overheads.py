"""What we cost where there is nothing to schedule: plain tests, collection, steps, start-up, planning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, JourneyId, Scope, Token
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from pytest_dogfood.walks import collector_paused
from tests.benchmarks.contenders import pytest, scratch
from tests.benchmarks.measuring import Row, medians, own_processor, processor, ratio, taking_turns, wall

STOPWATCH = """\
import time

import pytest


class Stopwatch:
    # As early as may be in the session, so that what a plugin does before the collection counts.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self):
        self.started = time.perf_counter()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self):
        result = yield
        print(f"\\ncollected in {time.perf_counter() - self.started}")
        return result


def pytest_configure(config):
    config.pluginmanager.register(Stopwatch())
"""

FEW, MANY = 20, 120
"""Steps of two journeys whose difference is what one more step takes."""

BARE = """\
import subprocess


def test_bare():
    for _ in range({count}):
        subprocess.run(
            ["/bin/{shell}", "-c", {text!r}], start_new_session=True, capture_output=True, check=True
        )
"""

DURATIONS = """\
import json
from collections import defaultdict
from pathlib import Path

DURATIONS = defaultdict(list)


def pytest_runtest_logreport(report):
    if report.when == "call":
        kind = report.nodeid.partition("::")[2].removeprefix("test_").partition("-")[0]
        DURATIONS[kind].append(report.duration)


def pytest_sessionfinish():
    Path("durations.json").write_text(json.dumps(DURATIONS))
"""


def plain_tests(times: int, *, count: int = 2000) -> Row:
    """Compare a suite of plain empty tests over two workers with and without us."""
    with scratch() as directory:
        _empty(directory)
        for number in range(20):
            _write_tests(directory / f"test_plain_{number}.py", count // 20)
        variants = {
            "ours": lambda: wall(lambda: pytest("-n", "2", "--dogfood", cwd=directory)),
            "plain": lambda: wall(lambda: pytest("-n", "2", "-p", "no:dogfood", cwd=directory)),
        }
        seen = taking_turns(variants, times + 1)
    seen = {name: values[1:] for name, values in seen.items()}  # the first has written byte code
    return Row(
        what=f"{count:,} plain empty tests, --dogfood -n 2 ÷ plain -n 2",
        ours=ratio(seen, "ours", "plain"),
        target=1.05,
        peers={f"{name}, s": value for name, value in medians(seen).items()},
    )


def collection(times: int, *, files: int = 100, each: int = 100) -> Row:
    """Compare collecting journeys with collecting as many Python test functions."""
    with scratch() as root:
        journeys, functions = root / "journeys", root / "functions"
        for directory in (journeys, functions):
            directory.mkdir()
            _empty(directory)
            (directory / "stopwatch.py").write_text(STOPWATCH)
        for number in range(files):
            _write_journeys(journeys / f"f{number}.journey.yaml", number, each)
            _write_tests(functions / f"test_f{number}.py", each)
        variants = {
            "journeys": lambda: _collected(journeys, "--dogfood"),
            "functions": lambda: _collected(functions, "-p", "no:dogfood"),
        }
        seen = taking_turns(variants, times + 1)
    seen = {name: values[1:] for name, values in seen.items()}
    return Row(
        what=f"collecting {files * each:,} journeys ÷ as many Python test functions",
        ours=ratio(seen, "journeys", "functions"),
        target=1.7,
        peers={f"{name}, s": value for name, value in medians(seen).items()},
    )


def steps(times: int, shell: str, *, text: str = ":") -> Row:
    """Compare one more shell step of a journey with one more bare subprocess, taking turns in one pytest process."""
    with scratch() as directory:
        _empty(directory)
        (directory / "conftest.py").write_text(DURATIONS)
        for turn in range(times * 5):
            (directory / f"test_{turn:02}.py").write_text(BARE.format(shell=shell, text=text, count=MANY))
            counts = {f"few-{turn}": FEW, f"many-{turn}": MANY}
            step = {"run": text, "shell": shell}
            journeys = [{"id": name, "steps": [step] * count} for name, count in counts.items()]
            written = json.dumps({"journeys": journeys})
            (directory / f"test_{turn:02}_ours.journey.json").write_text(written)
        pytest("--dogfood", cwd=directory)
        durations: dict[str, list[float]] = json.loads((directory / "durations.json").read_text())
    seen = {
        "ours": [
            (many - few) / (MANY - FEW) for few, many in zip(durations["few"], durations["many"], strict=True)
        ],
        "bare": [bare / MANY for bare in durations["bare"]],
    }
    silent = text == ":"
    said = "" if silent else " that says something"
    return Row(
        what=f"one more {shell} step{said} ÷ bare subprocess.run in its own session",
        ours=ratio(seen, "ours", "bare"),
        target=1.15 if silent else None,  # what is said is kept, and what a file costs is the file system's
        peers={f"{name}, ms": value * 1000 for name, value in medians(seen).items()},
    )


def start_up(times: int) -> Row:
    """Compare the start of pytest, with one empty test, with us installed but off and without us."""
    with scratch() as directory:
        _empty(directory)
        _write_tests(directory / "test_one.py", 1)

        def clean(*arguments: str) -> Callable[[], float]:
            return lambda: processor(lambda: pytest(*arguments, cwd=directory))

        variants = {"off": clean(), "without": clean("-p", "no:dogfood")}
        taking_turns(variants, 1)
        seen = taking_turns(variants, times * 5)
    figures = medians(seen)
    return Row(
        what="start of pytest, installed but off ÷ without us (processor time)",
        ours=figures["off"] / figures["without"],
        target=1.02,
        peers={f"{name}, s": value for name, value in figures.items()},
    )


def planning(times: int, *, count: int = 50_000) -> list[Row]:
    """Time the graph and the plan of very many journeys, and of half and twice as many edges and journeys."""
    cases = {
        "all": (count, 2),
        "half as many": (count // 2, 2),
        "twice the edges": (count, 4),
    }
    variants = {name: _planning_of(journeys, edges) for name, (journeys, edges) in cases.items()}
    seen = taking_turns(variants, times)
    figures = medians(seen)
    return [
        Row(
            what=f"planning {count:,} journeys with {2 * count:,} edges, s (processor time)",
            ours=figures["all"],
            target=2.0,
            peers={f"{name}, s": figures[name] for name in ("half as many", "twice the edges")},
        ),
        Row(
            what="planning all ÷ planning half as many journeys and edges",
            ours=ratio(seen, "all", "half as many"),
            target=2.4,
            note="2 is linear",
        ),
    ]


def _empty(directory: Path) -> None:
    (directory / "pytest.ini").write_text("[pytest]\n")


def _write_tests(path: Path, count: int) -> None:
    path.write_text("".join(f"def test_{number}():\n    pass\n\n\n" for number in range(count)))


def _write_journeys(path: Path, file: int, count: int) -> None:
    lines = ["journeys:"]
    for number in range(count):
        lines += [f"  - id: j-{file}-{number}", "    steps:", "      - run: echo hello"]
        if number:
            lines.insert(-2, f"    requires: [t-{file}-{number - 1}]")
        lines.insert(-2, f"    establishes: [t-{file}-{number}]")
    path.write_text("\n".join(lines) + "\n")


def _collected(directory: Path, *arguments: str) -> float:
    told = pytest("--collect-only", "-p", "stopwatch", "-q", *arguments, cwd=directory)
    return float(told.rpartition("collected in ")[2].split()[0])


def _planning_of(count: int, edges: int) -> Callable[[], float]:
    place = Location("bench.journey.yaml", 1)
    journeys: list[Journey] = []
    for number in range(count):
        before = {(number * 7 + way * 31) % number for way in range(edges)} if number else set()
        journeys.append(
            Journey(
                id=JourneyId(f"j{number}"),
                location=place,
                path=place.path,
                nodeid=f"{place.path}::j{number}",
                requires={Token(f"t{other}"): place for other in sorted(before)},
                establishes={Token(f"t{number}"): place},
            )
        )
    machine = [
        Capability(token=Token(f"t{number}"), location=place, scope=Scope.MACHINE)
        for number in range(0, count, 2)
    ]

    def plan() -> None:
        with collector_paused():  # as it is while pytest collects, at the end of which a run is planned
            graph = CapabilityGraph(journeys, machine)
            made = make_plan(graph, tuple(graph.journeys))
            jobs_for([journey.nodeid for journey in journeys], made, "load")

    return lambda: own_processor(plan)
