"""Commands whose standard streams are closed, full or no longer read."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_dogfood.cli.console import BROKEN_PIPE
from tests.support.command_line import dogfood

COMMANDS = (
    ("schema",),
    ("--help",),
    ("--version",),
    ("check", "--help"),
    ("hub", "--help"),
    ("new", "project"),
)
IN_THE_WAY = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110


def typed(directory: Path, redirected: str, *arguments: str) -> tuple[int, str, str]:
    """Type `dogfood` with a redirection in a shell; gives the exit status, the output and the complaint."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "pytest_dogfood", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def without_reader(directory: Path, *arguments: str) -> tuple[int, bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pytest_dogfood", *arguments]
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            command, cwd=directory, stdout=output, stderr=subprocess.PIPE, check=False, timeout=60
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_has_enough_ends_a_command_quietly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert without_reader(tmp_path, *arguments) == (BROKEN_PIPE, b"")


@needs_full
@pytest.mark.parametrize("redirected, why", IN_THE_WAY.items())
@pytest.mark.parametrize("arguments", COMMANDS)
def test_output_that_cannot_be_written_is_one_line_and_a_status(
    arguments: tuple[str, ...], redirected: str, why: str, tmp_path: Path
) -> None:
    status, _, complaint = typed(tmp_path, redirected, *arguments)
    assert complaint == f"dogfood: cannot write to standard output: {why}; what was done stays done\n"
    assert status == (2 if arguments[0] == "hub" else 4)


@needs_full
@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    "arguments, status", [(("schema",), 0), (("explain", "nobody"), 4), (("hub", "tsks"), 2)]
)
def test_a_complaint_that_cannot_be_written_leaves_the_status(
    arguments: tuple[str, ...], status: int, redirected: str, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert typed(tmp_path, redirected, *arguments)[0] == status


@needs_full
def test_where_nothing_can_be_written_at_all_the_status_says_so(tmp_path: Path) -> None:
    assert typed(tmp_path, ">/dev/full 2>&1", "schema") == (4, "", "")
    assert typed(tmp_path, "<&- >&- 2>&-", "schema") == (4, "", "")


def test_a_closed_standard_input_is_nothing_to_complain_of(tmp_path: Path) -> None:
    status, out, complaint = typed(tmp_path, "<&-", "schema")
    assert (status, out[:1], complaint) == (0, "{", "")


def test_a_pipe_that_is_full_and_does_not_wait_is_said(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    command = [sys.executable, "-m", "pytest_dogfood", "schema"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    os.close(reading)
    assert (done.returncode, b"Resource temporarily unavailable" in done.stderr) == (4, True)


def test_a_program_that_keeps_what_a_command_prints_gets_it(tmp_path: Path) -> None:
    program = """if True:
        import contextlib, io, sys
        from pytest_dogfood.cli.main import main
        sys.argv[1:] = ["schema"]
        kept = io.StringIO()
        with contextlib.redirect_stdout(kept):
            status = main()
        sys.exit(status or len(kept.getvalue()) < 100)
    """
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, timeout=60).returncode == 0
    )


def test_letters_that_the_output_does_not_have_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.journey.yaml").write_text(
        "journeys: [{id: a, establishes: [t], steps: [run: x]}, {id: b, requires: [t], steps: [run: x]}]"
    )
    done = dogfood(tmp_path, "graph", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr, "a \\u2192 b" in done.stdout) == (0, "", True)
