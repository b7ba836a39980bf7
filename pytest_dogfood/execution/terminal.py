"""Hands the terminal over to a shell or command in the place of a step, and takes it back when that ends.

What runs there is a process group of its own in our session, as a shell's jobs are: Ctrl-C, Ctrl-Z and the size of
the window reach it, and not us. See "Implementing a Job Control Shell" in the manual of the GNU C library.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pytest_dogfood.diagnostics import to_harness_error
from pytest_dogfood.execution.process import end_group, spawn
from pytest_dogfood.execution.step import ShellRunner, place_files
from pytest_dogfood.journey import Step

if TYPE_CHECKING:
    import subprocess

STEP_COMMAND = "dogfood-step"
"""What one types in the shell to run the step's command."""

_SECONDS_BETWEEN_LOOKS = 0.05
"""Seconds between looks at what has the terminal."""

_SECONDS_AFTER_HANGUP = 1.0
"""Seconds that a shell may take to end after it was told that its terminal is gone."""


class StepPlace(Struct, frozen=True, kw_only=True):
    """Where a step runs: its directory and environment, and the `argv` and standard input of its command.

    Without an argv, `why_not` says why the command cannot be run. `files` is a directory for what a shell reads when
    it starts. `marker` is the name of a variable by which all that is started there is known.
    """

    name: str
    cwd: Path
    environment: Mapping[str, str]
    files: Path
    argv: tuple[str, ...] = ()
    stdin: str = ""
    why_not: str = ""
    marker: str = ""


def place_of(
    runner: ShellRunner, step: Step, *, number: int, variables: Mapping[str, str], files: Path, name: str
) -> StepPlace:
    """Return what a step would get, with its seed files in place; raises HarnessError as `ShellRunner.run` does.

    Only `BASH_ENV` is not set, by which bash tells where a step of several lines has stopped. No command of the step
    sees it.
    """
    environment, cwd = runner.prepare(step, variables)
    place_files(step.seed_files, runner.workdir)
    marker, _, value = f"{runner.marker}step-{number}".partition("=")
    return StepPlace(
        name=name,
        cwd=cwd,
        environment={**environment, marker: value},
        files=files,
        argv=runner.argv_of(step),
        stdin=step.stdin or "",
        why_not="the step has no command: an actor finds one",
        marker=marker,
    )


class Entrance(Struct, kw_only=True):
    """What is to run in the place of a step of `journey`: `command`, or else a shell; `streams` are its descriptors.

    `after` means the place after the step. `status` is the exit status of what ran there, and None until then.
    """

    journey: str
    step: int
    after: bool = False
    command: tuple[str, ...] = ()
    streams: tuple[int, int, int] = (0, 1, 2)
    status: int | None = None

    @property
    def where(self) -> str:
        return f"{'after' if self.after else 'before'} step {self.step}"

    def open(self, place: StepPlace, banner: str) -> None:
        """Run it, and wait for its end; raises HarnessError if it cannot be started."""
        program = _write_step_command(place)
        if self.command:
            argv = tuple(str(program) if word == STEP_COMMAND else word for word in self.command[:1])
            argv, environment = (*argv, *self.command[1:]), dict(place.environment)
        else:
            argv, environment = shell_of_user(place, program)
            with suppress(OSError):  # a terminal that is gone, as the shell will notice
                how = f"  type:     {STEP_COMMAND} to run the command, exit to clean up"
                os.write(self.streams[2], f"{banner}\n{how}\n".encode(errors="replace"))
        self.status = run_in_foreground(
            argv, cwd=place.cwd, env=environment, streams=self.streams, marker=place.marker
        )


class Terminal:
    """The terminal behind a descriptor, which can be lent to another process group and taken back."""

    def __init__(self, descriptor: int) -> None:
        """Note how it is now; raises OSError or termios.error where it is no terminal, or not that of our session."""
        self._descriptor = descriptor
        self._attributes = termios.tcgetattr(descriptor)
        self._group = os.tcgetpgrp(descriptor)
        self._borrowed: list[Any] | None = None

    def lend(self, group: int) -> None:
        """Let a process group be in the foreground, and go on if it was stopped because it was not."""
        if self._borrowed is not None:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._borrowed)
        os.tcsetpgrp(self._descriptor, group)
        os.killpg(group, signal.SIGCONT)

    def take_back(self) -> None:
        """Be in the foreground again, with the attributes that the terminal had before; remember those of now."""
        # To a group in the background the system would send SIGTTOU for it, which stops it.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            with suppress(OSError, termios.error):  # a terminal that is gone
                self._borrowed = termios.tcgetattr(self._descriptor)
                os.tcsetpgrp(self._descriptor, self._group)
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)
        finally:
            signal.signal(signal.SIGTTOU, before)


