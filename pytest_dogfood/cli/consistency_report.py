"""Reports as people and programs read them: lines grouped by repository, or one JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_dogfood.cli.streams import Palette
from pytest_dogfood.consistency.checkout_view import RepoReport
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.hub.findings import Finding, Severity
from pytest_dogfood.hub.printing import printable

_COLOURS: Mapping[Severity, str] = {Severity.FAIL: "31", Severity.WARN: "33", Severity.INFO: "36"}
_FIXED, _FAINT, _BOLD = "32", "2", "1"


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


def in_json(reports: Sequence[RepoReport], *, exit_status: int, error: str = "") -> dict[str, object]:
    """Give a run as `{items, summary}`, each finding once."""
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
    return {"items": [finding.to_json() for finding in found], "summary": summary}


def findings_of(reports: Iterable[RepoReport]) -> tuple[Finding, ...]:
    """Give all findings, each once: two checkouts of a repository may have the same to say."""
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
    """Give the severity; a failure that is fixed is none any more, a warning remains worth knowing."""
    return "DONE" if finding.fixed and finding.severity is Severity.FAIL else f"{finding.severity.value:<4}"


def _fixed(finding: Finding, palette: Palette) -> str:
    if not finding.fixed:
        return ""
    commit = f", commit {finding.commit[:12]}" if finding.commit else ""
    return palette.paint(f" [fixed{commit}]", _FIXED)
