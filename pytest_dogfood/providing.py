"""The decorator that makes a fixture a provider; light, for conftest files import it in every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

PROVIDES = "__dogfood_provides__"
"""Attribute under which a fixture remembers the tokens it provides."""


def provides(*tokens: str, name: str | None = None) -> Callable[[F], F]:
    """Make a fixture a provider of `chain`-scoped tokens.

    A token holds exactly while the fixture is set up; a mapping that the fixture gives becomes the token's values.
    Put it above `@pytest.fixture`. `name` is the fixture's name where it differs from the function's.
    Raises TypeError if no token is named or if a token is not text.
    """
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise TypeError("name the tokens: @pytest_dogfood.provides('token')")

    def mark(fixture: F) -> F:
        setattr(fixture, PROVIDES, dict.fromkeys(tokens, name))
        return fixture

    return mark
