"""What a GitHub job shows of a run by itself: its summary, and annotations at the line of the step that failed.

Workflow commands are lines on standard output; `%`, line ends, and in properties `:` and `,` are written as their
numbers (GitHub, Workflow commands, and the toolkit that writes them).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.markdown import LONGEST, to_markdown
from pytest_dogfood.report.run_view import CauseView, RunView, shown

MOST = 10
"""Annotations of one kind that GitHub shows for a step of a job."""

_LONGEST = 4000

_PLACE = re.compile(r"(.*?)(?::([0-9]+))?(?::([0-9]+))?", re.DOTALL)


def append_summary(path: Path, view: RunView) -> None:
    """Add the report of a run to the summary of a job's step, of which GitHub takes so many bytes or nothing."""
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(to_markdown(view, longest=LONGEST - file.tell()))


def workflow_commands(view: RunView, prefix: str = "") -> Iterator[str]:
    """Yield workflow commands: an error for each root cause, a warning for each that kept others from running.

    `prefix` leads from the root of the repository to the project.
    """
    errors = [cause for cause in view.causes if cause.outcome is not Outcome.SKIPPED]
    for cause in errors[:MOST]:
        about = " (harness, not the product)" if cause.outcome is Outcome.ERROR else ""
        yield _command("error", cause, f"{cause.id} {cause.headline}{about}", _details(cause), prefix)
    behind = [cause for cause in view.causes if cause.deferred or cause.not_judged]
    for cause in behind[:MOST]:
        names = ", ".join((*cause.deferred, *cause.not_judged))
        number = counted(len(cause.deferred) + len(cause.not_judged), "journey")
        yield _command(
            "warning", cause, f"{number} not run, because {cause.id} {cause.headline}", names, prefix
        )


def _details(cause: CauseView) -> str:
    step = cause.step
    if step is None:
        return cause.text or cause.headline
    lines = [step.intent] if step.intent else []
    lines += [f"$ {step.command.rstrip()}"] if step.command else []
    lines += [f"{one.what}: expected {one.expected}, got {one.actual}" for one in step.wrong]
    lines += [output.text.rstrip() for output in (step.err, step.out) if output.text]
    return "\n".join(lines)


def _command(kind: str, cause: CauseView, title: str, text: str, prefix: str) -> str:
    found = _PLACE.fullmatch(cause.place)
    path, line, column = ("", "", "") if found is None else found.groups("")
    file = posixpath.normpath(posixpath.join(prefix, path)) if path else ""
    where = {"file": file, "line": line, "col": column, "title": shown(title[:200])}
    properties = ",".join(f"{key}={_property(value)}" for key, value in where.items() if value)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}\n…\n{text[-_LONGEST // 2 :]}"
    return f"::{kind} {properties}::{_escaped(shown(text))}"


_LINE_ENDS: Mapping[int, str] = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Mapping[int, str] = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def _escaped(text: str) -> str:
    return text.translate(_LINE_ENDS)


def _property(text: str) -> str:
    return text.translate(_PROPERTY)
