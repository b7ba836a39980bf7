from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.locks import LockTable, NamedLocks
from tests.support.live_projects import Eventually

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
    assert "its holder waits for this process" in said[0]


def test_a_lock_is_not_looked_for_behind_a_link(table: LockTable, tmp_path: Path) -> None:
    (tmp_path / "locks").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(HarnessError, match=r"cannot lock 'a' in .*/locks: Too many levels"),
        table.holding("a"),
    ):
        pass
    assert not (tmp_path / "victim").exists()


POOLS = {"account": ("ann", "bob", "cleo"), "gpu": ("1", "2")}
TAKES = """\
import json, sys
from pathlib import Path
from pytest_dogfood.storage.locks import LockTable, NamedLocks

table = LockTable(Path(sys.argv[1]))
locks = NamedLocks(lambda: table, json.loads(sys.argv[2]))
locks.acquire(json.loads(sys.argv[3]))
print(*sorted(table.held()), sep=", ", flush=True)
input()
"""


@contextmanager
def taking(path: Path, **wanted: int) -> Iterator[subprocess.Popen[str]]:
    """Let another process take units; its first line says which it holds, as soon as it holds them."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES, str(path), json.dumps(POOLS), json.dumps(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def named_locks(table: LockTable) -> NamedLocks:
    return NamedLocks(lambda: table, POOLS)


def test_each_holder_has_units_of_its_own_and_a_pool_has_as_many_holders_as_units(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    with taking(path, account=1) as one, taking(path, gpu=2) as other:
        assert (said_by(one), said_by(other)) == ("account: ann", "gpu: 1, gpu: 2")
        with taking(path, account=2) as both:
            assert said_by(both) == "account: bob, account: cleo"


def test_what_waits_for_a_unit_takes_the_one_of_a_holder_that_was_killed(
    table: LockTable, tmp_path: Path, eventually: Eventually
) -> None:
    waits: list[str] = []

    def waiting(name: str) -> AbstractContextManager[None]:
        waits.append(name)
        return nullcontext()

    table.waiting = waiting
    with taking(tmp_path / "locks", account=1) as one, taking(tmp_path / "locks", account=2) as killed:
        assert said_by(one)
        assert said_by(killed)
        locks = named_locks(table)
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(locks.acquire, {"account": 1})
            assert eventually(lambda: bool(waits))
            assert not taken.done()
            killed.send_signal(signal.SIGKILL)
            taken.result(timeout=30)
            assert len(table.held()) == 1
            pool.submit(locks.release).result(timeout=30)
    assert waits == ["account"]


def test_what_wants_many_units_is_not_overtaken_by_what_wants_one(
    tmp_path: Path, eventually: Eventually
) -> None:
    path = tmp_path / "locks"
    with taking(path, gpu=1) as first:
        said_by(first)
        with taking(path, gpu=2) as wants_both:
            assert eventually(lambda: not is_free(path, "gpu: 2"))
            with taking(path, gpu=1) as wants_one:
                first.communicate("\n")
                assert said_by(wants_both) == "gpu: 1, gpu: 2"
                wants_both.communicate("\n")
                assert said_by(wants_one) == "gpu: 1"


def test_holders_that_want_units_of_several_pools_never_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    code = TAKES.replace("locks.acquire(json.loads(sys.argv[3]))", "").replace("input()", "") + (
        "import random\n"
        "for _ in range(100):\n"
        "    locks.acquire({'account': random.randint(1, 3), 'gpu': random.randint(1, 2), 'port': 1})\n"
        "    locks.release()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), json.dumps(POOLS)]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in started] == [0] * 4


def test_a_holder_that_wants_more_gives_back_all_and_keeps_the_first_units(table: LockTable) -> None:
    locks = named_locks(table)
    assert not locks.acquire({"account": 1, "door": 1})
    assert not locks.acquire({"account": 1})
    assert locks.acquire({"account": 2, "door": 1})
    assert table.held() == {"account: ann", "account: bob", "door"}
    locks.release_except({"account": 1})
    assert table.held() == {"account: ann"}
    locks.release()
    assert table.held() == set()


def test_a_second_holder_of_one_process_shares_its_units_and_is_refused_more_than_are_free(
    table: LockTable, tmp_path: Path
) -> None:
    outer, inner = named_locks(table), named_locks(table)
    with taking(tmp_path / "locks", gpu=1) as other:
        said_by(other)
        outer.acquire({"gpu": 1})
        inner.acquire({"gpu": 1})
        assert table.held() == {"gpu: 2"}
        inner.release()
        with pytest.raises(
            HarnessError, match="cannot lock 2 of the pool 'gpu', because this journey already"
        ):
            inner.acquire({"gpu": 2})
        assert table.held() == {"gpu: 2"}
        outer.release()
