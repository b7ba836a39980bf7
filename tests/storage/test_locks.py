from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.locks import LockTable

HOLDS = """\
import subprocess, sys
from pathlib import Path
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.locks import LockTable

table = LockTable(Path(sys.argv[1]))
with table.holding(sys.argv[2]):
    child = subprocess.Popen(["sleep", "300"])
    print(child.pid, flush=True)
    if not sys.argv[3:]:
        input()
    for name in sys.argv[3:]:
        try:
            with table.holding(name):
                print("has", name, flush=True)
        except HarnessError as error:
            print(error, flush=True)
"""


@pytest.fixture
def table(tmp_path: Path) -> LockTable:
    return LockTable(tmp_path / "locks")


@contextmanager
def somebody(path: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock, or ask for others while it does; it has a child of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        subprocess.run(["kill", "-9", child.strip()], check=False, stderr=subprocess.DEVNULL)
        process.communicate()


def is_free(path: Path, name: str) -> bool:
    """Ask from outside, as the process itself has no way to be in its own way."""
    code = "import sys, fcntl; from pathlib import Path; from pytest_dogfood.storage.locks import _byte_of\n"
    code += "with open(sys.argv[1], 'r+b') as file:\n"
    code += "    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(sys.argv[2]))"
    return (
        subprocess.run(
            [sys.executable, "-c", code, str(path), name], stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


def test_a_lock_is_held_until_the_outermost_block_ends(table: LockTable, tmp_path: Path) -> None:
    free = []
    with table.holding("a"):
        with table.holding("a"):
            free.append(is_free(tmp_path / "locks", "a"))
        free.append(is_free(tmp_path / "locks", "a"))
    free.append(is_free(tmp_path / "locks", "a"))
    assert free == [False, False, True]


def test_a_lock_is_given_back_where_the_block_fails(table: LockTable, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), table.holding("a"):
        raise ZeroDivisionError
    assert is_free(tmp_path / "locks", "a")


def test_threads_take_turns_and_leave_nothing_locked(table: LockTable, tmp_path: Path) -> None:
    inside: list[int] = []
    seen: list[int] = []

    def hold(number: int) -> None:
        with table.holding("a"), table.holding("a"):
            inside.append(number)
            time.sleep(0.02)
            seen.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(8)))
    assert seen == [1] * 8
    assert is_free(tmp_path / "locks", "a")


def test_another_name_is_another_lock(table: LockTable, tmp_path: Path) -> None:
    with somebody(tmp_path / "locks", "a"), table.holding("b"):
        assert not is_free(tmp_path / "locks", "a")
        assert not is_free(tmp_path / "locks", "b")


def test_who_waits_has_the_lock_as_soon_as_its_holder_dies_whatever_children_it_leaves(
    table: LockTable, tmp_path: Path
) -> None:
    with somebody(tmp_path / "locks", "a") as process:
        assert not is_free(tmp_path / "locks", "a")
        process.send_signal(signal.SIGKILL)
        with table.holding("a"):
            assert not is_free(tmp_path / "locks", "a")


def test_those_who_wait_for_each_other_are_told_and_do_not_hang(table: LockTable, tmp_path: Path) -> None:
    said = []
    with table.holding("mine"), somebody(tmp_path / "locks", "theirs", "mine") as process:
        assert process.stdout is not None
        try:
            with table.holding("theirs"):
                pass
        except HarnessError as error:
            said.append(str(error))
        else:
            said.append(process.stdout.readline())
    assert "whoever holds it waits for us" in said[0]


def test_a_lock_is_not_looked_for_behind_a_link(table: LockTable, tmp_path: Path) -> None:
    (tmp_path / "locks").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(HarnessError, match=r"cannot lock 'a' in .*/locks: Too many levels"),
        table.holding("a"),
    ):
        pass
    assert not (tmp_path / "victim").exists()
