"""Reports and the event log, printed as they come."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from pytest_dogfood.cli.console import ProgressCounter, printable, write_json, write_lines
from pytest_dogfood.cli.streams import OutputLostError, Palette
from pytest_dogfood.consistency.checkout_view import RepoReport
from pytest_dogfood.consistency.hub.model import INTERRUPTED, REFUSED, Event, HubError, HubTask
from pytest_dogfood.consistency.task_findings import Finding, FindingSeverity
from pytest_dogfood.diagnostics import counted


def event_line(event: Event, task: HubTask) -> str:
    who = f"{event.actor}@{event.host or event.machine}"
    moved = f"{event.from_status} → {event.to_status}" if event.from_status else event.to_status
    count = f" (reopened {event.reopen_count})" if event.reopen_count else ""
    place = f" {event.path}" if event.path else ""
    commit = f" at {event.repo_commit[:12]}" if event.repo_commit else ""
    why = f": {event.reason}" if event.reason else ""
    when = event.at.strftime("%Y-%m-%d %H:%M:%SZ")
    return printable(
        f"{when}  {task.repo}/{task.task_id}  {moved}{count}  {event.source} by {who}{place}{commit}{why}"
    )


def event_in_json(event: Event, task: HubTask) -> dict[str, object]:
    return {
        "repo": task.repo,
        "task_id": task.task_id,
        "hub_id": event.task,
        "version": event.version,
        "at": event.at.isoformat(),
        "machine": event.machine,
        "host": event.host,
        "actor": event.actor,
        "source": event.source,
        "from_status": event.from_status,
        "to_status": event.to_status,
        "reopen_count": event.reopen_count,
        "repo_commit": event.repo_commit,
        "path": event.path,
        "run_id": event.run_id,
        "reason": event.reason,
    }


_COLOURS: Mapping[FindingSeverity, str] = {
    FindingSeverity.FAIL: "31",
    FindingSeverity.WARN: "33",
    FindingSeverity.INFO: "36",
}
_FIXED, _FAINT, _BOLD = "32", "2", "1"


def is_left(finding: Finding, *, strict: bool) -> bool:
    """Say whether a finding decides the exit status."""
    warned = strict and finding.severity is FindingSeverity.WARN and not finding.fixed
    return finding.is_left or warned


def report_lines(report: RepoReport, palette: Palette) -> Iterator[str]:
    """Yield the lines of one checkout: a heading, and one line for each finding."""
    where = f" ({printable(report.path)})" if report.path else ""
    tasks = counted(len(report.task_ids), "task")
    agree = "" if report.findings else ", nothing to report"
    yield f"{palette.paint(printable(report.repo), _BOLD)}{where}: {tasks}{agree}"
    for finding in report.findings:
        yield from _finding_lines(finding, palette)


def closing_line(reports: Sequence[RepoReport], palette: Palette) -> str:
    """Return the counts of a whole run."""
    found = findings_of(reports)
    counts = Counter(finding.severity for finding in found if not finding.fixed)
    parts = [
        palette.paint(f"{counts[severity]} {severity.value}", _COLOURS[severity])
        for severity in FindingSeverity
        if counts[severity]
    ]
    if fixed := sum(finding.fixed for finding in found):
        parts.append(palette.paint(f"{fixed} fixed", _FIXED))
    said = ", ".join(parts) or palette.paint("all agree", _FIXED)
    places = counted(len(reports), "checkout")
    return f"{places}, {counted(sum(len(each.task_ids) for each in reports), 'task')}: {said}"


def in_json(reports: Sequence[RepoReport], *, exit_status: int, error: str = "") -> dict[str, object]:
    """Return a run as `{items, summary}`, each finding once."""
    found = findings_of(reports)
    left = Counter(finding.severity for finding in found if not finding.fixed)
    summary: dict[str, object] = {
        "tasks": sum(len(each.task_ids) for each in reports),
        **{severity.value.lower(): left[severity] for severity in FindingSeverity},
        "fixed": sum(finding.fixed for finding in found),
        "exit_status": exit_status,
        "error": error,
        "checkouts": [
            {"repo": each.repo, "path": each.path, "tasks": len(each.task_ids), "git": dict(each.git)}
            for each in reports
        ],
    }
    return {"items": [finding.to_json() for finding in found], "summary": summary}


def findings_of(reports: Iterable[RepoReport]) -> tuple[Finding, ...]:
    """Return all findings, each once: two checkouts of a repository may have the same to say."""
    return tuple(dict.fromkeys(finding for report in reports for finding in report.findings))


def _finding_lines(finding: Finding, palette: Palette) -> Iterator[str]:
    place = f"{finding.path}:{finding.line}" if finding.path and finding.line else finding.path
    words = [finding.task_id, place]
    about = "  ".join(printable(word) for word in words if word)
    first, *more = (finding.hint if not finding.fixed else "").splitlines() or [""]
    hint = palette.paint(f" ({printable(first)})", _FAINT) if first and not more else ""
    label = palette.paint(_label(finding), _FIXED if finding.fixed else _COLOURS[finding.severity])
    said = ": ".join(filter(None, (about, printable(finding.said))))
    yield f"  {label} {finding.code} {said}{_fixed(finding, palette)}{hint}"
    if more:
        yield from (palette.paint(f"      | {printable(line)}", _FAINT) for line in (first, *more))


def _label(finding: Finding) -> str:
    """Return the severity; a failure that is fixed is none any more, a warning remains worth knowing."""
    return (
        "DONE"
        if finding.fixed and finding.severity is FindingSeverity.FAIL
        else f"{finding.severity.value:<4}"
    )


def _fixed(finding: Finding, palette: Palette) -> str:
    if not finding.fixed:
        return ""
    commit = f", commit {finding.commit[:12]}" if finding.commit else ""
    return palette.paint(f" [fixed{commit}]", _FIXED)


class ReportPrinter:
    """The output of one run. A hub that cannot be had, or Ctrl-C, ends it with the counts of what came before.

    As JSON there is exactly one document, also where the run ends before it began. Output that does not arrive
    ends it with OutputLostError.
    """

    def __init__(self, *, as_json: bool, strict: bool) -> None:
        self.progress = ProgressCounter()
        self._as_json = as_json
        self._strict = strict
        self._palette = Palette(sys.stdout)
        self._seen: list[RepoReport] = []
        self._lost: OutputLostError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.clear()
        if error is None:
            self._end(self.status)
        elif isinstance(error, HubError):
            self._end(error.exit_status, str(error))
        elif isinstance(error, KeyboardInterrupt):
            self._end(INTERRUPTED, "interrupted")
        if self._lost is not None and error is None:
            raise self._lost

    @property
    def status(self) -> int:
        """Return the exit status that the findings so far ask for."""
        return REFUSED if any(is_left(each, strict=self._strict) for each in findings_of(self._seen)) else 0

    def tell(self, reports: Iterable[RepoReport], *, to_the_end: bool = False) -> None:
        """Print each report as soon as it is there; go on `to_the_end` also where nothing can be printed any more."""
        for report in reports:
            self._seen.append(report)
            self.progress.clear()
            if not self._as_json:
                self._print(report_lines(report, self._palette))
            if self._lost is not None and not to_the_end:
                return

    def notice(self, text: str) -> None:
        """Tell people something at once; the output of a program that reads JSON stays clean."""
        self.progress.clear()
        self._print([text], sys.stderr if self._as_json else sys.stdout)

    def _print(self, lines: Iterable[str], stream: TextIO | None = None) -> None:
        self._attempt(lambda: write_lines(lines, stream))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Print, unless that has failed before: what is under way is not to stop halfway for it."""
        if self._lost is None:
            try:
                write()
            except OutputLostError as error:
                self._lost = error

    def _end(self, status: int, error: str = "") -> None:
        if self._as_json:
            self._attempt(lambda: write_json(**in_json(self._seen, exit_status=status, error=error)))
        elif self._seen or not error:
            cut_short = "; interrupted" if status == INTERRUPTED else ""
            self._print([closing_line(self._seen, self._palette) + cut_short])
