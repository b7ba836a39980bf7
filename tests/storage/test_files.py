from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.storage.files import append_line, private_directory, read_as, write_whole


@dataclass(frozen=True)
class Note:
    text: str


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_file_is_replaced_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_whole(path, b"long old content")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_only_its_owner_may_read(tmp_path: Path) -> None:
    write_whole(tmp_path / "whole", b"x")
    append_line(tmp_path / "lines", b"x")
    assert (mode(tmp_path / "whole"), mode(tmp_path / "lines")) == (0o600, 0o600)


def test_a_link_is_replaced_and_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(victim)
    write_whole(tmp_path / "link", b"x")
    assert victim.read_bytes() == b"mine"


def test_a_line_is_not_added_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(HarnessError, match=r"cannot write .*/link: "):
        append_line(tmp_path / "link", b"x")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("write", [write_whole, append_line])
def test_what_cannot_be_written_is_the_harness_s_problem_and_says_where(
    write: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match=r"cannot write .*/missing/file: No such file"):
        write(tmp_path / "missing" / "file", b"x")


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    assert read_as(tmp_path / "note", Note) is None


def test_what_was_written_is_read_as_what_it_is(tmp_path: Path) -> None:
    write_whole(tmp_path / "note", b'{"text": "hello"}')
    assert read_as(tmp_path / "note", Note) == Note("hello")


@pytest.mark.parametrize("content", [b"", b"{", b'{"text": 1}', b"\xff"])
def test_what_cannot_be_understood_is_reported_with_its_place(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(content)
    with pytest.raises(HarnessError, match=r"/note cannot be read .*; remove it and run again"):
        read_as(tmp_path / "note", Note)


def test_a_private_directory_is_made_with_its_parents_and_closed_to_others(tmp_path: Path) -> None:
    path = private_directory(tmp_path / "a" / "b")
    assert mode(path) == 0o700


def test_a_directory_that_others_may_enter_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o755)
    assert mode(private_directory(path)) == 0o700


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(HarnessError, match="is not a directory of yours"):
        private_directory(tmp_path / "link")


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=r"cannot make the directory .*/file: File exists"):
        private_directory(tmp_path / "file")
