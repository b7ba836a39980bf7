"""Which tests may call `depends` while they run: nobody can know, so it goes by what is in reach of them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from inspect import unwrap
from pathlib import Path

import pytest

from pytest_dogfood.api import depends
from pytest_dogfood.collection.dependency_names import FAR, RuntimeDependsReach

OFFERING = frozenset({"pytest_dogfood", "pytest_dependency"})
"""Modules whose `depends` it is."""


class RuntimeDependsScan:
    """Asked once collection is over. A module has `depends` at hand if it, or what it imports from, names it.

    It may name it at its top, or import it only inside a test or a fixture.
    """

    def __init__(self) -> None:
        self._known: dict[str, RuntimeDependsReach] = {}
        self._plugins: list[types.ModuleType] | None = None

    def asked_by(self, item: pytest.Item) -> RuntimeDependsReach:
        """Say what a test, or a fixture of it, may ask for: it has to have `request`, and also `depends`."""
        if "request" not in getattr(item, "fixturenames", ()):
            return RuntimeDependsReach.NOBODY
        own = getattr(item, "module", None)
        around = [plugin for plugin in self._plugins_that_ask(item.config) if _is_for(plugin, item)]
        modules = [own, *around] if isinstance(own, types.ModuleType) else around
        return max(map(self._asked_in, modules), default=RuntimeDependsReach.NOBODY)

    def _plugins_that_ask(self, config: pytest.Config) -> list[types.ModuleType]:
        if self._plugins is None:
            plugins = config.pluginmanager.get_plugins()
            modules = [
                one for one in plugins if isinstance(one, types.ModuleType) and not _offers(one.__name__)
            ]
            self._plugins = sorted(filter(self._asked_in, modules), key=lambda module: module.__name__)
        return self._plugins

    def _asked_in(self, module: types.ModuleType) -> RuntimeDependsReach:
        name = module.__name__
        if name not in self._known:
            involved = [module, *_sources(module)]
            codes = [code for one in involved for code in _code_of(one)]
            asks = (
                RuntimeDependsReach.ANYBODY
                if any(map(_speaks_of_far_scopes, codes))
                else RuntimeDependsReach.ITS_MODULE
            )
            named = any(map(_names_it, involved)) or any(map(_imports_it, codes))
            self._known[name] = asks if named else RuntimeDependsReach.NOBODY
        return self._known[name]


def _is_for(plugin: types.ModuleType, item: pytest.Item) -> bool:
    """Return whether a plugin's fixtures can be seen by an item: those of a conftest file only below it."""
    path = Path(plugin.__file__ or "")
    return path.name != "conftest.py" or path.parent in item.path.parents


def _offers(module: str) -> bool:
    return module.partition(".")[0] in OFFERING


def _sources(module: types.ModuleType) -> Iterator[types.ModuleType]:
    """Yield the modules from which a module has its classes, functions and fixtures: bases and helpers among them."""
    for name in dict.fromkeys(map(_origin, list(vars(module).values()))):
        origin = sys.modules.get(name)
        if origin is not None and origin is not module and not _offers(name):
            yield origin


def _origin(value: object) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type | types.FunctionType):
        return value.__module__
    return str(getattr(value, "__dict__", {}).get("__module__", ""))  # a fixture has it of its function


def _names_it(module: types.ModuleType) -> bool:
    return any(
        value is depends or (isinstance(value, types.ModuleType) and value.__name__ in OFFERING)
        for value in list(vars(module).values())
    )


def _code_of(module: types.ModuleType) -> Iterator[types.CodeType]:
    """Yield the code of a module's own functions, methods and fixtures."""
    for value in list(vars(module).values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        for member in members:
            code = getattr(unwrap(member) if callable(member) else member, "__code__", None)
            if isinstance(code, types.CodeType) and _origin(value) == module.__name__:
                yield code


def _speaks_of_far_scopes(code: types.CodeType) -> bool:
    return any(constant in FAR for one in _with_inner(code) for constant in one.co_consts)


def _imports_it(code: types.CodeType) -> bool:
    """Return whether a function imports a module that has `depends`, by a statement or by its name as text."""
    return any(
        not OFFERING.isdisjoint((*one.co_names, *filter(_is_text, one.co_consts)))
        for one in _with_inner(code)
    )


def _is_text(constant: object) -> bool:
    return isinstance(constant, str)


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function, and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)
