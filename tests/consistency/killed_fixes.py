"""Kills a fix before each of its writes, and at each moment of its git, and tells what was found afterwards.

python -m tests.consistency.killed_fixes: prints a line of JSON for each death, in the order of the writes.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.histories import clear_up
from tests.consistency.history_environments import Stage, own_stages
from tests.consistency.history_workplans import edited, entries_in, path_of
from tests.consistency.invariants import LEFT, Follower, Picture, require
from tests.consistency.killed_processes import MOMENTS, Moment, dies
from tests.consistency.machines import Desk, codes

NEWS, LATE = "B-T1", "A-T1"
"""A task of which the file is ahead, and one of which the hub is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found after a death: did the hub have the news, the file the status, a commit, the hub its record?

    `next_fix` are the codes of a fix right afterwards. After it somebody clears up, and one more fix does the rest.
    """

    at: str
    in_hub: bool
    in_file: bool
    committed: bool
    recorded: bool
    next_fix: tuple[str, ...]

    @property
    def reached(self) -> str:
        """Name the last of the writes that is there."""
        there = (self.in_hub, self.in_file, self.committed, self.recorded)
        require([*there] == sorted(there, reverse=True), f"a write without those before: {self}")
        return ("nothing", "the hub", "the file", "the commit", "the record")[sum(there)]

    @classmethod
    def from_json(cls, line: str) -> Found:
        values = json.loads(line)
        return cls(**{**values, "next_fix": tuple(values["next_fix"])})


def _prepare(stage: Stage) -> Desk:
    desk = stage.desks[0]
    desk.fix()
    desk.set(LATE, "done")
    path = desk.clone.path / path_of(NEWS)
    path.write_bytes(edited(path.read_bytes(), NEWS, "done"))
    desk.commit()
    require(desk.push(), "cannot push")
    desk.hub.close()
    return desk


def _deaths(stage: Stage, desk: Desk) -> Iterator[Found]:
    prepared = desk.clone.path.with_name("prepared")
    shutil.copytree(desk.clone.path, prepared / "clone", symlinks=True)
    hub = Path(stage.url.removeprefix("sqlite:///"))
    shutil.copy(hub, prepared / "hub")
    for number in itertools.count(1):
        if (found := _found(stage, desk, number)) is None:
            break
        yield found
        _restore(prepared, desk.clone.path, hub)
    for moment in MOMENTS:
        _restore(prepared, desk.clone.path, hub)
        if (found := _found(stage, desk, moment)) is not None:
            yield found


def _restore(prepared: Path, clone: Path, hub: Path) -> None:
    shutil.rmtree(clone)
    shutil.copytree(prepared / "clone", clone, symlinks=True)
    for more in ("-wal", "-shm"):
        hub.with_name(hub.name + more).unlink(missing_ok=True)
    shutil.copy(prepared / "hub", hub)


def _found(stage: Stage, desk: Desk, when: int | Moment) -> Found | None:
    follower = Follower(stage.url)
    follower.read()
    before = Picture.of(desk.clone)
    desk.hub.close()  # as in histories
    death = dies(lambda: _alone(stage, desk), desk.clone.path, when)
    if not death:
        return None
    after = Picture.of(desk.clone)
    before.require_only_statuses_differ(after, died=True)
    found = Found(
        at=death,
        in_hub=follower.read()[NEWS].status == "done",
        in_file=entries_in(desk.clone.path)[LATE].status == "done",
        committed=before.head != after.head,
        recorded=bool(desk.hub.writebacks()),
        next_fix=tuple(codes(desk.fix())),
    )
    require(not [*desk.clone.path.rglob(LEFT)], f"a temporary file is left after {death} and a fix")
    clear_up(desk.clone)
    desk.clone.git("restore", "--staged", "--worktree", ".")
    desk.fix()
    require(entries_in(desk.clone.path) == follower.read(), f"no agreement after {death}")
    require(not desk.check().findings, f"something is left after {death}")
    require(desk.clone.out("rev-list", "--count", "@{upstream}..") == "1", f"not one commit after {death}")
    follower.read_log()
    follower.close()
    desk.hub.close()
    return found


def _alone(stage: Stage, desk: Desk) -> None:
    with Hub.open(stage.url) as hub:
        replace(desk, hub=hub).fix()


def main() -> None:
    with own_stages() as stages, stages.stage(1) as stage:
        for found in _deaths(stage, _prepare(stage)):
            sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
