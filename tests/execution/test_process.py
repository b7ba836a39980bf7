"""Commands end when they must, whatever they do against it, and cost the runner nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.output import TooMuchOutput, read_output
from pytest_dogfood.execution.process import Command, ParentProcess, run
from pytest_dogfood.execution.watcher import HAS_PROC, alive, end_processes, start_time
from tests.support.waiting import pid_in, until

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_proc = pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")

STUBBORN = (
    "trap '' TERM; echo $$ >leader; (trap '' TERM; {setsid} sh -c 'echo $$ >child; sleep 300') & {wait}"
)


@pytest.fixture
def marker() -> Iterator[str]:
    name = f"DOGFOOD_TEST_{uuid.uuid4().hex}"
    yield name
    end_processes(name, grace=0)


def command(
    directory: Path, *argv: str, stdin: bytes = b"", timeout: float | None = 60, marker: str = ""
) -> Command:
    return Command(
        argv=argv,
        cwd=directory,
        env={**os.environ, marker: "1"} if marker else dict(os.environ),
        stdin=stdin,
        timeout=timeout,
        stdout=directory / "stdout",
        stderr=directory / "stderr",
        marker=marker,
    )


def sh(directory: Path, script: str, *, timeout: float | None = 60, marker: str = "") -> Command:
    return command(directory, "sh", "-c", script, timeout=timeout, marker=marker)


def test_status_and_both_streams_are_seen(tmp_path: Path) -> None:
    ended = run(sh(tmp_path, "echo out; echo err >&2; exit 3"))
    assert (ended.status, ended.timed_out) == (3, False)
    assert (tmp_path / "stdout").read_text() == "out\n"
    assert (tmp_path / "stderr").read_text() == "err\n"


def test_a_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert run(sh(tmp_path, "kill -KILL $$")).status == -signal.SIGKILL


def test_output_files_are_private_and_fresh_even_if_they_existed(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_text("from before")
    (tmp_path / "stdout").chmod(0o644)
    run(sh(tmp_path, "echo new"))
    assert (tmp_path / "stdout").read_text() == "new\n"
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("stdout", "stderr")] == [0o600] * 2


def test_a_symbolic_link_in_place_of_an_output_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to(tmp_path / "precious")
    with pytest.raises(HarnessError, match="stdout"):
        run(sh(tmp_path, "echo overwritten"))
    assert not (tmp_path / "precious").exists()


def test_the_environment_is_what_it_was_told_to_be(tmp_path: Path) -> None:
    given = Command(
        argv=("/usr/bin/env",),
        cwd=tmp_path,
        env={"ONLY": "this"},
        stdout=tmp_path / "stdout",
        stderr=tmp_path / "stderr",
    )
    run(given)
    assert (tmp_path / "stdout").read_text() == "ONLY=this\n"


def test_standard_input_is_empty_unless_given(tmp_path: Path) -> None:
    run(command(tmp_path, "cat"))
    assert (tmp_path / "stdout").read_bytes() == b""


def test_standard_input_arrives_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    run(command(tmp_path, "cat", stdin=data))
    assert (tmp_path / "stdout").read_bytes() == data


def test_a_command_that_does_not_read_its_input_does_not_block_us(tmp_path: Path) -> None:
    assert run(command(tmp_path, "sh", "-c", "exec <&-; exit 0", stdin=b"x" * 1_000_000)).status == 0


def test_a_step_that_empties_its_own_output_leaves_no_hole_behind(tmp_path: Path) -> None:
    run(sh(tmp_path, "echo first; echo second >/dev/stdout; echo third"))
    assert b"\0" not in (tmp_path / "stdout").read_bytes()


@needs_proc
def test_a_time_limit_ends_a_command_that_ignores_it_and_its_child_in_another_session(
    tmp_path: Path, marker: str
) -> None:
    script = STUBBORN.format(setsid="setsid", wait="wait; wait; sleep 300")
    ended = run(sh(tmp_path, script, timeout=0.5, marker=marker))
    assert (ended.status, ended.timed_out) == (-signal.SIGKILL, True)
    assert not alive(pid_in(tmp_path / "leader"), None)
    assert not alive(pid_in(tmp_path / "child"), None)


def test_a_time_limit_ends_the_group_without_any_marker(tmp_path: Path) -> None:
    assert run(sh(tmp_path, "sleep 300 & echo $! >child; wait", timeout=0.3)).timed_out
    assert not alive(pid_in(tmp_path / "child"), None)


@needs_proc
def test_a_time_limit_ends_a_child_that_hides_its_environment(tmp_path: Path, marker: str) -> None:
    script = "env -i setsid sh -c 'echo $$ >child; sleep 300; :' & wait"
    assert run(sh(tmp_path, script, timeout=0.5, marker=marker)).timed_out
    assert not alive(pid_in(tmp_path / "child"), None)


def test_a_command_that_ends_in_time_may_leave_a_daemon(tmp_path: Path, marker: str) -> None:
    ended = run(sh(tmp_path, "sleep 300 & echo $! >child", marker=marker))
    assert ended.status == 0
    daemon = pid_in(tmp_path / "child")
    assert alive(daemon, start_time(daemon))
    os.kill(daemon, signal.SIGKILL)


def test_a_limit_of_zero_ends_the_command_at_once(tmp_path: Path) -> None:
    assert run(sh(tmp_path, "sleep 300", timeout=0)).timed_out


@pytest.mark.parametrize("limit", [None, 1e12, float("inf")])
def test_any_large_limit_is_as_good_as_none(tmp_path: Path, limit: float | None) -> None:
    assert not run(sh(tmp_path, "true", timeout=limit)).timed_out


RUNNER = """
import os, sys
from pathlib import Path
from pytest_dogfood.execution.process import Command, ParentProcess, run
directory, script, marker = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def start(**more):
    return run(Command(argv=("sh", "-c", script), cwd=directory, env={**os.environ, marker: "1"}, marker=marker,
                       stdout=directory / "stdout", stderr=directory / "stderr"), **more)
