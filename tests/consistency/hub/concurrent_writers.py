"""Writers that race for the tasks of one hub: real processes, forked from one that has imported everything.

python concurrent_writers.py URL PROCESSES once|endless [unguarded]

prints the processes' ids, one a line, and waits for them.
"""

from __future__ import annotations

import os
import random
import sys

from sqlalchemy import literal

from pytest_dogfood.consistency.hub import store
from pytest_dogfood.consistency.hub.model import Machine, Source, Stamp, Status, parse_status
from pytest_dogfood.consistency.hub.store import Hub


def main(url: str, processes: int, how: str, *, guarded: bool) -> int:
    if not guarded:
        vars(store)["rank"] = lambda _status: literal(-1)  # lower than all: the database refuses nothing
    writers = []
    for number in range(processes):
        writer = os.fork()
        if not writer:
            _write(url, number, endless=how == "endless")
            os._exit(0)
        writers.append(writer)
    print(*writers, sep="\n", flush=True)  # noqa: T201 - this is what the test reads
    return max(os.waitpid(writer, 0)[1] for writer in writers)


def _write(url: str, number: int, *, endless: bool) -> None:
    stale = random.Random(number)  # noqa: S311 - no secret
    machine = Machine(id=f"machine-{number}", host="host")
    stamp = Stamp(machine=machine, actor="writer", source=Source.FILE)
    with Hub.open(url) as hub:
        keys = [task.id for task in hub.tasks()]
        rounds = 0
        while endless or rounds == 0:
            rounds += 1
            for key in stale.sample(keys, len(keys)):
                _push(hub, key, stale.choice(list(Status)), stamp, reopening=endless)


def _push(hub: Hub, key: str, wanted: Status, stamp: Stamp, *, reopening: bool) -> None:
    for _ in range(3):
        seen = hub.task(key)
        if seen is None or parse_status(seen.status) is wanted:
            return
        if hub.move_forward(seen, wanted, stamp=stamp):
            return
        if reopening:
            why = Stamp(machine=stamp.machine, actor="writer", source=Source.REOPEN, reason="again")
            hub.reopen(seen, Status.TODO, stamp=why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], guarded=sys.argv[4:] != ["unguarded"]))
