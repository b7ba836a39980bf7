"""Reports on terminals: colour, a counter, and text that commands nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_dogfood.cli.consistency_report import ProgressCounter, ReportPrinter, report_lines
from pytest_dogfood.cli.console import Palette
from pytest_dogfood.consistency.check import RepoReport
from pytest_dogfood.consistency.task_findings import Finding, FindingSeverity


class Terminal:
    """What counts as a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = Finding(code="C-13", severity=FindingSeverity.WARN, repo="shop", message="m")
    report = RepoReport(repo="shop", findings=(found,))
    terminal: Any = Terminal()
    assert "\x1b[33mWARN\x1b[0m" in "\n".join(report_lines(report, Palette(terminal)))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "\n".join(report_lines(report, Palette(terminal)))


def test_a_long_run_counts_on_terminals_and_clears_up() -> None:
    terminal: Any = Terminal()
    counting = ProgressCounter(2, terminal)
    counting.begin("shop")
    for done in range(20):
        counting.advance(done, 20)
    counting.clear()
    shown = ["[1/2] shop", "[1/2] shop: 0 of 20 changes", "[1/2] shop: 10 of 20 changes", ""]
    assert terminal.text == "".join(f"\r\x1b[K{text}" for text in shown)


def test_what_a_file_says_commands_no_terminal() -> None:
    found = Finding(
        code="C-20",
        severity=FindingSeverity.FAIL,
        repo="shop",
        path="a\nb.md",
        task_id="\x1b[2J",
        message="m\udcff",
    )
    lines = list(report_lines(RepoReport(repo="shop", findings=(found,)), Palette(sys.stdout)))
    assert lines[1] == r"  FAIL C-20 not-in-hub  \x1b[2J  a\nb.md: m\udcff"


@pytest.mark.parametrize(
    "reason, words",
    [
        ("same_rank", "m; same_rank: a tie, neither side is ahead"),
        ("diverged", "m; diverged: it also has commits that the remote lacks"),
        ("dirty", "m; dirty: it differs from what is committed"),
        ("behind", "m"),
        ("", "m"),
    ],
)
def test_a_reason_that_the_message_does_not_tell_is_added(reason: str, words: str) -> None:
    found = Finding(
        code="C-13", severity=FindingSeverity.WARN, repo="shop", message="m", hint="h", reason=reason
    )
    report = RepoReport(repo="shop", findings=(found,))
    assert list(report_lines(report, Palette(sys.stdout)))[1:] == [f"  WARN C-13 hub-ahead  {words} (h)"]
    assert (found.to_json()["name"], found.to_json()["message"]) == ("hub-ahead", "m")


def test_what_is_fixed_is_no_failure_any_more() -> None:
    found = Finding(
        code="C-11", severity=FindingSeverity.FAIL, repo="shop", message="m", hint="h", fixed=True
    )
    report = RepoReport(repo="shop", findings=(found,))
    assert list(report_lines(report, Palette(sys.stdout)))[1:] == ["  DONE C-11 file-ahead  m [fixed]"]


@pytest.mark.parametrize("commits, said", [(0, []), (1, ["1 commit to push"]), (3, ["3 commits to push"])])
def test_a_commit_of_fix_has_to_be_pushed(commits: int, said: list[str]) -> None:
    report = RepoReport(repo="shop", path="/w/my shop", to_push=commits)
    expected = [f"  {words} (git -C '/w/my shop' push)" for words in said]
    assert list(report_lines(report, Palette(sys.stdout)))[1:] == expected


def test_a_run_that_is_interrupted_still_says_what_it_came_to(capsys: pytest.CaptureFixture[str]) -> None:
    def reports() -> Iterator[RepoReport]:
        found = Finding(code="C-13", severity=FindingSeverity.WARN, repo="shop", message="m")
        yield RepoReport(repo="shop", findings=(found,), task_ids=("T1",))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ReportPrinter(as_json=False, strict=False) as printer:
        printer.print_reports(reports())
    assert capsys.readouterr().out.splitlines()[-1] == "1 checkout, 1 task: 1 WARN; interrupted"
