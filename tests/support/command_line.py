"""The command `dogfood`, run in a process of its own as one types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def dogfood(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `dogfood` in a directory; nothing it finds in the environment of these tests reaches it."""
    ours = ("PYTEST_", "DOGFOOD_", "NO_COLOR", "FORCE_COLOR", "CI_NODE_", "COV_")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", *arguments],
        cwd=directory,
        env={**inherited, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory with its content, and every directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in directory.rglob("*")
    }
