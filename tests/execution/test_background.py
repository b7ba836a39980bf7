"""Services outlive whoever started them, until somebody stops them."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import structs

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.background import (
    BackgroundProcess,
    LeakFinder,
    free_ports,
    is_alive,
    start,
    stop,
)
from pytest_dogfood.execution.watcher import HAS_PROC, alive, end_processes
from tests.support.waiting import pid_in, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_proc = pytest.mark.skipif(
    not HAS_PROC, reason="only /proc tells a process from a later one with its id"
)


@pytest.fixture
def marker() -> Iterator[str]:
    name = f"DOGFOOD_TEST_{uuid.uuid4().hex}"
    yield name
    end_processes(name, grace=0)


@pytest.fixture
def service(tmp_path: Path, marker: str) -> Callable[..., BackgroundProcess]:
    def started(script: str, value: str = "1") -> BackgroundProcess:
        env = {**os.environ, marker: value}
        return start(("sh", "-c", script), cwd=tmp_path, env=env, log=tmp_path / "log")

    return started


def test_a_service_runs_until_it_is_stopped(service: Callable[[str], BackgroundProcess]) -> None:
    running = service("exec sleep 300")
    assert is_alive(running)
    stop(running)
    assert not is_alive(running)


def test_stopping_twice_is_as_good_as_once(service: Callable[[str], BackgroundProcess]) -> None:
    running = service("exec sleep 300")
    stop(running)
    stop(running)
    assert not is_alive(running)


def test_both_streams_are_appended_to_a_private_log(
    service: Callable[[str], BackgroundProcess], tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("before\n")
    (tmp_path / "log").chmod(0o644)
    running = service("echo out; echo err >&2")
    assert until(lambda: not is_alive(running))
    assert (tmp_path / "log").read_text() == "before\nout\nerr\n"
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_a_service_that_ended_is_dead_though_nobody_has_reaped_it(
    service: Callable[[str], BackgroundProcess],
) -> None:
    running = service("exit 0")
    assert until(lambda: not is_alive(running))
    os.kill(running.pid, 0)
    stop(running)


def test_stopping_reaps_what_we_started(service: Callable[[str], BackgroundProcess]) -> None:
    running = service("exec sleep 300")
    stop(running)
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_service_that_ignores_the_request_is_killed(
    service: Callable[[str], BackgroundProcess], tmp_path: Path
) -> None:
    running = service("trap '' TERM; echo $$ >ready; while :; do sleep 0.05; done")
    pid_in(tmp_path / "ready")
    stop(running, grace=0.2)
    assert not is_alive(running)


def test_a_service_may_say_goodbye(service: Callable[[str], BackgroundProcess], tmp_path: Path) -> None:
    running = service("trap 'echo bye; exit 0' TERM; echo $$ >ready; while :; do sleep 0.05; done")
    pid_in(tmp_path / "ready")
    stop(running)
    assert (tmp_path / "log").read_text().endswith("bye\n")


def test_stopping_ends_the_whole_group(service: Callable[[str], BackgroundProcess], tmp_path: Path) -> None:
    running = service("sleep 300 & echo $! >child; wait")
    child = pid_in(tmp_path / "child")
    stop(running)
    assert not alive(child, None)


def test_what_is_left_of_the_group_ends_though_its_leader_is_gone(
    service: Callable[[str], BackgroundProcess], tmp_path: Path
) -> None:
    running = service("sleep 300 & echo $! >child")
    child = pid_in(tmp_path / "child")
    assert until(lambda: not is_alive(running))
    os.waitpid(running.pid, 0)
    stop(running)
    assert not alive(child, None)


@needs_proc
def test_a_later_process_with_the_same_id_is_not_the_service(
    service: Callable[[str], BackgroundProcess],
) -> None:
    running = service("exec sleep 300")
    earlier = structs.replace(running, start_time="1")
    assert not is_alive(earlier)
    stop(earlier)
    assert is_alive(running)
    stop(running)


def test_a_service_survives_the_death_of_its_starter_and_is_stopped_by_another(
    tmp_path: Path, marker: str
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
import msgspec
from pytest_dogfood.execution.background import start
directory = Path(sys.argv[1])
env = {**os.environ, sys.argv[2]: "1"}
running = start(("sleep", "300"), cwd=directory, env=env, log=directory / "log", ports={"port": 1})
print(msgspec.json.encode(running).decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    argv = [sys.executable, "-c", script, str(tmp_path), marker]
    starter = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    running = msgspec.json.decode(starter.stdout, type=BackgroundProcess)
    assert starter.returncode == -signal.SIGKILL
    assert is_alive(running)
    stop(running)
    assert not is_alive(running)


def test_a_service_is_stopped_while_its_starter_lives_and_does_not_reap_it(
    tmp_path: Path, marker: str
) -> None:
    script = """
import os, sys
from pathlib import Path
import msgspec
from pytest_dogfood.execution.background import start
directory = Path(sys.argv[1])
running = start(("sleep", "300"), cwd=directory, env={**os.environ, sys.argv[2]: "1"}, log=directory / "log")
print(msgspec.json.encode(running).decode(), flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", script, str(tmp_path), marker]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        running = msgspec.json.decode(starter.stdout.readline(), type=BackgroundProcess)
        stop(running)
        assert not is_alive(running)


def test_a_service_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="'no-such-server'"):
        start(("no-such-server",), cwd=tmp_path, env=dict(os.environ), log=tmp_path / "log")


def test_what_is_written_about_a_service_is_read_back_the_same() -> None:
    running = BackgroundProcess(pid=7, start_time="42", log="/tmp/x/log", ports={"http": 8080})  # noqa: S108 - only a name
    assert msgspec.json.decode(msgspec.json.encode(running), type=BackgroundProcess) == running


def test_ports_are_all_different_and_free() -> None:
    names = [f"port-{number}" for number in range(50)]
    ports = free_ports(names)
    assert list(ports) == names
    assert len(set(ports.values())) == len(names)
    with socket.create_server(("127.0.0.1", ports["port-7"])) as server:
        assert server.getsockname()[1] == ports["port-7"]


def test_no_names_need_no_ports() -> None:
    assert free_ports([]) == {}


@needs_proc
def test_what_is_left_running_is_named_with_its_step_the_oldest_first(
    marker: str, service: Callable[..., BackgroundProcess]
) -> None:
    leak_finder = LeakFinder()
    for script, mark in (
        ("sleep 301; :", "a-step-2"),
        ("exec sleep 302", "a-cleanup-step-1"),
        ("exec sleep 303", "a-action-12"),
        ("exec sleep 304", "ab-step-1"),
    ):
        service(script, mark)
    expected = ("sh -c 'sleep 301; :' (step 2)", "sleep 302 (clean-up step 1)", "sleep 303 (action 12)")
    assert leak_finder.find(f"{marker}=a-", str) == expected
    assert leak_finder.find(f"{marker}=a-", str) == expected  # as long as it runs
    assert leak_finder.find(f"{marker}=b-", str) == ()


@needs_proc
def test_of_what_ran_before_nothing_is_read(marker: str, service: Callable[..., BackgroundProcess]) -> None:
    service("exec sleep 300", "a-step-1")
    assert LeakFinder().find(f"{marker}=a-", str) == ()
