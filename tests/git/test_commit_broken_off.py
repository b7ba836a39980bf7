"""A full disk, an interrupt, or kill -9: the file holds the old bytes or the new ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pytest_dogfood.git.commit import Reason, write_back
from pytest_dogfood.git.tracked_file import FileState
from tests.git.writebacks import NEW, OLD, follow, request
from tests.support.checkouts import PLAN, Checkout, Farm
from tests.support.disks import largest_file, mounted


@pytest.fixture
def here(farm: Farm) -> Checkout:
    made = farm.checkout()
    made.git("config", "core.autocrlf", "false")
    made.commit(OLD)
    return made


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_where_nothing_more_can_be_written_everything_stays(here: Checkout, size: int) -> None:
    here.commit(OLD + b"x" * 3500)
    asked = request(here)
    repository = here.repository()
    repository.head()
    with largest_file(size):
        assert not write_back(repository, asked).ok
    assert here.plan.read_bytes() == asked.parsed
    assert here.head == asked.head
    assert here.git("status", "--porcelain") == b""


def test_on_a_full_disk_the_file_stays(here: Checkout) -> None:
    with mounted(here.plan.parent, "size=64k"):
        here.commit(OLD + b"x" * 20000)
        subprocess.run(["sh", "-c", "cat /dev/zero >filler 2>/dev/null"], cwd=here.plan.parent, check=False)
        asked = request(here)
        result = write_back(here.repository(), asked)
        assert (result.reason, "No space left" in result.detail) == (Reason.NOT_WRITTEN, True)
        assert here.plan.read_bytes() == asked.parsed
        assert [path.name for path in here.plan.parent.iterdir() if path.name.startswith(".dogfood")] == []
        assert here.head == asked.head


def test_in_a_directory_that_is_read_only_the_file_stays(here: Checkout) -> None:
    with mounted(here.plan.parent, "size=64k"):
        here.commit(OLD + b"x")
        subprocess.run(["mount", "-o", "remount,ro", here.plan.parent], check=True)
        result = follow(here)
        assert result.reason is Reason.NOT_WRITTEN
        assert here.plan.read_bytes() == OLD + b"x"


KILLED = """
import os, sys
from pathlib import Path
from pytest_dogfood.git.repository import Repository
from pytest_dogfood.git.commit import WritebackRequest, write_back
path = Path(sys.argv[1])
repository = Repository(path)
parsed = (path / sys.argv[2]).read_bytes()
edit = lambda: parsed.replace(b"todo", b"done")
head = repository.head()
asked = WritebackRequest(path=sys.argv[2], parsed=parsed, edit=edit, message="m", head=head)
write_back(repository, asked)
"""


@pytest.fixture
def writer(here: Checkout) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes back and waits for a hook, which ends when the test is over."""
    here.hook("pre-commit", "echo $$ >../hook; while test -e ../hook; do sleep 0.05; done")
    argv = [sys.executable, "-c", KILLED, str(here.path), PLAN]
    environment = {
        **here.environment,
        "TMPDIR": str(here.path.parent),
    }  # what it leaves there goes with the test
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE) as process:
        yield process
        (here.path.parent / "hook").unlink(missing_ok=True)
        process.kill()


def hook_runs(here: Checkout) -> bool:
    deadline = time.monotonic() + 20
    hook = here.path.parent / "hook"
    while not hook.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return hook.exists()


def test_a_writer_that_is_killed_leaves_a_file_with_changes(
    here: Checkout, writer: subprocess.Popen[bytes]
) -> None:
    tip = here.head
    assert hook_runs(here)
    writer.send_signal(signal.SIGKILL)
    writer.wait(20)
    assert (here.head, here.plan.read_bytes()) == (tip, NEW)
    result = write_back(here.repository(), request(here, edit=lambda old: old + b"x"))
    assert (result.reason, result.state) == (Reason.STATE, FileState.MODIFIED)


def test_a_writer_that_is_interrupted_puts_the_file_back(
    here: Checkout, writer: subprocess.Popen[bytes]
) -> None:
    tip = here.head
    assert hook_runs(here)
    writer.send_signal(signal.SIGINT)
    assert writer.wait(20) != 0
    assert (here.head, here.plan.read_bytes()) == (tip, OLD)
    assert here.git("status", "--porcelain") == b""
