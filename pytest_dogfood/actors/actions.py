"""Where an actor's commands run: in the journey's working directory, a `cd` lasting as at a prompt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.actions import TAIL, Performed
from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import Stream
from pytest_dogfood.performance import Observation
from pytest_dogfood.shells import shell_argv
from pytest_dogfood.stepping import (
    RealBench,
    RealObservation,
    SecretKeeper,
    file_below,
    place_files,
    require_variables,
)

_NOTE = "_DOGFOOD_CWD"
_FOLLOWED = f"trap 'pwd -P >\"${_NOTE}\" 2>/dev/null || :' EXIT\n"
"""What lets a shell say where it was in the end, put before a command on a line of its own."""

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
"""Shells that understand it; elsewhere each command starts where its step does."""


class Stage(Struct, kw_only=True):
    """Runs the actions of one journey, one after the other, at a bench of its own."""

    bench: RealBench
    _step: Step | None = None
    _environment: Mapping[str, str] = field(default_factory=dict)
    _home: Path = field(default_factory=Path)
    _here: Path | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, step: Step, variables: Mapping[str, str]) -> None:
        """Place a step's files; it goes on where the last one was left, unless it names a directory of its own."""
        self._step = step
        self._environment = self.bench.environment_of(step, variables)
        require_variables(step, self._environment)
        self._home = self.bench.home_of(step, self._environment)
        place_files(step.seed_files, self.bench.workdir)
        if step.cwd is not None:
            self._here = None

    def run(self, command: str, *, limit: float | None) -> RealObservation:
        """Run a command of the step that has begun."""
        step = self._step
        if step is None:
            raise AssertionError("a step begins before its commands run")
        mark = f"{self.bench.name}-act{next(self._numbers)}"
        note = self.bench.outputs / f"{mark}.cwd"
        follows = step.shell is None or Path(step.shell.split(maxsplit=1)[0]).name in _SHELLS
        seen = self.bench.execute(
            step,
            shell_argv(_FOLLOWED + command if follows else command, step.shell),
            mark=mark,
            environment={**self._environment, _NOTE: str(note)},
            cwd=self._here if self._here is not None and self._here.is_dir() else self._home,
            limit=limit if limit is None else max(limit, 0.001),
        )
        self._here = _read_path(note) or self._here
        return replace(seen, cwd=self._home)

    def told(self, performed: Performed) -> Told:
        """Take the word of somebody who has acted by other means."""
        home, environment = self._home, self._environment
        return Told(performed=performed, cwd=home, environment=environment, keeper=self.bench.keeper)

    def looking_from_home(self, seen: Observation) -> Observation:
        """Give the same observation, of this stage, with files relative to the step that has begun."""
        if isinstance(seen, RealObservation | Told):
            return replace(seen, cwd=self._home, environment=self._environment)
        return seen


class Told(Struct, kw_only=True):
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
