"""A run as Markdown: for a GitHub job's summary, a comment, or a coding agent. Everything foreign stands in code.

Longer than LONGEST bytes it is cut by whole root causes and sections, and says how many causes are left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.outcomes import Outcome, counted_items
from pytest_dogfood.report.run_view import WORDS, CauseView, JourneyView, RunView, StepView, shown

LONGEST = 1000 * 1024
"""Bytes of a report at most: GitHub refuses a summary of more than 1 MiB."""

BARS = 60
"""Bars of a timeline at most; mermaid draws more of them too small to read."""

_LONGEST_OUTPUT, _MOST_LINES = 4 * 1024, 60
_LONGEST_CODE = 1024
_LISTED = 20
_NEVER_BEGAN = frozenset({Outcome.DEFERRED, Outcome.SKIPPED, Outcome.NO_ACTOR})
_LEFT_OUT = 100
"""Bytes that the line on what is left out takes at most."""


def to_markdown(view: RunView, *, longest: int = LONGEST) -> str:
    """Return the report of a run, of at most so many bytes; empty if not even its head fits."""
    mark = "✅" if view.green else "❌"
    closing_line = [_code(view.run.closing_line), ""] if view.run.closing_line else []
    head = "\n".join([f"# {mark} {view.verdict}", "", " · ".join(_facts(view)), "", *closing_line])
    parts, room = [head], longest - len(head.encode()) - _LEFT_OUT
    if room < 0:
        return ""
    causes: list[str] = []
    for cause in view.causes:
        text = "\n".join(_cause(cause))
        room -= len(text.encode()) + 1
        if room < 0:
            break
        causes.append(text)
    if view.causes:
        parts += ["## What went wrong\n", *causes]
    if len(causes) < len(view.causes):
        left_out = counted(len(view.causes) - len(causes), "root cause")
        parts.append(f"{left_out} left out: this report would be too long.\n")
    sections = (_losses, _deferred, _missing, _notes, _changes, _slowest, _timeline)
    for section in ("\n".join(make(view)) for make in sections):
        room -= len(section.encode()) + 1
        if section and room >= 0:
            parts.append(section)
    return "\n".join(parts).rstrip() + "\n"


def _facts(view: RunView) -> Iterator[str]:
    run = view.run
    outside = sum(run.others.values())
    items = [counted_items(one.id for one in view.journeys)] if view.journeys or not outside else []
    items += [f"{counted(outside, 'test')} outside of the graph"] if outside else []
    yield f"{', '.join(items)}, on {counted(run.workers, 'worker')}"
    best = "" if view.best is None else f" (best possible: {view.best:.1f} s)"
    yield f"{view.seconds:.1f} s{best}"
    if run.shard:
        yield run.shard
    if run.id:
        yield f"run {_code(run.id)}: {_code(shlex.join(('pytest', *run.argv)))}"
    if run.commit:
        yield f"commit {_code(run.commit[:12])}{' with changes' if run.dirty else ''}"
    if re.fullmatch(r"https?://[\w./:%~+-]+", run.ci):
        yield f"[job]({run.ci})"


def _cause(cause: CauseView) -> Iterator[str]:
    about = " (not a failure of the product)" if cause.outcome is Outcome.ERROR else ""
    yield f"### {_code(cause.id)} {_words(cause.headline)}{about}\n"
    if cause.place:
        yield f"{_code(cause.place)}\n"
    if cause.step is not None:
        yield from _step(cause.step)
    if cause.text:
        yield _block(_end(cause.text))
    if cause.cleanup is not None:
        yield f"Its clean-up failed, too, at {_code(cause.cleanup.place)}:\n"
        yield from _step(cause.cleanup)
    for said, names in (("Kept from running", cause.deferred), ("Could not be judged", cause.not_judged)):
        if names:
            yield f"{said}: {_listed(names)}\n"
    if cause.changed:
        yield "Its text has changed since the run that this is compared with.\n"
    commands = {
        "Run it again": cause.again,
        "Open a shell there": cause.enter,
        "If this is a known outage": cause.outage,
    }
    for said, command in commands.items():
        if 0 < len(command) <= _LONGEST_OUTPUT:  # a part of it would be no command
            yield f"{said}: {_code(command, longest=_LONGEST_OUTPUT)}\n"


def _step(step: StepView) -> Iterator[str]:
    if step.intent:
        yield f"{_code(step.intent)}\n"
    told = False
    for wrong in step.wrong:
        told = True
        if wrong.diff:
            yield f"- {_code(wrong.what)}: expected (-), got (+)\n"
            yield _block(_end("\n".join(wrong.diff)), "diff")
        else:
            yield f"- {_code(wrong.what)}: expected {_code(wrong.expected)}, got {_code(wrong.actual)}"
    if step.ended_at:
        told = True
        yield f"- in: {_code(step.ended_at)}"
    if told:
        yield ""
    if step.command:
        yield _block(_beginning(step.command), "sh")
    outputs = [
        f"--- {name} ---\n{_end(output.text)}"
        for name, output in (("stdout", step.out), ("stderr", step.err))
        if output.text
    ]
    if outputs:
        yield _block("\n".join(one.rstrip("\n") for one in outputs))
    if step.out.gone or step.err.gone:
        yield "What it printed was not kept.\n"


def _losses(view: RunView) -> Iterator[str]:
    if view.losses:
        yield f"## Lost machines: {len(view.losses)}\n"
        yield from (f"- {_code(said)}" for said in view.losses[:_LISTED])
        yield from _more(view.losses)


def _deferred(view: RunView) -> Iterator[str]:
    several = [one for one in view.journeys if one.outcome is Outcome.DEFERRED]
    if several:
        yield f"## Deferred: {len(several)}\n"
        for one in several[:_LISTED]:
            yield f"- {_code(one.id)}" + (f": because {_code(one.reason)}" if one.reason else "")
        yield from _more(several)
    if view.unaccounted:
        yield f"## Not run: {len(view.unaccounted)}\n"
        yield f"{_listed(view.unaccounted)}\n"


def _missing(view: RunView) -> Iterator[str]:
    missing = [one for one in view.tokens if not one.present]
    if missing:
        yield f"## Missing tokens: {len(missing)}\n"
        for one in missing[:_LISTED]:
            needed = f", needed by {one.needed_by}" if one.needed_by else ""
            yield f"- {_code(one.token)}{needed}: {_code(one.why)}"
        yield from _more(missing)


def _notes(view: RunView) -> Iterator[str]:
    """Yield what a person should know of journeys, whatever their outcome."""
    notes = [(one, note) for one in view.journeys for note in _notes_of(one)]
    if notes:
        yield f"## Notes: {len(notes)}\n"
        for one, note in notes[:_LISTED]:
            yield f"- {_code(one.id)}: {note}"
        yield from _more(notes)


def _notes_of(one: JourneyView) -> Iterator[str]:
    if one.outcome is Outcome.PASSED and len(one.tries) > 1:
        yield f"passed, but only in try {len(one.tries)}"
    if one.leaked:
        yield f"left running: {_listed(one.leaked)}"
    if one.not_cleaned:
        yield f"not cleaned up: {_code(one.not_cleaned)}"
    if one.unjudged:
        yield f"{counted(one.unjudged, 'expectation')} not judged"


def _changes(view: RunView) -> Iterator[str]:
    if view.changes and view.reference is not None:
        commit = f" {_code(view.reference.commit[:12])}" if view.reference.commit else ""
        yield f"## Since run {_code(view.reference.run)}{commit}\n"
        for one in view.changes[:_LISTED]:
            yield f"- {one.what}: {_code(one.id)}" + (f" ({one.note})" if one.note else "")
        yield from _more(view.changes)


def _slowest(view: RunView) -> Iterator[str]:
    if view.slowest:
        yield "## Slowest\n"
        for one in view.slowest:
            yield f"- {one.seconds:.2f} s {_code(one.id)}" + (f", mostly step {one.step}" if one.step else "")
        yield ""


def _timeline(view: RunView) -> Iterator[str]:
    """Yield a gantt chart of the longest journeys and of all that did not pass, as far as it can be read."""
    ran = [one for one in view.journeys if one.tries and one.outcome not in _NEVER_BEGAN]
    chosen = sorted(ran, key=lambda one: (not _is_bad(one), -one.seconds))[:BARS]
    if not chosen:
        return
    yield "## Timeline\n"
    yield "```mermaid"
    yield "gantt"
    yield "  dateFormat x"
    yield "  axisFormat %M:%S"
    for lane in dict.fromkeys(lane.name for lane in view.lanes):
        own = [one for one in chosen if one.lane == lane]
        if own:
            yield f"  section {_plain(lane)}"
        for one in sorted(own, key=lambda one: one.start):
            start, end = round(max(one.start, 0.0) * 1000), round((one.start + one.tries[-1].seconds) * 1000)
            yield f"  {_bar(one)} :{'crit, ' if _is_bad(one) else ''}{start}, {max(end, start + 1)}"
    yield "```"
    if len(ran) > len(chosen):
        yield f"\n{counted(len(ran) - len(chosen), 'other journey')} left out"


def _is_bad(one: JourneyView) -> bool:
    return one.outcome is not None and one.outcome.is_bad


def _bar(one: JourneyView) -> str:
    """Name a journey for mermaid. The mark before it lets no name begin like one of mermaid's own words."""
    word = "" if one.outcome in {Outcome.PASSED, None} else f" ({WORDS[one.outcome]})"
    word += " (taken over)" if one.taken_from else ""
    return f"{'✗' if _is_bad(one) else '✓'} {_plain(one.id)}{word}"


