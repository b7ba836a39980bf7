"""What a person reads when a step did not do as expected."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pytest_dogfood.execution import Bench
from pytest_dogfood.execution import Performance
from pytest_dogfood.execution import StepResult
from pytest_dogfood.journey import Step


def command_of(step: Step) -> str:
    """Give the command as one would type it."""
    if step.run is None:
        return "(no command)"
    return step.run if isinstance(step.run, str) else shlex.join(step.run)


def one_line(result: StepResult, *, what: str = "step") -> str:
    """Say in one line which step failed and how."""
    intent = f" ({result.step.intent})" if result.step.intent else ""
    wrong = "; ".join(str(mismatch) for mismatch in result.wrong[:1])
    return f"{result.step.location}: {what} {result.number} of {result.total}{intent}: {wrong}"


def failure_text(
    done: Performance, bench: Bench, *, what: str = "step", reproduce: str = "", verbose: bool = False
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
    return bench.mask("\n".join(lines))


def _failed(result: StepResult) -> Iterator[str]:
    if result.step.intent:
        yield f"  intent:   {result.step.intent}"
    if result.step.expect.text:
        yield f"  expect:   {result.step.expect.text}"
    yield from _labelled("command", command_of(result.step))
    if result.tries > 1:
        yield f"  tries:    {result.tries}"
    for mismatch in result.wrong:
        yield f"  {mismatch.what}:"
        yield f"    expected: {mismatch.expected}"
        yield f"    actual:   {mismatch.actual}"
    yield f"  took:     {result.seen.seconds:.2f} s"
    yield from _outputs(result)


def _earlier(result: StepResult, what: str) -> Iterator[str]:
    intent = f" ({result.step.intent})" if result.step.intent else ""
    yield f"{result.step.location}: {what} {result.number} of {result.total}{intent}: as expected"
    yield from _labelled("command", command_of(result.step))
    yield from _outputs(result)
    yield ""


def _labelled(label: str, text: str) -> Iterator[str]:
    first, *others = text.rstrip("\n").split("\n")
    yield f"  {label + ':':<9} {first}"
    for other in others:
        yield f"            {other}"


def _outputs(result: StepResult) -> Iterator[str]:
    for stream in ("stdout", "stderr"):
        text = result.seen.tail(stream).rstrip("\n")
        if text:
            yield f"  --- {stream} ---"
            yield from (f"  {line}" for line in text.split("\n"))
