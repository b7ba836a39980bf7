"""Sees to it that one plugin acts on dependency marks where pytest-dependency is installed too."""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial

import pytest

from pytest_dogfood.api import depends

ORIGINAL = "pytest_dependency"
ITS_PLUGIN = "dependency"
"""The name under which pytest knows its plugin."""


def is_loaded(config: pytest.Config) -> bool:
    return config.pluginmanager.hasplugin(ITS_PLUGIN) or config.pluginmanager.hasplugin(ORIGINAL)


def stand_in(config: pytest.Config) -> None:
    """Let `from pytest_dependency import depends` in conftest files and tests mean ours, for this run.

    The original's own would ask records that nobody keeps, and so skip every test.
    """
    if importlib.util.find_spec(ORIGINAL) is None:
        return
    original = importlib.import_module(ORIGINAL)
    config.add_cleanup(partial(setattr, original, "depends", original.depends))
    original.depends = depends  # type: ignore[attr-defined]


def set_aside(config: pytest.Config) -> bool:
    """Take the original's hooks out of this run; whether there was anything to take out."""
    for name in (ITS_PLUGIN, ORIGINAL):
        if config.pluginmanager.hasplugin(name):
            config.pluginmanager.unregister(name=name)
            return True
    return False
