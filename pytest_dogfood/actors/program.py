"""An actor that is a program, one process per worker: lines of JSON over pipes."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from select import POLLIN, POLLOUT, poll
from typing import Any

from msgspec import Struct

from pytest_dogfood.actor_protocol import (
    Action,
    Answer,
    JourneyBrief,
    StepBrief,
    masked,
    read_answer,
    request,
)
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.expectations import excerpt
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.process import end_group, open_private, spawn
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.storage.files import write_whole

LONGEST_ANSWER = 1024 * 1024
"""Bytes of a line; a longer one is not read as an answer."""

SECONDS_TO_END = 2.0
"""Seconds in which it may end by itself after the last request."""

SECONDS_BETWEEN_LOOKS = 0.5
"""Seconds between checks whether it has ended, because its output may stay open after its end."""


class NoAnswer(Exception):  # noqa: N818 - a fact about the program, worded by what asks
    """It gave no valid answer; the text completes 'it …'."""


DIED = "died"
"""The text that completes 'it …' if it has ended, to be followed by its exit status."""


class Program:
    """A program in a session of its own, its standard error appended to `log`.

    Raises HarnessError if it cannot be started.
    """

    def __init__(self, argv: tuple[str, ...], *, cwd: Path, env: Mapping[str, str], log: Path) -> None:
        errors = open_private(log, fresh=False)
        theirs_in, self._writing = os.pipe()
        self._reading, theirs_out = os.pipe()
        try:
            self._process = spawn(argv, cwd=cwd, env=env, streams=(theirs_in, theirs_out, errors))
        except BaseException:
            self._close_ours()
            raise
        finally:
            for descriptor in (theirs_in, theirs_out, errors):
                os.close(descriptor)
        os.set_blocking(self._writing, False)

    def exchange(self, line: bytes, seconds: float) -> bytes:
        """Send a line and return the one that comes back; raises NoAnswer for anything else."""
        deadline = time.monotonic() + seconds
        if self._ready(0)[0]:
            raise NoAnswer("spoke without being asked") if self._read() else self._silence()
        received = b""
        while b"\n" not in received:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer(f"did not answer within {seconds:g} s (a line arrives once it is flushed)")
            has_ended = self._has_ended()  # checked first: its output until then can still be read
            readable, writable = self._ready(min(left, SECONDS_BETWEEN_LOOKS), sending=bool(line))
            if writable:
                line = line[self._write(line) :]
            if readable:
                chunk = self._read()
                if not chunk:
                    raise self._silence()
                received += chunk
            elif has_ended:  # and a process that it has started keeps its output open
                raise NoAnswer(DIED)
            if len(received) > LONGEST_ANSWER:
                raise NoAnswer(f"said more than {LONGEST_ANSWER} bytes in one answer")
        answer, _, more = received.partition(b"\n")
        if more:
            raise NoAnswer("said more than one line in answer to one")
        return answer

    def close(self, grace: float) -> int:
        """End it and all processes it has started, first by closing its input; return its exit status."""
        self._close_ours()
        self._wait_for_its_end(grace)
        end_group(self._process.pid, gone=self._has_ended, grace=0.5)
        return self._process.wait()

    def _silence(self) -> NoAnswer:
        """Return why its output has ended."""
        return NoAnswer(DIED if self._wait_for_its_end(SECONDS_TO_END) else "closed its standard output")

    def _wait_for_its_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._has_ended()

    def _ready(self, seconds: float, *, sending: bool = False) -> tuple[bool, bool]:
        """Wait until it has output, or accepts more input while `sending`; return which."""
        waiting = poll()
        waiting.register(self._reading, POLLIN)
        if sending:
            waiting.register(self._writing, POLLOUT)
        found = {descriptor for descriptor, _ in waiting.poll(seconds * 1000)}
        return self._reading in found, self._writing in found

    def _read(self) -> bytes:
        return os.read(self._reading, 65536)

    def _write(self, line: bytes) -> int:
        try:
            return os.write(self._writing, line)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            # It reads no more; the next read shows whether it has ended or still writes.
            return len(line)

    def _has_ended(self) -> bool:
        """Return whether it has ended, without reaping it, so that its group's id stays reserved."""
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def _close_ours(self) -> None:
        for descriptor in (self._writing, self._reading):
            os.close(descriptor)


BREAKDOWNS = 3
"""The most breakdowns in a row; after that it is not started again, because each may take its whole time limit."""


class ActorProcess(Struct):
    """Starts the actor's command at the first request, and again after each breakdown.

    It may take `seconds` for an answer. `log` is its standard error; each start has its own. After a breakdown, the
    last request is kept beside it.
    """

    command: str
    cwd: Path
    env: Mapping[str, str]
    log: Path
    seconds: float
    keeper: SecretKeeper
    _program: Program | None = None
    _starts: int = 0
    _breakdowns: int = 0

    def next_action(self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> Answer:
        about = f"{step.location}: step {step.number} of {step.total}"
        return self.ask(request(journey, step, observations), about=about)

    def ask(self, question: Mapping[str, Any], *, about: str) -> Answer:
        """Return the actor's answer; raises HarnessError, with a message for people, if it gives none."""
        if self._breakdowns >= BREAKDOWNS:
            raise HarnessError(
                f"{about}: the actor broke down {BREAKDOWNS} times in a row on this worker and is not asked again\n"
                f"  log:       {self._last_log}"
            )
        line = json.dumps(masked(question, self.keeper.mask)).encode() + b"\n"
        if self._program is None:
            self._starts += 1
            self._program = Program(
                shell_argv(self.command, None), cwd=self.cwd, env=self.env, log=self._last_log
            )
        try:
            said = self._program.exchange(line, self.seconds)
        except NoAnswer as error:
            raise self._broken_down(str(error), line, about) from None
        try:
            answer = read_answer(said)
        except ValueError as error:
            text = excerpt(self.keeper.mask(said.decode(errors="replace")))
            raise self._broken_down(f"answered with nonsense, {text}: {error}", line, about) from None
        self._breakdowns = 0
        return answer

    @property
    def _last_log(self) -> Path:
        return self.log if self._starts <= 1 else self.log.with_stem(f"{self.log.stem}-{self._starts}")

    def close(self, *, grace: float = SECONDS_TO_END) -> int | None:
        """End the process, if it runs, and mask its log; return its exit status."""
        if self._program is None:
            return None
        program, self._program = self._program, None
        try:
            return program.close(grace)
        finally:
            if self._last_log.exists():
                self.keeper.mask_file(self._last_log)

    def _broken_down(self, what: str, line: bytes, about: str) -> HarnessError:
        self._breakdowns += 1
        status = self.close(grace=0)
        if what == DIED:
            what = f"{what} with exit status {status}"
        asked = self._last_log.with_suffix(".request")
        write_whole(asked, line)
        again = f"{self.command} < {shlex.quote(str(asked))}"
        words = self.keeper.read_masked_end(self._last_log, 2000).decode(errors="replace")
        shown = "".join(f"\n    {one}" for one in words.splitlines()[-10:])
        return HarnessError(
            f"{about}: the actor {what}\n"
            f"  actor:     {self.command}\n"
            f"  try it:    cd {shlex.quote(str(self.cwd))} && {again}\n"
            f"  log:       {self._last_log}{shown}"
        )
