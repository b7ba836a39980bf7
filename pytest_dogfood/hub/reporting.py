"""Reports as people and programs read them: lines grouped by repository, or one JSON document."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TextIO

from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.views import RepoReport

JSON_VERSION = 1
"""Of what `--format json` prints: 1, from the beginning."""

_COLOURS: Mapping[Severity, str] = {Severity.FAIL: "31", Severity.WARN: "33", Severity.INFO: "36"}
_FIXED, _FAINT, _BOLD = "32", "2", "1"


class Palette:
    """Colours for a stream: none unless it is a terminal, and none under NO_COLOR."""

    def __init__(self, stream: TextIO) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.on else text


class Counting:
    """A counter on the terminal for as long as something is looked at; elsewhere nothing is written."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty()
        self._total = total
        self._done = 0

    def __call__(self, repo: str) -> None:
        self._done += 1
        if self._on:
            self._stream.write(f"\r\x1b[K[{self._done}/{self._total}] {printable(repo)}")
            self._stream.flush()

    def clear(self) -> None:
        if self._on:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def is_left(finding: Finding, *, strict: bool) -> bool:
    """Say whether a finding decides the exit status."""
    warned = strict and finding.severity is Severity.WARN and not finding.fixed
    return finding.is_left or warned


def report_lines(report: RepoReport, palette: Palette) -> Iterator[str]:
    """Give the lines of one checkout: a heading, and one line for each finding."""
    where = f" ({printable(report.path)})" if report.path else ""
    tasks = counted(len(report.task_ids), "task")
    agree = "" if report.findings else ", nothing to report"
    yield f"{palette.paint(printable(report.repo), _BOLD)}{where}: {tasks}{agree}"
    for finding in report.findings:
        yield from _finding_lines(finding, palette)


def closing_line(reports: Sequence[RepoReport], palette: Palette) -> str:
    """Give the counts of a whole run."""
    found = findings_of(reports)
    counts = Counter(finding.severity for finding in found if not finding.fixed)
    parts = [
        palette.paint(f"{counts[severity]} {severity.value}", _COLOURS[severity])
        for severity in Severity
        if counts[severity]
    ]
    if fixed := sum(finding.fixed for finding in found):
        parts.append(palette.paint(f"{fixed} fixed", _FIXED))
    said = ", ".join(parts) or palette.paint("all agree", _FIXED)
    places = counted(len(reports), "checkout")
    return f"{places}, {counted(sum(len(each.task_ids) for each in reports), 'task')}: {said}"


def in_json(reports: Sequence[RepoReport], *, exit_status: int, error: str = "") -> str:
    """Give a run as `{version, items, summary}`, each finding once."""
    found = findings_of(reports)
    left = Counter(finding.severity for finding in found if not finding.fixed)
    summary: dict[str, object] = {
        "tasks": sum(len(each.task_ids) for each in reports),
        **{severity.value.lower(): left[severity] for severity in Severity},
        "fixed": sum(finding.fixed for finding in found),
        "exit_status": exit_status,
        "error": error,
        "checkouts": [
            {"repo": each.repo, "path": each.path, "tasks": len(each.task_ids), "git": dict(each.git)}
            for each in reports
        ],
    }
    items = [finding.to_json() for finding in found]
    return json.dumps({"version": JSON_VERSION, "items": items, "summary": summary}, indent=2)


def findings_of(reports: Iterable[RepoReport]) -> tuple[Finding, ...]:
    """Give all findings, each once: two checkouts of a repository may have the same to say."""
    return tuple(dict.fromkeys(finding for report in reports for finding in report.findings))


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Give text that stays on its line and commands no terminal: titles and file names may hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Write lines, with an escape for what the stream's encoding does not have."""
    stream = stream or sys.stdout
    for line in lines:
        encoding = stream.encoding or "utf-8"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _finding_lines(finding: Finding, palette: Palette) -> Iterator[str]:
    place = f"{finding.path}:{finding.line}" if finding.path and finding.line else finding.path
    words = [finding.task_id, place]
    about = "  ".join(printable(word) for word in words if word)
    first, *more = (finding.hint if not finding.fixed else "").splitlines() or [""]
    hint = palette.paint(f" ({printable(first)})", _FAINT) if first and not more else ""
    label = palette.paint(
        f"{finding.severity.value:<4}", _FIXED if finding.fixed else _COLOURS[finding.severity]
    )
    said = ": ".join(filter(None, (about, printable(finding.message))))
    yield f"  {label} {finding.code} {said}{_fixed(finding, palette)}{hint}"
    if more:
        yield from (palette.paint(f"      | {printable(line)}", _FAINT) for line in (first, *more))


def _fixed(finding: Finding, palette: Palette) -> str:
    if not finding.fixed:
        return ""
    commit = f", commit {finding.commit[:12]}" if finding.commit else ""
    return palette.paint(f" [fixed{commit}]", _FIXED)
