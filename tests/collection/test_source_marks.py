"""What the text of a Python file shows of the tokens that its marks name."""

from __future__ import annotations

import pytest

from pytest_dogfood.collection.source_marks import read_marks
from pytest_dogfood.journey import Token


@pytest.mark.parametrize(
    "text, establishes",
    [
        ("@pytest.mark.establishes('a')\ndef test(): pass", {"a"}),
        ("@pytest.mark.establishes('a', 'b:one')\nclass Test: pass", {"a", "b:one"}),
        ("@pytest.mark.dogfood_establishes('a')\ndef test(): pass", {"a"}),
        ("pytestmark = pytest.mark.establishes('a')", {"a"}),
        ("pytestmark = [pytest.mark.slow, mark.establishes('a')]", {"a"}),
        ("pytest.param(1, marks=pytest.mark.establishes('a'))", {"a"}),
        ("needs = pytest.mark.establishes\n@needs('a')\ndef test(): pass", {"a"}),
        ("from marks import establishes as makes\n@makes('a')\ndef test(): pass", {"a"}),
        ("TOKEN = 'a'\n@pytest.mark.establishes(TOKEN)\ndef test(): pass", {"a"}),
        ("TOKENS = ['a', 'b']\n@pytest.mark.establishes(*TOKENS)\ndef test(): pass", {"a", "b"}),
        ("@provides('a', name='shop')\n@pytest.fixture\ndef shop_fixture(): pass", {"a"}),
        ("@pytest_dogfood.provides('a')\n@pytest.fixture\ndef shop(): pass", {"a"}),
        ("from pytest_dogfood import provides as gives\n@gives('a')\ndef shop(): pass", {"a"}),
        ("'''It establishes order and provides ('a') for all.'''", set()),
    ],
)
def test_tokens_that_stand_in_a_call_are_read(text: str, establishes: set[Token]) -> None:
    marks = read_marks(text)
    assert (marks.establishes, marks.establishes_more) == (frozenset(establishes), False)


@pytest.mark.parametrize(
    "text",
    [
        "@pytest.mark.establishes(token)\ndef test(): pass",
        "@pytest.mark.establishes(f'{name}-ready')\ndef test(): pass",
        "@pytest.mark.establishes(*map(str, tokens))\ndef test(): pass",
        "@pytest.mark.establishes('a' + suffix)\ndef test(): pass",
        "add(pytest.mark.establishes)",
        "T = 'a'\n@pytest.mark.establishes(T)\ndef test(): pass\nT = 'b'",
    ],
)
def test_what_only_an_import_shows_may_be_any_token(text: str) -> None:
    marks = read_marks(text)
    assert marks.establishes_more
    assert marks.may_establish(Token("whatever"))


def test_required_tokens_are_read_in_the_same_way() -> None:
    marks = read_marks("@pytest.mark.requires('a:*')\n@pytest.mark.requires(token)\ndef test(): pass")
    assert (marks.requires, marks.requires_more, marks.establishes) == (
        frozenset({Token("a:*")}),
        True,
        frozenset(),
    )


def test_every_instance_is_established_by_one_of_them() -> None:
    marks = read_marks("@pytest.mark.establishes('db:one')\ndef test(): pass")
    assert marks.may_establish(Token("db:*"))
    assert not marks.may_establish(Token("db:two"))


def test_a_file_that_is_no_python_may_establish_what_it_mentions() -> None:
    marks = read_marks("@pytest.mark.establishes('a')\ndef test(:")
    assert marks.may_establish(Token("a"))
    assert not marks.may_establish(Token("b"))
