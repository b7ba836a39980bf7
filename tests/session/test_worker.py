"""A worker that has collected nothing of the graph does next to nothing for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_dogfood.collection.selection import WorkerSelection, read_worker_selection
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.session.worker import NO_SELECTION
from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], Inner]

SPARING = """
    import sys

    def test_that_it_is_spared():
        found = {name for name in sys.modules if name.startswith("pytest_dogfood.")}
        assert not found & {"pytest_dogfood.graph", "pytest_dogfood.journey", "pytest_dogfood.session.items"}
"""

DOUBTFUL = """
    import os
    import pytest

    def pytest_itemcollected(item):
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
            item.add_marker(pytest.mark.establishes("made"))
"""


def test_a_worker_without_journeys_imports_nothing_that_deals_with_them(inner: Make) -> None:
    assert inner({"test_a.py": SPARING}).dogfood("-n1").ret == 0


def test_what_it_publishes_is_an_empty_plan(tmp_path: Path) -> None:
    (tmp_path / "gw0.json").write_bytes(NO_SELECTION)
    assert read_worker_selection(tmp_path) == WorkerSelection(plan=Plan())


def test_workers_that_disagree_whether_there_is_a_graph_are_refused(inner: Make) -> None:
    scene = inner(
        {
            "conftest.py": DOUBTFUL,
            "dogfood.yaml": "capabilities: {made: {}}",
            "test_a.py": "def test_a(): pass",
        }
    )
    result = scene.dogfood("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the workers have made different plans" in "\n".join([*result.outlines, *result.errlines])


@pytest.mark.parametrize(
    "module",
    [
        "api",
        "plugin",
        "registration",
        "collection.discovery",
        "collection.exceptions",
        "collection.stash",
        "session.disabled",
        "session.worker",
        "xdist.barrier",
    ],
)
def test_what_every_run_loads_is_light(module: str) -> None:
    code = f"import sys, pytest_dogfood.{module}; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_conftest_files_import_loads_not_even_pytest() -> None:
    code = "import sys; from pytest_dogfood import depends, provides; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
