"""Nothing a run has started outlives it, however it ends; nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.execution import watcher
from pytest_dogfood.execution.background import BackgroundProcess, Watcher, is_alive, start, stop
from pytest_dogfood.execution.watcher import alive, end_processes, start_time
from tests.support.waiting import pid_in, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    not watcher.HAS_PROC, reason="only /proc tells what a process was started with"
)


@pytest.fixture
def marker() -> Iterator[str]:
    name = f"DOGFOOD_TEST_{uuid.uuid4().hex}"
    yield name
    end_processes(name, grace=0)


@pytest.fixture
def marked(tmp_path: Path, marker: str) -> Callable[..., BackgroundProcess]:
    def started(script: str = "exec sleep 300", value: str = "1") -> BackgroundProcess:
        env = {**os.environ, marker: value}
        return start(("sh", "-c", script), cwd=tmp_path, env=env, log=tmp_path / "log")

    return started


def ignores(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigIgn:"))
    return bool(int(mask, 16) & 1 << (number - 1))


def test_a_name_ends_whoever_carries_it(marker: str, marked: Callable[..., BackgroundProcess]) -> None:
    both = [marked(), marked(value="other")]
    assert set(end_processes(marker)) == {running.pid for running in both}
    assert not [running for running in both if is_alive(running)]


def test_a_name_with_a_value_ends_exactly_those(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    mine, longer = marked(value="1"), marked(value="12")
    assert end_processes(f"{marker}=1") == (mine.pid,)
    assert is_alive(longer)


def test_a_name_that_is_only_the_end_of_another_ends_nobody(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    assert end_processes(marker.removeprefix("DOGFOOD_")) == ()
    assert end_processes("") == ()
    assert is_alive(running)


def test_whoever_sweeps_ends_neither_itself_nor_those_that_started_it(tmp_path: Path, marker: str) -> None:
    code = f'from pytest_dogfood.execution.watcher import *; print(end_processes("{marker}"))'
    sweep = f"{sys.executable} -c '{code}'"
    env = {**os.environ, marker: "1"}
    shown = subprocess.run(
        ["sh", "-c", f"{sweep}; echo lives"], env=env, cwd=tmp_path, capture_output=True, check=True
    )
    assert shown.stdout == b"()\nlives\n"


def test_a_descendant_that_dropped_the_marker_ends_as_well(
    tmp_path: Path, marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    marked("env -i setsid sh -c 'echo $$ >child; sleep 300; :' & wait")
    child = pid_in(tmp_path / "child")
    assert child in end_processes(marker)
    assert not alive(child, None)


def test_the_oldest_are_asked_to_end_first(
    tmp_path: Path, marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    # A shell that waits for a command runs its trap only if it hears of the end before the command has failed.
    oldest = marked("for n in $(seq 60); do sleep 300 & done; echo $! >last; wait")
    last = pid_in(tmp_path / "last")
    ended = end_processes(marker)
    assert (ended[0], ended[-1]) == (oldest.pid, last)


def test_what_somebody_starts_to_clean_up_is_left_alone_within_the_grace(
    tmp_path: Path, marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    several = [
        marked(f"set -e; trap 'sleep 0.3; touch {n}; exit' TERM; echo >>ready; while :; do sleep 0.05; done")
        for n in range(5)
    ]
    assert until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text() == "\n" * 5)
    end_processes(marker, grace=10)
    assert not any(alive(one.pid, None) for one in several)
    assert [n for n in range(5) if not (tmp_path / str(n)).exists()] == []


def test_what_nobody_stands_behind_any_more_is_asked_at_once(
    tmp_path: Path, marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    # Started while its parent is asked to end, and not known to the first look.
    marked("trap 'sleep 300 & echo $! >late; exit' TERM; echo >ready; while :; do sleep 0.05; done")
    assert until((tmp_path / "ready").exists)
    end_processes(marker, grace=60)
    assert not alive(pid_in(tmp_path / "late"), None)


def test_a_process_that_keeps_forking_does_not_escape(
    tmp_path: Path, marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    script = tmp_path / "hydra"
    script.write_text("trap '' TERM\necho $$ >pid\nsleep 0.01\nsetsid sh ./hydra &\n")
    marked("exec sh ./hydra")
    pid_in(tmp_path / "pid")
    end_processes(marker, grace=0.1)
    assert end_processes(marker) == ()


def test_a_process_that_has_ended_is_not_there_though_unreaped(
    marked: Callable[..., BackgroundProcess],
) -> None:
    running = marked("exit 0")
    assert until(lambda: not is_alive(running))
    assert running.pid not in watcher.survey("")[0]
    assert start_time(running.pid) == running.start_time
    stop(running)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_number_that_no_process_has_is_dead(pid: int) -> None:
    assert not alive(pid, None)


def test_we_are_alive_as_long_as_we_are_meant() -> None:
    assert alive(os.getpid(), None)
    assert alive(os.getpid(), start_time(os.getpid()))
    assert not alive(os.getpid(), "1")


def test_a_program_with_an_odd_name_is_read_correctly(tmp_path: Path) -> None:
    odd = tmp_path / "a) Z (b"
    odd.symlink_to(Path(sys.executable).resolve())
    with subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE) as process:
        seen = watcher.read_process(process.pid)
        assert seen is not None
        assert (seen.parent, seen.ended) == (os.getpid(), False)
        process.kill()


def test_closing_the_watcher_ends_what_is_marked_and_says_so(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    watching = Watcher(marker)
    assert watching.close() == (running.pid,)
    assert watching.close() == (running.pid,)
    assert not is_alive(running)


def test_a_watcher_ends_nothing_before_it_is_closed(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    with closing(Watcher(marker)) as watching:
        assert alive(watching.pid, None)
        assert is_alive(running)
    assert not alive(watching.pid, None)


def test_a_watcher_ignores_what_asks_a_whole_terminal_to_end(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    watching = Watcher(marker)
    assert os.getsid(watching.pid) == watching.pid
    assert until(lambda: ignores(watching.pid, signal.SIGHUP))  # the last of them
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watching.pid, number)
    assert watching.close() == (running.pid,)


def test_a_watcher_that_was_killed_is_stood_in_for(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    watching = Watcher(marker)
    os.kill(watching.pid, signal.SIGKILL)
    assert watching.close() == (running.pid,)


def test_closing_goes_on_where_ctrl_c_has_interrupted_it(
    marker: str, marked: Callable[..., BackgroundProcess], tmp_path: Path
) -> None:
    running = marked("trap '' TERM; touch ready; while :; do sleep 0.1; done")  # takes its whole grace
    assert until((tmp_path / "ready").exists)
    watching = Watcher(marker)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            watching.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert running.pid in watching.close()
    assert not is_alive(running)


CONTROLLER = """
import os, sys, time
from pathlib import Path
from pytest_dogfood.execution.background import Watcher, start
directory, marker, forks = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
watching = Watcher(marker)
script = "setsid sh -c 'echo $$ >child; sleep 300; :' & echo $$ >leader; wait"
start(("sh", "-c", script), cwd=directory, env={**os.environ, marker: "1"}, log=directory / "log")
(directory / "watcher").write_text(f"{watching.pid}\\n")
if forks and os.fork() == 0:
    (directory / "forked").write_text(f"{os.getpid()}\\n")
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_ends_the_controller_ends_its_services_and_their_children(
    tmp_path: Path, marker: str, number: signal.Signals
) -> None:
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, str(tmp_path), marker]) as controller:
        pids = [pid_in(tmp_path / name) for name in ("leader", "child", "watcher")]
        controller.send_signal(number)
    assert until(lambda: not [pid for pid in pids if alive(pid, None)])


def test_a_forked_child_that_holds_the_pipe_does_not_keep_the_watcher_waiting(
    tmp_path: Path, marker: str
) -> None:
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, str(tmp_path), marker, "forks"]) as controller:
        pids = [pid_in(tmp_path / name) for name in ("leader", "child", "watcher")]
        forked = pid_in(tmp_path / "forked")
        controller.kill()
    assert until(lambda: not [pid for pid in pids if alive(pid, None)])
    assert alive(forked, None)
    os.kill(forked, signal.SIGKILL)


def test_a_watcher_whose_controller_is_already_gone_sweeps_at_once(
    marker: str, marked: Callable[..., BackgroundProcess]
) -> None:
    running = marked()
    argv = [sys.executable, "-I", "-S", watcher.__file__, str(running.pid), marker]
    shown = subprocess.run(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=True, timeout=60)
    assert shown.stdout.decode() == f"{running.pid}\n"
