"""The functions for conftest files and tests: `provides` and `depends`. Imports nothing: every run loads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pytest

F = TypeVar("F", bound=Callable[..., object])

PROVIDES = "__dogfood_provides__"
"""Attribute under which a fixture remembers the tokens it provides."""


def provides(*tokens: str, name: str | None = None) -> Callable[[F], F]:
    """Make a fixture a provider of `chain`-scoped tokens.

    A token is present while the fixture is set up. If the fixture returns a mapping, that becomes the token's values.
    Put `provides` above `@pytest.fixture`. `name` is the fixture's name if it differs from the function's.
    Raises TypeError if no token is named or if a token is not text.
    """
    if not tokens or not all(isinstance(token, str) for token in tokens):
        given: tuple[object, ...] = tokens  # whatever was typed
        meant: list[object] = []
        for one in given:
            meant += one if isinstance(one, list | tuple | set) else [one]
        words = ", ".join(repr(token) for token in meant if isinstance(token, str)) or "'token'"
        raise TypeError(
            f"provides takes tokens, one by one: write @pytest_dogfood.provides({words}) above @pytest.fixture"
        )

    def mark(fixture: F) -> F:
        setattr(fixture, PROVIDES, dict.fromkeys(tokens, name))
        return fixture

    return mark


def depends(request: pytest.FixtureRequest, other: Iterable[str], scope: str = "module") -> None:
    """Skip the running test unless each of the `other` tests has passed, as `depends=` in its mark would.

    `request` is pytest's fixture of that name, of a test or of a fixture. `scope` is "session", "package", "module"
    or "class": where the names are looked up.
    """
    # By the plugin's name, not by a stash key, which would take an import: conftest files load this in every run.
    marks = request.config.pluginmanager.get_plugin("dogfood-dependency-marks")
    answer = getattr(marks, "answer", None)
    if answer is not None:
        answer(request, tuple(other), scope)
    elif request.config.pluginmanager.hasplugin("dependency"):
        import_module("pytest_dependency").depends(request, other, scope)
    else:
        import pytest

        pytest.skip(
            "depends on other tests, and only pytest --dogfood with dogfood_dependency_markers runs them first"
        )
