"""Random projects whose chains fall into parts, really run with several numbers of workers, with crashes and copies.

    python -m tests.campaigns.split_runs [FIRST [COUNT [WAYS]]]

Draws COUNT projects (default 20) by the seeds from FIRST on, prints each that is not as it should be, and ends with 1
if there was one. Each is run with 0 and 2 workers and with WAYS (default 1, most 3) of 1, 4 and 8; where all can be
made again, also with a worker that dies, some with copies forbidden, and where root can mount one on a small disk that
has no room for all copies. In some journeys need what they do not declare.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from pytest_dogfood.journey import JourneyId
from tests.support.disks import mounted
from tests.support.random_files import Seen
from tests.support.split_runs import Trial, differences, is_forked, only_files

WORKERS = (0, 2, 1, 4, 8)

_IS_FULL = re.compile(r"No space left|\d bytes are needed, and |the disk that holds .* is full")
_BY_HARNESS = re.compile(r" is (error|deferred), and not ")

FULL: list[bool] = []
"""For each run on a small disk, whether a copy failed there."""


def judged(trial: Trial, ways: int) -> Iterator[str]:
    """Run a project with some numbers of workers and otherwise, and yield what is not as it should be."""
    first: dict[JourneyId, str] | None = None
    outcomes: dict[str, str] | None = None
    for workers in (*WORKERS[:2], *trial.dice.sample(WORKERS[2:], ways)):
        seen = trial.run(workers)
        histories = trial.histories(seen)
        first = histories if first is None else first
        found = [*trial.complaints(seen), *differences(first, histories)]
        yield from _told(f"-n{workers}", seen, found)
        outcomes = seen.outcomes if outcomes is None else outcomes
        if outcomes != seen.outcomes:
            other = {one for one in outcomes if outcomes[one] != seen.outcomes.get(one)}
            yield from _told(f"-n{workers}", seen, [f"other outcomes: {sorted(other)}"])
    if trial.project.reads or not only_files(trial.project.scene):
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
    if trial.dice.random() < 0.5 and not os.geteuid():
        yield from _on_small_disk(trial)


def _on_small_disk(trial: Trial) -> Iterator[str]:
    """Run a project on a disk that becomes full by copies: then the harness may have errors, but nothing else."""
    trial.project.before_each(
        'cd "$DOGFOOD_STATE"; [ -e big ] || [ "$(df --output=avail -k . | tail -n 1)" -lt 2000 ] || '
        "head -c 1500000 /dev/urandom >big || rm -f big"
    )
    with mounted(trial.project.directory / "s", "size=3m"):
        seen = trial.run(trial.dice.choice(WORKERS), "-v")
        FULL.append(_IS_FULL.search(seen.text) is not None)
        found = trial.complaints(seen, once=False)
        if FULL[-1]:
            found = (one for one in found if not _BY_HARNESS.search(one))
        yield from _told("on a small disk", seen, list(found))


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
    bad = forked = reading = 0
    for seed in range(first, first + count):
        root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
        try:
            trial = Trial.draw(seed, root)
            forked += is_forked(trial)
            reading += bool(trial.project.reads)
            found = list(judged(trial, ways))
        except (OSError, subprocess.TimeoutExpired, KeyError):
            found = [traceback.format_exc()]
        if found:
            bad += 1
            say("\n".join([f"seed {seed}:", *found]))
        shutil.rmtree(root, ignore_errors=True)
    disks = f"{sum(FULL)} of {len(FULL)} small disks were full"
    undeclared = f"{reading} with undeclared needs"
    say(
        f"{count} projects from seed {first}, {forked} with parts, {undeclared}, {disks}: {bad} not as they should be"
    )
    return bad


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
