"""Journeys that depend on each other, run by pytest only where what they need is really present."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dogfood.providing import provides

if TYPE_CHECKING:
    from pytest_dogfood.consistency_items import DogfoodConsistencyWarning

__all__ = ["DogfoodConsistencyWarning", "provides"]


def __getattr__(name: str) -> object:
    """Import what only a few ask for once somebody does; `-W` options name the warning as an attribute of this."""
    if name != "DogfoodConsistencyWarning":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_dogfood.consistency_items import DogfoodConsistencyWarning

    return DogfoodConsistencyWarning
