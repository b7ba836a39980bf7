"""Which files the patterns under `inputs:` match."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.provisioning.state_inputs import matching

FILES = (
    "a.txt",
    "b.txt",
    ".hidden",
    "src/c.py",
    "src/deep/d.py",
    "src/deep/e.txt",
    "src/__pycache__/c.pyc",
    ".git/x",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "src" / "loop").symlink_to(root)
    (root / "linked").symlink_to("src/deep")
    return root


PATTERNS = {
    "a.txt": "a.txt",
    "./a.txt": "a.txt",
    "*.txt": "a.txt b.txt",
    "?.txt": "a.txt b.txt",
    "[b-z].txt": "b.txt",
    "**/*.py": "src/c.py src/deep/d.py",
    "src/**/*.txt": "src/deep/e.txt",
    "src/**": "src/c.py src/deep/d.py src/deep/e.txt src/loop",
    "src": "src/c.py src/deep/d.py src/deep/e.txt src/loop",
    "linked": "linked/d.py linked/e.txt",
    "linked/*.py": "linked/d.py",
    "**/deep": "src/deep/d.py src/deep/e.txt",
    "src/__pycache__/*": "src/__pycache__/c.pyc",
    "missing/*": "",
    "*.PY": "",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches(tree: Path, pattern: str) -> None:
    assert sorted(matching(tree, pattern)) == PATTERNS[pattern].split()
