"""Runs that signals end at chosen places and at random moments, judged by their log, their JUnit and their exit status.

    python -m tests.campaigns.signals [SECONDS [SEED]]

Draws cases for so many seconds (default 60), prints each that is not as it should be, and ends with 1 if there was one.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pytest_dogfood.execution import watcher
from tests.support.interruptions import Ended, Interruptions, send, send_later
from tests.support.live_projects import Live
from tests.support.waiting import until

CLEANED = {
    "in-step": ("cleaned in-step 9", "released chain-wide"),
    "in-stubborn-step": ("cleaned in-stubborn-step",),
    "in-provision": ("released incomplete built 7",),
    "in-replay": ("cleaned makes",),
    "in-release": ("cleaned in-release", "released let-go"),
    "in-fixture": ("cleaned slow", "cleaned in-fixture"),
    "test_sleeps": (),
    "test_swallows_once": (),
}
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Case(NamedTuple):
    """One interruption: `delay` counts from when the place is reached, or from the start if that is None."""

    place: str
    workers: str
    number: signal.Signals
    group: bool
    times: int
    delay: float
    at_place: bool


def draw(choose: random.Random) -> Case:
    at_place = choose.random() < 0.7
    return Case(
        place=choose.choice(list(CLEANED)),
        workers=choose.choice(["-n0", "-n2"]),
        number=choose.choice(NUMBERS),
        group=choose.random() < 0.5,
        times=choose.choice([1, 1, 2]),
        delay=choose.uniform(0, 1.2 if at_place else 8),
        at_place=at_place,
    )


def run(case: Case, runs: Interruptions) -> Ended:
    """Run the project once and interrupt it as the case says."""
    beside = case.workers == "-n2"
    started = runs.start("-k", f"{case.place} or beside" if beside else case.place, case.workers)
    if case.at_place:
        runs.wait_for("running", *(["beside"] if beside else []))
    time.sleep(case.delay)
    send(started, case.number, group=case.group)
    for _ in range(case.times - 1):
        send_later(started, case.number, group=case.group)
    return runs.end(started)


def complaints(case: Case, ended: Ended, running: Sequence[int]) -> Iterator[str]:
    """Yield everything that is not as it should be."""
    if running:
        yield f"processes go on: {running}"
    # While pytest itself starts, it answers Ctrl-C with a traceback.
    if "INTERNALERROR" in ended.text or (case.at_place and "Traceback (most recent" in ended.text):
        yield "an internal error, or a traceback"
    if ended.log.count("released machine-wide") > 1:
        yield "what the machine shares was released twice"
    if "released machine-wide" in ended.log and ended.log[-1] != "released machine-wide":
        yield "something was cleaned up after what the machine shares was released"
    if case.at_place:
        yield from _complaints_at_place(case, ended)
    elif ended.status not in {2, -case.number}:
        yield f"exit status {ended.status}"


def _complaints_at_place(case: Case, ended: Ended) -> Iterator[str]:
    # A second signal may come when everything has been written, and handlers were given back.
    if ended.status not in ({2} if case.times == 1 else {2, -case.number}):
        yield f"exit status {ended.status}"
    if case.place not in ended.told:
        yield "the item is not named in JUnit"
    if case.place not in [nodeid.partition("::")[2] for nodeid in ended.last_failed]:
        yield "the item is not among the last failed"
    if case.times > 1:
        return
    expected = (*CLEANED[case.place], *(["cleaned beside"] if case.workers == "-n2" else []))
    if sorted(ended.log[:-1]) != sorted(expected) or ended.log[-1:] != ["released machine-wide"]:
        yield f"expected {expected} and released machine-wide"


def _is_over(live: Live) -> bool:
    return not live.running()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(seconds: float = 60, seed: int | None = None) -> int:
    """Draw and judge cases; return the number of those that were not as they should be."""
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - a number to begin with
    choose = random.Random(seed)  # noqa: S311 - the same seed shall give the same cases
    deadline = time.monotonic() + seconds
    number = bad = 0
    while time.monotonic() < deadline:
        case = draw(choose)
        number += 1
        root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
        (root / "project").mkdir()
        live = Live(root / "project", root / "s")
        try:
            ended = run(case, Interruptions(live))
            until(partial(_is_over, live))  # workers whose controller was killed need some seconds
            found = list(complaints(case, ended, live.running()))
            found += [str(ended.log), ended.text] if found else []
        except (AssertionError, subprocess.TimeoutExpired) as error:
            found = [f"{type(error).__name__}: {error}"]
        finally:
            watcher.end_processes(live.marker, grace=0)
        if found:
            bad += 1
            say(f"seed {seed}, number {number}: {case}: {chr(10).join(found)}")
        shutil.rmtree(root, ignore_errors=True)
    say(f"{number} runs with seed {seed}, {bad} not as they should be")
    return bad


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
