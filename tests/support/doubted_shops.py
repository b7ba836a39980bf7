"""Projects for `dogfood doubt`: a shop with a wrong declaration, one without, and the command in them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pytest_dogfood.doubt.record import DoubtRecord, read_record
from tests.support.run_results import inherited

SHOP = """
    capabilities:
      logged-in:
        probe: test -e "$DOGFOOD_STATE/session"
    journeys:
      - id: log-in
        establishes: [logged-in]
        steps: [{run: 'touch "$DOGFOOD_STATE/session"'}]
      - id: fill
        requires: [logged-in]
        steps: [{run: 'echo tea >"$DOGFOOD_STATE/cart"'}]
      - id: pay
        requires: [logged-in]
        steps: [{run: 'grep tea "$DOGFOOD_STATE/cart"'}]
    """

CLEAN = SHOP.replace("grep tea", "echo tea")


class Doubted:
    """A project, and `dogfood doubt` in it."""

    def __init__(self, path: Path, states: Path) -> None:
        self.path = path
        self.states = states
        self.ini = f"[pytest]\ndogfood_state_root = {states}\n"

    def write(self, files: Mapping[str, str]) -> Doubted:
        for name, text in {"pytest.ini": self.ini, **files}.items():
            file = self.path / name
            file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
            file.chmod(0o755 if name.endswith(".sh") else 0o644)
        return self

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_dogfood", "doubt", *arguments],
            cwd=self.path,
            env={**inherited(), "COLUMNS": "200", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def doubt(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    def pytest(self, *arguments: str) -> None:
        """Run the project once, as a user does; it must pass."""
        subprocess.run(
            [sys.executable, "-m", "pytest", "--dogfood", "-q", *arguments],
            cwd=self.path,
            env=inherited(),
            check=True,
        )

    @property
    def record(self) -> DoubtRecord:
        found, warning = read_record(self.path / ".pytest_cache" / "d" / "dogfood-doubt.json")
        assert warning == ""
        return found

    def lines(self, name: str) -> list[str]:
        file = self.path / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
