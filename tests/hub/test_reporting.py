"""Reports on terminals: colour, a counter, and text that commands nothing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.reporting import Counting
from pytest_dogfood.hub.reporting import Palette
from pytest_dogfood.hub.reporting import report_lines
from pytest_dogfood.hub.views import RepoReport


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
    found = Finding(code="C-13", severity=Severity.WARN, repo="shop", message="m")
    report = RepoReport(repo="shop", findings=(found,))
    terminal: Any = Terminal()
    assert "\x1b[33mWARN\x1b[0m" in "\n".join(report_lines(report, Palette(terminal)))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "\n".join(report_lines(report, Palette(terminal)))


def test_a_long_run_counts_on_terminals_and_clears_up() -> None:
    terminal: Any = Terminal()
    counting = Counting(2, terminal)
    counting("shop")
    counting.clear()
    assert terminal.text == "\r\x1b[K[1/2] shop\r\x1b[K"


def test_what_a_file_says_commands_no_terminal() -> None:
    found = Finding(
        code="C-20", severity=Severity.FAIL, repo="shop", path="a\nb.md", task_id="\x1b[2J", message="m\udcff"
    )
    lines = list(report_lines(RepoReport(repo="shop", findings=(found,)), Palette(sys.stdout)))
    assert lines[1] == r"  FAIL C-20 \x1b[2J  a\nb.md: m\udcff"
