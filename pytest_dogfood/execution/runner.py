"""Runs steps in order, with retries of `until`, deadlines and results, and describes a failed step for people."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.execution.expectations import WITHHELD, Mismatch, Observation, SavedValue, Stream, compare
from pytest_dogfood.journey import Script, Step

if TYPE_CHECKING:
    from pytest_dogfood.actor_protocol import Action, Verdict


class StepRunner(Protocol):
    """Runs one step for real, within `limit` seconds if that is less than its own limit."""

    def run(
        self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None
    ) -> Observation: ...

    def mask(self, text: str) -> str: ...


class StepEnd(StrEnum):
    """Why an actor's step ended."""

    DONE = "the actor said that it is done"
    REPEATED = "the actor gave the same command twice"
    TURNS = "the actor has used up its turns for this step"
    ACTIONS = "the actor has used up its actions for this journey"
    TIME = "the time limit of the journey was reached"


class Grade(Struct, frozen=True, kw_only=True):
    """The grade of a step that an actor had to do, and whether it decides the outcome of the journey.

    `graded` is the action that counted, None if there was none; `credited` means that it belongs to an earlier
    step. `wrong` lists the expectations that were not met. `verdict` is the judge's, None without a judge; `unjudged`
    means that there was something to judge.
    """

    ended: StepEnd
    decisive: bool
    actions: int
    graded: Action | None
    credited: bool = False
    wrong: tuple[Mismatch, ...] = ()
    verdict: Verdict | None = None
    unjudged: bool = False


class StepResult(Struct, frozen=True, kw_only=True):
    """A step that has run: `number` of `total`; it succeeded if nothing is `wrong`.

    `started` is in seconds since the epoch, and `seconds` is the time of all its tries together. Nothing of `withheld`
    streams may be shown. If an actor did the step, `grade` describes that, `step.run` is the command that counted, and
    `seen` its result, None if there was none.
    """

    step: Step
    number: int
    total: int
    wrong: tuple[Mismatch, ...]
    seen: Observation | None
    started: float = 0.0
    seconds: float = 0.0
    tries: int = 1
    withheld: frozenset[Stream] = frozenset()
    grade: Grade | None = None


class StepsResult(Struct):
    """The steps that ran, up to and including the first that failed.

    `values` are those saved so far, also by a step that then failed: clean-up steps use them. `saved` is called after
    each, and `ended` behind each step. `trajectory` names the file that lists what an actor did.
    """

    results: list[StepResult] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)
    saved: Callable[[StepsResult], None] | None = None
    ended: Callable[[StepResult], None] | None = None
    trajectory: str = ""

    def keep(self, saved: SavedValue) -> None:
        """Add a value that a step has saved."""
        self.values[saved.name] = saved.value
        if saved.secret and saved.name not in self.secret:
            self.secret.append(saved.name)
        if self.saved is not None:
            self.saved(self)

    @property
    def failure(self) -> StepResult | None:
        return self.results[-1] if self.results and self.results[-1].wrong else None


