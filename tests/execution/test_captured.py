"""Output is shown without harm and read within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.execution.output import TooMuchOutput, read_output, read_tail

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "written,shown",
    [
        (b"caf\xc3\xa9\t\n", "café\t\n"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        (b"a\0b\x07\x7f", "a\\x00b\\x07\\x7f"),
        (b"one\r\ntwo\rthree\n", "one\nthree\n"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B", "red link"),
        (b"\x1b[2J\x1b[Hgone\x1bPdevice\x1b\\\x1bc", "gone"),
        (b"\xc2\x9b31m", "\\x9b31m"),
        (b"cut \x1b", "cut \\x1b"),
    ],
)
def test_what_is_shown_can_do_no_harm(tmp_path: Path, written: bytes, shown: str) -> None:
    (tmp_path / "out").write_bytes(written)
    assert read_tail(tmp_path / "out") == shown


@pytest.mark.parametrize(
    "limit,shown",
    [
        (100, "first\nsecond\nthird\n"),
        (19, "first\nsecond\nthird\n"),
        (16, "… 6 bytes before\nsecond\nthird\n"),
        (13, "… 6 bytes before\nsecond\nthird\n"),
        (12, "… 13 bytes before\nthird\n"),
        (3, "… 16 bytes before\nrd\n"),
    ],
)
def test_a_tail_begins_with_a_whole_line_and_says_what_is_missing(
    tmp_path: Path, limit: int, shown: str
) -> None:
    (tmp_path / "out").write_text("first\nsecond\nthird\n")
    assert read_tail(tmp_path / "out", limit) == shown


def test_reading_gives_everything_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"12345")
    assert read_output(tmp_path / "out", 5) == b"12345"


def test_reading_beyond_the_limit_says_how_much_there_is(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"12345")
    with pytest.raises(TooMuchOutput) as raised:
        read_output(tmp_path / "out", 4)
    assert (raised.value.size, raised.value.limit) == (5, 4)


def test_what_was_shown_above_a_long_progress_bar_is_shown(tmp_path: Path) -> None:
    stages = "".join(f"\rprogress {stage} of 5000" for stage in range(1, 5001))
    (tmp_path / "out").write_text(f"fetching\n{stages}\nno such branch\n")
    assert read_tail(tmp_path / "out") == "fetching\nprogress 5000 of 5000\nno such branch\n"


def test_of_an_output_that_was_written_over_the_last_lines_are_shown(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("".join(f"{line:09}\r-{line:08}\n" for line in range(100)))
    assert read_tail(tmp_path / "out", 25) == "… 980 bytes before\n-00000098\n-00000099\n"
