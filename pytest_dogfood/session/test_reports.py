"""pytest's TestReports: corrected, masked, made for items that no worker could report, with JUnit properties."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_dogfood.collection.exceptions import ending_of
from pytest_dogfood.collection.stash import KEEPER, SETTINGS
from pytest_dogfood.database import FLEET_VARIABLE, secrets_in
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.outcomes import INTERRUPTED, Cause, JourneyResult, Outcome, Tally, badness, reason_of

if TYPE_CHECKING:
    from pytest_dogfood.provisioning.release import MachineRelease
    from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
    from pytest_dogfood.session.item_run import ItemRun
    from pytest_dogfood.settings import Settings
    from pytest_dogfood.storage.run_directory import RunDirectory


PHASES = {"setup", "call", "teardown"}
"""The values of `when` in all reports except those of a crash."""


REASON = "dogfood_reason"
"""Attribute of the report of a failure that this plugin words: the reason, in a few words."""

IN_CALL = "dogfood_in_call"
"""Attribute of the report of an error that occurred while the item was called."""


def count_as_error(report: pytest.TestReport) -> None:
    """Make a report of a call count as an error: for pytest, only a set-up or tear-down can have one."""
    if report.when == "call":
        report.when = "setup"
        report.__dict__[IN_CALL] = True


class ErrorsInCalls:
    """The plugin that shows such reports as errors; a run of plain tests has none, and pytest asks for each phase."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count an error in a call as an error, not as a failure."""
        return ("error", "E", "ERROR") if report.failed and hasattr(report, IN_CALL) else None


def carry_result(report: pytest.TestReport, planned: PlannedJourney, result: JourneyResult) -> None:
    """Attach an item's result to a report, for the leading process, and as properties for JUnit."""
    report.__dict__["dogfood"] = result.to_json()
    properties: dict[str, object] = {
        "dogfood.chain": result.chain,
        "dogfood.tier": str(planned.tier),
        "dogfood.requires": ", ".join(planned.requires),
        "dogfood.establishes": ", ".join(planned.establishes),
        "dogfood.root_cause": str(result.cause or ""),
        "dogfood.provisioned": ", ".join(f"{one.token} {one.how}" for one in result.provisioned),
        "dogfood.proof": ", ".join(f"{token}={how}" for token, how in result.proofs.items()),
        "dogfood.trajectory": result.trajectory,
        "dogfood.unjudged": result.unjudged,
        "dogfood.not_cleaned": result.not_cleaned,
        "dogfood.leaked": ", ".join(result.leaked),
    }
    told = [(name, value) for name, value in properties.items() if value]
    report.user_properties = [*report.user_properties, *told]


def worker_of(report: pytest.TestReport) -> str:
    """Return the id of the xdist worker that a report came from; empty without xdist."""
    return str(getattr(getattr(getattr(report, "node", None), "gateway", None), "id", ""))


def result_in(report: pytest.TestReport) -> JourneyResult | None:
    """Return the result that a report carries, or None."""
    carried = getattr(report, "dogfood", None)
    return None if carried is None else JourneyResult.from_json(carried)


def make_report(
    nodeid: str,
    location: tuple[str, int | None, str],
    problem: str = "",
    *,
    when: Literal["setup", "teardown"] = "teardown",
    **attributes: Any,  # noqa: ANN401 - what other plugins keep on reports has no common type
) -> pytest.TestReport:
    """Make a report of an item that pytest itself does not report: failed if there is a problem, else passed."""
    return pytest.TestReport(
        nodeid=nodeid,
        location=location,
        keywords={},
        outcome="failed" if problem else "passed",
        longrepr=problem or None,
        when=when,
        **attributes,
    )


def outcome_after(report: pytest.TestReport, before: Outcome) -> Outcome:
    """Fold one more report into an item's outcome; what our own items say of themselves has the last word."""
    result = result_in(report)
    if result is not None:
        return result.outcome
    if report.failed:
        return Outcome.FAILED if report.when == "call" or before is Outcome.FAILED else Outcome.ERROR
    if before.is_bad or not (report.skipped or report.when == "call"):
        return before
    if report.skipped:
        return Outcome.XFAILED if hasattr(report, "wasxfail") else Outcome.SKIPPED
    # Whatever a subtest has said before: this is the test itself.
    return Outcome.XPASSED if hasattr(report, "wasxfail") else Outcome.PASSED


def message_of(report: pytest.TestReport) -> str:
    """Return what a report says against an item in short, as pytest writes it to JUnit."""
    if not (report.failed or report.skipped):
        return ""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail.removeprefix("reason: "))
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = crash.message if crash is not None else str(report.longrepr)
    if report.when == "call":
        return str(reason)
    return f'failed on {"teardown" if report.when == "teardown" else "setup"} with "{reason}"'


