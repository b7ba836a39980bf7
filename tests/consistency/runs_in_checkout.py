"""A checkout that a hub knows, with pytest as one types it there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkouts import Checkout
from tests.support.run_results import Run, leaving_out, read_junit


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A checkout, the hub that knows its tasks, and pytest as one types it there."""

    checkout: Checkout
    hub: Path
    environment: Mapping[str, str]

    def pytest(self, *arguments: str, **variables: str) -> Run:
        report = self.hub.with_name(f"report{len(list(self.hub.parent.glob('report*')))}.xml")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *leaving_out(arguments, "cacheprovider"),
                f"--junitxml={report}",
                *arguments,
            ],
            cwd=self.checkout.path,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Run(status=done.returncode, text=done.stdout + done.stderr, cases=read_junit(report))

    def state(self) -> tuple[object, ...]:
        """Return all that a check must leave alone."""
        ignored = {"__pycache__", "FETCH_HEAD"}
        files = {
            path: path.read_bytes()
            for path in self.checkout.path.rglob("*")
            if path.is_file() and not ignored & set(path.parts)
        }
        with sqlite3.connect(self.hub) as connection:
            rows = tuple(connection.iterdump())
        connection.close()
        return files, rows
