"""One fixer at a time in a checkout, and no lock outlives its process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.work_tree import LOCK_NAME, CheckoutLockedError, checkout_lock

HOLDER = """
import sys
from pathlib import Path
from pytest_dogfood.git.work_tree import checkout_lock
with checkout_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_that_nobody_holds_is_taken_and_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with checkout_lock(tmp_path, timeout=0) as path:
            assert path == tmp_path / LOCK_NAME


def test_who_waits_too_long_learns_what_is_in_the_way(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(CheckoutLockedError) as caught, checkout_lock(tmp_path, timeout=0.1):
        pass
    assert str(caught.value) == (
        f"another fix has held {tmp_path / LOCK_NAME} for longer than 0.1 s; "
        "run again once it is done, or wait longer: --lock-timeout SECONDS"
    )
    assert holder.poll() is None


def test_the_second_goes_on_as_soon_as_the_first_is_done(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    assert holder.stdin is not None
    threading.Timer(0.1, holder.stdin.close).start()
    with checkout_lock(tmp_path, timeout=20):
        assert holder.wait(20) == 0


def test_a_lock_is_free_when_its_holder_was_killed(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    with checkout_lock(tmp_path, timeout=20):
        assert (tmp_path / LOCK_NAME).exists()


def test_an_exception_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), checkout_lock(tmp_path):
        raise KeyError
    with checkout_lock(tmp_path, timeout=0):
        pass


def test_two_work_trees_have_two_locks(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with checkout_lock(tmp_path, timeout=0), checkout_lock(tmp_path / "other", timeout=0):
        pass


def test_the_file_stays_for_those_who_wait(tmp_path: Path) -> None:
    with checkout_lock(tmp_path):
        pass
    assert (tmp_path / LOCK_NAME).exists()


def test_a_directory_that_vanished_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot lock"), checkout_lock(tmp_path / "gone" / "dir"):
        pass


def test_a_lock_that_cannot_be_taken_is_reported(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).mkdir()
    with pytest.raises(HarnessError, match="cannot lock"), checkout_lock(tmp_path, timeout=1):
        pass
