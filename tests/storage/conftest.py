"""States to copy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_dogfood.storage.run_directory import remove_tree

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "c0-gw0"
    state.mkdir()
    return state


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A state of a user who may not do everything, and this process is that user."""
    root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    user = os.geteuid()
    if user == 0:
        os.chown(root, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        (root / "c0-gw0").mkdir()
        yield root / "c0-gw0"
    finally:
        os.seteuid(user)
        if user == 0:
            os.setegid(0)
        remove_tree(root)
