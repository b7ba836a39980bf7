"""A run as Markdown: for a GitHub job's summary, a comment, or a coding agent. Everything foreign stands in code.

Longer than LONGEST bytes it is cut by whole root causes, and says how many are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.outcomes import Outcome, counted_items
from pytest_dogfood.report.run_view import WORDS, CauseView, JourneyView, RunView, StepView

LONGEST = 1000 * 1024
"""Bytes of a report at most: GitHub refuses a summary of more than 1 MiB."""

BARS = 60
"""Bars of a timeline at most; mermaid draws more of them too small to read."""

_LONGEST_OUTPUT = 4 * 1024
_LISTED = 20


def to_markdown(view: RunView) -> str:
    """Return the report of a run."""
    mark = "✅" if view.green else "❌"
    head = [
        f"# {mark} {view.verdict}",
        "",
        " · ".join(_facts(view)),
        "",
        _code(view.run.closing_line),
        "",
    ]
    tail = "\n".join([*_deferred(view), *_missing(view), *_changes(view), *_slowest(view), *_timeline(view)])
    room = LONGEST - len("\n".join(head).encode()) - len(tail.encode()) - 200
    parts: list[str] = []
    for number, cause in enumerate(view.causes):
        text = "\n".join(_cause(cause))
        room -= len(text.encode()) + 1
        if room < 0:
            parts.append(
                f"{counted(len(view.causes) - number, 'more root cause')} left out: the report is full\n"
            )
            break
        parts.append(text)
    if parts:
        parts.insert(0, "## What went wrong\n")
    return "\n".join([*head, *parts, tail]).rstrip() + "\n"


def _facts(view: RunView) -> Iterator[str]:
    run = view.run
    yield f"{counted_items(one.id for one in view.journeys)} on {counted(run.workers, 'worker')}"
    best = "" if view.best is None else f" (best possible: {view.best:.1f} s)"
    yield f"{view.seconds:.1f} s{best}"
    if run.shard:
        yield run.shard
    if run.commit:
        yield f"commit `{run.commit[:12]}`{' with changes' if run.dirty else ''}"
    if run.ci:
        yield f"[job]({run.ci})"


def _cause(cause: CauseView) -> Iterator[str]:
    about = "" if cause.outcome is not Outcome.ERROR else " (not a failure of the product)"
    yield f"### {_code(cause.id)} {cause.headline}{about}\n"
    if cause.place:
        yield f"{_code(cause.place)}\n"
    if cause.step is not None:
        yield from _step(cause.step)
    if cause.text:
        yield _block(_end(cause.text))
    for said, names in (("Kept from running", cause.deferred), ("Could not be judged", cause.not_judged)):
        if names:
            yield f"{said}: {_listed(names)}\n"
    if cause.changed:
        yield "The journey has changed since the run that this is compared with.\n"
    for said, command in (("Run it again", cause.again), ("Known outage?", cause.outage)):
        if command:
            yield f"{said}: {_code(command)}\n"


def _step(step: StepView) -> Iterator[str]:
    if step.intent:
        yield f"{_escaped(step.intent)}\n"
    for wrong in step.wrong:
        if wrong.diff:
            yield f"{_escaped(wrong.what)}: expected (-), got (+)"
            yield _block("\n".join(wrong.diff), "diff")
        else:
            yield f"- {_escaped(wrong.what)}: expected {_code(wrong.expected)}, got {_code(wrong.actual)}"
    yield ""
    lines = [f"$ {step.command.rstrip()}"] if step.command else []
    lines += [_end(output.text).rstrip("\n") for output in (step.out, step.err) if output.text]
    if lines:
        yield _block("\n".join(lines))


def _deferred(view: RunView) -> Iterator[str]:
    several = [one for one in view.journeys if one.outcome is Outcome.DEFERRED]
    if several:
        yield f"## Deferred: {len(several)}\n"
        for one in several[:_LISTED]:
            yield f"- {_code(one.id)}: because {_escaped(one.reason)}"
        yield from _more(several)
    if view.unaccounted:
        yield f"## Not run: {len(view.unaccounted)}\n"
        yield f"{_listed(view.unaccounted)}\n"


def _missing(view: RunView) -> Iterator[str]:
    missing = [one for one in view.tokens if not one.present]
    if missing:
        yield f"## Missing tokens: {len(missing)}\n"
        for one in missing[:_LISTED]:
            yield f"- {_code(one.token)}, needed by {counted(one.needed_by, 'journey')}: {_escaped(one.why)}"
        yield from _more(missing)


def _changes(view: RunView) -> Iterator[str]:
    if view.changes:
        yield "## Since the last green run\n"
        for one in view.changes[:_LISTED]:
            yield f"- {one.what}: {_code(one.id)}" + (f" ({_escaped(one.note)})" if one.note else "")
        yield from _more(view.changes)


def _slowest(view: RunView) -> Iterator[str]:
    if view.slowest:
        yield "## Slowest\n"
        for one in view.slowest:
            yield f"- {one.seconds:.2f} s {_code(one.id)}" + (f", mostly step {one.step}" if one.step else "")
        yield ""


def _timeline(view: RunView) -> Iterator[str]:
    """Yield a gantt chart of the longest journeys and of all that did not pass, as far as it can be read."""
    ran = [one for one in view.journeys if one.tries]
    chosen = sorted(ran, key=lambda one: (one.outcome is Outcome.PASSED, -one.seconds))[:BARS]
    if not chosen:
        return
    yield "## Timeline\n"
    yield "```mermaid"
    yield "gantt"
    yield "  dateFormat x"
    yield "  axisFormat %M:%S"
    for lane in view.lanes:
        own = [one for one in chosen if one.lane == lane.name]
        if own:
            yield f"  section {lane.name}"
        for one in sorted(own, key=lambda one: one.start):
            start, end = round(max(one.start, 0.0) * 1000), round((one.start + one.tries[-1].seconds) * 1000)
            yield f"  {_plain(one)} :{_state(one)}{start}, {max(end, start + 1)}"
    yield "```"
    if len(ran) > len(chosen):
        yield f"\n{counted(len(ran) - len(chosen), 'shorter journey')} that passed left out"


def _state(one: JourneyView) -> str:
    return "" if one.outcome is Outcome.PASSED else "crit, "


def _plain(one: JourneyView) -> str:
    """Name a journey for mermaid, which knows no escapes in a task's name."""
    word = "" if one.outcome in {Outcome.PASSED, None} else f" ({WORDS[one.outcome]})"
    return re.sub(r"[^\w \[\]()./-]", " ", f"{one.id}{word}").strip() or "journey"


def _more(several: Sequence[object]) -> Iterator[str]:
    if len(several) > _LISTED:
        yield f"- and {len(several) - _LISTED} more"
    yield ""


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    rest = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
    return ", ".join(map(_code, several[:_LISTED])) + rest


def _end(text: str) -> str:
    """Return the end of a text, by whole lines where that is possible."""
    if len(text) <= _LONGEST_OUTPUT:
        return text
    end = text[-_LONGEST_OUTPUT:]
    return f"…\n{end.partition(chr(10))[2] or end}"


def _code(text: str) -> str:
    """Return text as code on one line; a fence longer than any within keeps it whole (CommonMark, Code spans)."""
    line = " ".join(text.split("\n"))
    fence = "`" * (max((len(found) for found in re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line or ' '}{space}{fence}"


def _block(text: str, language: str = "text") -> str:
    """Return text as a block of code, with a fence longer than any within."""
    fence = "`" * max(3, max((len(found) for found in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}\n"


def _escaped(text: str) -> str:
    """Return text that means nothing in Markdown or HTML, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@-])", r"\\\1", " ".join(text.split()))
