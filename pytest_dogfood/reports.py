"""Reports that the leading process makes itself, for what no worker could report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from pytest_dogfood.collection.exceptions import INTERRUPTION_MARK
from pytest_dogfood.outcomes import JourneyResult, Outcome

PHASES = {"setup", "call", "teardown"}
"""What reports are of, if they are not of a crash."""


def late_error(nodeid: str, problem: str, last: pytest.TestReport | None) -> pytest.TestReport:
    """Report what went wrong after an item's end as an error in its teardown; `last` is its last report."""
    report = pytest.TestReport(
        nodeid=nodeid or "dogfood",
        location=last.location if last is not None else ("dogfood", None, "release"),
        keywords={},
        outcome="failed",
        longrepr=problem,
        when="teardown",
        user_properties=last.user_properties if last is not None else (),
    )
    result = getattr(last, "dogfood", None)
    if result is not None and result["outcome"] in {Outcome.PASSED, Outcome.XPASSED}:
        report.__dict__["dogfood"] = {**result, "outcome": str(Outcome.ERROR)}
    return report


def closing_report(item: pytest.Item, problem: str, result: JourneyResult) -> pytest.TestReport:
    """Report the end of an item that pytest has not torn down, with what went wrong, if anything did."""
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed" if problem else "passed",
        longrepr=problem or None,
        when="teardown",
    )
    report.__dict__["dogfood"] = result.to_json()
    return report


def last_word_after(crash: pytest.TestReport) -> pytest.TestReport:
    """Give what lets JUnit take up the properties of an item that crashed: it does so at the end of a teardown."""
    report = pytest.TestReport(
        nodeid=crash.nodeid,
        location=crash.location,
        keywords={},
        outcome="passed",
        longrepr=None,
        when="teardown",
        user_properties=crash.user_properties,
    )
    report.__dict__["node"] = getattr(crash, "node", None)
    return report


def reports_of_interrupted(
    nodeid: str, location: tuple[str, int | None, str], before: Sequence[pytest.TestReport], said: str
) -> tuple[pytest.TestReport | None, pytest.TestReport]:
    """Report an item whose process was killed, after the reports that came `before`.

    The second report ends the item. If neither an error nor a failure is known yet, one says what was interrupted: the
    second if the item was being torn down, else the first, which is None otherwise.
    """

    def report(when: Literal["setup", "teardown"], problem: str | None) -> pytest.TestReport:
        made = pytest.TestReport(
            nodeid=nodeid,
            location=location,
            keywords={},
            outcome="failed" if problem else "passed",
            longrepr=problem,
            when=when,
        )
        for known in before[-1:]:
            if hasattr(known, "node"):  # by which JUnit tells items of one name from each other
                made.__dict__["node"] = known.node
        if problem:
            made.__dict__[INTERRUPTION_MARK] = True
        return made

    if any(one.failed for one in before):
        return None, report("teardown", None)
    if any(one.when in {"call", "teardown"} for one in before):
        return None, report("teardown", said)
    return report("setup", said), report("teardown", None)
