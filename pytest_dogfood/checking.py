"""--dogfood-check: says what is wrong and what a run would do, and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pytest_dogfood.advice import advise
from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.diagnostics import errors_among
from pytest_dogfood.diagnostics import in_order_of_place
from pytest_dogfood.planreport import Report
from pytest_dogfood.planreport import in_words
from pytest_dogfood.planreport import report_on
from pytest_dogfood.planreport import to_json
from pytest_dogfood.settings import CheckFormat
from pytest_dogfood.settings import Settings
from pytest_dogfood.speedup import collapsed_chains
from pytest_dogfood.stash import SETTINGS
from pytest_dogfood.working import Working


class Checking:
    """Takes the place of the loop that runs items; `workers` is what a run would have."""

    def __init__(self, working: Working, *, workers: int) -> None:
        self._working = working
        self._workers = workers
        self.report: Report | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # From here on pytest's own cache plugins see a run that only collected, and write nothing.
        session.config.option.collectonly = True
        if self._working.settled is None or session.exitstatus not in {
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        }:
            return  # pytest could not collect, and says so itself
        self.report = self._report(session.config.stash[SETTINGS])
        valid = self.report.is_valid
        session.exitstatus = pytest.ExitCode.OK if valid else pytest.ExitCode.USAGE_ERROR

    def _report(self, settings: Settings) -> Report:
        settled = self._working.settled
        if settled is None:
            raise AssertionError("the report comes after collection")
        findings: tuple[Diagnostic, ...] = settled.findings
        if not errors_among(findings):
            weights = {planned.id: planned.weight for planned in settled.plan.journeys}
            everything = {journey: weights.get(journey, 1.0) for journey in settled.graph.journeys}
            collapsed = collapsed_chains(settled.graph, everything)
            findings = in_order_of_place([*findings, *advise(settled.graph), *collapsed])
        report = report_on(
            settled.graph,
            settled.plan,
            findings,
            workers=self._workers,
            shard=str(settings.shard or ""),
        )
        return report.strict() if settings.strict else report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.report is not None:
            terminalreporter.write_sep("=", "dogfood check")
            shape = terminalreporter.config.stash[SETTINGS].check_format
            for line in shown(self.report, shape):
                terminalreporter.write_line(line)


def shown(report: Report, shape: CheckFormat) -> Iterator[str]:
    """Give the lines of a report in the format that was asked for."""
    if shape is CheckFormat.JSON:
        yield json.dumps(to_json(report), indent=2)
    else:
        yield from in_words(report)
