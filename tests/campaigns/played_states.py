"""Random projects whose steps are played, on real workers and in real states: thousands in an hour.

    python -m tests.campaigns.played_states FIRST COUNT [RULE]

Draws COUNT projects by the seeds from FIRST on, and runs each without workers and with 1, 2, 4 or 8
of them: some with workers that die, copies that fail, needs that are not declared, and second tries. Prints each
that is not as it should be, and ends with 1 if there was one. A RULE of tests/support/broken_rules.py is broken in
all of them, to see that it is noticed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.broken_rules import BROKEN
from tests.support.state_laws import StateTrial


def judged(
    seed: int, directory: Path, control: Callable[[], None] | None = None
) -> tuple[StateTrial, list[str]]:
    """Run a project with several numbers of workers, below a directory; return it, and what is wrong."""
    trial = StateTrial.draw(seed)
    found: list[str] = []
    first = None
    for workers in (0, trial.dice.choice([1, 2, 4, 8])):
        done = trial.run(workers, directory / f"{workers}", control)
        first = first or done
        wrong = list(trial.complaints(done, first))
        if wrong:
            found += [f"-n{workers}:", *(f"    {one}" for one in wrong)]
            found.append("    | " + " ".join(f"{e.what}:{e.who}:{e.where}" for e in done.events()))
    return trial, found


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(first: int, count: int, rule: str = "") -> int:
    """Draw and judge projects; return the number of those that were not as they should be."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - a directory that others cannot enter is made there
    bad, began = 0, time.monotonic()
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        root = Path(tempfile.mkdtemp(prefix="d", dir=shared_memory if shared_memory.is_dir() else None))
        try:
            trial, found = judged(seed, root, BROKEN.get(rule))
            faults = trial.faults
            named = {"deaths": faults.deaths, "full disks": faults.full, "undeclared needs": faults.reads}
            named |= {"second tries": faults.flaky, "states that cannot be copied": faults.stuck}
            seen.update(name for name, there in named.items() if there)
        except AssertionError:
            found = [traceback.format_exc()]
        if found:
            bad += 1
            say("\n".join([f"seed {seed}:", *found]))
        shutil.rmtree(root, ignore_errors=True)
        if (seed + 1 - first) % 500 == 0:
            say(f"{seed + 1 - first} projects so far, {time.monotonic() - began:.0f} s")
    told = ", ".join(f"{number} with {what}" for what, number in sorted(seen.items()))
    seconds = time.monotonic() - began
    say(f"{count} projects from seed {first} ({told}) in {seconds:.0f} s, {bad} not as they should be")
    return bad


if __name__ == "__main__":
    first, count, *rule = sys.argv[1:]
    sys.exit(main(int(first), int(count), *rule) > 0)
