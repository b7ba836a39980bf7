"""Runs one step: its shell, directory, environment, output files and secrets."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, to_harness_error
from pytest_dogfood.execution.expectations import MAX_OUTPUT, WITHHELD, CommandInStep, Stream, TooLarge
from pytest_dogfood.execution.interruption import CLEANUP_SECONDS, Interruption
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.output import (
    Output,
    TooMuchOutput,
    is_full,
    read_output,
    read_tail,
    terminal_text,
)
from pytest_dogfood.execution.process import Command, ParentProcess, commands_within, run
from pytest_dogfood.execution.runner import command_lines
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.fileformat.expected_text import problem_with
from pytest_dogfood.journey import Script, Step

_SECONDS_TO_SEARCH = 1.0
"""Seconds that searches in the outputs of a step may always take, however late it has ended."""

TAIL = 4 * 1024
"""Bytes from the end of each output that an actor, a judge and a trajectory are shown."""

_STEP_MARKER = "_DOGFOOD_STEP"

_NOTE_FAILURE = """builtin printf '%s\\n' "$? $LINENO" "$BASH_COMMAND" >| {path}"""
"""The trap that bash runs when a command of a step fails, to find out which of several lines that was.

bash reads it from a file before the step. A step's own `trap … ERR` replaces it. Functions and subshells do not inherit
it, so the line is always one of the step's.
"""

_FAILURE_NOTED = re.compile(r"(\d+) (\d+)\n(.*)", re.DOTALL)

_LISTS_TRAPS = re.compile(r"\btrap\b(?:[ \t]+-p\b[^\n;|&)`]*)?[ \t]*(?:[\n;|&)`>#]|\Z)")
"""A `trap` that lists the traps: a step with one gets no trap of this plugin's."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


