"""Where outputs go: files that serve again as long as nothing was written to them, and never two commands at once."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_dogfood.execution.masking import UNMASKED_SUFFIX, SecretKeeper
from pytest_dogfood.execution.output import Output

NOTHING_HIDDEN = SecretKeeper([])
SECRETS = SecretKeeper(["s3cret"])


@pytest.fixture
def spares() -> list[Path]:
    return []


@pytest.fixture
def leases(tmp_path: Path) -> None:
    """Leave out what cannot be where the system does not tell who has a file open; each output has its own there."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells who has a file open")
    with (tmp_path / "asked").open("w") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system does not tell who has a file open")
    (tmp_path / "asked").unlink()


def written(output: Output, data: bytes = b"") -> Output:
    """Let a command write to an output, and end."""
    descriptor = output.open()
    os.write(descriptor, data)
    os.close(descriptor)
    return output


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def held_in_the_background(output: Output) -> Iterator[subprocess.Popen[bytes]]:
    """Let a process have an output open that its command has left behind; it says a word when its input is closed."""
    descriptor = output.open()
    try:
        process = subprocess.Popen(["sh", "-c", "cat; echo late"], stdin=subprocess.PIPE, stdout=descriptor)
    finally:
        os.close(descriptor)
    with process:
        yield process


def test_what_was_written_is_found_under_the_name_of_the_output(tmp_path: Path, spares: list[Path]) -> None:
    output = written(Output(tmp_path, "first.out", spares), b"hello\n")
    output.settle(NOTHING_HIDDEN)
    assert output.path == tmp_path / "first.out"
    assert output.path.read_bytes() == b"hello\n"


def test_an_output_that_stayed_empty_has_no_file(tmp_path: Path, spares: list[Path]) -> None:
    output = written(Output(tmp_path, "first.out", spares))
    output.settle(NOTHING_HIDDEN)
    assert output.path is None


def test_an_output_whose_command_never_started_has_no_file(tmp_path: Path, spares: list[Path]) -> None:
    output = Output(tmp_path, "first.out", spares)
    output.settle(NOTHING_HIDDEN)
    assert output.path is None


@pytest.mark.usefixtures("leases")
def test_a_file_that_stayed_empty_serves_the_next_command(tmp_path: Path, spares: list[Path]) -> None:
    for number in range(5):
        written(Output(tmp_path, f"{number}.out", spares)).settle(NOTHING_HIDDEN)
    assert names(tmp_path) == ["0.out"]


@pytest.mark.usefixtures("leases")
def test_a_file_that_served_before_takes_the_name_of_what_writes_to_it(
    tmp_path: Path, spares: list[Path]
) -> None:
    written(Output(tmp_path, "first.out", spares)).settle(NOTHING_HIDDEN)
    output = written(Output(tmp_path, "second.out", spares), b"hello")
    output.settle(NOTHING_HIDDEN)
    assert names(tmp_path) == ["second.out"]
    assert output.path == tmp_path / "second.out"


def test_two_commands_never_write_to_one_file(tmp_path: Path, spares: list[Path]) -> None:
    written(Output(tmp_path, "first.out", spares)).settle(NOTHING_HIDDEN)
    second, third = Output(tmp_path, "second.out", spares), Output(tmp_path, "third.out", spares)
    written(second, b"second")
    written(third, b"third")
    second.settle(NOTHING_HIDDEN)
    third.settle(NOTHING_HIDDEN)
    assert [(tmp_path / name).read_text() for name in ("second.out", "third.out")] == ["second", "third"]


def test_what_a_process_in_the_background_holds_is_left_to_it(tmp_path: Path, spares: list[Path]) -> None:
    first, second = Output(tmp_path, "first.out", spares), Output(tmp_path, "second.out", spares)
    with held_in_the_background(first) as process:
        first.settle(NOTHING_HIDDEN)
        written(second, b"second")
        assert process.stdin is not None
        process.stdin.close()
    second.settle(NOTHING_HIDDEN)
    assert (tmp_path / "second.out").read_text() == "second"
    assert (tmp_path / "first.out").read_text() == "late\n"


def test_what_was_written_late_is_not_overwritten(tmp_path: Path, spares: list[Path]) -> None:
    first = written(Output(tmp_path, "first.out", spares))
    first.settle(NOTHING_HIDDEN)
    (tmp_path / "first.out").write_text("late\n")
    written(Output(tmp_path, "second.out", spares), b"second").settle(NOTHING_HIDDEN)
    assert (tmp_path / "first.out").read_text() == "late\n"


def test_a_spare_file_that_somebody_removed_is_made_anew(tmp_path: Path, spares: list[Path]) -> None:
    written(Output(tmp_path, "first.out", spares)).settle(NOTHING_HIDDEN)
    (tmp_path / "first.out").unlink()
    written(Output(tmp_path, "second.out", spares), b"second").settle(NOTHING_HIDDEN)
    assert names(tmp_path) == ["second.out"]


def test_what_may_hold_secrets_says_so_until_they_are_hidden(tmp_path: Path) -> None:
    output = written(Output(tmp_path, "first.out", None), b"the s3cret\n")
    assert names(tmp_path) == [f"first.out{UNMASKED_SUFFIX}"]
    output.settle(SECRETS)
    assert names(tmp_path) == ["first.out"]
    assert (tmp_path / "first.out").read_text() == "the ***\n"


def test_of_what_could_have_held_secrets_and_stayed_empty_nothing_is_left(tmp_path: Path) -> None:
    written(Output(tmp_path, "first.out", None)).settle(SECRETS)
    assert names(tmp_path) == []


def test_what_may_hold_secrets_can_be_thrown_away(tmp_path: Path) -> None:
    written(Output(tmp_path, "first.out", None), b"the s3cret\n").discard()
    assert names(tmp_path) == []


def test_outputs_are_readable_by_their_owner_only(tmp_path: Path, spares: list[Path]) -> None:
    for number in range(2):
        output = written(Output(tmp_path, f"{number}.out", spares), b"hello" * number)
        output.settle(NOTHING_HIDDEN)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600] * len(
        names(tmp_path)
    )
