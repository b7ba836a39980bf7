"""Lays out a failed step for people: what was expected and got, its command, its output."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dogfood.actor_protocol import Action
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.execution.expectations import WITHHELD, Stream
from pytest_dogfood.execution.runner import Grade, StepResult, StepRunner, StepsResult


def one_line(result: StepResult, *, what: str = "step") -> str:
    """Say in one line which step failed and how."""
    intent = f" ({result.step.intent})" if result.step.intent else ""
    wrong = "; ".join(str(mismatch) for mismatch in result.wrong[:1])
    return f"{result.step.location}: {what} {result.number} of {result.total}{intent}: {wrong}"


def failure_text(
    done: StepsResult, runner: StepRunner, *, what: str = "step", reproduce: str = "", verbose: bool = False
) -> str:
    """Describe the failure in full: place, intent, command, what was expected and came, output, what to type next.

    The first line is the short version. With `verbose` the earlier steps are shown too.
    """
    failed = done.failure
    if failed is None:
        return ""
    lines = [one_line(failed, what=what), ""]
    if verbose:
        for result in done.results[:-1]:
            lines += _earlier(result, what)
    lines += _failed(failed)
    if reproduce:
        lines += ["", f"reproduce: {reproduce}"]
    return runner.mask("\n".join(lines))


def _failed(result: StepResult) -> Iterator[str]:
    if result.step.intent:
        yield f"  intent:   {result.step.intent}"
    if result.step.expect.text:
        yield f"  expect:   {result.step.expect.text}"
    yield from _labelled("command", result.step.command)
    if result.tries > 1:
        yield f"  tries:    {result.tries}"
    for mismatch in result.wrong:
        yield f"  {mismatch.what}:"
        yield f"    expected: {mismatch.expected}"
        yield f"    actual:   {mismatch.actual}"
    if result.grade is not None and result.grade.graded is not None:
        yield from _graded(result.grade, result.grade.graded)
    if result.seen is not None:
        yield f"  took:     {result.seen.seconds:.2f} s"
    yield from _outputs(result)


def _graded(grade: Grade, on: Action) -> Iterator[str]:
    yield f"  actor:    {counted(grade.actions, 'action')} in this step; {grade.ended}"
    if grade.credited:
        yield f"  credit:   this is an action of step {on.step}, for this one has none"


def _earlier(result: StepResult, what: str) -> Iterator[str]:
    intent = f" ({result.step.intent})" if result.step.intent else ""
    grade = result.grade
    missed = f"not as expected, which does not count: {grade.wrong[0]}" if grade and grade.wrong else ""
    yield f"{result.step.location}: {what} {result.number} of {result.total}{intent}: {missed or 'as expected'}"
    yield from _labelled("command", result.step.command)
    yield from _outputs(result)
    yield ""


def _labelled(label: str, text: str) -> Iterator[str]:
    first, *others = text.rstrip("\n").split("\n")
    yield f"  {label + ':':<9} {first}"
    for other in others:
        yield f"            {other}"


def _outputs(result: StepResult) -> Iterator[str]:
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    for stream in streams:
        text = result.seen.tail(stream).rstrip("\n") if result.seen is not None else ""
        if stream in result.withheld:
            text = WITHHELD
        if text:
            yield f"  --- {stream} ---"
            yield from (f"  {line}" for line in text.split("\n"))
