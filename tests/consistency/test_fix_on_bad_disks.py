"""Fix where a write fails: at each step the rest of the run is said or goes on, and the next fix does what is left."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytest_dogfood.consistency.fix import fix
from pytest_dogfood.consistency.hub.model import HubUnreachable
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.task_findings import Finding
from pytest_dogfood.diagnostics import HarnessError
from tests.consistency.machines import Desk, World, ahead_of_both, codes, finding, state
from tests.support.checkouts import PLAN, Farm
from tests.support.disks import READ_ONLY, itself, largest_file, mounted, read_only

Worlds = Callable[..., World]
FILL = "cat /dev/zero >{}/filler 2>/dev/null"


@pytest.fixture
def desk(both: tuple[World, Desk]) -> Desk:
    return both[1]


def is_untouched(desk: Desk, before: bytes) -> bool:
    """Return whether the workplan is as it was, committed, and without anything beside it."""
    here = [path.name for path in desk.clone.plan.parent.iterdir()]
    return (desk.clone.plan.read_bytes(), desk.clone.git("status", "--porcelain"), here) == (
        before,
        b"",
        [desk.clone.plan.name],
    )


def held_back(desk: Desk, code: str) -> Finding:
    """Fix where the file cannot follow; see that the hub follows all the same, and that nothing else changes."""
    before, head = desk.clone.plan.read_bytes(), desk.clone.head
    report = desk.fix()
    assert (finding(report, "X-F").fixed, finding(report, "X-W").fixed) == (True, False)
    assert is_untouched(desk, before)
    assert desk.clone.head == head
    return finding(report, code=code)


def test_a_workplan_that_cannot_be_replaced_stays(desk: Desk) -> None:
    with itself(desk.clone.plan):
        said = held_back(desk, "C-33")
    assert (said.reason, "busy" in said.hint) == ("not_written", True)
    assert finding(desk.fix()).fixed


@pytest.mark.parametrize("part", ["objects", "refs", "logs"])
def test_where_git_cannot_write_the_workplan_is_put_back(desk: Desk, part: str) -> None:
    with read_only(desk.clone.path / ".git" / part):
        said = held_back(desk, "C-33")
    assert (said.reason, "Read-only file system" in said.hint) == ("commit_failed", True)
    assert finding(desk.fix()).fixed


def test_where_no_lock_can_be_taken_the_repository_is_skipped(desk: Desk) -> None:
    before = state(desk)
    with read_only(desk.clone.path / ".git"):
        said = finding(desk.fix())
        assert (said.code, said.reason) == ("C-36", "no_lock")
        assert "make the git directory writable" in said.message
    assert state(desk) == before
    assert all(each.fixed for each in desk.fix().findings)


def test_a_workplan_that_cannot_be_put_back_is_said_with_the_cure(desk: Desk) -> None:
    with itself(desk.clone.plan.parent):
        desk.clone.hook("pre-commit", f"mount -o {READ_ONLY} workplans; exit 1")
        head = desk.clone.head
        said = finding(desk.fix(), code="C-33")
    cure = f"git restore -- {desk.clone.plan}"
    assert (said.reason, cure in said.hint) == ("commit_failed", True)
    assert (desk.clone.head, desk.statuses()["X-W"][0]) == (head, "done")
    (desk.clone.path / ".git/hooks/pre-commit").unlink()
    desk.clone.git(*cure.split()[1:])
    assert finding(desk.fix()).fixed


@pytest.fixture
def small(plain_git: Farm, tmp_path: Path) -> Iterator[tuple[World, Desk, Path]]:
    """A hub on a disk of its own, which has little room."""
    place = tmp_path / "small"
    place.mkdir()
    with mounted(place, "size=2m"):
        hub, _ = Hub.create(f"sqlite:///{place}/hub.sqlite")
        with hub:
            made = World.of(plain_git, hub, {"X-F": "done", "X-W": "todo"})
            desk = ahead_of_both(made)
            # As long as somebody has the hub open its log is there: only what is new needs room.
            with closing(sqlite3.connect(place / "hub.sqlite")) as somebody:
                somebody.execute("SELECT * FROM tasks").fetchall()
                yield made, desk, place


def test_a_hub_without_room_ends_the_run_and_no_file_is_touched(small: tuple[World, Desk, Path]) -> None:
    made, desk, place = small
    before, head = desk.clone.plan.read_bytes(), desk.clone.head
    reports = fix(made.hub, made.hub.checkouts("here"), desk.fix_options())
    subprocess.run(["sh", "-c", FILL.format(place)], check=False)
    report = next(reports)
    with pytest.raises(HubUnreachable, match="full"):
        next(reports)
    assert not any(each.fixed for each in report.findings)
    assert is_untouched(desk, before)
    assert desk.clone.head == head
    (place / "filler").unlink()
    assert all(each.fixed for each in desk.fix().findings)


def test_a_hub_without_room_for_the_record_of_a_writeback_leaves_nothing_to_do(
    small: tuple[World, Desk, Path],
) -> None:
    made, desk, place = small
    desk.clone.hook("post-commit", FILL.format(place))
    reports = fix(made.hub, made.hub.checkouts("here"), desk.fix_options())
    report = next(reports)
    with pytest.raises(HubUnreachable, match="full"):
        next(reports)
    assert finding(report, "X-W").commit == desk.clone.head
    (place / "filler").unlink()
    assert codes(desk.fix()) == []


def test_however_little_can_be_written_nothing_is_lost_and_with_more_the_rest_is_done(
    both: tuple[World, Desk],
) -> None:
    made, desk = both
    old = desk.clone.plan.read_bytes()
    new = old.replace(b"id: X-W\nstatus: todo", b"id: X-W\nstatus: done")
    desk.hub.close()  # so that each fix opens it under the limit
    for size in (0, 200, 33_000, 40_000, 50_000, 70_000, 100_000, 1_000_000):
        with largest_file(size):
            try:
                desk.fix()
            except (HubUnreachable, HarnessError):
                assert size < 1_000_000
        committed = desk.clone.git("cat-file", "blob", f"HEAD:{PLAN}")
        assert (desk.clone.plan.read_bytes(), committed) in {(old, old), (new, new)}
        assert not made.hub.events(regressions=True)
    assert desk.clone.plan.read_bytes() == new
    assert codes(desk.check()) == []