class ShellRunner(Struct, frozen=True, kw_only=True):
    """Runs steps in `workdir` with `environment`, writing outputs to `outputs` under names that begin with `name`.

    Scripts are found below `rootdir`. `timeout` (seconds) is the limit of a step that sets none.
    """

    rootdir: Path
    workdir: Path
    environment: Mapping[str, str]
    outputs: Path
    name: str
    timeout: float
    keeper: SecretKeeper
    empty_files: Mapping[str, list[Path]]
    parent: ParentProcess | None = None
    interruption: Interruption = msgspec.field(default_factory=Interruption)

    def run(
        self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None
    ) -> CommandObservation:
        """Run a step; raises HarnessError if the harness could not do its part."""
        if step.run is None:
            raise HarnessError(f"{step.location}: the step has no command, and there is no actor to find one")
        environment, home = self.prepare(step, variables)
        with self._naming(step):
            place_files(step.seed_files, self.workdir)
        what = f"step {number}" + (f" ({step.intent})" if step.intent else "")
        mark, argv = f"{self.name}-step-{number}", self.argv_of(step)
        return self.execute(step, argv, mark=mark, environment=environment, cwd=home, limit=limit, what=what)

    def argv_of(self, step: Step) -> tuple[str, ...]:
        """Return the argv of a step's command; nothing where an actor would have to find one."""
        if isinstance(step.run, Script):
            # The whole path, because a script asks `$0` where it is, and `cwd:` may start it elsewhere.
            return (str(self.rootdir / step.run.path),)
        return () if step.run is None else shell_argv(step.run, step.shell)

    def prepare(self, step: Step, variables: Mapping[str, str]) -> tuple[dict[str, str], Path]:
        """Return a step's environment, and the directory that it starts in and that its files are relative to.

        Raises HarnessError if an expectation uses a variable that has no value.
        """
        environment = {**self.environment, **variables}
        for name, text in step.env.items():
            environment[name] = expand(text, environment)
        if problem := problem_with(step.expect, environment):
            raise HarnessError(f"{step.location}: {problem} [unknown-variable]")
        return environment, self.workdir / expand(step.cwd or ".", environment)

    def execute(
        self,
        step: Step,
        argv: tuple[str, ...],
        *,
        mark: str,
        environment: Mapping[str, str],
        cwd: Path,
        limit: float | None,
        what: str = "a command that an actor gave",
    ) -> CommandObservation:
        """Run `argv` for a step; the outputs' names begin with `mark`, which is used once in a run."""
        environment = {**environment, _STEP_MARKER: f"{self.workdir}:{mark}"}
        note: Path | None = None
        if (
            argv[1:-1] == ("-eo", "pipefail", "-c")
            and "\n" in argv[-1].strip()
            and "BASH_ENV" not in environment
            and not _LISTS_TRAPS.search(argv[-1])
        ):
            note = self.outputs / f"{mark}.line"
            trap = shlex.quote(_NOTE_FAILURE.format(path=shlex.quote(str(note))))
            with to_harness_error(f"write {note}"):
                note.write_text(f"unset BASH_ENV\ntrap {trap} ERR\n")
            environment["BASH_ENV"] = str(note)
        allowed = self.timeout if step.timeout is None else step.timeout
        secretive = bool(self.keeper) or any(saved.secret for saved in step.save)
        out, err = (
            Output(self.outputs, f"{mark}.{kind}", None if secretive else self.empty_files[kind])
            for kind in ("out", "err")
        )
        outputs: dict[Stream, Output] = {"stdout": out, "stderr": err}
        command = Command(
            argv=argv,
            cwd=cwd,
            env=environment,
            stdin=b"" if step.stdin is None else step.stdin.encode(),
            timeout=allowed if limit is None else min(allowed, limit),
            stdout=out.open,
            stderr=err.open,
            marker=_STEP_MARKER,
        )
        try:
            started: list[int] = []
            details = partial(
                self._details, step, outputs, lambda: commands_within(started[0], argv) if started else ()
            )
            new_output = self._new_output(step, outputs)
            with self._naming(step), self.interruption.operation(what, details, new_output):
                ended = run(command, parent=self.parent, interruption=self.interruption, started_as=started)
            self._require_room(step)
        except BaseException:
            out.discard()
            err.discard()
            raise
        if ended.cut:
            self.interruption.cut.append(f"{step.location}: {step.intent or step.command}")
        failed = None if note is None else _take_failed_command(note, argv[-1], ended.status)
        return CommandObservation(
            ended_at=_told_running(step, ended.running) if ended.timed_out else failed,
            status=ended.status,
            timed_out=ended.timed_out,
            seconds=ended.seconds,
            limit=CLEANUP_SECONDS if ended.cut else command.timeout or allowed,
            outputs=outputs,
            cwd=cwd,
            environment=environment,
            keeper=self.keeper,
        )

    @property
    def marker(self) -> str:
        """The environment entry of every process that its steps start, up to the number of the step."""
        return f"{_STEP_MARKER}={self.workdir}:{self.name}-"

    @contextmanager
    def _naming(self, step: Step) -> Iterator[None]:
        """Add the step to the text of a harness error."""
        try:
            yield
        except HarnessError as error:
            raise HarnessError(self.mask(f"{error}\n{step.location}: {step.command}")) from error

    def _details(
        self,
        step: Step,
        outputs: Mapping[Stream, Output],
        running: Callable[[], Sequence[str]],
    ) -> Iterator[str]:
        """Describe a step that is running, with its output so far."""
        yield f"  at:       {step.location}"
        yield self.mask("\n".join(command_lines(step)))
        if (command := _told_running(step, running())) is not None:
            yield self.mask(f"  running:  {command}")
        hidden = any(saved.secret for saved in step.save)
        for stream, output in outputs.items():
            if output.path is None or not output.path.exists() or not output.path.stat().st_size:
                continue
            said = WITHHELD if hidden else terminal_text(self.keeper.read_masked_end(output.path, TAIL))
            if said:
                yield f"  --- {stream}, the end ---"
                yield from (f"  {line}" for line in said.rstrip("\n").split("\n"))

    def _new_output(self, step: Step, outputs: Mapping[Stream, Output]) -> Callable[[bool], str] | None:
        """Return a function that returns the step's output since the last call, secrets masked.

        It returns whole lines, and once the step has ended also an unfinished one.
        """
        if any(saved.secret for saved in step.save):
            return None
        read = dict.fromkeys(outputs, 0)

        def new_output(at_the_end: bool) -> str:  # noqa: FBT001 - called by position only
            lines = b""
            for stream, output in outputs.items():
                if output.path is None or not output.path.exists():
                    continue
                with output.path.open("rb") as file:
                    file.seek(read[stream])
                    more = file.read(TAIL)
                whole = more if at_the_end else more[: more.rfind(b"\n") + 1]
                read[stream] += len(whole)
                lines += whole if not at_the_end or whole.endswith(b"\n") or not whole else whole + b"\n"
            return self.mask(terminal_text(lines))

        return new_output

    def _require_room(self, step: Step) -> None:
        """Raise HarnessError if the disk is full: then output of the step may be lost."""
        if is_full(self.outputs):
            raise HarnessError(
                f"{step.location}: the disk that holds {self.outputs} is full, so output of the step may be lost; "
                "free some space, or set dogfood_state_root to a directory on another disk"
            )

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)


