"""Random projects whose chains fall into parts, really run with several numbers of workers, with crashes and copies.

    python -m tests.campaigns.split_runs [FIRST [COUNT [WAYS]]]

Draws COUNT projects (default 20) by the seeds from FIRST on, prints each that is not as it should be, and ends with 1
if there was one. Each is run with 0 and 2 workers and with WAYS (default 1, most 3) of 1, 4 and 8; where all can be
made again, also with a worker that dies, and some with copies forbidden.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from pytest_dogfood.journey import JourneyId
from tests.support.random_files import Seen
from tests.support.split_runs import Trial, differences, is_forked, only_files

WORKERS = (0, 2, 1, 4, 8)


def judged(trial: Trial, ways: int) -> Iterator[str]:
    """Run a project with some numbers of workers and otherwise, and yield what is not as it should be."""
    first: dict[JourneyId, str] | None = None
    for workers in (*WORKERS[:2], *trial.dice.sample(WORKERS[2:], ways)):
        seen = trial.run(workers)
        histories = trial.histories(seen)
        first = histories if first is None else first
        found = [*trial.complaints(seen), *differences(first, histories)]
        yield from _told(f"-n{workers}", seen, found)
    if not only_files(trial.project.scene):
        return
    if trial.dice.random() < 0.5:
        seen = trial.run(2, "-odogfood_copy_limit=1")
        yield from _told("without copies", seen, list(trial.complaints(seen, once=False)))
    passing = sorted(one for one, outcome in trial.expected.items() if outcome == "passed")
    if passing:
        crashed = trial.dice.choice(passing)
        workers = trial.dice.choice(WORKERS[1:4])
        seen = trial.run(workers, crash=crashed)
        found = list(trial.complaints(seen, crashed=crashed))
        yield from _told(f"-n{workers}, where {crashed} kills its worker", seen, found)


def _told(how: str, seen: Seen, found: list[str]) -> Iterator[str]:
    if found:
        yield f"{how}, {' '.join(seen.arguments)}:"
        yield from (f"    {one}" for one in found)
        yield from (f"    | {line}" for line in seen.text.splitlines() if line.startswith("dogfood: "))
        yield "    | " + " ".join(f"{event.what}:{event.who}:{event.where}" for event in seen.log)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(first: int = 0, count: int = 20, ways: int = 1) -> int:
    """Draw and judge projects; return the number of those that were not as they should be."""
    bad = forked = 0
    for seed in range(first, first + count):
        root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
        try:
            trial = Trial.draw(seed, root)
            forked += is_forked(trial)
            found = list(judged(trial, ways))
        except (OSError, subprocess.TimeoutExpired, KeyError):
            found = [traceback.format_exc()]
        if found:
            bad += 1
            say("\n".join([f"seed {seed}:", *found]))
        shutil.rmtree(root, ignore_errors=True)
    say(f"{count} projects from seed {first}, {forked} with parts, {bad} not as they should be")
    return bad


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
