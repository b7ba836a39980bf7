"""Runs an actor's actions in the working directory of the journey, and writes down what it did."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import TAIL, Action, Performed, masked
from pytest_dogfood.execution.expectations import Observation, Stream
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.runner import Grade
from pytest_dogfood.execution.step import (
    CommandObservation,
    ShellRunner,
    file_below,
    place_files,
    shell_argv,
)
from pytest_dogfood.journey import Journey, Step
from pytest_dogfood.storage.files import append_line

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
            self._keeper.mask_file(self.path)

    def _write(self, kind: str, **content: Any) -> None:  # noqa: ANN401 - JSON is any of its types
        line = {"kind": kind, **masked(content, self._keeper.mask)}
        append_line(self.path, json.dumps(line, ensure_ascii=False).encode(errors="replace"))


_NOTE = "_DOGFOOD_CWD"
_FOLLOWED = f"trap 'pwd -P >\"${_NOTE}\" 2>/dev/null || :' EXIT\n"
"""What lets a shell say where it was in the end, put before a command on a line of its own."""

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
"""Shells that understand it; elsewhere each command starts where its step does."""


class ActionRunner(Struct, kw_only=True):
    """Runs the actions of one journey, one after the other, with a step runner of its own."""

    runner: ShellRunner
    _step: Step | None = None
    _environment: Mapping[str, str] = field(default_factory=dict)
    _home: Path = field(default_factory=Path)
    _here: Path | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, step: Step, variables: Mapping[str, str]) -> None:
        """Place a step's files; it goes on where the last one was left, unless it names a directory of its own."""
        self._step = step
        self._environment, self._home = self.runner.prepare(step, variables)
        place_files(step.seed_files, self.runner.workdir)
        if step.cwd is not None:
            self._here = None

    def run(self, command: str, *, limit: float | None) -> CommandObservation:
        """Run a command of the step that has begun."""
        step = self._step
        if step is None:
            raise AssertionError("a step begins before its commands run")
        mark = f"{self.runner.name}-act{next(self._numbers)}"
        note = self.runner.outputs / f"{mark}.cwd"
        follows = step.shell is None or Path(step.shell.split(maxsplit=1)[0]).name in _SHELLS
        seen = self.runner.execute(
            step,
            shell_argv(_FOLLOWED + command if follows else command, step.shell),
            mark=mark,
            environment={**self._environment, _NOTE: str(note)},
            cwd=self._here if self._here is not None and self._here.is_dir() else self._home,
            limit=limit if limit is None else max(limit, 0.001),
        )
        self._here = _read_path(note) or self._here
        return replace(seen, cwd=self._home)

    def told(self, performed: Performed) -> ActionOutput:
        """Take the word of somebody who has acted by other means."""
        home, environment = self._home, self._environment
        return ActionOutput(performed=performed, cwd=home, environment=environment, keeper=self.runner.keeper)

    def looking_from_home(self, seen: Observation) -> Observation:
        """Return the same observation with files relative to the step that has begun."""
        if isinstance(seen, CommandObservation | ActionOutput):
            return replace(seen, cwd=self._home, environment=self._environment)
        return seen


class ActionOutput(Struct, kw_only=True):
    """What somebody says that has been done and seen, in place of the outputs of a command."""

    performed: Performed
    cwd: Path
    environment: Mapping[str, str]
    keeper: SecretKeeper
    timed_out: bool = False
    limit: float = math.inf
    left: float = 60.0

    @property
    def status(self) -> int:
        return self.performed.exit

    @property
    def seconds(self) -> float:
        return self.performed.seconds

    def text(self, stream: Stream) -> str:
        return self.performed.stdout if stream == "stdout" else self.performed.stderr

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)

    def file(self, path: str) -> str | None:
        return file_below(self.cwd, path)

    def tail(self, stream: Stream) -> str:
        return self.mask(self.text(stream))

    def ending(self, stream: Stream) -> str:
        return self.tail(stream)[-TAIL:]

    def learn(self, secrets: Sequence[str]) -> None:
        self.keeper.learn(secrets)

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        pass  # nothing of it is in a file


def _read_path(note: Path) -> Path | None:
    try:
        text = note.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n")
        note.unlink()
    except OSError:
        return None
    return Path(text) if text else None