def _plain(text: str) -> str:
    """Return text without what means something to mermaid, which knows no escapes in names."""
    return re.sub(r"[^\w ,\[\]()./-]", " ", text)[:80].strip()


def _more(several: Sequence[object]) -> Iterator[str]:
    if len(several) > _LISTED:
        yield f"- and {len(several) - _LISTED} more"
    yield ""


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    rest = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
    return ", ".join(map(_code, several[:_LISTED])) + rest


def _beginning(text: str) -> str:
    left_out = len(text) - _LONGEST_OUTPUT
    return f"{text[:_LONGEST_OUTPUT]}\n… {counted(left_out, 'character')} left out" if left_out > 0 else text


def _end(text: str) -> str:
    """Return the end of a text, by whole lines where that is possible, and how much was left out before it."""
    end = text[-_LONGEST_OUTPUT:]
    if len(text) > len(end):
        end = end.partition("\n")[2] or end
    end = "\n".join(end.rstrip("\n").split("\n")[-_MOST_LINES:])
    before = len(text.rstrip("\n")) - len(end)
    return f"… {counted(before, 'character')} left out\n{end}" if before else end


def _code(text: str, *, longest: int = _LONGEST_CODE) -> str:
    """Return text as code on one line; a fence longer than any within keeps it whole (CommonMark, Code spans)."""
    line = text if len(text) <= longest else f"{text[:longest]}…"
    line = shown(" ".join(re.split(r"[\r\n]+", line)))
    fence = "`" * (max((len(found) for found in re.findall("`+", line)), default=0) + 1)
    padded = line.startswith(("`", " ")) or line.endswith(("`", " "))
    return f"{fence}{' ' if padded else ''}{line or ' '}{' ' if padded else ''}{fence}"


def _block(text: str, language: str = "text") -> str:
    """Return text as a block of code, with a fence longer than any within."""
    fence = "`" * max(3, max((len(found) for found in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}\n"


def _words(text: str) -> str:
    """Return plain words as they are, and as code what could mean something, or be made a link of."""
    return text if re.fullmatch(r"[A-Za-z0-9 ,'()-]+", text) else _code(text)
