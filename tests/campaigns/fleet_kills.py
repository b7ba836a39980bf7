"""Runs random projects on three real machines, does something to one of them, and compares with one machine alone.

    python -m tests.campaigns.fleet_kills FIRST COUNT

Each machine is in namespaces of its own where root may make them. For each seed it prints what was done and how it
ended; it exits with 1 if an outcome differed, an item was reported twice, or a process was left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from msgspec import Struct

from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.tables import make_tables
from tests.support.fleet_machines import LEASE, Fleet, fleet, wait_until
from tests.support.postgres import Server, server
from tests.support.run_results import Case, inherited, leaving_out, read_junit

Outcomes = Mapping[str, tuple[str, str]]


def project(dice: Random) -> dict[str, str]:
    """Return journeys in chains, some of which fail, with a token of the fleet that some of them need."""
    journeys: list[object] = []
    for chain in range(dice.randint(3, 6)):
        fails = dice.random() < 0.2
        journeys.append(
            {
                "id": f"build-{chain}",
                "establishes": [f"image-{chain}"],
                "steps": [{"run": f"sleep {dice.uniform(0.1, 0.8):.1f}; exit {3 * fails}"}],
            }
        )
        for use in range(dice.randint(1, 4)):
            needs = [f"image-{chain}", *(["staging"] if dice.random() < 0.4 else [])]
            run = f"sleep {dice.uniform(0.1, 0.8):.1f}; echo {chain}-{use} >> $NOTES; exit {int(dice.random() < 0.1)}"
            journeys.append({"id": f"use-{chain}-{use}", "requires": needs, "steps": [{"run": run}]})
    staging = {
        "scope": "fleet",
        "probe": "test -e $NOTES.site",
        "provision": [{"run": "sleep 0.5; echo provision >> $NOTES; touch $NOTES.site"}],
        "release": [{"run": "echo release >> $NOTES; rm -f $NOTES.site"}],
    }
    return {"a.journey.json": json.dumps({"capabilities": {"staging": staging}, "journeys": journeys})}


def alone(place: Path, files: Mapping[str, str]) -> Outcomes:
    """Return what the project comes to on one machine."""
    place.mkdir()
    for name, text in {**files, "pytest.ini": "[pytest]\ndogfood = true\n"}.items():
        (place / name).write_text(text)
    state = tempfile.mkdtemp(prefix="d", dir="/tmp")
    words = [
        *leaving_out((), "cacheprovider"),
        "-n",
        "2",
        "-o",
        f"dogfood_state_root={state}",
        "--junitxml=j.xml",
    ]
    environment = {**inherited(), "NOTES": str(place / "notes")}
    command = [sys.executable, "-m", "pytest", "-q", *words]
    subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False, timeout=300)
    shutil.rmtree(state, ignore_errors=True)
    return outcomes(read_junit(place / "j.xml"))


def outcomes(cases: Mapping[str, Case]) -> Outcomes:
    """Return kinds and messages; what follows a message's first line names paths and durations."""
    return {name: (case.kind, case.message.partition("\n")[0]) for name, case in cases.items()}


class Together(Struct, frozen=True):
    """A run under way on several machines."""

    made: Fleet
    database: Server
    dice: Random


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def nothing(_: Together) -> str:
    return "nothing"


def kill_machine(run: Together) -> str:
    run.dice.choice(run.made.machines[1:]).kill()
    return "a machine was killed"


def freeze_machine(run: Together) -> str:
    machine = run.dice.choice(run.made.machines[1:])
    machine.signal(signal.SIGSTOP)
    time.sleep(2 * LEASE)
    machine.signal(signal.SIGCONT)
    return "a machine was frozen for two leases"


def stop_database(run: Together) -> str:
    run.database.stop()
    time.sleep(run.dice.uniform(0, 3))
    run.database.start()
    return "the database was stopped for a moment"


ACTIONS: tuple[Callable[[Together], str], ...] = (
    kill_machine,
    kill_machine,
    freeze_machine,
    stop_database,
    nothing,
)


def play(seed: int, database: Server) -> list[str]:
    """Play one run; return what was not as it should be, after printing what was done."""
    dice = Random(seed)  # noqa: S311 - nothing here is a secret
    files, wrong = project(dice), []
    with tempfile.TemporaryDirectory(prefix="fleet", ignore_cleanup_errors=True) as name:
        root = Path(name)
        expected = alone(root / "alone", files)
        (root / "fleet").mkdir()
        with fleet(root / "fleet", database.url, files) as made:
            for _ in range(3):
                made.start(f"run-{seed}", namespaces=os.geteuid() == 0)
            wait_until(lambda: bool(made.noted()))
            time.sleep(dice.uniform(0, 4))
            what = dice.choice(ACTIONS)(Together(made, database, dice))
            statuses = [machine.process.wait(timeout=300) for machine in made.machines]
            junit = root / "all.xml"
            command = [
                sys.executable,
                "-m",
                "pytest_dogfood",
                "fleet",
                "close",
                made.name(f"run-{seed}"),
                "--junit",
                str(junit),
            ]
            environment = {**os.environ, "DOGFOOD_FLEET": database.url, "NOTES": str(made.notes)}
            place = made.machines[0].place / "checkout"
            end = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, check=False
            )
            seen = outcomes(read_junit(junit)) if junit.exists() else {}
            if seen != expected:
                differing = {one for one in {*seen, *expected} if seen.get(one) != expected.get(one)}
                wrong += [
                    f"{one}: alone {expected.get(one)}, together {seen.get(one)}" for one in sorted(differing)
                ]
            bad = int(any(kind in {"failure", "error"} for kind, _ in expected.values()))
            if statuses[0] != bad or end.returncode != bad:
                wrong.append(f"exit status {statuses} and {end.returncode}, not {bad}: {end.stderr}")
            counts = Counter(made.noted())
            if counts["release"] > 2 or (counts["provision"] and not counts["release"]):
                wrong.append(f"released {counts['release']} times, provisioned {counts['provision']} times")
            left = [pid for machine in made.machines for pid in machine.processes()]
            wrong += [f"processes are left: {left}"] if left else []
            say(f"seed {seed}: {what}; exit {statuses}; {'; '.join(wrong) or 'as it should be'}")
            if wrong:
                for machine in made.machines:
                    say(machine.text)
    return wrong


def main(first: int, count: int) -> int:
    with server() as database:
        connection = Connection(database.url)
        make_tables(connection)
        connection.close()
        failed = [seed for seed in range(first, first + count) if play(seed, database)]
    say(f"{count} runs, {len(failed)} not as they should be: {failed}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
