"""The actor as a process, one per worker: asked in lines of JSON, and what becomes of it when it breaks down."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_dogfood.actions import Answer, masked, read_answer
from pytest_dogfood.actors.pipes import Died, NoAnswer, Pipes
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.judgement import excerpt
from pytest_dogfood.shells import shell_argv
from pytest_dogfood.stepping import SecretKeeper
from pytest_dogfood.storage import write_whole

PATIENCE = 3
"""So many times in a row it may break down; then it is not started again, for each time may cost its whole limit."""


class ActorProcess:
    """Starts the actor's command when it is first asked, and anew after it has broken down.

    It may take `seconds` for an answer. `log` is its standard error, of which each start has one of its own; what it
    was last asked is kept beside it when it breaks down.
    """

    def __init__(
        self,
        command: str,
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        seconds: float,
        keeper: SecretKeeper,
    ) -> None:
        self._command = command
        self._cwd = cwd
        self._env = env
        self._log = self._first_log = log
        self._seconds = seconds
        self._keeper = keeper
        self._pipes: Pipes | None = None
        self._starts = 0
        self._breakdowns = 0

    def ask(self, request: Mapping[str, Any], *, about: str) -> Answer:
        """Give the actor's answer; raises HarnessError, with words for people, if it gives none."""
        if self._breakdowns >= PATIENCE:
            raise HarnessError(
                f"{about}: the actor broke down {PATIENCE} times in a row on this worker and is not asked again\n"
                f"  log:       {self._log}"
            )
        line = json.dumps(masked(request, self._keeper.mask)).encode() + b"\n"
        pipes = self._pipes = self._pipes or self._start()
        try:
            said = pipes.exchange(line, self._seconds)
        except NoAnswer as error:
            raise self._broken_down(str(error), line, about, died=isinstance(error, Died)) from None
        try:
            answer = read_answer(said)
        except ValueError as error:
            text = excerpt(self._keeper.mask(said.decode(errors="replace")))
            raise self._broken_down(f"answered with nonsense, {text}: {error}", line, about) from None
        self._breakdowns = 0
        return answer

    def _start(self) -> Pipes:
        self._starts += 1
        if self._starts > 1:
            self._log = self._first_log.with_stem(f"{self._first_log.stem}-{self._starts}")
        return Pipes(shell_argv(self._command, None), cwd=self._cwd, env=self._env, log=self._log)

    def close(self) -> None:
        """End the process, if it runs, and hide secrets in its log."""
        if self._pipes is not None:
            self._end(self._pipes)

    def _end(self, pipes: Pipes, **farewell: float) -> int:
        self._pipes = None
        try:
            return pipes.close(**farewell)
        finally:
            if self._log.exists():
                self._keeper.secrets.mask_file(self._log)

    def _broken_down(self, what: str, line: bytes, about: str, *, died: bool = False) -> HarnessError:
        self._breakdowns += 1
        status = None if self._pipes is None else self._end(self._pipes, farewell=0)
        if died:
            what = f"{what} with exit status {status}"
        asked = self._log.with_suffix(".request")
        write_whole(asked, line)
        again = f"{self._command} < {shlex.quote(str(asked))}"
        words = self._keeper.secrets.masked_ending(self._log, 2000).decode(errors="replace")
        shown = "".join(f"\n    {one}" for one in words.splitlines()[-10:])
        return HarnessError(
            f"{about}: the actor {what}\n"
            f"  actor:     {self._command}\n"
            f"  try it:    cd {shlex.quote(str(self._cwd))} && {again}\n"
            f"  log:       {self._log}{shown}"
        )
