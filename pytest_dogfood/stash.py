"""What we remember on pytest's objects, one typed key per fact. Nothing is imported for the types alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_dogfood.collection.project import Project
    from pytest_dogfood.execution.interruption import Interruption
    from pytest_dogfood.execution.masking import SecretKeeper
    from pytest_dogfood.journey import Journey
    from pytest_dogfood.settings import Settings

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
PROJECT: pytest.StashKey[Callable[[], Project]] = pytest.StashKey()
"""Gives the project, which is made when it is first asked for."""
INTERRUPTION: pytest.StashKey[Interruption] = pytest.StashKey()
JOURNEY: pytest.StashKey[Journey] = pytest.StashKey()
KEEPER: pytest.StashKey[SecretKeeper] = pytest.StashKey()
"""Knows the secrets of this process."""