class Deadline:
    """The time by which steps must end, if there is a limit; it moves while an actor is being waited for."""

    def __init__(self, seconds: float | None) -> None:
        self._moment = math.inf if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, 0 or negative if it has passed; infinity if there is no limit."""
        return self._moment - time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._moment += time.monotonic() - started


class StepActor(Protocol):
    """Does the steps of one journey that have no command."""

    def act(self, number: int, done: StepsResult, deadline: Deadline) -> StepResult: ...

    def observed(self, result: StepResult) -> None:
        """Note a step that has a command in the journey file itself."""

    def finish(self) -> None: ...


def run_steps(
    steps: Sequence[Step],
    runner: StepRunner,
    *,
    timeout: float | None = None,
    keep_going: bool = False,
    actor: StepActor | None = None,
    done: StepsResult | None = None,
    last: int | None = None,
) -> StepsResult:
    """Run steps until one fails; `timeout` (seconds) bounds them all together.

    Steps after number `last` are left out.

    `done` gets the result of each step as it ends, so the caller has it even if something is raised; it is returned.

    With `keep_going` every step is run, as clean-up needs it, and the first failure is put last. The `actor` does the
    steps without a command; the time it takes to decide does not count.
    """
    deadline = Deadline(timeout)
    done = StepsResult() if done is None else done
    failed: StepResult | None = None
    try:
        for number, step in enumerate(steps[:last], start=1):
            started, began = time.time(), time.monotonic()
            if actor is not None and step.run is None:
                result = actor.act(number, done, deadline)
            else:
                result = _run_one(step, number, len(steps), runner, done, deadline)
                if actor is not None:
                    actor.observed(result)
            result = replace(result, started=started, seconds=time.monotonic() - began)
            done.results.append(result)
            if done.ended is not None:
                with deadline.paused():  # what is looked at between the steps is no time of theirs
                    done.ended(result)
            if result.wrong:
                failed = failed or result
                if not keep_going:
                    break
    finally:
        if actor is not None:
            actor.finish()
    if failed is not None and done.results[-1] is not failed:
        done.results.remove(failed)
        done.results.append(failed)
    return done


def _run_one(
    step: Step, number: int, total: int, runner: StepRunner, done: StepsResult, deadline: Deadline
) -> StepResult:
    give_up = math.inf if step.until is None else time.monotonic() + step.until.timeout
    tries = 0
    before = dict(done.values)  # values that the step itself saves are for later steps, not for its next try
    earlier: StepResult | None = None
    while True:
        tries += 1
        left = min(deadline.left(), give_up - time.monotonic())
        limit = None if left == math.inf else max(left, 0.001)
        seen = runner.run(step, number=number, variables=before, limit=limit)
        wrong, saved, withheld = compare(step, seen)
        seen.finish(withheld=withheld)
        for one in saved:
            done.keep(one)
        result = StepResult(
            step=step, number=number, total=total, wrong=wrong, seen=seen, tries=tries, withheld=withheld
        )
        left = min(deadline.left(), give_up - time.monotonic())
        if not wrong or step.until is None or step.until.interval >= left:
            # A last try that is cut short shows nothing: report the result of the try before it.
            return result if earlier is None or not seen.timed_out else replace(earlier, tries=tries)
        if not seen.timed_out:
            earlier = result
        time.sleep(step.until.interval)


def failure_text(
    done: StepsResult, runner: StepRunner, *, what: str = "step", reproduce: str = "", verbose: bool = False
) -> str:
    """Describe the failure in full: place, intent, command, expected and actual values, output, command to reproduce.

    The first line is the short version. With `verbose` the earlier steps are shown too. Empty if no step has failed.
    """
    failed = done.failure
    if failed is None:
        return ""
    lines = [f"{_title(failed, what)}: {failed.wrong[0]}", ""]
    for result in done.results[:-1] if verbose else ():
        missed = result.grade.wrong[:1] if result.grade is not None else ()
        came = f"not as expected, which does not count: {missed[0]}" if missed else "as expected"
        lines += [f"{_title(result, what)}: {came}", *command_lines(result.step), *_outputs(result), ""]
    if failed.step.intent:
        lines.append(f"  intent:   {failed.step.intent}")
    if failed.step.expect.text:
        lines.append(f"  expect:   {failed.step.expect.text}")
    lines += command_lines(failed.step)
    if failed.tries > 1:
        lines.append(f"  tries:    {failed.tries} in {failed.seconds:.1f} s")
    lines += _what_was_wrong(failed)
    if (grade := failed.grade) is not None and grade.graded is not None:
        lines.append(f"  actor:    {counted(grade.actions, 'action')} in this step; {grade.ended}")
        if grade.credited:
            number = grade.graded.step
            lines.append(f"  credit:   this is an action of step {number}, because this step has none")
    if failed.seen is not None:
        last = " (this try)" if failed.tries > 1 else ""
        lines.append(f"  took:     {failed.seen.seconds:.2f} s{last}")
    lines += _outputs(failed)
    lines += notes_on(failed)
    if reproduce:
        lines += ["", f"reproduce: {reproduce}"]
    return runner.mask("\n".join(lines))


def failure_reason(done: StepsResult, runner: StepRunner) -> str:
    """Return why steps failed, on one line: the reason, then the command. Empty if none has failed."""
    failed = done.failure
    if failed is None:
        return ""
    lines = failed.step.command.strip().splitlines() or [""]
    ended_at = failed.seen.ended_at if failed.seen is not None else None
    # Masked before it is cut: half a secret could not be found.
    command = runner.mask(" ".join(lines[0].split()) if ended_at is None else ended_at.text)
    left_out = len(command) > 60 or (len(lines) > 1 and ended_at is None)
    return f"{runner.mask(str(failed.wrong[0]))}: {command[:60]}{' …' if left_out else ''}"


def _title(result: StepResult, what: str) -> str:
    intent = f" ({result.step.intent})" if result.step.intent else ""
    return f"{result.step.location}: {what} {result.number} of {result.total}{intent}"


def command_lines(step: Step) -> Iterator[str]:
    """Yield the lines that show the command of a step."""
    first, *others = step.command.rstrip("\n").split("\n")
    yield f"  command:  {first}"
    yield from (f"            {other}" for other in others)


def _what_was_wrong(failed: StepResult) -> Iterator[str]:
    if failed.seen is not None and failed.seen.ended_at is not None:
        yield f"  {'running: ' if failed.seen.timed_out else 'failed:  '} {failed.seen.ended_at}"
    for one in failed.wrong:
        yield f"  {one.what}:"
        if one.diff:
            yield from ("    - expected, + actual", *(f"    {line}" for line in one.diff))
        else:
            # The outputs of the step are shown below.
            is_shown = one.what in {"stdout", "stderr"} and one.expected.startswith("to contain ")
            actual = "see below" if is_shown and one.actual not in {WITHHELD, "nothing"} else one.actual
            yield from (f"    expected: {one.expected}", f"    actual:   {actual}")


_NO_INPUT = (
    "note: stdin is empty and there is no terminal; write the answers under `stdin:`, "
    "or give the command an option not to ask"
)
_NO_NEWLINE = (
    "note: `stdin:` does not end with a newline, so the shell's `read` fails on its last line; write "
)
# Patterns as text: `re` compiles them only if a step fails.
_WANTS_INPUT = (
    r"(?i)(?<!because stdin is )not a t(?:erminal|ty)\b|not from a terminal|non[- ]tty\b|no tty present"
    r"|terminal is required|failed tty get|/dev/tty\b|terminal prompts disabled"
    r"|(?<!ttyname failed: )(?<!\): )inappropriate ioctl for device"  # else a login or interactive shell says so
    r"|could not read (?:username|password) for|host key verification failed"
    r"|permission denied \([\w,-]*(?:password|keyboard-interactive)|interactive authentication (?:is )?required"
    r"|\ba password is required|no password (?:was provided|supplied)|bad password read"
    r"|EOF when reading a line|getpass(?s:.*)\bEOFError\b"
)
"""Messages of programs that want input and cannot ask for it."""

_ENDS_IN_A_PROMPT = (
    r"(?i)(?:\?|[(\[]y(?:es)?/no?\b[^)\]\n]*[)\]] ?[:?>]?|\b(?:password|passphrase|passcode|user ?name|login|token|pin"
    r"|otp|enter|type|press|choose|select)\b[^\n]{0,80}[:>])[ ]*\Z"
)


def notes_on(failed: StepResult) -> Iterator[str]:
    """Yield notes on the likely cause of a failure and its cure: a step that wanted input, and had too little."""
    from pytest_dogfood.fileformat.scripts import (
        reads_input,
    )  # a passing suite of Python tests has no use for it

    step, seen = failed.step, failed.seen
    if seen is None or failed.grade is not None:
        return
    text = step.run if isinstance(step.run, str) else ""
    reads = seen.status == 1 and (step.run.reads if isinstance(step.run, Script) else reads_input(text))
    if step.stdin is not None:
        if reads and step.stdin and not step.stdin.endswith("\n"):
            is_script = isinstance(step.run, Script)
            how = '`# dogfood: stdin: "…\\n"`' if is_script else '`stdin: "…\\n"`, or a block with `stdin: |`'
            yield _NO_NEWLINE + how
        return
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    endings = [seen.tail(stream)[-1000:] for stream in streams if stream not in failed.withheld]
    if reads or any(re.search(_WANTS_INPUT, one) or re.search(_ENDS_IN_A_PROMPT, one) for one in endings):
        yield _NO_INPUT


def _outputs(result: StepResult) -> Iterator[str]:
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    for stream in streams:
        text = result.seen.tail(stream).rstrip("\n") if result.seen is not None else ""
        if stream in result.withheld:
            text = WITHHELD
        if text:
            yield f"  --- {stream} ---"
            yield from (f"  {line}" for line in text.split("\n"))
