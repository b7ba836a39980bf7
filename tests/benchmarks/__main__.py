"""Measures everything and prints the table: `python -m tests.benchmarks [--quick] [--only NAME]`."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks import overheads
from tests.benchmarks.checking import check
from tests.benchmarks.consistency import consistency
from tests.benchmarks.contenders import TOOLS, available
from tests.benchmarks.copies import copies, restored
from tests.benchmarks.fanouts import fan_outs, long_jobs
from tests.benchmarks.fleet_database import fleet_database
from tests.benchmarks.graphs import GRAPHS, SHARING_A_STATE, TINY, WIDE, bound, ideal
from tests.benchmarks.measuring import Row, load, taking_turns
from tests.benchmarks.pages import pages
from tests.benchmarks.records import records

WORKERS = (2, 4, 8)
LONGER_THAN_CO_LOCATED = {2: 1.9, 4: 3.5}


def main() -> None:
    """Measure what was asked for, and print each row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, two and four workers: a first look")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each variant is measured (default: 3)"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="rows whose name contains this; may be repeated"
    )
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    workers = WORKERS[:2] if options.quick else WORKERS
    wanted = options.only or [""]
    _say_versions(rounds)
    for name, measure in _measurements(rounds, workers).items():
        if any(one.casefold() in name.casefold() for one in wanted):
            before = load()
            for row in measure():
                _print(row)
            _say(f"    load average {before:.1f} before, {load():.1f} after")


def _measurements(rounds: int, workers: Iterable[int]) -> dict[str, Callable[[], Iterable[Row]]]:
    found: dict[str, Callable[[], Iterable[Row]]] = {}
    for name in GRAPHS:
        for count in workers:
            if not (name == TINY and count == 8):
                found[f"{name}, N={count}"] = partial(_makespans, name, count, rounds)
    for name in SHARING_A_STATE:
        for count in workers:
            found[f"copied: {name}, N={count}"] = partial(fan_outs, name, count, rounds)
    for count in workers:
        found[f"jobs of 1 s, N={count}"] = partial(long_jobs, count, rounds)
    found["plain tests"] = lambda: [
        overheads.plain_tests(3 * rounds)
    ]  # a tenth of a second in three, and noisy
    found["collection"] = lambda: [overheads.collection(rounds)]
    found["steps"] = lambda: [
        overheads.steps(rounds, "sh"),
        overheads.steps(rounds, "bash"),
        overheads.steps(rounds, "bash", text="echo hello"),
    ]
    found["start"] = lambda: [overheads.start_up(rounds)]
    found["planning"] = lambda: overheads.planning(rounds)
    found["page"] = lambda: pages(rounds)
    found["record"] = lambda: records(rounds)
    found["copies"] = lambda: copies(rounds)
    found["restored"] = lambda: [restored(3 * rounds)]
    found["check"] = lambda: check(rounds)
    found["fleet database"] = lambda: fleet_database(rounds)
    found["consistency"] = lambda: consistency(rounds)
    return found


def _makespans(name: str, workers: int, rounds: int) -> list[Row]:
    graph = GRAPHS[name]()
    best = bound(graph, workers) if name == TINY else ideal(graph, workers)
    variants = {who: partial(run, graph, workers) for who, run in available().items()}
    seen = taking_turns(variants, rounds)
    figures = {who: median(values) / best for who, values in seen.items()}
    reference = "max(critical path, total/N)" if name == TINY else "ideal list schedule"
    ours = figures.pop("journeys")
    rows = [
        Row(
            what=f"{name}, N={workers} ÷ {reference}",
            ours=ours,
            target=1.25 if name == TINY else 1.03,
            peers=figures,
            note=f"{best:.2f} s ideal, {best / bound(graph, workers):.2f} of the bound",
        )
    ]
    rows.append(
        Row(
            what=f"{name}, N={workers} ÷ the same jobs by a bare loop",
            ours=ours / figures["bare"],
            target=1.03,
            peers={who: one / figures["bare"] for who, one in figures.items() if who in TOOLS},
        )
    )
    if name in WIDE and workers in LONGER_THAN_CO_LOCATED:
        rows.append(
            Row(
                what=f"{name}, N={workers}: co-location ÷ ours",
                ours=figures["co-location"] / ours,
                target=LONGER_THAN_CO_LOCATED[workers],
                at_least=True,
            )
        )
    return rows


def _print(row: Row) -> None:
    target = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {row.target:g}"
    peers = "  ".join(f"{name} {value:.2f}" for name, value in row.peers.items())
    _say(f"{row.what:68} {row.ours:8.3f}  {target:7} {row.verdict:7} {peers}  {row.note}".rstrip())


def _say_versions(rounds: int) -> None:
    names = ("pytest-dogfood", "pytest", "pytest-xdist", "PyYAML", "msgspec")
    said = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)]
    said += [_first_line(tool) for tool in ("ctest", "make") if shutil.which(tool)]
    _say(f"{' · '.join(said)} · {os.cpu_count()} processors · {rounds} round(s)")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints what it was asked for


def _first_line(tool: str) -> str:
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dogfood-bench-") as cache:
        # Users keep byte code, whatever this shell says; what belongs to the benchmark is kept apart.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(cache) / "bytecode")
        main()
