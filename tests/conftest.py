"""What several test files need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

Dogfood = Callable[..., pytest.RunResult]


@pytest.fixture
def short_root() -> Iterator[Path]:
    """A short private directory for the states of inner runs, whose paths must leave room for sockets."""
    path = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def dogfood(pytester: pytest.Pytester, short_root: Path) -> Dogfood:
    """Run `pytest --dogfood` in the pytester directory, in a process of its own."""

    def run(*arguments: str, on: bool = True) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            *(["--dogfood"] if on else []),
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "-o",
            f"dogfood_state_root={short_root}",
            *arguments,
        )

    return run