def run_in_foreground(
    argv: tuple[str, ...],
    *,
    cwd: Path,
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    marker: str = "",
) -> int:
    """Run a program, with the terminal if standard input is one, and return its exit status, 128 + N for signal N.

    An exception, such as a signal raises, ends it and what it has started. What it leaves in the background after an
    end of its own is for the caller. Raises HarnessError if it cannot be started.
    """
    try:
        terminal = Terminal(streams[0])
    except (OSError, termios.error):
        terminal = None
    process = spawn(argv, cwd=cwd, env=env, streams=streams, own_session=terminal is None)
    try:
        if terminal is not None:
            with suppress(ProcessLookupError, PermissionError):  # it has ended already
                terminal.lend(process.pid)
        status = _wait(process, terminal)
    except BaseException:
        with suppress(ProcessLookupError, PermissionError):
            # An interactive shell ignores SIGTERM, and tells its jobs of this one.
            os.killpg(process.pid, signal.SIGHUP)
            os.killpg(process.pid, signal.SIGCONT)
        variable = f"{marker}={env[marker]}" if marker in env else ""
        if process.returncode is None:
            end_group(
                process.pid,
                gone=lambda: process.poll() is not None,
                grace=_SECONDS_AFTER_HANGUP,
                variable=variable,
            )
            process.wait()
        raise
    finally:
        if terminal is not None:
            terminal.take_back()
    return status if status >= 0 else 128 - status


def _wait(process: subprocess.Popen[bytes], terminal: Terminal | None) -> int:
    """Return how a process ended. Where it is stopped, as by Ctrl-Z, our own job is, and both go on together."""
    while True:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if not pid:
            # Not in one long wait: a signal that comes just before it began would be answered only at its end.
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            continue
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode
        if terminal is None:
            continue
        terminal.take_back()
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        # Here the shell that has started us has let us go on.
        with suppress(ProcessLookupError, PermissionError):
            terminal.lend(process.pid)


def _write_step_command(place: StepPlace) -> Path:
    """Write the program that runs the step's command as the step does; return its path."""
    program = place.files / STEP_COMMAND
    if not place.argv:
        body = f"echo {shlex.quote(f'{STEP_COMMAND}: {place.why_not}')} >&2\nexit 4\n"
    else:
        stdin = place.files / "stdin"
        _write(stdin, place.stdin)
        body = f"cd {shlex.quote(str(place.cwd))} || exit\nexec {shlex.join(place.argv)} < {shlex.quote(str(stdin))}\n"
    _write(program, f"#!/bin/sh\n{body}", mode=0o700)
    return program


def shell_of_user(place: StepPlace, program: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the argv and environment of the user's interactive shell, in which `dogfood-step` is known.

    It is an alias, made by a file that the shell reads when it starts: on PATH it would need another PATH than the
    step has. Where the shell finds that file by a variable, the file takes the variable back.
    """
    shell = os.environ.get("SHELL") or "sh"
    environment = dict(place.environment)
    alias = f"alias {STEP_COMMAND}={shlex.quote(shlex.quote(str(program)))}\n"
    # Shells expand what is in a prompt, and the name may come from a record that another machine has written.
    name = re.sub(r"[^\w.-]", "", place.name, flags=re.ASCII)
    prompt = "" if "PS1" in environment else f'PS1="({name}) $PS1"\n'
    start = place.files / "start"
    kind = Path(shell).name
    if kind == "bash":
        _write(start, f"if [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n{alias}{prompt}")
        return (shell, "--rcfile", str(start), "-i"), environment
    if kind == "zsh":
        theirs = environment.get("ZDOTDIR", "")
        back = 'if [ -n "$_dogfood" ]; then ZDOTDIR=$_dogfood; else unset ZDOTDIR; fi\n'
        first = f"_dogfood={shlex.quote(theirs)}\n{back}{_ZSH_SOURCE.format('.zshenv')}"
        # The second is read where ZDOTDIR points after the first, and a user's own .zshenv may set that.
        _write(
            place.files / ".zshenv",
            f"{first}_dogfood=${{ZDOTDIR-}}\nZDOTDIR={shlex.quote(str(place.files))}\n",
        )
        second = f"{back}unset _dogfood\n{_ZSH_SOURCE.format('.zshrc')}"
        _write(place.files / ".zshrc", f"{second}{alias}{prompt}")
        return (shell, "-i"), {**environment, "ZDOTDIR": str(place.files)}
    if kind == "fish":
        quoted = str(program).replace("\\", "\\\\").replace("'", "\\'")
        return (shell, "-i", "-C", f"function {STEP_COMMAND}; '{quoted}'; end"), environment
    if kind not in _READ_ENV:
        return (shell, "-i"), environment
    user, back = environment.get("ENV"), "unset ENV\n"
    if user is not None:
        # Shells expand variables in it, as in `$HOME/.shrc`; so ours is one, whose own value they do not expand.
        back = f'ENV={shlex.quote(user)}\nif eval "[ -f \\"$ENV\\" ]"; then eval ". \\"$ENV\\""; fi\n'
    _write(start, f"unset _DOGFOOD_START\n{back}{alias}{prompt}")
    return (shell, "-i"), {**environment, "ENV": "$_DOGFOOD_START", "_DOGFOOD_START": str(start)}


_ZSH_SOURCE = """if [ -f "${{ZDOTDIR:-$HOME}}/{0}" ]; then . "${{ZDOTDIR:-$HOME}}/{0}"; fi\n"""

_READ_ENV = {"sh", "dash", "ash", "busybox", "ksh", "mksh"}
"""Shells that read the file which ENV names when they are interactive, as POSIX has it."""


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    with to_harness_error(f"write {path}"):
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        path.chmod(mode)
