"""The keys of values that this plugin stores on pytest's objects, and the test for items of the graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_dogfood.collection.added_files import AddedFiles
    from pytest_dogfood.collection.dependency_marks import DependencyMarks
    from pytest_dogfood.collection.project import Project
    from pytest_dogfood.execution.interruption import Interruption
    from pytest_dogfood.execution.masking import SecretKeeper
    from pytest_dogfood.execution.terminal import Entrance
    from pytest_dogfood.journey import Journey
    from pytest_dogfood.scheduling.pinned_plan import PinnedPlan
    from pytest_dogfood.settings import Settings
    from pytest_dogfood.storage.token_registry import FleetLeases

ADDED: pytest.StashKey[AddedFiles] = pytest.StashKey()
"""Set if files are collected that were not named."""
DEPENDENCY_MARKS: pytest.StashKey[DependencyMarks] = pytest.StashKey()
"""Set if this run uses dependency marks."""
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
PROJECT: pytest.StashKey[Callable[[], Project]] = pytest.StashKey()
"""Returns the project, which is made on the first call."""
PINNED: pytest.StashKey[PinnedPlan] = pytest.StashKey()
"""Set if a plan file says what this run does."""
INTERRUPTION: pytest.StashKey[Interruption] = pytest.StashKey()
ENTRANCE: pytest.StashKey[Entrance] = pytest.StashKey()
"""Set where a journey is run only to open a shell in the place of one of its steps."""
FLEET: pytest.StashKey[Callable[[Callable[[str], AbstractContextManager[object]]], FleetLeases]] = (
    pytest.StashKey()
)
"""Set in a run on several machines: makes the leases on their tokens, with what is called while a process waits."""
JOURNEY: pytest.StashKey[Journey] = pytest.StashKey()
MISSPELT_MARKS: pytest.StashKey[dict[str, str]] = pytest.StashKey()
"""The marks seen so far, each with the mark of this plugin that it misspells, or the empty string."""
KEEPER: pytest.StashKey[SecretKeeper] = pytest.StashKey()
"""Knows the secrets of this process."""


REQUIRES = ("requires", "dogfood_requires")
ESTABLISHES = ("establishes", "dogfood_establishes")
INVALIDATES = ("invalidates", "dogfood_invalidates")
OUR_MARKS = frozenset((*REQUIRES, *ESTABLISHES, *INVALIDATES))
_MOST_CHANGED = 2
"""The most letters by which a misspelling is longer or shorter than the mark."""
OUR_FIXTURES = frozenset({"capabilities", "dogfood_state"})


def any_graph_item(items: Iterable[pytest.Item]) -> bool:
    """Return whether any item is a journey, or uses a mark (even misspelt) or fixture of this plugin."""
    known: dict[Any, bool] = {None: False}
    return any(
        not OUR_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or _is_marked(item)
        or _is_below_a_mark(item.parent, known)
        or hasattr(getattr(item, "function", None), "journey")
        for item in items
    )


def _is_below_a_mark(node: Any, known: dict[Any, bool]) -> bool:  # noqa: ANN401 - pytest exports no common base of its nodes
    if node not in known:
        known[node] = _is_marked(node) or _is_below_a_mark(node.parent, known)
    return known[node]


def _is_marked(node: Any) -> bool:  # noqa: ANN401 - an item, or any node above it
    return bool(node.own_markers) and any(
        mark.name in OUR_MARKS or mark_meant_by(mark.name, node.config) for mark in node.own_markers
    )


def mark_meant_by(name: str, config: pytest.Config) -> str:
    """Return the mark of this plugin that an undeclared mark seems to misspell; the empty string if there is none."""
    known = config.stash.setdefault(MISSPELT_MARKS, {})
    if name not in known:
        known[name] = "" if name in OUR_MARKS else _nearest_mark(name, config)
    return known[name]


def _nearest_mark(name: str, config: pytest.Config) -> str:
    alike = [
        one for one in sorted(OUR_MARKS) if one[0] == name[0] and abs(len(one) - len(name)) <= _MOST_CHANGED
    ]
    declared = (re.split("[:(]", line)[0].strip() for line in config.getini("markers"))
    if not alike or name in declared:
        return ""
    from difflib import get_close_matches  # most suites have no such mark

    return next(iter(get_close_matches(name, alike, n=1, cutoff=0.8)), "")
