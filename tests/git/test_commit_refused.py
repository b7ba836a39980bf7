"""Where hooks, signers or locks prevent a commit the file is put back; what they add is reported, not undone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pytest_dogfood.consistency.repository_findings import writeback_finding
from pytest_dogfood.consistency.task_findings import FindingSeverity
from pytest_dogfood.execution.watcher import alive
from pytest_dogfood.git.commit import (
    CommitOptions,
    EditRefusedError,
    Reason,
    Signing,
    WritebackResult,
    write_back,
)
from pytest_dogfood.git.tracked_file import FileState
from tests.git.writebacks import HURRY, NEW, OLD, changed_names, follow, request, to_done
from tests.support.checkouts import PLAN, Checkout, Farm


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
    finding = writeback_finding(result, "x", PLAN)
    assert finding is not None
    assert (finding.code, finding.reason, finding.severity) == ("C-14", "dirty", FindingSeverity.WARN)
    assert finding.message == "workplan has uncommitted changes — skipping writeback"
    assert here.plan.read_bytes() == b"mine: todo\n"


def test_a_link_is_left(here: Checkout) -> None:
    here.plan.rename(here.path / "real.md")
    here.plan.symlink_to("../real.md")
    result = follow(here)
    finding = writeback_finding(result, "x", PLAN)
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


def test_without_an_identity_the_file_is_put_back(untouched: Checkout) -> None:
    untouched.git("config", "--global", "--remove-section", "user")
    untouched.git("config", "user.useConfigOnly", "true")
    result = follow(untouched)
    assert result.reason is Reason.COMMIT_FAILED
    assert "Please tell me who you are" in result.detail
    finding = writeback_finding(result, "x", PLAN)
    assert finding is not None
    assert (finding.code, finding.severity, finding.fixed) == ("C-33", FindingSeverity.WARN, False)


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
    assert follow(here, limits=HURRY) == WritebackResult(commit=here.head)
    assert here.plan.read_bytes() == NEW
    assert here.git("status", "--porcelain") == b""


def test_a_hook_that_hangs_between_commit_and_index_does_no_harm(here: Checkout) -> None:
    here.hook("reference-transaction", 'test "$1" != committed || sleep 300')
    result = follow(here, limits=HURRY)
    assert result == WritebackResult(commit=here.head)
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
    assert "another program changed the file" in result.detail
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
    assert re.search(rf"{re.escape(str(lock))} \(for \d+ s\)", result.detail)
    assert lock.exists()
    lock.unlink()


def test_when_git_cannot_be_asked_any_more_the_file_is_put_back(
    here: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = here.path.parent / "tmp"
    place.mkdir()
    here.hook("pre-commit", f"rm -r {place}; exit 1")
    tip = here.head
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        result = follow(here)
    assert (result.reason, "cannot keep the output" in result.detail) == (Reason.COMMIT_FAILED, True)
    assert (here.head, here.plan.read_bytes()) == (tip, OLD)


def test_a_file_that_cannot_be_put_back_says_how_to_do_it(here: Checkout) -> None:
    here.hook("pre-commit", "mv workplans elsewhere; exit 1")
    result = follow(here)
    assert result.reason is Reason.COMMIT_FAILED
    assert f"git restore -- {here.plan}" in result.detail


def test_a_hook_that_commits_again_and_hangs_has_nothing_undone(here: Checkout) -> None:
    here.hook(
        "post-commit", "test -e ../done && exit; touch ../done; git commit -q --allow-empty -m x; sleep 300"
    )
    result = follow(here, limits=HURRY)
    assert (result.reason, result.commit) == (Reason.NOT_AS_INTENDED, here.head)
    assert here.plan.read_bytes() == NEW
