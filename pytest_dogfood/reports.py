"""Reports that the leading process makes itself, for what no worker could report."""

from __future__ import annotations

import pytest

from pytest_dogfood.outcomes import Outcome

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
