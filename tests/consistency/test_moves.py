"""Deliberate moves: the only ones that let a task go back, and always with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_dogfood.consistency.hub.model import RefusedError, Status
from tests.consistency.machines import Desk, World, codes
from tests.support.checkouts import PLAN

Worlds = Callable[..., World]


@pytest.fixture
def made(world: Worlds) -> World:
    made = world(T1="done", T2="in_progress")
    made.create("X-T1", "done")
    made.create("X-T2", "in_progress")
    return made


@pytest.fixture
def desk(made: World) -> Desk:
    return made.desk("here")


def test_reopening_changes_the_hub_and_the_file_in_one_commit(made: World, desk: Desk) -> None:
    done = desk.reopen("X-T1", Status.IN_PROGRESS)
    assert (desk.task("X-T1").status, desk.task("X-T1").reopen_count) == ("in_progress", 1)
    assert desk.statuses()["X-T1"] == ("in_progress", 1)
    assert (
        desk.clone.git("show", "--no-patch", "--format=%B", done.commit)
        == b"chore(consistency): reopen X-T1\n\n"
    )
    assert desk.clone.out("show", "--format=", "--name-only", "HEAD") == PLAN
    (event,) = made.hub.events(regressions=True)
    assert (event.source, event.reason, event.from_status) == ("reopen", "because", "done")
    assert codes(desk.fix()) == []


def test_a_reopened_task_goes_on_and_may_be_reopened_again(desk: Desk) -> None:
    desk.reopen("X-T1")
    desk.edit("X-T1", "done")
    desk.commit()
    assert [each.fixed for each in desk.fix().findings] == [True]
    desk.reopen("X-T1")
    assert desk.statuses()["X-T1"] == ("todo", 2)
    assert codes(desk.fix()) == []


def test_a_stale_file_never_takes_a_reopen_back(made: World, desk: Desk) -> None:
    stale = made.desk("stale")
    desk.reopen("X-T1")
    assert codes(stale.fix()) == ["C-28"]
    assert desk.task("X-T1").status == "todo"
    assert desk.push()
    assert stale.pull()
    assert codes(stale.fix()) == []


def test_a_reopen_in_the_hub_alone_is_recorded_where_it_is_accepted(made: World, desk: Desk) -> None:
    head = desk.clone.head
    desk.reopen("X-T1", hub_only=True)
    assert (desk.clone.head, codes(desk.fix())) == (head, ["C-28"])
    done = desk.moves().accept(desk.task("X-T1"))
    assert (
        desk.clone.out("show", "--no-patch", "--format=%s", done.commit) == "chore(consistency): reopen X-T1"
    )
    assert desk.statuses()["X-T1"] == ("todo", 1)
    assert codes(desk.fix()) == []
    assert not desk.moves().accept(desk.task("X-T1")).commit
    assert len(made.hub.events(regressions=True)) == 1


def test_what_is_not_further_cannot_be_reopened(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="is not a reopen"):
        desk.reopen("X-T2", Status.BLOCKED)
    with pytest.raises(RefusedError, match="is in_progress in the hub already"):
        desk.reopen("X-T2", Status.IN_PROGRESS)


def behind(made: World, desk: Desk) -> None:
    other = made.desk("other")
    other.clone.commit("news\n", "README.md")
    assert other.push()
    del desk


def diverged(made: World, desk: Desk) -> None:
    behind(made, desk)
    desk.clone.commit("mine\n", "MINE.md")


def dirty(_made: World, desk: Desk) -> None:
    desk.edit("X-T2", "blocked")


def detached(_made: World, desk: Desk) -> None:
    desk.clone.git("checkout", "--quiet", "--detach")


def newer(_made: World, desk: Desk) -> None:
    desk.edit("X-T1", "todo", reopened=3)
    desk.commit()


def duplicated(_made: World, desk: Desk) -> None:
    desk.clone.commit(desk.clone.plan.read_text() + "\n```task\nid: X-T1\nstatus: done\n```\n")


def uneditable(_made: World, desk: Desk) -> None:
    desk.clone.commit(desk.clone.plan.read_text().replace("status: done", 'status: "don\\x65"'))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (behind, "C-14 checkout-not-current: Repo 'shop' is behind"),
        (diverged, "git pull --rebase"),
        (dirty, "uncommitted changes"),
        (detached, "C-32"),
        (newer, "does not have"),
        (duplicated, "C-25"),
        (uneditable, "plain or quoted word"),
    ],
)
def test_reopening_is_refused_before_anything_is_written(
    made: World, desk: Desk, spoil: Callable[[World, Desk], None], said: str
) -> None:
    spoil(made, desk)
    before = (made.hub.tasks(), made.hub.events(), desk.clone.head, desk.clone.plan.read_bytes())
    with pytest.raises(RefusedError, match=said):
        desk.reopen("X-T1")
    assert (made.hub.tasks(), made.hub.events(), desk.clone.head, desk.clone.plan.read_bytes()) == before


def test_a_reopen_whose_commit_fails_can_be_accepted_later(desk: Desk) -> None:
    desk.clone.hook("pre-commit", "exit 1")
    done = desk.reopen("X-T1")
    assert done.finding is not None
    assert done.finding.code == "C-33"
    assert (desk.task("X-T1").status, desk.statuses()["X-T1"]) == ("todo", ("done", 0))
    desk.clone.hook("pre-commit", "exit 0")
    assert desk.moves().accept(desk.task("X-T1")).commit
    assert codes(desk.fix()) == []


@pytest.fixture
def tied(desk: Desk) -> Desk:
    """The hub says done; the file says cancelled, which the hub has never heard of."""
    desk.edit("X-T1", "cancelled")
    desk.commit()
    assert codes(desk.fix()) == ["C-13"]
    return desk


def test_a_tie_is_settled_for_the_file(made: World, tied: Desk) -> None:
    tied.moves("it was dropped").resolve(tied.task("X-T1"), take_file=True)
    assert tied.task("X-T1").status == "cancelled"
    *_, last = made.hub.events(tied.task("X-T1").id)
    assert (last.source, last.reason) == ("resolve", "it was dropped")
    assert codes(tied.fix()) == []


def test_a_tie_is_settled_for_the_hub(made: World, tied: Desk) -> None:
    done = tied.moves().resolve(tied.task("X-T1"), take_file=False)
    assert "- X-T1: cancelled → done" in tied.clone.out("show", "--no-patch", "--format=%B", done.commit)
    assert tied.statuses()["X-T1"] == ("done", 0)
    assert len(made.hub.events()) == 2
    assert codes(tied.fix()) == []


def test_what_is_no_tie_is_not_settled(desk: Desk) -> None:
    desk.edit("X-T2", "done")
    desk.commit()
    for task_id in ("X-T1", "X-T2"):
        with pytest.raises(RefusedError, match="is not a tie"):
            desk.moves().resolve(desk.task(task_id), take_file=True)


def test_a_tie_is_not_settled_from_a_stale_checkout(made: World, tied: Desk) -> None:
    behind(made, tied)
    with pytest.raises(RefusedError, match="C-14"):
        tied.moves().resolve(tied.task("X-T1"), take_file=True)
    assert tied.task("X-T1").status == "done"


def test_a_tie_is_settled_for_a_file_that_git_does_not_know(made: World, tied: Desk) -> None:
    (tied.clone.path / ".git").rename(tied.clone.path / "git-of-before")
    tied.moves("it was dropped").resolve(tied.task("X-T1"), take_file=True)
    assert tied.task("X-T1").status == "cancelled"
    assert made.hub.events(tied.task("X-T1").id)[-1].repo_commit == ""


def test_what_needs_a_commit_says_that_there_is_no_work_tree(tied: Desk) -> None:
    (tied.clone.path / ".git").rename(tied.clone.path / "git-of-before")
    before = tied.clone.plan.read_bytes()
    with pytest.raises(
        RefusedError, match=r"C-31 git-unusable: no git work tree at the path of 'shop'.* never written"
    ):
        tied.moves().resolve(tied.task("X-T1"), take_file=False)
    with pytest.raises(RefusedError, match="C-31 git-unusable: no git work tree"):
        tied.reopen("X-T1")
    assert (tied.task("X-T1").status, tied.clone.plan.read_bytes()) == ("done", before)
