"""Tests of classes that pytest passes by when a node id leads to another class of the same file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_dogfood.collection.needed_files import may_establish
from pytest_dogfood.itemends import OUTCOMES


def tests_in(node: pytest.Item | pytest.Collector) -> Iterator[pytest.Item]:
    """Collect what is below a class, if its file may establish a token; nothing where that fails."""
    if isinstance(node, pytest.Item):
        yield node
    elif may_establish(node.path):
        try:
            inner = list(node.collect())
        except (Exception, *OUTCOMES):  # noqa: BLE001 - the file's author learns of it where the class itself is run
            return
        for one in inner:
            yield from tests_in(one)
