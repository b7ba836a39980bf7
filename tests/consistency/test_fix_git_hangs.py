"""Wherever a git of fix hangs: it is given up, nothing of it lives on, and the rest of the run goes on."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from pytest_dogfood.execution.watcher import survey
from tests.consistency.machines import Desk, World, finding
from tests.support.checkouts import Checkout

HANG = "setsid sleep 300 & sleep 300"
LIMITS = "consistency: {fetch_timeout: 600ms, commit_timeout: 900ms, git_timeout: 2s}\n"


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what every process that fix starts carries in its environment."""
    value = str(uuid.uuid4())
    monkeypatch.setenv("DOGFOOD_TEST_HANGS", value)
    return f"DOGFOOD_TEST_HANGS={value}"


def remote(clone: Checkout, program: str) -> None:
    clone.git("config", "core.sshCommand", program)
    clone.git("remote", "set-url", "origin", "ssh://nowhere/shop.git")


def content_filter(clone: Checkout, program: str) -> None:
    clone.git("config", "filter.slow.clean", program)
    clone.write("*.md filter=slow\n", ".git/info/attributes")


def signer(clone: Checkout, program: str) -> None:
    clone.git("config", "commit.gpgSign", "true")
    clone.git("config", "gpg.program", program)


def watched_files(clone: Checkout, program: str) -> None:
    clone.git("config", "core.fsmonitor", program)


def hook(name: str) -> Callable[[Checkout, str], None]:
    return lambda clone, program: clone.hook(name, f"exec {program}")


@pytest.mark.parametrize(
    "hangs, code, reason",
    [
        pytest.param(content_filter, "C-33", "unreadable", id="filter"),
        pytest.param(hook("pre-commit"), "C-33", "timed_out", id="pre-commit"),
        pytest.param(hook("reference-transaction"), "C-33", "timed_out", id="reference-transaction"),
        pytest.param(watched_files, "C-33", "unreadable", id="fsmonitor"),
        pytest.param(signer, "C-33", "timed_out", id="signer"),
    ],
)
def test_a_git_that_hangs_is_given_up_and_nothing_of_it_lives_on(
    both: tuple[World, Desk], mark: str, hangs: Callable[[Checkout, str], None], code: str, reason: str
) -> None:
    _, desk = both
    hangs(desk.clone, hanging(desk))
    before, head = desk.clone.plan.read_bytes(), desk.clone.head
    report = desk.fix()
    assert survey(mark)[1] == set()
    assert finding(report, code=code).reason == reason
    assert finding(report, "X-F").fixed
    assert (desk.clone.plan.read_bytes(), desk.clone.head) == (before, head)


@pytest.mark.parametrize("pull", [False, True])
def test_a_remote_that_hangs_is_given_up_and_nothing_of_it_lives_on(
    both: tuple[World, Desk], mark: str, *, pull: bool
) -> None:
    _, desk = both
    remote(desk.clone, hanging(desk))
    report = desk.fix(pull=pull)
    assert survey(mark)[1] == set()
    assert report.git["fetch"]["result"] == "timed_out"  # type: ignore[index]
    assert all(each.fixed for each in report.findings)


def hanging(desk: Desk) -> str:
    """Limit the time of git, and give a program that never ends, and leaves a child where no group reaches it."""
    desk.clone.commit(LIMITS, "dogfood.yaml")
    program = desk.clone.path.with_name("hangs")
    program.write_text(f"#!/bin/sh\n{HANG}\n")
    program.chmod(0o755)
    return str(program)
