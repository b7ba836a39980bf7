"""What an item came to, by pytest's reports of it, which are put right where pytest cannot know better."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.collection.exceptions import cause_of, is_interruption, is_of_the_harness, why_of
from pytest_dogfood.outcomes import INTERRUPTED, Cause, Outcome, badness
from pytest_dogfood.session.item_run import Turn

_OURS = Path(__file__).parent


def reckon(turn: Turn, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Fold a report into the turn, once it says what it should."""
    error = _what_ended(turn, call, report)
    if hasattr(report, "wasxfail") and error is not None and is_of_the_harness(error):
        # The mark expects a failure of the product, which nothing has looked at.
        report.outcome = "failed"
        del report.wasxfail
    if report.failed and error is not None:
        _call_by_its_name(report, error)
        _point_at_the_item(report, item)
    if is_interruption(error):
        turn.cause = Cause(who=turn.journey.id, why=INTERRUPTED)
    elif report.failed and (why := why_of(error)):
        turn.cause = Cause(who=turn.journey.id, why=why)
    if turn.calling:
        # A subtest's: the report of the item itself is still to come, and says nothing of it.
        _note_part(turn, report)
        return
    if turn.parts is Outcome.ERROR and report.when == "call" and report.passed:
        # pytest would call it a failed test that contains a failed subtest, and the product is not to blame.
        report.outcome, report.when, report.longrepr = "failed", "setup", turn.harness_problem
    if report.skipped and error is not None:
        turn.cause = cause_of(error)
    _note_outcome(turn, report)
    if report.skipped and (turn.cause is not None or turn.outcome is Outcome.NO_ACTOR):
        path, line, _ = item.location
        report.longrepr = (str(item.config.rootpath / path), (line or 0) + 1, _reason(report))


def _what_ended(turn: Turn, call: pytest.CallInfo[None], report: pytest.TestReport) -> BaseException | None:
    """Give what was raised; where a plugin retries within a report, `call` is of the first try, so a refusal counts."""
    if report.when == "call" and turn.refusal is not None:
        return turn.refusal
    return call.excinfo.value if call.excinfo is not None else None


def _call_by_its_name(report: pytest.TestReport, error: BaseException) -> None:
    """Report a harness error met during the call as an error, for it says nothing of the product."""
    if is_of_the_harness(error) and report.when == "call":
        report.when = "setup"


def _point_at_the_item(report: pytest.TestReport, item: pytest.Item) -> None:
    """Let a failure that we have worded stand where the item stands, not at the line of ours that raised it."""
    place = getattr(report.longrepr, "reprcrash", None)
    if place is not None and Path(place.path).parent == _OURS:
        path, line, _ = item.location
        place.path, place.lineno = path, (line or 0) + 1


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _note_part(turn: Turn, report: pytest.TestReport) -> None:
    if report.failed:
        harness = report.when == "setup"
        turn.parts = max(turn.parts, Outcome.ERROR if harness else Outcome.FAILED, key=badness)
        turn.harness_problem = turn.harness_problem or (str(report.longrepr) if harness else "")


def _note_outcome(turn: Turn, report: pytest.TestReport) -> None:
    """Fold a report into the item's outcome; only what passes in its teardown too has passed."""
    expected_failure = hasattr(report, "wasxfail")
    if report.when == "teardown":
        if turn.outcome.establishes and not report.passed:
            skipped = Outcome.XFAILED if expected_failure else Outcome.SKIPPED
            turn.outcome = Outcome.ERROR if report.failed else skipped
    elif report.failed:
        turn.outcome = Outcome.ERROR if report.when == "setup" else Outcome.FAILED
    elif report.skipped and turn.outcome is not Outcome.NO_ACTOR:
        deferred = Outcome.DEFERRED if turn.cause is not None else Outcome.SKIPPED
        turn.outcome = Outcome.XFAILED if expected_failure else deferred
    elif not turn.parts.establishes:
        turn.outcome = turn.parts
    elif report.when == "call":
        turn.outcome = Outcome.XPASSED if expected_failure else Outcome.PASSED