class CommandObservation(Struct, kw_only=True):
    """The result of a step's command: how it ended, its outputs, and its directory.

    After `finish`, outputs that stayed empty have no file any more.
    """

    status: int
    timed_out: bool
    seconds: float
    limit: float
    ended_at: CommandInStep | None
    outputs: Mapping[Stream, Output]
    cwd: Path
    environment: Mapping[str, str]
    keeper: SecretKeeper
    _texts: dict[str, str] = msgspec.field(default_factory=dict)
    _judged_until: float | None = None

    @property
    def left(self) -> float:
        # An actor's command is judged some time after it has ended: the clock starts with the first search.
        if self._judged_until is None:
            self._judged_until = time.monotonic() + max(self.limit - self.seconds, _SECONDS_TO_SEARCH)
        return self._judged_until - time.monotonic()

    def text(self, stream: Stream) -> str:
        if stream not in self._texts:
            path = self.outputs[stream].path
            self._texts[stream] = "" if path is None else _readable(path, stream)
        return self._texts[stream]

    def file(self, path: str) -> str | None:
        found = self.cwd / path
        if not os.path.lexists(found):
            return None
        return _readable(found, f"file {path}") if found.is_file() else ""

    def mask(self, text: str) -> str:
        return self.keeper.mask(text)

    def tail(self, stream: Stream) -> str:
        path = self.outputs[stream].path
        return "" if path is None else read_tail(path)

    def masked_tail(self, stream: Stream) -> str:
        path = self.outputs[stream].path
        if path is None:
            return ""
        with to_harness_error(f"read {path}"):
            before = max(path.stat().st_size - TAIL, 0)
        text = terminal_text(self.keeper.read_masked_end(path, TAIL))
        return f"… {before} bytes before\n{text}" if before else text

    def learn(self, secrets: Sequence[str]) -> None:
        self.keeper.learn(secrets)

    def finish(self, *, withheld: Collection[Stream] = ()) -> None:
        """Mask the files, then give them their final names.

        Withheld outputs are removed: they hold a secret that was not found, so it cannot be masked.
        """
        self._texts.clear()
        for stream, output in self.outputs.items():
            if stream in withheld:
                output.discard()
            else:
                output.settle(self.keeper)


def _take_failed_command(path: Path, text: str, status: int) -> CommandInStep | None:
    """Return the failed command that a step's shell has noted in a file.

    None if it noted none, or if that is not why the step ended with this status.
    """
    try:
        noted = _FAILURE_NOTED.match(path.read_text(errors="replace"))
        path.unlink()
    except OSError:
        return None
    lines = text.splitlines()
    if noted is None or int(noted[1]) != status or not 1 <= (number := int(noted[2])) <= len(lines):
        return None
    line, command = lines[number - 1].strip(), "; ".join(map(str.strip, noted[3].strip().splitlines()))
    if line.startswith(")") or (command.startswith("(") and not line.startswith("(")):
        kind = "subshell" if command.startswith("(") else "command"
        return CommandInStep(command, f"the {kind} that ends in line {number}")
    return CommandInStep(line, f"line {number}")


def _told_running(step: Step, commands: Sequence[str]) -> CommandInStep | None:
    """Return the commands that a step was running, unless they only repeat its text or may hold a new secret."""
    text = ", ".join(commands)
    is_known = isinstance(step.run, tuple) or text in {"", " ".join(step.command.split())}
    return None if is_known or any(saved.secret for saved in step.save) else CommandInStep(text)


def _readable(path: Path, what: str) -> str:
    try:
        return read_output(path, MAX_OUTPUT).decode("utf-8", errors="replace")
    except TooMuchOutput as error:
        raise TooLarge(f"{what} has {error.size} bytes") from error


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$name` and `${name}` by variables; unknown ones stay as they are, as in os.path.expandvars."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def place_files(files: Mapping[str, str], directory: Path) -> None:
    """Write files below a directory; raises HarnessError if a symbolic link leads out of it."""
    for name, text in files.items():
        path = directory / name
        with to_harness_error(f"write seed file {path}"):
            if not path.resolve().is_relative_to(directory.resolve()):
                raise HarnessError(
                    f"seed file {name!r} would leave the working directory through a symbolic link: "
                    f"it leads to {path.resolve()} [bad-path]"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
