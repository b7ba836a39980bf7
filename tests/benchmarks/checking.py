"""What `dogfood check` costs on very many journeys."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import call, scratch
from tests.benchmarks.measuring import Row, wall

MEGABYTE = 1024  # ru_maxrss counts kibibytes on Linux
PEAK = """\
import os, sys
# Linux counts as a process's own what its parent held when it was started: hence this small one in between.
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def check(times: int, *, files: int = 100, each: int = 100) -> list[Row]:
    """Time the command, start of the interpreter included, and take the most memory it ever held."""
    with scratch() as directory:
        (directory / "pytest.ini").write_text("[pytest]\n")
        for number in range(files):
            _write_journeys(directory / f"f{number}.journey.yaml", number, each)
        megabytes: list[float] = []
        seconds = [wall(lambda: megabytes.append(_peak_of_check(directory))) for _ in range(times)]
    count = f"{files * each:,} journeys"
    return [
        Row(what=f"dogfood check on {count}, s", ours=median(seconds), target=3.0),
        Row(what=f"dogfood check on {count}, most memory in MB", ours=max(megabytes), target=300.0),
    ]


def _peak_of_check(directory: Path) -> float:
    command = (sys.executable, "-m", "pytest_dogfood", "check", "--workers=8")
    told = call(sys.executable, "-ISc", PEAK, *command, cwd=directory)
    return int(told.split()[-1]) / MEGABYTE


def _write_journeys(path: Path, file: int, count: int) -> None:
    """Write chains of ten, so that there is something to place and to look for."""
    lines = ["journeys:"]
    for number in range(count):
        lines.append(f"  - id: j-{file}-{number}")
        if number % 10:
            lines.append(f"    requires: [t-{file}-{number - 1}]")
        lines += [f"    establishes: [t-{file}-{number}]", "    steps:", "      - run: echo hello"]
    path.write_text("\n".join(lines) + "\n")
