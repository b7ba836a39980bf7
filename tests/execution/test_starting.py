"""What cannot be started is named, and text goes to the shell that was promised."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.process import Command, run
from pytest_dogfood.execution.shell import default_shell, shell_argv


def command(directory: Path, *argv: str, stdin: bytes = b"") -> Command:
    return Command(
        argv=argv,
        cwd=directory,
        env=dict(os.environ),
        stdin=stdin,
        timeout=60,
        stdout=directory / "stdout",
        stderr=directory / "stderr",
    )


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"'no-such-program'.*PATH"):
        run(command(tmp_path, "no-such-program"))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    given = Command(
        argv=("true",), cwd=tmp_path / "gone", env={}, stdout=tmp_path / "stdout", stderr=tmp_path / "stderr"
    )
    with pytest.raises(HarnessError, match=r"directory .*/gone does not exist"):
        run(given)


def test_a_program_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(HarnessError, match=r"'\./tool'.*chmod"):
        run(command(tmp_path, "./tool"))


def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("echo no first line\n")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(HarnessError, match=r"'\./tool'.*first line"):
        run(command(tmp_path, "./tool"))


def test_arguments_that_are_too_long_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"'true'.*shorten"):
        run(command(tmp_path, "true", "x" * 5_000_000))


@pytest.mark.parametrize("argv", [(), ("",), ("true", "a\0b"), ("true", "\ud800")])
def test_an_argv_that_no_system_takes_is_an_error_of_the_harness(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    with pytest.raises(HarnessError, match="cannot start"):
        run(command(tmp_path, *argv))


def test_a_command_that_could_not_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = sorted(Path("/dev/fd").iterdir())
    with pytest.raises(HarnessError):
        run(command(tmp_path, "no-such-program", stdin=b"text"))
    assert sorted(Path("/dev/fd").iterdir()) == before


def test_text_goes_to_a_shell_that_stops_at_the_first_error(tmp_path: Path) -> None:
    assert run(command(tmp_path, *shell_argv("false\ntrue", None))).status == 1


@pytest.mark.skipif(default_shell() == "sh -e", reason="sh knows no pipefail")
def test_a_failure_inside_a_pipeline_counts(tmp_path: Path) -> None:
    assert run(command(tmp_path, *shell_argv("false | cat", None))).status == 1


@pytest.mark.parametrize("shell", [None, "sh"])
def test_a_shell_is_found_whatever_path_a_step_sets(shell: str | None) -> None:
    assert Path(shell_argv("true", shell)[0]).is_absolute()


def test_the_default_shell_is_the_one_that_is_named_to_people() -> None:
    assert Path(shell_argv("true", None)[0]).name == default_shell().split()[0]


@pytest.mark.parametrize(
    "shell,expected",
    [
        ("bash", (shutil.which("bash") or "bash", "-eo", "pipefail", "-c", "x y")),
        ("sh", (shutil.which("sh") or "sh", "-e", "-c", "x y")),
        ("zsh -e", ("zsh", "-e", "-c", "x y")),
        ("/bin/sh", ("/bin/sh", "-c", "x y")),
        ("'/my tools/sh' -u", ("/my tools/sh", "-u", "-c", "x y")),
    ],
)
def test_a_shell_can_be_pinned(shell: str, expected: tuple[str, ...]) -> None:
    assert shell_argv("x y", shell) == expected


@pytest.mark.parametrize("shell", ["", "'sh"])
def test_a_shell_that_cannot_be_read_is_an_error_of_the_harness(shell: str) -> None:
    with pytest.raises(HarnessError, match="shell:"):
        shell_argv("true", shell)


def test_a_list_needs_no_shell() -> None:
    assert shell_argv(("echo", "*"), "bash") == ("echo", "*")
