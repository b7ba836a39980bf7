from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_dogfood.execution.usage import UserFinder
from tests.support.waiting import until

MARKER = "_DOGFOOD_TEST_USAGE"
OPENS = "import sys; file = open(sys.argv[1]); print(flush=True); input()"
MAPS = """
import mmap, sys
with open(sys.argv[1]) as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print(flush=True)
input()
"""


@contextmanager
def running(program: str, *arguments: str, cwd: Path, value: str = "1") -> Iterator[subprocess.Popen[str]]:
    """Have a Python program run until the end, which has begun: it prints a line and waits for one."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env={**os.environ, MARKER: value},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def users(directory: Path, marker: str = MARKER) -> list[tuple[str, str]]:
    return list(UserFinder(marker).find(directory))


def test_working_directories_open_files_and_mapped_files_count(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "c1", tmp_path / "c10"
    here.mkdir()
    elsewhere.mkdir()
    (here / "file name").write_text("content")
    (elsewhere / "file").write_text("content")
    python = Path(sys.executable).name
    waits = "print(flush=True); input()"
    with running(waits, cwd=here) as process:
        assert users(here) == [("", f"{python} ({process.pid})")]
    for program in (OPENS, MAPS):
        with running(program, str(here / "file name"), cwd=elsewhere) as process:
            assert users(here) == [("file name", f"{python} ({process.pid})")]
        with running(program, str(elsewhere / "file"), cwd=tmp_path):
            assert users(here) == []


def test_a_file_that_was_removed_counts(tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "file").write_text("content")
    with running(OPENS, str(tmp_path / "c1" / "file"), cwd=tmp_path) as process:
        (tmp_path / "c1" / "file").unlink()
        assert users(tmp_path / "c1")[0][1] == f"{Path(sys.executable).name} ({process.pid})"


def test_only_processes_of_the_run_count_by_name_or_value(tmp_path: Path) -> None:
    with running("print(flush=True); input()", cwd=tmp_path, value="7"):
        assert len(users(tmp_path)) == 1
        assert len(users(tmp_path, f"{MARKER}=7")) == 1
        assert users(tmp_path, f"{MARKER}=8") == []
        assert users(tmp_path, "_DOGFOOD_OTHER") == []


def test_the_directory_may_be_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with running("print(flush=True); input()", cwd=tmp_path / "real"):
        assert len(users(tmp_path / "link")) == 1


def test_a_search_finds_what_was_started_since_the_one_before_and_forgets_what_has_ended(
    tmp_path: Path,
) -> None:
    finder, waits = UserFinder(MARKER), "print(flush=True); input()"
    assert list(finder.find(tmp_path)) == []
    with running(waits, cwd=tmp_path) as first:
        found = [("", f"{Path(sys.executable).name} ({first.pid})")]
        assert list(finder.find(tmp_path)) == list(finder.find(tmp_path)) == found
        with running(waits, cwd=tmp_path) as second:
            assert len(list(finder.find(tmp_path))) == 2
        assert second.wait() != 0
        assert list(finder.find(tmp_path)) == found
    assert list(finder.find(tmp_path)) == []


def test_a_process_that_executes_a_command_of_the_run_after_a_search_is_found(tmp_path: Path) -> None:
    program = f"import os; print(flush=True); input(); os.environ['{MARKER}'] = '7'; os.execlp('cat', 'cat')"
    finder = UserFinder(f"{MARKER}=7")
    with running(program, cwd=tmp_path, value="6") as process:
        assert list(finder.find(tmp_path)) == []
        print(file=process.stdin, flush=True)
        assert until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "cat\n")
        assert list(finder.find(tmp_path)) == [("", f"cat ({process.pid})")]


def test_a_descendant_counts_without_the_marker_also_once_its_parent_has_ended(tmp_path: Path) -> None:
    finder, script = UserFinder(MARKER), "env -i sleep 300 >&2 & echo $!; read line"
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, MARKER: "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        assert until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        sleeps = ("", f"sleep ({child})")
        assert sleeps in finder.find(tmp_path)
        process.communicate("\n")
        assert list(finder.find(tmp_path)) == [sleeps]
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("state, may_use", [("c10", False), ("c1", True), (None, True)])
def test_only_a_process_that_was_started_in_another_state_cannot_use_a_state_later(
    tmp_path: Path, state: str | None, *, may_use: bool
) -> None:
    here, finder = tmp_path / "c1", UserFinder(MARKER)
    assert not finder.may_be_used_later(here)
    environment = {} if state is None else {"DOGFOOD_STATE": str(tmp_path / state)}
    process = subprocess.Popen(["sleep", "300"], cwd="/", env={**environment, MARKER: "1"})
    try:
        assert until(lambda: finder.may_be_used_later(here) is may_use)
    finally:
        process.kill()
        process.wait()
    assert not finder.may_be_used_later(here)
