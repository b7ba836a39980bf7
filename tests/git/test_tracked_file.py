"""A workplan follows the hub only where a commit of it would hold exactly our change."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pytest_dogfood.git.command import GitError
from pytest_dogfood.git.tracked_file import FileState, FileStatus
from tests.support.checkouts import PLAN, Checkout, Farm


def examined(here: Checkout, name: str = PLAN) -> FileStatus:
    repository = here.repository()
    return repository.file(name).status()


def state(here: Checkout, name: str = PLAN) -> FileState:
    return examined(here, name).state


@pytest.fixture
def here(farm: Farm) -> Checkout:
    made = farm.checkout()
    made.commit("status: todo\n")
    return made


def conflicted(here: Checkout) -> None:
    here.git("checkout", "-q", "-b", "side")
    here.commit("theirs")
    here.git("checkout", "-q", "main")
    here.commit("ours")
    here.git("merge", "-q", "side", ok=False)


def linked(here: Checkout) -> None:
    here.plan.rename(here.path / "real.md")
    here.plan.symlink_to("../real.md")


def linked_directory(here: Checkout) -> None:
    here.plan.parent.rename(here.path / "real")
    here.plan.parent.symlink_to("real")


def directory(here: Checkout) -> None:
    here.plan.unlink()
    here.plan.mkdir()


def pipe(here: Checkout) -> None:
    here.plan.unlink()
    os.mkfifo(here.plan)


def ignored(here: Checkout) -> None:
    here.git("rm", "-q", "--cached", PLAN)
    here.write("*.md\n", ".gitignore")


STATES: dict[str, tuple[Callable[[Checkout], object], FileState]] = {
    "looked at": (lambda here: here.git("status"), FileState.CLEAN),
    "touched": (lambda here: os.utime(here.plan, (1, 1)), FileState.CLEAN),
    "changed": (lambda here: here.write("x"), FileState.MODIFIED),
    "deleted": (lambda here: here.plan.unlink(), FileState.MODIFIED),
    "made executable": (lambda here: here.plan.chmod(0o755), FileState.MODIFIED),
    "staged": (lambda here: (here.write("x"), here.git("add", PLAN)), FileState.STAGED),
    "staged and put back": (
        lambda here: (here.write("x"), here.git("add", PLAN), here.write("status: todo\n")),
        FileState.STAGED,
    ),
    "removed from the index": (lambda here: here.git("rm", "-q", "--cached", PLAN), FileState.UNTRACKED),
    "ignored": (ignored, FileState.IGNORED),
    "conflicted": (conflicted, FileState.CONFLICTED),
    "assumed unchanged": (
        lambda here: here.git("update-index", "--assume-unchanged", PLAN),
        FileState.HIDDEN,
    ),
    "left out": (lambda here: here.git("update-index", "--skip-worktree", PLAN), FileState.HIDDEN),
    "a link": (linked, FileState.SYMLINK),
    "behind a link": (linked_directory, FileState.SYMLINK),
    "a directory": (directory, FileState.NOT_A_FILE),
    "a pipe": (pipe, FileState.NOT_A_FILE),
    "in another repository": (lambda here: here.git("init", "-q", "workplans"), FileState.FOREIGN),
}


@pytest.mark.parametrize("name", STATES)
def test_a_file_is_seen_as_what_it_is(here: Checkout, name: str) -> None:
    change, expected = STATES[name]
    change(here)
    assert state(here) is expected


def test_a_file_that_was_only_announced_is_staged(here: Checkout) -> None:
    here.write("x", "new.md")
    here.git("add", "--intent-to-add", "new.md")
    assert state(here, "new.md") is FileState.STAGED


def test_a_new_file_is_staged(here: Checkout) -> None:
    here.write("x", "new.md")
    here.git("add", "new.md")
    assert state(here, "new.md") is FileState.STAGED


def test_a_file_in_a_submodule_belongs_to_that(farm: Farm, here: Checkout) -> None:
    farm.checkout("inner").commit("x", "plan.md")
    here.git("-c", "protocol.file.allow=always", "submodule", "-q", "add", str(farm.root / "inner"), "sub")
    here.git("commit", "-qm", "sub")
    assert state(here, "sub/plan.md") is FileState.FOREIGN
    here.git("submodule", "-q", "deinit", "-f", "sub")
    here.write("x", "sub/plan.md")
    assert state(here, "sub/plan.md") is FileState.FOREIGN


@pytest.mark.parametrize("name", ["../elsewhere.md", "/etc/passwd", "a/../../b.md"])
def test_a_path_that_leads_out_is_foreign(here: Checkout, name: str) -> None:
    assert state(here, name) is FileState.FOREIGN


@pytest.mark.parametrize("ours", ["true", "false", "input"])
@pytest.mark.parametrize("stored", [b"a\nb\n", b"a\r\nb\r\n", b"a\r\nb\n"])
def test_line_ends_that_git_converts_are_no_change(here: Checkout, ours: str, stored: bytes) -> None:
    here.git("config", "core.autocrlf", "false")
    here.commit(stored)
    here.git("config", "core.autocrlf", ours)
    here.plan.unlink()
    here.git("checkout", "-q", "--", PLAN)
    assert state(here) is FileState.CLEAN


@pytest.mark.parametrize(
    "attributes", ["eol=crlf", "text eol=crlf", "text=auto eol=crlf", "-text", "text=auto"]
)
def test_attributes_for_line_ends_are_followed(here: Checkout, attributes: str) -> None:
    here.commit(f"*.md {attributes}\n", ".gitattributes")
    here.plan.unlink()
    here.git("checkout", "-q", "--", PLAN)
    assert state(here) is FileState.CLEAN


def test_line_ends_that_a_commit_would_convert_are_a_change(here: Checkout) -> None:
    here.commit(b"a\r\nb\r\n")
    here.write("*.md text\n", ".gitattributes")
    assert state(here) is FileState.MODIFIED


def test_a_filter_is_applied_before_comparing(here: Checkout) -> None:
    here.git("config", "filter.loud.clean", "tr A-Z a-z")
    here.git("config", "filter.loud.smudge", "tr a-z A-Z")
    here.commit("*.md filter=loud\n", ".gitattributes")
    here.plan.unlink()
    here.git("checkout", "-q", "--", PLAN)
    assert here.plan.read_bytes() == b"STATUS: TODO\n"
    assert state(here) is FileState.CLEAN
    here.write("STATUS: DONE\n")
    assert state(here) is FileState.MODIFIED


def test_a_filter_that_fails_is_reported(here: Checkout) -> None:
    here.git("config", "filter.bad.clean", "false")
    here.git("config", "filter.bad.required", "true")
    here.write("*.md filter=bad\n", ".gitattributes")
    with pytest.raises(GitError, match="hash-object"):
        state(here)


def test_where_modes_do_not_count_they_are_not_compared(here: Checkout) -> None:
    here.git("config", "core.fileMode", "false")
    here.plan.chmod(0o755)
    assert state(here) is FileState.CLEAN


NAMES = [
    "a b.md",
    "-rf.md",
    "--all",
    "ü €.md",
    "*.md",
    "[a-z]?.md",
    ":(top)x.md",
    "a\nb\tc.md",
    '"q".md',
    "\udcff.md",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_only_itself(here: Checkout, name: str) -> None:
    here.commit("x", "z.md")
    here.write("dirty", "z.md")
    here.write("x", name)
    assert state(here, name) is FileState.UNTRACKED
    here.commit("x", name)
    assert state(here, name) is FileState.CLEAN
    here.write("y", name)
    assert state(here, name) is FileState.MODIFIED


@pytest.mark.usefixtures("here")
def test_a_directory_within_the_work_tree_may_be_the_registered_one(farm: Farm) -> None:
    assert state(farm.at("here/workplans"), "X-WP-0001.md") is FileState.CLEAN


def test_looking_changes_nothing_in_the_repository(here: Checkout) -> None:
    os.utime(here.plan, (1, 1))
    before = {path: path.stat().st_mtime_ns for path in here.path.rglob("*")}
    state(here)
    assert {path: path.stat().st_mtime_ns for path in here.path.rglob("*")} == before


def test_git_s_own_environment_does_not_mislead(farm: Farm, here: Checkout) -> None:
    other = farm.checkout("other")
    repository = here.having(GIT_DIR=str(other.path / ".git"), GIT_INDEX_FILE="x").repository()
    assert repository.file(PLAN).status().state is FileState.CLEAN
