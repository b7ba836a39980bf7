"""What a terminal shows of an output in the end."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.execution.output import terminal_text


def shown_in_the_end(text: str) -> str:
    return terminal_text(text.encode())


@pytest.mark.parametrize(
    "written, shown",
    [
        ("\rprogress 9%\rprogress 10%\rprogress 100%\n", "progress 100%\n"),
        ("a longer line\rshort\n", "shortger line\n"),
        ("a longer line\r\x1b[Kshort\n", "short\n"),
        ("a longer line\x1b[2K\x1b[1Gshort\n", "short\n"),
        ("a longer line\x1b[1K\rshort\n", "short\n"),
        ("|\b/\b-\b\\\bdone\n", "done\n"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("\x1b[31m\rred\x1b[0m \x1b]0;title\x07bell\x07\n", "red bell\\x07\n"),
        ("name\tsize\rNAME\tSIZE\n", "NAME    SIZE\n"),
        ("ab\x1b[1Dc\n", "ac\n"),
        ("ab\x1b[2Cc\n", "ab  c\n"),
        ("abcd\r\x1b[2Px\n", "xd\n"),
        ("abcd\r\x1b[2Xx\n", "x cd\n"),
        ("abcd\r\x1b[2@x\n", "x abcd\n"),
    ],
)
def test_what_was_written_over_in_a_line_is_gone(written: str, shown: str) -> None:
    assert shown_in_the_end(written) == shown


@pytest.mark.parametrize(
    "written, shown",
    [
        ("a: 1%\nb: 1%\n\x1b[2Aa: 99%\nb: 50%\n", "a: 99%\nb: 50%\n"),
        ("a: 1%\nb: 1%\n\x1b[2F\x1b[Ja: done\n", "a: done\n"),
        ("a\nb\n\x1b[9Aup\x1b[9Bdown\n", "up\nb\n  down\n"),
        ("built\n\x1b[2J\x1b[Hround 1\nx\x1b[H\x1b[Jround 2\n", "built\nround 2\n"),
        ("built\n\x1b[H\x1b[2J\x1b[3Jround 1\n\x1b[H\x1b[2J\x1b[3Jround 2\n", "built\nround 2\n"),
        ("\x1b[2;3Hx\x1b[1;1Hy", "y\n  x"),
    ],
)
def test_what_was_drawn_over_in_several_lines_is_gone(written: str, shown: str) -> None:
    assert shown_in_the_end(written) == shown


def test_no_sequence_asks_for_more_than_a_screen() -> None:
    assert len(shown_in_the_end("\x1b[999999999C.\x1b[999999999;999999999H.")) < 1000


@given(st.text(alphabet=st.sampled_from("ab \t\n\r\b\x07\x1b[]0123;ABCDEFGHJKPX@mf"), max_size=60))
def test_whatever_is_written_what_is_shown_moves_no_cursor(written: str) -> None:
    shown = shown_in_the_end(written)
    assert shown_in_the_end(shown) == shown


@given(st.lists(st.text(alphabet="abc \t", max_size=8), max_size=5).map("\n".join))
def test_what_is_not_written_over_is_shown_as_it_is(written: str) -> None:
    assert shown_in_the_end(written) == written
