"""Projects for `dogfood enter` and `dogfood pack`, whose runs have a place of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_dogfood.execution import watcher
from tests.support.terminals import TerminalSession, terminal_session

PROJECT = """
capabilities:
  image-tag:
    provision:
      - {run: echo tag=7, save: {TAG: {stdout: "tag=(.+)"}}}
    release:
      - run: echo released >> "$DOGFOOD_ROOT/log"
journeys:
  - id: build
    establishes: [built]
    steps: [run: 'true']
  - id: use
    requires: [built, image-tag]
    env: {OWN: "mine $DOGFOOD_IMAGE_TAG_TAG"}
    steps:
      - run: echo first >> "$DOGFOOD_ROOT/log"; mkdir sub; echo id=a1
        save: {FOUND: {stdout: "id=(.+)"}}
      - intent: copy what is known
        env: {STEP: only here}
        cwd: sub
        run: [cp, /proc/self/environ, step.env]
      - run: echo "third $FOUND" | tee -a "$DOGFOOD_ROOT/log"; cat; exit 3
        stdin: "typed\\n"
    cleanup:
      - run: echo cleaned >> "$DOGFOOD_ROOT/log"
  - {id: stuck, requires: [used], steps: [run: 'true']}
  - {id: breaks, establishes: [used], steps: [{run: exit 5}]}
"""


class Project:
    """A project whose runs, also those of `dogfood enter`, carry a marker and have a place of their own."""

    def __init__(self, path: Path, root: Path, text: str = PROJECT) -> None:
        self.path, self.root = path, root
        self.marker = f"ENTER_{root.name}"
        home = path / "home"
        home.mkdir()
        ours = (
            "PYTEST_",
            "DOGFOOD_",
            "_DOGFOOD",
            "NO_COLOR",
            "FORCE_COLOR",
            "CI",
            "COV_",
            "ENV",
            "PS1",
            "ZDOTDIR",
            "COLUMNS",
            "LINES",
        )
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        self.env = {**inherited, "TMPDIR": str(root), "HOME": str(home), self.marker: "1", "TERM": "xterm"}
        (path / "all.journey.yaml").write_text(text)
        (path / "pytest.ini").write_text("[pytest]\n")

    @property
    def log(self) -> list[str]:
        return (self.path / "log").read_text().split() if (self.path / "log").exists() else []

    @property
    def run_directories(self) -> list[Path]:
        return [path for path in self.root.glob("df-*/*") if len(path.name) == 6 and path.is_dir()]

    def is_left(self) -> bool:
        return any(watcher.alive(pid, None) and watcher.carries(pid, self.marker) for pid in watcher.pids())

    def enter(self, *words: str, here: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.command("enter", *words, here=here)

    def command(self, *words: str, here: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest_dogfood", *words],
            cwd=here or self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pytest(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "--dogfood", *words],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def shell(self, *words: str, shell: str = "bash") -> Iterator[TerminalSession]:
        """Open a shell on a terminal, and wait for its prompt."""
        env = {**self.env, "SHELL": shutil.which(shell) or shell}
        program = [sys.executable, "-m", "pytest_dogfood", "enter", *words]
        with terminal_session(*program, cwd=self.path, env=env) as session:
            session.shows(r"\(use\) ")
            yield session


class Kept(Project):
    """A project with a run in which `use` has failed in its third step."""

    def __init__(self, path: Path, root: Path) -> None:
        super().__init__(path, root)
        self.said = self.pytest("-p", "no:randomly", "-p", "no:cacheprovider").stdout
        (self.run,) = [one.parent for one in root.glob("df-*/*/run.json")]

    def tree(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.run.rglob("*") if path.is_file()}
