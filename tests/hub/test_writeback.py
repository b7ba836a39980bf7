"""A file follows the hub by one commit of that file alone, or everything stays as it was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_dogfood.hub.commits import StatusChange
from pytest_dogfood.hub.commits import sync_message
from pytest_dogfood.hub.conditions import FileState
from pytest_dogfood.hub.conditions import RepoState
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.rewriting import EditRefusedError
from pytest_dogfood.hub.writeback import Reason
from pytest_dogfood.hub.writeback import Result
from pytest_dogfood.hub.writeback import write_back
from tests.hub.checkouts import PLAN
from tests.hub.checkouts import Checkout
from tests.hub.checkouts import Farm
from tests.hub.following import MESSAGE
from tests.hub.following import NEW
from tests.hub.following import OLD
from tests.hub.following import changed_names
from tests.hub.following import follow
from tests.hub.following import request
from tests.hub.following import to_done


@pytest.fixture
def here(farm: Farm) -> Checkout:
    made = farm.checkout()
    made.git("config", "core.autocrlf", "false")
    made.commit(OLD)
    return made


@pytest.fixture
def untouched(here: Checkout) -> Iterator[Checkout]:
    """A checkout which, after the test, must have the commit, the bytes and the index it had before."""
    before = (here.head, here.plan.read_bytes(), here.git("ls-files", "-s"))
    yield here
    assert (here.head, here.plan.read_bytes(), here.git("ls-files", "-s")) == before
    assert here.git("status", "--porcelain") == b""


def test_the_message_is_exactly_this() -> None:
    changes = [
        StatusChange(task_id="A-T2", old="todo", new="done"),
        StatusChange(task_id="A-T1", old="x", new="y"),
    ]
    assert sync_message(changes, date(2026, 2, 3)) == (
        "chore(consistency): sync task status from DB [auto]\n"
        "\n"
        "Updated by fix-consistency on 2026-02-03:\n"
        "- A-T2: todo → done\n"
        "- A-T1: x → y\n"
    )


def test_one_commit_changes_one_file_in_what_was_edited(here: Checkout) -> None:
    parent = here.head
    result = follow(here)
    assert result == Result(path=PLAN, commit=here.head)
    assert here.plan.read_bytes() == here.git("cat-file", "blob", f"HEAD:{PLAN}") == NEW
    assert here.out("rev-list", "--parents", "-n1", "HEAD").split() == [here.head, parent]
    assert changed_names(here) == [PLAN.encode()]
    assert here.git("status", "--porcelain") == b""
    assert here.git("cat-file", "commit", "HEAD").partition(b"\n\n")[2] == MESSAGE.encode()
    assert b"encoding" not in here.git("cat-file", "commit", "HEAD")


def test_the_message_stays_whole_whatever_is_configured(here: Checkout) -> None:
    here.git("config", "i18n.commitEncoding", "ISO-8859-1")
    here.git("config", "commit.cleanup", "verbatim")
    here.git("config", "core.commentChar", "-")
    here.git("config", "commit.verbose", "true")
    assert follow(here).ok
    assert here.git("cat-file", "commit", "HEAD").partition(b"\n\n")[2] == MESSAGE.encode()


def test_all_other_work_stays_as_it_is(here: Checkout) -> None:
    for name in ("staged", "both", "changed", "deleted", "renamed"):
        here.commit("old", name)
    here.write("new", "staged")
    here.write("new", "both")
    here.write("new", "added")
    here.git("add", "staged", "both", "added")
    here.git("mv", "renamed", "moved")
    here.write("newer", "both")
    here.write("new", "changed")
    here.write("new", "untracked")
    (here.path / "deleted").unlink()
    status = here.git("status", "--porcelain", "-z")
    index = here.git("ls-files", "-s", "--", ":!workplans")
    assert follow(here).ok
    assert here.git("status", "--porcelain", "-z") == status
    assert here.git("ls-files", "-s", "--", ":!workplans") == index
    assert changed_names(here) == [PLAN.encode()]


def test_a_second_time_there_is_nothing_to_do(here: Checkout) -> None:
    follow(here)
    tip = here.head
    assert follow(here) == Result(path=PLAN)
    assert here.head == tip


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_stays(here: Checkout, mode: int) -> None:
    here.plan.chmod(mode)
    here.git("commit", "-qam", "mode", ok=False)
    assert follow(here).ok
    assert stat.S_IMODE(here.plan.stat().st_mode) == mode
    assert here.git("status", "--porcelain") == b""


NAMES = [
    "a b.md",
    "-rf.md",
    "ü €.md",
    "*.md",
    "[a-z]?.md",
    ":(top)x.md",
    ":!x.md",
    "a\nb\tc.md",
    '"q".md',
    "\udcff.md",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_only_itself(here: Checkout, name: str) -> None:
    here.commit(OLD, name)
    here.write("changed", PLAN)
    assert follow(here, name=name).ok
    assert changed_names(here) == [os.fsencode(name)]
    assert here.plan.read_bytes() == b"changed"


@pytest.mark.parametrize("stored", [b"a: todo\nb\n", b"a: todo\r\nb\r\n", b"a: todo\r\nb\n"])
@pytest.mark.parametrize("ours", ["true", "input"])
def test_with_converted_line_ends_only_the_status_changes(here: Checkout, ours: str, stored: bytes) -> None:
    here.commit(stored)
    here.git("config", "core.autocrlf", ours)
    here.plan.unlink()
    here.git("checkout", "-q", "--", PLAN)
    mine = here.plan.read_bytes()
    assert follow(here).ok
    assert here.plan.read_bytes() == to_done(mine)
    assert here.git("cat-file", "blob", f"HEAD:{PLAN}") == to_done(stored)
    assert here.git("status", "--porcelain") == b""


def test_a_filter_of_the_user_is_respected(here: Checkout) -> None:
    here.git("config", "filter.loud.clean", "tr A-Z a-z")
    here.git("config", "filter.loud.smudge", "tr a-z A-Z")
    here.commit("*.md filter=loud\n", ".gitattributes")
    here.commit(b"x: TODO\n")
    result = write_back(here.repository(), request(here, edit=lambda old: old.replace(b"TODO", b"DONE")))
    assert result.ok
    assert here.plan.read_bytes() == b"x: DONE\n"
    assert here.git("cat-file", "blob", f"HEAD:{PLAN}") == b"x: done\n"


def test_a_filter_that_hides_the_change_is_noticed_before(untouched: Checkout) -> None:
    untouched.git("config", "filter.same.clean", "sed s/done/todo/")
    untouched.write("*.md filter=same\n", ".git/info/attributes")
    result = follow(untouched)
    assert (result.reason, "filter" in result.detail) == (Reason.REFUSED, True)


def test_a_filter_that_fails_stops_it(untouched: Checkout) -> None:
    untouched.git("config", "filter.bad.clean", "grep todo")
    untouched.git("config", "filter.bad.required", "true")
    attributes = untouched.write("*.md filter=bad\n", ".git/info/attributes")
    result = follow(untouched)
    attributes.unlink()
    assert not result.ok


def test_a_file_that_is_not_as_it_was_parsed_is_left(here: Checkout) -> None:
    asked = request(here)
    here.commit("newer\n")
    assert write_back(here.repository(), asked).reason is Reason.CHANGED
    assert here.plan.read_bytes() == b"newer\n"


def test_a_file_that_vanished_is_reported(here: Checkout) -> None:
    asked = request(here)
    here.plan.unlink()
    assert write_back(here.repository(), asked).reason is Reason.UNREADABLE


def test_an_edit_that_is_refused_leaves_everything(untouched: Checkout) -> None:
    def refuse(old: bytes) -> bytes:
        raise EditRefusedError(PLAN, f"{len(old)} bytes are too many")

    result = write_back(untouched.repository(), request(untouched, edit=refuse))
    assert (result.reason, "too many" in result.detail) == (Reason.REFUSED, True)


def test_uncommitted_changes_are_left(here: Checkout) -> None:
    here.write(b"mine: todo\n")
    result = follow(here)
    assert (result.reason, result.state) == (Reason.STATE, FileState.MODIFIED)
    finding = result.finding("x")
    assert finding is not None
    assert (finding.code, finding.reason, finding.severity) == ("C-14", "dirty", Severity.WARN)
    assert finding.message == "workplan has uncommitted changes — skipping writeback"
    assert here.plan.read_bytes() == b"mine: todo\n"


def test_a_link_is_left(here: Checkout) -> None:
    here.plan.rename(here.path / "real.md")
    here.plan.symlink_to("../real.md")
    result = follow(here)
    finding = result.finding("x")
    assert finding is not None
    assert (finding.code, finding.reason) == ("C-33", "symlink")
    assert (here.path / "real.md").read_bytes() == OLD


def test_after_a_commit_of_somebody_else_nothing_is_written(here: Checkout) -> None:
    asked = request(here)
    here.commit("x", "other")
    assert write_back(here.repository(), asked).reason is Reason.HEAD_MOVED
    assert here.plan.read_bytes() == OLD


def test_an_editor_that_saves_meanwhile_wins(here: Checkout) -> None:
    def saving(old: bytes) -> bytes:
        here.write(b"saved\n")
        return to_done(old)

    assert write_back(here.repository(), request(here, edit=saving)).reason is Reason.CHANGED
    assert here.plan.read_bytes() == b"saved\n"


def test_in_a_hook_of_another_repository_the_commit_is_made_here(farm: Farm, here: Checkout) -> None:
    other = farm.checkout("other")
    other.commit("x")
    tip = other.head
    index = str(other.path / ".git/index")
    repository = here.having(
        GIT_DIR=str(other.path / ".git"), GIT_INDEX_FILE=index, GIT_PREFIX="x/"
    ).repository()
    assert write_back(repository, request(here)).ok
    assert (other.head, changed_names(here)) == (tip, [PLAN.encode()])


def test_in_a_linked_work_tree_only_its_branch_moves(farm: Farm, here: Checkout) -> None:
    here.git("worktree", "add", "-q", "../side")
    tip = here.head
    side = farm.at("side")
    assert follow(side).ok
    assert (here.head, here.plan.read_bytes()) == (tip, OLD)
    assert changed_names(side) == [PLAN.encode()]


def test_a_registered_directory_within_the_work_tree_works(farm: Farm, here: Checkout) -> None:
    assert follow(farm.at("here/workplans"), name="X-WP-0001.md").ok
    assert changed_names(here) == [PLAN.encode()]


def test_file_after_file_each_has_its_commit(here: Checkout) -> None:
    here.commit(OLD, "workplans/second.md")
    repository = here.repository()
    first = write_back(repository, request(here))
    second = write_back(repository, request(here, "workplans/second.md"))
    assert here.out("rev-list", "-n2", "HEAD").splitlines() == [second.commit, first.commit]
    assert repository.survey(offline=True).condition.state is RepoState.NO_UPSTREAM


LINES = st.lists(st.binary(max_size=12), max_size=6).map(b"\r\n".join) | st.binary(max_size=60)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=LINES, after=LINES, ours=st.sampled_from(["true", "input", "false"]))
def test_every_commit_has_one_path_and_one_parent_and_changes_what_was_edited(
    here: Checkout, before: bytes, after: bytes, ours: str
) -> None:
    here.git("config", "core.autocrlf", ours)
    here.commit(before + b"status: todo\n" + after)
    here.plan.unlink()
    here.git("checkout", "-q", "--", PLAN)
    parent, mine = here.head, here.plan.read_bytes()
    stored = here.git("cat-file", "blob", f"HEAD:{PLAN}")
    changed = write_back(
        here.repository(), request(here, edit=lambda old: old.replace(b"status: todo", b"status: done"))
    )
    assert changed.ok
    assert here.plan.read_bytes() == mine.replace(b"status: todo", b"status: done")
    assert here.git("cat-file", "blob", f"HEAD:{PLAN}") == stored.replace(b"status: todo", b"status: done")
    assert here.out("rev-list", "--parents", "-n1", "HEAD").split() == [changed.commit, parent]
    assert changed_names(here) == [PLAN.encode()]
    assert here.git("status", "--porcelain") == b""


def test_git_is_called_as_documented(here: Checkout) -> None:
    trace = here.path.parent / "trace"
    assert write_back(here.having(GIT_TRACE=str(trace)).repository(), request(here)).ok
    line = next(line for line in trace.read_text().splitlines() if "built-in: git commit" in line)
    assert line.partition("built-in: ")[2] == (
        f"git commit --only --quiet --cleanup=whitespace -F - -- {PLAN}"
    )
