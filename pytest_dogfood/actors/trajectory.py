"""What an actor did in one journey, line by line as it happens, for people and programs to read afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_dogfood.actions import Action, masked
from pytest_dogfood.journey import Journey
from pytest_dogfood.performance import Grade
from pytest_dogfood.stepping import SecretKeeper
from pytest_dogfood.storage import append_line

VERSION = 1
"""Version of the lines. 1: the first."""


class Trajectory:
    """A file of JSON lines, private to its owner, complete up to the moment at which its writer may die."""

    def __init__(self, path: Path, keeper: SecretKeeper) -> None:
        self.path = path
        self._keeper = keeper

    def begin(self, journey: Journey, *, why: str, run: str, worker: str, asked_by: str = "") -> None:
        self._write(
            "journey",
            version=VERSION,
            id=journey.id,
            nodeid=journey.nodeid,
            location=str(journey.location),
            why=why,
            run=run,
            worker=worker,
            **({"asked_by": asked_by} if asked_by else {}),
        )

    def action(self, action: Action, *, note: str = "") -> None:
        content = asdict(action)
        content["milliseconds"] = round(content.pop("seconds") * 1000)
        self._write("action", **content, **({"note": note} if note else {}))

    def grade(self, step: int, grade: Grade, *, note: str = "") -> None:
        self._write(
            "grade",
            step=step,
            ended=grade.ended.name.lower(),
            decisive=grade.decisive,
            actions=grade.actions,
            command=None if grade.graded is None else grade.graded.command,
            credited_from=grade.graded.step if grade.graded is not None and grade.credited else None,
            wrong=[str(one) for one in grade.wrong],
            judge=None if grade.verdict is None else asdict(grade.verdict),
            unjudged=grade.unjudged,
            **({"note": note} if note else {}),
        )

    def end(self, outcome: str, why: str = "") -> None:
        self._write("end", outcome=outcome, **({"why": why} if why else {}))

    def close(self) -> None:
        """Hide what has come to be known as secret only after it was written."""
        if self.path.exists():
            self._keeper.secrets.mask_file(self.path)

    def _write(self, kind: str, **content: Any) -> None:  # noqa: ANN401 - JSON is any of its types
        line = {"kind": kind, **masked(content, self._keeper.mask)}
        append_line(self.path, json.dumps(line, ensure_ascii=False).encode(errors="replace"))