def late_error(nodeid: str, problem: str, last: pytest.TestReport | None) -> pytest.TestReport:
    """Make a report of a problem after an item's end, as an error in its teardown; `last` is its last report."""
    if last is None:
        return make_report(nodeid or "dogfood", ("dogfood", None, "release"), problem)
    report = make_report(nodeid, last.location, problem, user_properties=last.user_properties)
    result = result_in(last)
    if result is not None and result.outcome.establishes:
        report.__dict__["dogfood"] = {**result.to_json(), "outcome": str(Outcome.ERROR)}
    return report


_OURS = Path(__file__).parents[1]


def fold_report(
    run: ItemRun, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Correct a report, and fold it into the item run."""
    error = call.excinfo.value if call.excinfo is not None else None
    if report.when == "call" and run.refusal is not None:
        error = run.refusal  # if a plugin retries within a report, `call` is of the first try
    _correct_report(report, error, item)
    ending = ending_of(error)
    if ending.by_signal:
        run.cause = Cause(who=run.journey.id, why=INTERRUPTED)
    elif report.failed and ending.why:
        run.cause = Cause(who=run.journey.id, why=ending.why)
    if run.calling:
        # It is a subtest's: the report of the item itself comes later, and does not mention it.
        if report.failed:
            by_harness = report.when == "setup"
            outcome = Outcome.ERROR if by_harness else Outcome.FAILED
            run.worst_subtest = max(run.worst_subtest, outcome, key=badness)
            run.harness_problem = run.harness_problem or (str(report.longrepr) if by_harness else "")
        return
    if run.worst_subtest is Outcome.ERROR and report.when == "call" and report.passed:
        # pytest would report a failed test with a failed subtest, although the product is not the cause.
        report.outcome, report.longrepr = "failed", run.harness_problem
        count_as_error(report)
    if report.skipped and error is not None:
        run.cause = ending.cause
    _note_outcome(run, report)
    if report.skipped and (run.cause is not None or run.outcome is Outcome.NO_ACTOR):
        path, line, _ = item.location
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.longrepr = (str(item.config.rootpath / path), (line or 0) + 1, reason)


def _correct_report(report: pytest.TestReport, error: BaseException | None, item: pytest.Item) -> None:
    """Separate harness errors from product failures, and replace places in our own files by the place of the item."""
    ending = ending_of(error)
    if ending.by_harness and hasattr(report, "wasxfail"):
        # The mark expects a failure of the product, which was not tested.
        report.outcome = "failed"
        del report.wasxfail
    if not report.failed or error is None:
        return
    if ending.by_harness:
        count_as_error(report)
    if ending.reason:
        report.__dict__[REASON] = ending.reason
    place = getattr(report.longrepr, "reprcrash", None)
    if place is not None and Path(place.path).is_relative_to(_OURS):
        path, line, _ = item.location
        place.path, place.lineno = path, (line or 0) + 1


def _note_outcome(run: ItemRun, report: pytest.TestReport) -> None:
    """Fold a report into the item's outcome; an item has passed only if its teardown passes too."""
    expected_failure = hasattr(report, "wasxfail")
    if report.when == "teardown":
        if run.outcome.establishes and not report.passed:
            skipped = Outcome.XFAILED if expected_failure else Outcome.SKIPPED
            run.outcome = Outcome.ERROR if report.failed else skipped
    elif report.failed:
        run.outcome = Outcome.ERROR if report.when == "setup" else Outcome.FAILED
    elif report.skipped and run.outcome is not Outcome.NO_ACTOR:
        deferred = Outcome.DEFERRED if run.cause is not None else Outcome.SKIPPED
        run.outcome = Outcome.XFAILED if expected_failure else deferred
    elif not run.worst_subtest.establishes:
        run.outcome = run.worst_subtest
    elif report.when == "call":
        run.outcome = Outcome.XPASSED if expected_failure else Outcome.PASSED


def keeper_of(config: pytest.Config) -> SecretKeeper:
    """Return the keeper of this process's secrets. From the first call on, reports are masked with it."""
    if KEEPER not in config.stash:
        settings = config.stash[SETTINGS]
        named = (os.environ.get(name, "") for name in settings.secrets)
        config.stash[KEEPER] = SecretKeeper(filter(None, [*named, *_secrets_of_fleet(settings)]))
        config.pluginmanager.register(ReportMask(config, config.stash[KEEPER]), "dogfood-report-mask")
    return config.stash[KEEPER]


def _secrets_of_fleet(settings: Settings) -> list[str]:
    """Return the passwords of the fleet's database, if one is named: libpq also takes one from PGPASSWORD."""
    url = os.environ.get(FLEET_VARIABLE) or settings.fleet or ""
    found = secrets_in(url) if url else []
    return found or ([os.environ.get("PGPASSWORD", "")] if settings.fleet_run else [])


class ReportMask:
    """The plugin that masks the reports of all items, once some secret is known."""

    def __init__(self, config: pytest.Config, keeper: SecretKeeper) -> None:
        self._config = config
        self._keeper = keeper

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        # A worker masks its reports before it sends them, with all secrets it knows.
        if self._keeper and not hasattr(report, "node"):
            self._hide(report)
            report.user_properties = [
                (self._keeper.mask(str(name)), masked(value, self._keeper.mask))
                for name, value in report.user_properties
            ]
            if hasattr(report, "wasxfail"):
                report.wasxfail = self._keeper.mask(report.wasxfail)
            context: Any = getattr(report, "context", None)  # of a subtest
            if context is not None:
                parts = {one.name: getattr(context, one.name) for one in fields(context)}
                report.__dict__["context"] = replace(context, **masked(parts, self._keeper.mask))
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> Generator[None, object, object]:
        if self._keeper and not hasattr(report, "node"):
            self._hide(report)
        return (yield)

    def _hide(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        report.sections = [(name, self._keeper.mask(text)) for name, text in report.sections]
        if report.longrepr is None or isinstance(report.longrepr, str | tuple):
            report.longrepr = masked(report.longrepr, self._keeper.mask)
            return
        # The parts of a traceback have no public types. xdist sends them as text in lists and dicts.
        carrier = pytest.TestReport("", ("", None, ""), {}, "failed", report.longrepr, "call")
        content = self._config.hook.pytest_report_to_serializable(config=self._config, report=carrier)
        hidden = masked(content["longrepr"], self._keeper.mask)
        if hidden != content["longrepr"]:
            content["longrepr"] = hidden
            restored = self._config.hook.pytest_report_from_serializable(config=self._config, data=content)
            report.longrepr = restored.longrepr


def masked(value: Any, mask: Callable[[str], str]) -> Any:  # noqa: ANN401 - a test may record whatever it likes
    """Mask all texts in a value. A value of another type becomes masked text if its text would show a secret."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {masked(key, mask): masked(one, mask) for key, one in value.items()}
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(masked(one, mask) for one in value)
    shown = str(value)
    hidden = mask(shown)
    return value if hidden == shown else hidden


class ResultRecorder:
    """The plugin that takes results from reports, counts finished items, and reports those that crashed.

    `paths_to_keep` are the directories of failed items, `last_report` is the last report of each item.
    """

    def __init__(
        self, config: pytest.Config, plan: Plan, run: RunDirectory, *, tally: Tally, release: MachineRelease
    ) -> None:
        self._config = config
        self._planned = plan.by_nodeid()
        self._run = run
        self._tally = tally
        self._machine_release = release
        self.last_report: dict[str, pytest.TestReport] = {}
        self.paths_to_keep: set[Path] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        result = result_in(report)
        if result is not None:
            self._tally.add(result)
            self.paths_to_keep.update(Path(path) for path in result.kept.split(":") if path)
            self.last_report[report.nodeid] = report
        elif report.when not in PHASES and report.failed and report.nodeid in self._planned:
            planned = self._planned[report.nodeid]
            worker = worker_of(report)
            cause = Cause(who=planned.id, why=reason_of(Outcome.CRASHED))
            outcome, chain = Outcome.CRASHED, planned.chain
            crash = JourneyResult(id=planned.id, outcome=outcome, chain=chain, worker=worker, cause=cause)
            self._tally.add(crash)
            carry_result(report, planned, crash)
            self.paths_to_keep.update(self._run.states_numbered(planned.number, worker))
            self.finished(report.nodeid)
        yield
        if report.when not in PHASES and report.user_properties:
            # JUnit writes the properties of a crashed item only when it gets a teardown report.
            last = make_report(report.nodeid, report.location, user_properties=report.user_properties)
            last.__dict__["node"] = getattr(report, "node", None)
            self._config.hook.pytest_runtest_logreport(report=last)

    def finished(self, nodeid: str) -> None:
        """Count an item as finished, however it ended, and stop the services that nothing needs any more."""
        try:
            self._machine_release.finished(nodeid)
        except HarnessError as error:
            late = late_error(nodeid, f"harness: {error}", self.last_report.get(nodeid))
            self._config.hook.pytest_runtest_logreport(report=late)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count an item of this process as finished after its last rerun: pytest's own hook ends with each attempt."""
        result = yield
        self.finished(item.nodeid)
        return result
