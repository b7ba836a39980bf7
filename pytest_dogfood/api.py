"""Dependencies that a test names while it runs; light, for test modules import it in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

import pytest

Answer = Callable[[pytest.FixtureRequest, tuple[str, ...], str], None]
"""Raises what skips the running test unless the tests named in a scope have passed."""

ANSWER = pytest.StashKey[Answer]()
"""Set where this run goes by dependency marks."""


def depends(request: pytest.FixtureRequest, other: Iterable[str], scope: str = "module") -> None:
    """Skip the running test unless each of the `other` tests has passed, as `depends=` in its mark would.

    `request` is pytest's fixture of that name, of a test or of a fixture. `scope` is "session", "package", "module"
    or "class", and says where the names are looked for.
    """
    answer = request.config.stash.get(ANSWER, None)
    if answer is not None:
        answer(request, tuple(other), scope)
    elif request.config.pluginmanager.hasplugin("dependency"):
        import_module("pytest_dependency").depends(request, other, scope)
    else:
        pytest.skip(
            "depends on other tests, and only pytest --dogfood with dogfood_dependency_markers sees to that"
        )
