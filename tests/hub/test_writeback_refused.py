"""Where hooks, signers or locks prevent a commit the file is put back; what they add is reported, not undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_dogfood.hub.commits import CommitOptions
from pytest_dogfood.hub.commits import Signing
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.writeback import Reason
from pytest_dogfood.hub.writeback import Result
from pytest_dogfood.hub.writeback import write_back
from pytest_dogfood.watcher import alive
from tests.hub.checkouts import PLAN
from tests.hub.checkouts import Checkout
from tests.hub.checkouts import Farm
from tests.hub.following import HURRY
from tests.hub.following import NEW
from tests.hub.following import OLD
from tests.hub.following import changed_names
from tests.hub.following import follow
from tests.hub.following import request


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


def test_without_an_identity_the_file_is_put_back(untouched: Checkout) -> None:
    untouched.git("config", "--global", "--remove-section", "user")
    untouched.git("config", "user.useConfigOnly", "true")
    result = follow(untouched)
    assert result.reason is Reason.COMMIT_FAILED
    assert "Please tell me who you are" in result.detail
    finding = result.finding("x")
    assert finding is not None
    assert (finding.code, finding.severity, finding.fixed) == ("C-33", Severity.WARN, False)


def test_a_hook_that_fails_is_quoted_and_the_file_put_back(untouched: Checkout) -> None:
    untouched.hook("pre-commit", "seq 30 >&2; exit 1")
    result = follow(untouched)
    assert result.reason is Reason.COMMIT_FAILED
    assert result.detail.splitlines() == [str(number) for number in range(11, 31)]


def test_hooks_are_left_out_only_where_the_project_says_so(here: Checkout) -> None:
    here.hook("pre-commit", "exit 1")
    options = CommitOptions(no_verify=True)
    assert write_back(here.repository(), request(here), options=options).ok


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg", "prepare-commit-msg"])
def test_a_hook_that_hangs_is_ended_and_the_file_put_back(untouched: Checkout, hook: str) -> None:
    pids = untouched.path.parent / "pids"
    untouched.hook(hook, f"trap '' TERM; setsid sleep 300 & echo $! $$ >{pids}; sleep 300")
    result = follow(untouched, limits=HURRY)
    assert result.reason is Reason.TIMED_OUT
    assert "time limit" in result.detail
    assert [alive(int(pid), None) for pid in pids.read_text().split()] == [False, False]
    assert list((untouched.path / ".git").glob("*.lock")) == []


def test_a_hook_that_hangs_after_the_commit_does_no_harm(here: Checkout) -> None:
    here.hook("post-commit", "sleep 300")
    assert follow(here, limits=HURRY) == Result(path=PLAN, commit=here.head)
    assert here.plan.read_bytes() == NEW
    assert here.git("status", "--porcelain") == b""


def test_a_hook_that_hangs_between_commit_and_index_does_no_harm(here: Checkout) -> None:
    here.hook("reference-transaction", 'test "$1" != committed || sleep 300')
    result = follow(here, limits=HURRY)
    assert result == Result(path=PLAN, commit=here.head)
    assert here.git("status", "--porcelain") == b""


def test_a_hook_that_adds_files_is_reported_and_nothing_undone(here: Checkout) -> None:
    here.hook("pre-commit", "echo x >generated; git add generated")
    result = follow(here)
    assert (result.reason, result.commit) == (Reason.NOT_AS_INTENDED, here.head)
    assert "also changes generated" in result.detail
    assert here.plan.read_bytes() == NEW
    assert sorted(changed_names(here)) == [b"generated", PLAN.encode()]


def test_a_hook_that_rewrites_the_file_is_reported_and_nothing_undone(here: Checkout) -> None:
    here.hook("pre-commit", f"echo more >>{PLAN}; git add {PLAN}")
    result = follow(here)
    assert (result.reason, result.commit) == (Reason.NOT_AS_INTENDED, here.head)
    assert here.plan.read_bytes() == NEW + b"more\n"


def test_a_hook_that_rewrites_the_file_and_then_fails_keeps_what_it_wrote(here: Checkout) -> None:
    here.hook("pre-commit", f"echo more >>{PLAN}; exit 1")
    result = follow(here)
    assert result.reason is Reason.COMMIT_FAILED
    assert "somebody else changed the file" in result.detail
    assert here.plan.read_bytes() == NEW + b"more\n"


def test_a_hook_that_commits_again_is_reported_and_nothing_undone(here: Checkout) -> None:
    here.hook(
        "post-commit", "test -e done && exit; touch done; git commit -q --allow-empty -m more --no-verify"
    )
    result = follow(here)
    assert (result.reason, result.commit) == (Reason.NOT_AS_INTENDED, here.head)
    assert here.plan.read_bytes() == NEW


def test_a_hook_that_takes_the_commit_back_has_the_file_put_back(here: Checkout) -> None:
    tip = here.head
    here.hook("post-commit", "git reset -q HEAD~")
    assert follow(here).reason is Reason.COMMIT_FAILED
    assert (here.head, here.plan.read_bytes()) == (tip, OLD)


def signing(here: Checkout, script: str) -> None:
    program = here.path.parent / "gpg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    here.git("config", "commit.gpgSign", "true")
    here.git("config", "gpg.program", str(program))


def test_a_signer_that_fails_has_the_file_put_back(untouched: Checkout) -> None:
    signing(untouched, "echo no key >&2; exit 2")
    result = follow(untouched)
    assert result.reason is Reason.COMMIT_FAILED
    assert "sign" in result.detail


def test_a_signer_that_asks_is_ended_and_the_file_put_back(untouched: Checkout) -> None:
    signing(untouched, "sleep 300")
    assert follow(untouched, limits=HURRY).reason is Reason.TIMED_OUT


def test_signing_is_left_out_only_where_the_project_says_so(here: Checkout) -> None:
    signing(here, "exit 2")
    assert follow(here, sign=Signing.NEVER).ok


def test_a_lock_of_git_s_is_named_and_stays(untouched: Checkout) -> None:
    lock = untouched.path / ".git/index.lock"
    lock.touch()
    result = follow(untouched)
    assert result.reason is Reason.COMMIT_FAILED
    assert f"{lock} (for 0 s)" in result.detail
    assert lock.exists()
    lock.unlink()
