"""Journeys that depend on each other, run by pytest only where what they need is really present."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_dogfood.api import provides

if TYPE_CHECKING:
    from pytest_dogfood.actor_protocol import (
        Action,
        ActorError,
        Command,
        Done,
        JourneyBrief,
        Performed,
        StepBrief,
        Verdict,
    )
    from pytest_dogfood.api import depends
    from pytest_dogfood.consistency.pytest_plugin import DogfoodConsistencyWarning

__all__ = [
    "Action",
    "ActorError",
    "Command",
    "DogfoodConsistencyWarning",
    "Done",
    "JourneyBrief",
    "Performed",
    "StepBrief",
    "Verdict",
    "depends",
    "provides",
]

_OTHER_MODULES = {"DogfoodConsistencyWarning": "consistency.pytest_plugin", "depends": "api"}
"""The modules of names that are not in `actor_protocol`."""


def __getattr__(name: str) -> object:
    """Import what few programs use once one asks for it; `-W` options name the warning as an attribute of this."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OTHER_MODULES.get(name, 'actor_protocol')}"), name)
