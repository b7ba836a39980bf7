"""Whatever a user's git is told to do besides: a fix and a sync do what they say, and leave the rest alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pytest_dogfood.consistency.hub.location import read_settings_section
from pytest_dogfood.consistency.repository_findings import writeback_finding
from pytest_dogfood.consistency.task_findings import Finding
from pytest_dogfood.execution.watcher import survey as processes
from pytest_dogfood.git.command import FetchResult
from pytest_dogfood.git.commit import Reason
from tests.git.writebacks import follow
from tests.support.checkouts import PLAN, Checkout, Farm, remote_moves_on, survey


@pytest.fixture
def here(farm: Farm) -> Checkout:
    farm.origin()
    return farm.clone()


@pytest.mark.parametrize(
    "settings", [("pull.rebase", "rebase.autoStash"), ("merge.autoStash",), ("pull.rebase",)]
)
def test_a_pull_never_stashes_what_somebody_is_working_on(
    farm: Farm, here: Checkout, settings: tuple[str, ...]
) -> None:
    for name in settings:
        here.git("config", name, "true")
    remote_moves_on(farm)
    mine = here.plan.read_bytes() + b"my own line\n"
    here.write(mine)
    here.repository().pull()
    assert here.plan.read_bytes() == mine
    assert here.out("stash", "list") == ""
    assert "UU" not in here.out("status", "--porcelain")


def test_a_fetch_removes_no_tags_whatever_the_configuration_prunes(here: Checkout) -> None:
    here.git("tag", "mine")
    here.git("config", "fetch.prune", "true")
    here.git("config", "fetch.pruneTags", "true")
    assert survey(here).fetch.result is FetchResult.DONE
    assert here.out("tag", "--list") == "mine"


@pytest.mark.parametrize(
    "refspec",
    [
        "refs/heads/*:refs/heads/*",
        "+refs/heads/other:refs/heads/other",
        "refs/heads/other:refs/heads/theirs",
        "+refs/tags/*:refs/tags/*",
        "+refs/*:refs/*",
        "heads/other:heads/other",
    ],
)
@pytest.mark.parametrize("prune", ["true", "false"])
def test_a_fetch_moves_nothing_but_what_is_tracked(
    farm: Farm, here: Checkout, refspec: str, prune: str
) -> None:
    for name in ("other", "mine"):
        here.git("branch", name)
    here.git("tag", "seen")
    here.git("config", "--add", "remote.origin.fetch", refspec)
    here.git("config", "fetch.prune", prune)
    remote_moves_on(farm)
    first = farm.at("first")
    first.git("tag", "seen")
    first.git("push", "--quiet", str(farm.root / "origin.git"), "main:other", "seen")
    before = here.out("show-ref", "--heads", "--tags")
    found = survey(here)
    assert (found.fetch.result, found.condition.behind) == (FetchResult.DONE, 1)
    assert here.out("show-ref", "--heads", "--tags") == before
    assert here.out("rev-parse", "origin/other") == first.head


def test_what_is_excluded_from_a_fetch_stays_excluded(farm: Farm, here: Checkout) -> None:
    here.git("config", "--add", "remote.origin.fetch", "^refs/heads/other")
    farm.at("first").git("push", "--quiet", str(farm.root / "origin.git"), "main:other")
    assert survey(here).fetch.result is FetchResult.DONE
    assert not here.does("rev-parse", "--verify", "origin/other")


def test_a_mirror_that_tracks_nothing_is_not_fetched_and_that_is_said(here: Checkout) -> None:
    here.git("config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*")
    found = survey(here)
    assert found.fetch.result is FetchResult.FAILED
    assert "remote.origin.fetch leads to no remote-tracking branches" in found.fetch.detail


def test_who_answers_for_the_user_is_asked(farm: Farm, here: Checkout) -> None:
    answers = farm.root / "answers"
    answers.write_text(f"#!/bin/sh\necho asked >>{farm.root}/asked\necho secret\n")
    answers.chmod(0o755)
    here.git("config", "core.askPass", str(answers))
    # Git itself asks for what a credential needs, as it does for a remote.
    git = here.repository().git
    git.call_remote("credential", "fill", limit=5)
    filled = git.write("credential", "fill", stdin=b"protocol=https\nhost=nowhere.example\n\n")
    assert (filled.ok, "password=secret" in filled.text) == (True, True)


def test_files_of_others_that_look_like_ours_stay(here: Checkout) -> None:
    for name in (".dogfood-notes~", ".dogfood-writeback-notes~"):
        here.write("mine", f"workplans/{name}")
    assert follow(here).ok
    assert {path.name for path in here.plan.parent.glob(".dogfood*")} == {
        ".dogfood-notes~",
        ".dogfood-writeback-notes~",
    }


def test_where_the_file_is_not_as_it_was_nobody_says_that_it_is(here: Checkout) -> None:
    here.hook("pre-commit", f"echo more >>{PLAN}; exit 1")
    result = follow(here)
    said = writeback_finding(result, "shop", PLAN)
    assert result.reason is Reason.COMMIT_FAILED
    assert isinstance(said, Finding)
    assert said.message == "writeback failed: git did not commit"
    here.hook("pre-commit", "exit 1")
    here.git("checkout", "--quiet", "--", ".")
    again = writeback_finding(follow(here), "shop", PLAN)
    assert again is not None
    assert again.message == "writeback failed: git did not commit; the file was restored"


def test_a_lock_on_the_branch_is_named_with_its_age(here: Checkout) -> None:
    lock = here.path / ".git/refs/heads/main.lock"
    lock.touch()
    assert re.search(rf"{re.escape(str(lock))} \(for \d+ s\)", follow(here).detail)


def test_settings_in_a_pipe_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dogfood.yaml")
    assert read_settings_section(tmp_path, "hub") is None


PLANNED = "---\ntype: workplan\n---\n# Plan\n\n```task\nid: X-T1\nstatus: todo\n```\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_asked_to_end_leaves_files_in_order_and_no_git_alive(
    farm: Farm, here: Checkout, number: signal.Signals
) -> None:
    here.commit(PLANNED)
    here.git("push", "--quiet")
    name, value = "DOGFOOD_TEST_ENDS", str(uuid.uuid4())
    environment = {
        **here.environment,
        "DOGFOOD_DATA_DIR": str(farm.root / "data"),
        "DOGFOOD_HUB": str(farm.root / "hub.sqlite"),
        name: value,
    }
    program = (sys.executable, "-m", "pytest_dogfood")
    for words in ("hub init", "hub register .", "consistency fix", "hub set X-T1 done"):
        subprocess.run(
            [*program, *words.split()], cwd=here.path, env=environment, stdout=subprocess.DEVNULL, check=True
        )
    here.hook("pre-commit", f"touch {farm.root}/hook; exec sleep 300")
    fixing = subprocess.Popen(
        [*program, "consistency", "fix"], cwd=here.path, env=environment, stdout=subprocess.DEVNULL
    )
    while not (farm.root / "hook").exists():
        assert fixing.poll() is None
    fixing.send_signal(number)
    assert fixing.wait(60) == 130
    assert processes(f"{name}={value}")[1] == set()
    assert here.plan.read_text() == PLANNED
    assert here.out("status", "--porcelain") == ""