"""


def runner(directory: Path, body: str, script: str, marker: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", RUNNER + body, str(directory), script, marker]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@needs_proc
def test_an_interrupt_leaves_nothing(tmp_path: Path, marker: str) -> None:
    script = "setsid sh -c 'echo $$ >child; sleep 300; :' & echo $$ >leader; wait"
    with runner(tmp_path, "start()", script, marker) as ours:
        started = [pid_in(tmp_path / "leader"), pid_in(tmp_path / "child")]
        ours.send_signal(signal.SIGINT)
        _, errors = ours.communicate(timeout=30)
    assert b"KeyboardInterrupt" in errors
    assert not [pid for pid in started if alive(pid, None)]


@needs_proc
def test_a_second_interrupt_during_the_grace_still_ends_the_group(tmp_path: Path, marker: str) -> None:
    script = "trap 'echo asked >asked' TERM; echo $$ >leader; while :; do sleep 0.05; done"
    with runner(tmp_path, "start()", script, marker) as ours:
        leader = pid_in(tmp_path / "leader")
        ours.send_signal(signal.SIGINT)
        assert until((tmp_path / "asked").exists)
        ours.send_signal(signal.SIGINT)
        ours.communicate(timeout=30)
    assert not alive(leader, None)


def test_two_hundred_megabytes_of_output_cost_the_runner_little(tmp_path: Path, marker: str) -> None:
    # The growth, not the peak: a process begins with the peak of the one that started it.
    body = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    script = "head -c 200000000 /dev/zero"
    with runner(tmp_path, body, script, marker) as ours:
        grown, _ = ours.communicate(timeout=60)
    output = tmp_path / "stdout"
    assert output.stat().st_size == 200_000_000
    assert int(grown) // (1024 if sys.platform == "darwin" else 1) < 50 * 1024
    with pytest.raises(TooMuchOutput, match="200000000"):
        read_output(output, 1024)
    output.unlink()


def test_nothing_is_started_once_the_parent_has_died(tmp_path: Path, marker: str) -> None:
    body = """
parent = ParentProcess()
if os.fork() == 0:
    parent = ParentProcess()
    while not parent.has_died():
        os.sched_yield()
    try:
        start(parent=parent)
    except Exception as error:
        (directory / "verdict").write_text(f"{type(error).__name__}\\n")
"""
    with runner(tmp_path, body, "echo $$ >leader", marker) as ours:
        ours.communicate(timeout=30)
    assert until((tmp_path / "verdict").exists)
    assert (tmp_path / "verdict").read_text() == "HarnessError\n"
    assert not (tmp_path / "leader").exists()


class DiesAfter(ParentProcess):
    """A parent that dies once it has been asked for so many times."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = answers

    def has_died(self) -> bool:
        self.answers -= 1
        return self.answers < 0


def test_what_was_started_while_the_parent_died_is_ended(tmp_path: Path, marker: str) -> None:
    with pytest.raises(HarnessError, match="died"):
        run(sh(tmp_path, "sleep 300", marker=marker), parent=DiesAfter(1))
    assert end_processes(marker, grace=0) == ()


def test_a_living_parent_is_no_reason_to_stop(tmp_path: Path) -> None:
    assert run(sh(tmp_path, "true"), parent=ParentProcess()).status == 0
