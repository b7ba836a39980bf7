"""What a checkout is like is measured, never guessed from what git says to people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.execution.watcher import alive
from pytest_dogfood.git.command import FetchResult, Limits, checked_out
from pytest_dogfood.git.work_tree import RepoState
from tests.support.checkouts import PLAN, Checkout, Farm, permissions, remote_moves_on, survey

HURRY = Limits(fetch=0.7, commit=20, other=20, grace=0.3)


@pytest.fixture
def here(farm: Farm) -> Checkout:
    """A clone of a remote with one commit."""
    farm.origin()
    return farm.clone()


def test_a_fresh_clone_is_up_to_date(here: Checkout) -> None:
    found = survey(here)
    assert found.condition.state is RepoState.UP_TO_DATE
    assert found.fetch.result is FetchResult.DONE
    assert (found.head, found.upstream_commit) == (here.head, here.head)
    assert (found.branch, found.upstream) == ("main", "refs/remotes/origin/main")
    assert permissions(found) == (True, True)


def test_ahead_only_is_not_behind(here: Checkout) -> None:
    here.commit("status: blocked\n")
    found = survey(here)
    assert (found.condition.state, found.condition.ahead) == (RepoState.AHEAD, 1)
    assert permissions(found) == (True, True)


def test_a_fetch_shows_that_the_remote_has_moved_on(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    found = survey(here)
    assert (found.condition.state, found.condition.behind) == (RepoState.BEHIND, 1)
    assert permissions(found) == (False, False)


def test_offline_what_was_last_fetched_decides(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    found = survey(here, offline=True)
    assert found.condition.state is RepoState.UP_TO_DATE
    assert found.fetch.result is FetchResult.NOT_TRIED


def test_both_sides_with_news_are_diverged(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    here.commit("status: blocked\n")
    found = survey(here)
    assert found.condition.state is RepoState.DIVERGED
    assert (found.condition.ahead, found.condition.behind) == (1, 1)
    assert permissions(found) == (False, False)


def test_a_branch_without_upstream_may_be_written(farm: Farm) -> None:
    alone = farm.checkout()
    alone.commit("x")
    found = survey(alone)
    assert found.condition.state is RepoState.NO_UPSTREAM
    assert found.fetch.result is FetchResult.NOT_TRIED
    assert permissions(found) == (True, True)


def test_a_vanished_upstream_is_none(here: Checkout) -> None:
    here.git("checkout", "-q", "-b", "topic", "--track", "origin/main")
    here.git("config", "branch.topic.merge", "refs/heads/gone")
    found = survey(here)
    assert (found.condition.state, found.upstream_commit) == (RepoState.NO_UPSTREAM, "")
    assert found.fetch.result is FetchResult.DONE


def test_a_local_upstream_is_not_fetched(here: Checkout) -> None:
    here.git("checkout", "-q", "-b", "topic", "--track", "main")
    here.git("branch", "-f", "main", here.commit("status: done\n"))
    here.git("reset", "-q", "--hard", "HEAD~")
    found = survey(here)
    assert (found.condition.state, found.condition.behind) == (RepoState.BEHIND, 1)
    assert found.fetch.result is FetchResult.NOT_TRIED


def test_a_remote_that_vanished_leaves_the_last_known_state(farm: Farm, here: Checkout) -> None:
    (farm.root / "origin.git").rename(farm.root / "elsewhere")
    found = survey(here)
    assert found.condition.state is RepoState.UP_TO_DATE
    assert found.fetch.result is FetchResult.FAILED
    assert "origin.git" in found.fetch.detail


def test_behind_stays_behind_when_the_remote_vanishes(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    here.git("fetch", "-q")
    (farm.root / "origin.git").rename(farm.root / "elsewhere")
    assert survey(here).condition.state is RepoState.BEHIND


def test_a_remote_that_hangs_is_given_up_and_nothing_of_it_lives(farm: Farm, here: Checkout) -> None:
    ssh = farm.root / "ssh"
    ssh.write_text(f"#!/bin/sh\ntrap '' TERM\nsetsid sleep 300 & echo $! $$ >{farm.root}/pids\nsleep 300\n")
    ssh.chmod(0o755)
    here.git("remote", "set-url", "origin", "ssh://nowhere.invalid/x.git")
    found = here.having(GIT_SSH_COMMAND=str(ssh)).repository(HURRY).survey()
    assert found.condition.state is RepoState.UP_TO_DATE
    assert found.fetch.result is FetchResult.TIMED_OUT
    pids = (farm.root / "pids").read_text().split()
    assert [alive(int(pid), None) for pid in pids] == [False, False]
    assert found.locks == ()


def test_a_remote_whose_name_is_an_option_is_not_asked(here: Checkout) -> None:
    here.git("config", "branch.main.remote", "--upload-pack=touch owned;x")
    here.git("config", "remote.--upload-pack=touch owned;x.fetch", "+refs/heads/*:refs/remotes/origin/*")
    found = survey(here)
    assert found.fetch.result in {FetchResult.FAILED, FetchResult.NOT_TRIED}
    assert not (here.path / "owned").exists()


def test_a_fetch_moves_nothing_but_remote_tracking_refs(farm: Farm, here: Checkout) -> None:
    here.write("mine")
    here.git("add", PLAN)
    here.write("mine, later")
    farm.at("origin.git").git("tag", "v1")
    remote_moves_on(farm)
    mine = {path: path.read_bytes() for path in (here.path / ".git/index", here.plan)}
    refs = here.out("for-each-ref", "refs/heads", "refs/tags")
    survey(here)
    assert {path: path.read_bytes() for path in mine} == mine
    assert here.out("for-each-ref", "refs/heads", "refs/tags") == refs
    assert not (here.path / ".git/FETCH_HEAD").exists()


def test_a_shallow_clone_is_judged_by_its_counts(farm: Farm) -> None:
    farm.origin()
    remote_moves_on(farm)
    shallow = farm.clone("shallow", "--depth=1")
    found = survey(shallow)
    assert (found.condition.state, found.shallow) == (RepoState.UP_TO_DATE, True)
    remote_moves_on(farm)
    assert survey(shallow).condition.state is RepoState.BEHIND
    assert shallow.repository().root_commits() == ()


def test_without_a_common_ancestor_the_counts_decide(here: Checkout) -> None:
    here.git("checkout", "-q", "--orphan", "new")
    here.commit("status: done\n")
    here.git("branch", "-q", "-M", "new", "main")
    here.git("branch", "-q", "--set-upstream-to=origin/main")
    assert survey(here).condition.state is RepoState.DIVERGED


def test_a_detached_head_lets_only_the_hub_be_written(here: Checkout) -> None:
    here.git("checkout", "-q", "--detach")
    found = survey(here)
    assert (found.condition.state, found.branch, found.head) == (RepoState.DETACHED, "", here.head)
    assert permissions(found) == (True, False)


def test_a_branch_without_commits_lets_only_the_hub_be_written(farm: Farm) -> None:
    found = survey(farm.checkout())
    assert (found.condition.state, found.head, found.branch) == (RepoState.UNBORN, "", "main")
    assert permissions(found) == (True, False)


def two_sides(here: Checkout) -> None:
    here.git("checkout", "-q", "-b", "side")
    here.commit("status: blocked\n")
    here.git("checkout", "-q", "main")
    here.commit("status: done\n")


def amail(here: Checkout) -> None:
    (here.path.parent / "patch").write_bytes(here.git("format-patch", "-1", "--stdout", "side"))
    here.git("am", "-q", str(here.path.parent / "patch"), ok=False)


def bisection(here: Checkout) -> None:
    here.git("bisect", "start")


OPERATIONS: dict[str, Callable[[Checkout], object]] = {
    "a merge": lambda here: here.git("merge", "-q", "side", ok=False),
    "a rebase": lambda here: here.git("rebase", "-q", "side", ok=False),
    "a rebase by patches": lambda here: here.git("rebase", "-q", "--apply", "side", ok=False),
    "a cherry-pick": lambda here: here.git("cherry-pick", "side", ok=False),
    "a revert": lambda here: here.git("revert", "--no-edit", "HEAD~", ok=False),
    "applying patches (git am)": amail,
    "a bisection": bisection,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_during_an_operation_nothing_is_written(farm: Farm, name: str) -> None:
    here = farm.checkout()
    here.commit("status: todo\n")
    two_sides(here)
    here.commit("status: cancelled\n")
    OPERATIONS[name](here)
    found = survey(here)
    assert found.condition.state is RepoState.IN_OPERATION
    assert name.startswith(found.condition.detail)
    assert permissions(found) == (False, False)


def test_locks_of_git_are_reported_and_stay(here: Checkout) -> None:
    locks = [here.path / ".git/index.lock", here.path / ".git/refs/heads/main.lock"]
    for lock in locks:
        lock.touch()
    (here.path / ".git/dogfood-consistency.lock").touch()
    found = survey(here)
    assert [lock.path for lock in found.locks] == locks
    assert all(lock.exists() for lock in locks)
    assert re.search(r"\.git/index\.lock \(for \d+ s\)$", str(found.locks[0]))


def test_what_was_measured_can_be_put_into_json(here: Checkout) -> None:
    shown = survey(here).to_json()
    assert json.loads(json.dumps(shown)) == {
        "state": "up_to_date",
        "ahead": 0,
        "behind": 0,
        "head": here.head,
        "branch": "main",
        "upstream": "refs/remotes/origin/main",
        "shallow": False,
        "fetch": {"result": "done", "remote": "origin", "detail": ""},
        "locks": [],
    }


def test_the_fetch_is_made_as_documented(farm: Farm, here: Checkout) -> None:
    trace = farm.root / "trace"
    survey(here, GIT_TRACE=str(trace))
    line = next(line for line in trace.read_text().splitlines() if "built-in: git fetch " in line)
    assert line.partition("built-in: ")[2] == (
        "git fetch --quiet --no-tags --no-prune-tags --no-recurse-submodules --no-write-fetch-head --refmap= origin "
        "'+refs/heads/*:refs/remotes/origin/*'"
    )


def test_offline_no_remote_is_asked(farm: Farm, here: Checkout) -> None:
    trace = farm.root / "trace"
    survey(here, offline=True, GIT_TRACE=str(trace))
    assert "git fetch" not in trace.read_text()


def test_what_is_checked_out_is_a_commit_and_whether_tracked_files_differ(here: Checkout) -> None:
    (here.path / "new.txt").write_text("nobody tracks this")
    assert checked_out(here.path) == (here.head, False)
    (here.path / PLAN).write_text("other")
    assert checked_out(here.path) == (here.head, True)


def test_before_the_first_commit_and_outside_of_git_nothing_is_checked_out(
    farm: Farm, tmp_path: Path
) -> None:
    assert checked_out(farm.checkout().path) == ("", False)
    (tmp_path / "bare").mkdir()
    assert checked_out(tmp_path / "bare") == ("", False)
