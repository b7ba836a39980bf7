"""Runs one step for real: its directory, its environment, its output files, its secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from pytest_dogfood.captured import Captured
from pytest_dogfood.captured import TooMuchOutput
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Step
from pytest_dogfood.judgement import READABLE
from pytest_dogfood.judgement import Stream
from pytest_dogfood.judgement import TooMuchToJudge
from pytest_dogfood.masking import Secrets
from pytest_dogfood.process import Command
from pytest_dogfood.process import Ended
from pytest_dogfood.process import Lifeline
from pytest_dogfood.process import run
from pytest_dogfood.process import shell_argv

SHOWN = 16 * 1024
"""Bytes from the end of each output that a report shows."""

UNMASKED = ".raw"
"""Suffix of an output that may still hold secrets; whoever finds one after a death removes it."""

STEP_MARKER = "_DOGFOOD_STEP"

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


@dataclass(slots=True)
class SecretKeeper:
    """The secret values that this process has come to know; they only become more."""

    secrets: Secrets

    @classmethod
    def from_environment(cls, names: Iterable[str]) -> SecretKeeper:
        """Start with the values of the environment variables that ini `dogfood_secrets` names."""
        return cls(Secrets.of(os.environ[name] for name in names if os.environ.get(name)))

    def learn(self, values: Iterable[str]) -> None:
        for value in values:
            self.secrets = self.secrets.adding(value)

    def mask(self, text: str) -> str:
        return self.secrets.mask(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealBench:
    """Runs steps in `workdir` with `environment`, writing outputs to `outputs` under names that begin with `name`.

    `timeout` (seconds) is the limit of a step that sets none.
    """

    workdir: Path
    environment: Mapping[str, str]
    outputs: Path
    name: str
    timeout: float
    keeper: SecretKeeper
    lifeline: Lifeline | None = None

    def run(
        self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None
    ) -> RealObservation:
        """Run a step; raises HarnessError where the harness could not do its part."""
        if step.run is None:
            raise HarnessError(f"{step.location}: the step has no command, and there is no actor to find one")
        mark = f"{self.name}-{number}"
        environment = {**self.environment, **variables, STEP_MARKER: f"{self.workdir}:{mark}"}
        for name, text in step.env.items():
            environment[name] = expand(text, environment)
        cwd = self.workdir / expand(step.cwd or ".", environment)
        place_files(step.seed_files, self.workdir)
        allowed = self.timeout if step.timeout is None else step.timeout
        secretive = bool(self.keeper.secrets) or any(saved.secret for saved in step.save)
        suffix = UNMASKED if secretive else ""
        out, err = (self.outputs / f"{mark}.{kind}{suffix}" for kind in ("out", "err"))
        command = Command(
            argv=shell_argv(step.run, step.shell),
            cwd=cwd,
            env=environment,
            stdin=b"" if step.stdin is None else step.stdin.encode(),
            timeout=allowed if limit is None else min(allowed, limit),
            stdout=out,
            stderr=err,
            marker=STEP_MARKER,
        )
        try:
            ended = run(command, lifeline=self.lifeline)
        except BaseException:
            if secretive:
                out.unlink(missing_ok=True)
                err.unlink(missing_ok=True)
            raise
        return RealObservation(
            ended=ended,
            limit=command.timeout or allowed,
            outputs={"stdout": out, "stderr": err},
            cwd=cwd,
            environment=environment,
            keeper=self.keeper,
        )

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)


@dataclass(slots=True, kw_only=True)
class RealObservation:
    """What a step left: how it ended, two files, and the directory it worked in."""

    ended: Ended
    limit: float
    outputs: dict[str, Path]
    cwd: Path
    environment: Mapping[str, str]
    keeper: SecretKeeper
    _texts: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return self.ended.status

    @property
    def timed_out(self) -> bool:
        return self.ended.timed_out

    @property
    def seconds(self) -> float:
        return self.ended.seconds

    def text(self, stream: Stream) -> str:
        if stream not in self._texts:
            self._texts[stream] = _readable(self.outputs[stream], stream)
        return self._texts[stream]

    def file(self, path: str) -> str | None:
        found = self.cwd / expand(path, self.environment)
        if not os.path.lexists(found):
            return None
        if not found.is_file():
            return ""
        return _readable(found, f"file {path}")

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)

    def tail(self, stream: str) -> str:
        return Captured(path=self.outputs[stream]).tail(SHOWN)

    def finish(self, secrets: Sequence[str]) -> None:
        """Hide secrets in the files, then give these their lasting names."""
        self._texts.clear()
        self.keeper.learn(secrets)
        for stream, path in self.outputs.items():
            if path.suffix == UNMASKED:
                self.keeper.secrets.mask_file(path)
                self.outputs[stream] = path.rename(path.with_suffix(""))


def _readable(path: Path, what: str) -> str:
    try:
        return Captured(path=path).read(READABLE).decode("utf-8", errors="replace")
    except TooMuchOutput as error:
        raise TooMuchToJudge(f"{what} has {error.size} bytes") from error
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}") from error


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in place of `$name` and `${name}`; unknown ones stay as they are, as in os.path.expandvars."""
    if "$" not in text:
        return text
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def place_files(files: Mapping[str, str], directory: Path) -> None:
    """Write files below a directory; raises HarnessError where a symbolic link would lead out of it."""
    for name, text in files.items():
        path = directory / name
        try:
            if not path.resolve().is_relative_to(directory.resolve()):
                raise HarnessError(
                    f"seed file {name!r} would leave the working directory through a symbolic link: "
                    f"it leads to {path.resolve()} [bad-path]"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"cannot write seed file {path}: {error.strerror}") from error
