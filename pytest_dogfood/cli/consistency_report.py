"""Prints reports, each as soon as it is available, and the event log."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self, TextIO

from msgspec.structs import asdict

from pytest_dogfood.cli.console import OutputLostError, Palette, json_document, write_lines
from pytest_dogfood.consistency.check import RepoReport
from pytest_dogfood.consistency.hub.model import (
    INTERRUPTED,
    REFUSED,
    Checkout,
    Event,
    HubError,
    HubTask,
    LoggedWriteback,
)
from pytest_dogfood.consistency.task_findings import Action, Finding, FindingSeverity
from pytest_dogfood.diagnostics import counted, printable

_COLOURS: Mapping[FindingSeverity, str] = {
    FindingSeverity.FAIL: "31",
    FindingSeverity.WARN: "33",
    FindingSeverity.INFO: "36",
}
_FIXED, _FAINT, _BOLD = "32", "2", "1"


def log_line(entry: Event | LoggedWriteback, task: HubTask) -> str:
    """Return the line of a change of the hub, or of a status that a commit wrote into a file."""
    when, host = entry.at.strftime("%Y-%m-%d %H:%M:%SZ"), entry.host or entry.machine
    moved = f"{entry.from_status} → {entry.to_status}" if entry.from_status else entry.to_status
    if isinstance(entry, Event):
        moved += f" (reopened {entry.reopen_count})" if entry.reopen_count else ""
        place = f" {entry.path}" if entry.path else ""
        commit = f" at {entry.repo_commit[:12]}" if entry.repo_commit else ""
        reason = f": {entry.reason}" if entry.reason else ""
        how = f"{entry.source} by {entry.actor}@{host}{place}{commit}{reason}"
    else:
        how = f"written into {entry.path} on {host}, commit {entry.commit[:12]}"
    return printable(f"{when}  {task.repo}/{task.task_id}  {moved}  {how}")


def log_entry_in_json(entry: Event | LoggedWriteback, task: HubTask) -> dict[str, object]:
    fields = asdict(entry)
    named = {"repo": task.repo, "task_id": task.task_id, "hub_id": fields.pop("task")}
    return named | fields | {"at": entry.at.isoformat()}


def report_lines(report: RepoReport, palette: Palette) -> Iterator[str]:
    """Yield the lines of one checkout: a heading, and one line for each finding."""
    where = f" ({printable(report.path)})" if report.path else ""
    tasks = counted(len(report.task_ids), "task")
    agree = "" if report.findings else ", nothing to report"
    yield f"{palette.paint(printable(report.repo), _BOLD)}{where}: {tasks}{agree}"
    for finding in report.findings:
        place = f"{finding.path}:{finding.line}" if finding.path and finding.line else finding.path
        about = "  ".join(printable(word) for word in (finding.task_id, place) if word)
        said = ": ".join(filter(None, (about, printable(finding.text))))
        label, colour, fixed = f"{finding.severity.value:<4}", _COLOURS[finding.severity], ""
        if finding.fixed:
            colour = _FIXED
            done = "hub kept; file updated" if finding.action is Action.WRITEBACK else "fixed"
            commit = f", commit {finding.commit[:12]}" if finding.commit else ""
            fixed = palette.paint(f" [{done}{commit}]", _FIXED)
            # A fixed failure is no longer a failure, but a warning is still worth knowing.
            label = "DONE" if finding.severity is FindingSeverity.FAIL else label
        hints = [] if finding.fixed else [printable(line) for line in finding.hint.splitlines()]
        hint = palette.paint(f" ({hints[0]})", _FAINT) if len(hints) == 1 and hints[0] else ""
        yield f"  {palette.paint(label, colour)} {finding.label}  {said}{fixed}{hint}"
        if len(hints) > 1:
            yield from (palette.paint(f"      | {line}", _FAINT) for line in hints)
    if report.to_push:
        push = printable(f"git -C {shlex.quote(report.path)} push")
        yield f"  {counted(report.to_push, 'commit')} to push{palette.paint(f' ({push})', _FAINT)}"


class ProgressCounter:
    """A counter on a terminal while checkouts are checked; it writes nothing to other streams."""

    def __init__(self, total: int = 0, stream: TextIO | None = None) -> None:
        self.total = total
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty()
        self._done = 0
        self._repo = ""

    def counted(self, checkouts: Sequence[Checkout]) -> Iterator[Checkout]:
        """Yield the checkouts, counting each when work on it begins."""
        self.total = len(checkouts)
        for checkout in checkouts:
            self.begin(checkout.repo)
            yield checkout

    def begin(self, repo: str) -> None:
        self._done += 1
        self._repo = printable(repo)
        self._write(f"[{self._done}/{self.total}] {self._repo}")

    def advance(self, done: int, total: int) -> None:
        if done % 10 == 0:  # more often would flicker
            self._write(f"[{self._done}/{self.total}] {self._repo}: {done} of {total} changes")

    def clear(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._on:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


class ReportPrinter:
    """The output of one run. If the hub cannot be reached, or on Ctrl-C, it ends with the counts so far.

    As JSON it is exactly one document, even if the run fails before it begins. If output cannot be written, the run
    ends with OutputLostError.
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

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.progress.clear()
        if error is None:
            self._end(self.status)
            if self._lost is not None:
                raise self._lost
        elif isinstance(error, HubError):
            self._end(error.exit_status, str(error))
        elif isinstance(error, KeyboardInterrupt):
            self._end(INTERRUPTED, "interrupted")

    @property
    def status(self) -> int:
        """Return the exit status for the findings so far."""
        deciding = {FindingSeverity.FAIL, FindingSeverity.WARN} if self._strict else {FindingSeverity.FAIL}
        left = any(each.severity in deciding and not each.fixed for each in self._findings())
        return REFUSED if left else 0

    def print_reports(self, reports: Iterable[RepoReport], *, to_the_end: bool = False) -> None:
        """Print each report as soon as it is available; `to_the_end` continues even if output is lost."""
        for report in reports:
            self._seen.append(report)
            self.progress.clear()
            if not self._as_json:
                self._print(report_lines(report, self._palette))
            if self._lost is not None and not to_the_end:
                return

    def notice(self, text: str) -> None:
        """Print a line for people at once; with JSON it goes to standard error."""
        self.progress.clear()
        self._print([text], sys.stderr if self._as_json else sys.stdout)

    def _findings(self) -> tuple[Finding, ...]:
        """Return all findings, each once: two checkouts of a repository may have the same."""
        return tuple(dict.fromkeys(finding for report in self._seen for finding in report.findings))

    def _print(self, lines: Iterable[str], stream: TextIO | None = None) -> None:
        """Print, unless that has failed before: lost output must not stop a fix halfway."""
        if self._lost is None:
            try:
                write_lines(lines, stream)
            except OutputLostError as error:
                self._lost = error

    def _end(self, status: int, error: str = "") -> None:
        """Print the counts of the whole run, or everything as `{items, summary}`."""
        found = self._findings()
        left = Counter(finding.severity for finding in found if not finding.fixed)
        fixed = sum(finding.fixed for finding in found)
        tasks = sum(len(each.task_ids) for each in self._seen)
        if self._as_json:
            checkouts = [
                {
                    "repo": each.repo,
                    "path": each.path,
                    "tasks": len(each.task_ids),
                    "to_push": each.to_push,
                    "git": dict(each.git),
                }
                for each in self._seen
            ]
            summary: dict[str, object] = {
                "tasks": tasks,
                **{severity.value.lower(): left[severity] for severity in FindingSeverity},
                "fixed": fixed,
                "exit_status": status,
                "error": error,
                "checkouts": checkouts,
            }
            self._print([json_document(items=[finding.to_json() for finding in found], summary=summary)])
        elif self._seen or not error:
            parts = [
                self._palette.paint(f"{left[severity]} {severity.value}", _COLOURS[severity])
                for severity in FindingSeverity
                if left[severity]
            ]
            parts += [self._palette.paint(f"{fixed} fixed", _FIXED)] if fixed else []
            said = ", ".join(parts) or self._palette.paint("all agree", _FIXED)
            cut_short = "; interrupted" if status == INTERRUPTED else ""
            looked_at = f"{counted(len(self._seen), 'checkout')}, {counted(tasks, 'task')}"
            self._print([f"{looked_at}: {said}{cut_short}"])
