"""A file follows the hub by one commit of that file alone, or everything stays as it was."""

from __future__ import annotations

import os
import stat
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pytest_dogfood.consistency.repository_findings import writeback_finding
from pytest_dogfood.git.commit import StatusChange, WritebackResult, sync_message, write_back
from pytest_dogfood.git.work_tree import RepoState
from tests.git.writebacks import MESSAGE, NEW, OLD, changed_names, follow, request, to_done
from tests.support.checkouts import PLAN, Checkout, Farm


@pytest.fixture
def here(farm: Farm) -> Checkout:
    made = farm.checkout()
    made.git("config", "core.autocrlf", "false")
    made.commit(OLD)
    return made


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
    assert result == WritebackResult(commit=here.head)
    assert writeback_finding(result, "x", PLAN) is None
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
    assert follow(here) == WritebackResult()
    assert here.head == tip


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_stays(here: Checkout, mode: int) -> None:
    here.plan.chmod(mode)
    here.git("commit", "-qam", "mode", ok=False)
    assert follow(here).ok
    assert stat.S_IMODE(here.plan.stat().st_mode) == mode
    assert here.git("status", "--porcelain") == b""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_stays(here: Checkout) -> None:
    os.chown(here.plan, 1234, 1234)
    assert follow(here).ok
    assert (here.plan.stat().st_uid, here.plan.stat().st_gid) == (1234, 1234)


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


FROM_A_HOOK = """
from pathlib import Path
from pytest_dogfood.git.repository import Repository
from tests.git.writebacks import to_done
from pytest_dogfood.git.commit import WritebackRequest, write_back
path = Path({path!r})
repository = Repository(path)
survey = repository.survey()
parsed = (path / {plan!r}).read_bytes()
asked = WritebackRequest(path={plan!r}, parsed=parsed, edit=lambda: to_done(parsed), message="m", head=survey.head)
result = write_back(repository, asked)
Path({report!r}).write_text(survey.condition.state + " " + result.commit)
"""


@pytest.mark.parametrize("name", ["here", "other"])
def test_started_by_a_hook_it_acts_on_the_repository_it_is_told(
    farm: Farm, here: Checkout, name: str
) -> None:
    other = farm.checkout("other")
    other.commit(OLD)
    target = farm.at(name)
    report = farm.root / "report"
    script = farm.root / "script.py"
    script.write_text(FROM_A_HOOK.format(path=str(target.path), plan=PLAN, report=str(report)))
    here.hook("post-commit", f"test -e ../once && exit; touch ../once; {sys.executable} {script}")
    here.having(PYTHONPATH=str(Path(__file__).parents[2])).commit("x", "unrelated")
    assert report.read_text() == f"no_upstream {target.head}"
    assert changed_names(target) == [PLAN.encode()]
    assert target.git("status", "--porcelain") == b""


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
