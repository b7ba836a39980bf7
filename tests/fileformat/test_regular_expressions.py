"""A search finds what `re` would find, and ends in time."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import assume, given, settings, strategies as st

from pytest_dogfood.fileformat.expected_text import TooSlow, search, unrolled_size

HOSTILE = "a" * 60 + "!"

# What `regex` reads in another way than `re`, or could; and what may stand around it.
PIECES = [
    *"abcx -#$^.|",
    *("{e}", "{e<=1}", "{i<=2,d<=1}", "{}", "{", "}", "{1}", "{1,2}", "{,2}", "{2,}", "{,}", "{ 2}"),
    *("[[:alpha:]]", "[a[b]", "[]a]", "[^]a]", "[a&&b]", "[a-c--b]", "[a||b]", r"[\]\[]", "[#]", "[{e}]"),
    *(r"\s", r"\S", r"[\s]", r"[^\s]", r"[^\S\n]", r"[\Sa]", r"\w", r"\d", r"\b", r"\A", r"\Z", r"\{"),
    *(r"\N{DIGIT ONE}", r"[\N{DIGIT ONE}]", r"\x41", r"\0", r"\101", r"\1", "*", "+?", "?", "++"),
    *(
        "(",
        "(?:",
        "(?=",
        "(?!",
        "(?<=a",
        "(?>",
        "(?P<n>",
        "(?P=n)",
        "(?i:",
        "(?x:",
        "(?-i:",
        "(?a:",
        ")",
        ")",
        ")",
    ),
    *("(?#c[{)", "# c [ {\n", "\n"),
]
PATTERNS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "", "(?i)", "(?x)", "(?s)", "(?a)", "(?ix)"]),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
)
TEXTS = st.text(st.sampled_from("aabbcxeAB1 _-#{}[]:^$,.\n\t\x1c\x1f"), max_size=10)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.lists(TEXTS, min_size=3, max_size=3))
def test_a_search_finds_what_the_standard_library_finds(pattern: str, texts: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = re.compile(pattern, re.MULTILINE)
        except re.error:
            assume(False)
    for text in texts:
        expected, found = compiled.search(text), search(pattern, text, seconds=30)
        assert (found and (found.span(), found.groups())) == (
            expected and (expected.span(), expected.groups())
        )


@pytest.mark.parametrize(
    "pattern,text,found",
    [
        ("(?:error){e<=1}", "eror", None),
        ("(?:error){e<=1}", "a error{e<=1}", "error{e<=1}"),
        ("[[:alpha:]]", "b", None),
        ("[[:alpha:]]", "a]", "a]"),
        (r"a\sb", "a\x1cb", "a\x1cb"),
        (r"[^\S\n]", "\x1c", "\x1c"),
        ("^b$", "a\nb\nc", "b"),
        (r"(?x) a # [ { \s", "a", "a"),
        (r"\N{DIGIT ONE}+", "11", "11"),
        ("(?x)a\xa0b", "a\xa0b", "a\xa0b"),
    ],
)
def test_what_only_the_other_library_reads_in_another_way_means_the_same(
    pattern: str, text: str, found: str | None
) -> None:
    match = search(pattern, text, seconds=5)
    assert (match[0] if match else None) == found


def test_a_search_that_takes_too_long_ends() -> None:
    with pytest.raises(TooSlow):
        search("^(a|aa)+$", HOSTILE, seconds=0.2)


def test_a_search_without_time_left_ends_at_once() -> None:
    with pytest.raises(TooSlow):
        search("^(a|aa)+$", HOSTILE, seconds=-1)


@pytest.mark.parametrize(
    "pattern,size",
    [
        ("abc", 0),
        ("ab{3}", 4),
        ("(ab){3}c", 7),
        ("((a{10}){10}b){10}", 1010),
        ("a{,9}b{2,}", 3),
        (r"[ab]{2}\d{3}", 5),
        ("a{x}", 4),
        ("a(?#b{9})c{1}", 2),
    ],
)
def test_the_size_of_a_pattern_counts_its_repetitions(pattern: str, size: int) -> None:
    assert unrolled_size(pattern) == size
