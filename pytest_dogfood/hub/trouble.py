"""Failures as items of the report: what goes wrong in one place is said there, and the run goes on."""

from __future__ import annotations

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.hub.checkoutlock import CheckoutLockedError
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.errors import WrongHubError
from pytest_dogfood.hub.findings import Action
from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.findings import Severity
from pytest_dogfood.hub.locating import PROJECT_FILE
from pytest_dogfood.hub.matching import Pair

OF_ONE_CHECKOUT = (HarnessError, OSError)
"""What one checkout can fail with and another need not."""


def of_checkout(repo: str, error: Exception) -> Finding:
    return Finding(
        code="C-31",
        severity=Severity.WARN,
        repo=repo,
        reason="failed",
        message=f"the checkout of '{repo}' could not be looked at to the end: {error}",
        action=Action.HELD,
    )


def of_settings(repo: str, error: HubUsageError) -> Finding:
    """Give the item of a repository whose dogfood.yaml is wrong, or names another hub."""
    wrong_hub = isinstance(error, WrongHubError)
    return Finding(
        code="C-26" if wrong_hub else "C-27",
        severity=Severity.FAIL,
        repo=repo,
        path=PROJECT_FILE,
        reason="wrong_hub" if wrong_hub else "settings",
        message=str(error),
        hint="nothing of this repository is looked at until this is right",
        action=Action.HELD,
    )


def of_file(repo: str, path: str, error: HarnessError, *, fixing: bool) -> Finding:
    return Finding(
        code="C-33",
        severity=Severity.WARN if fixing else Severity.INFO,
        repo=repo,
        path=path,
        reason="unreadable",
        message="git cannot judge the workplan — skipping writeback",
        hint=str(error),
        action=Action.HELD,
    )


def of_lock(repo: str, error: HarnessError) -> Finding:
    held = isinstance(error, CheckoutLockedError)
    return Finding(
        code="C-36",
        severity=Severity.WARN,
        repo=repo,
        reason="locked" if held else "no_lock",
        message=f"'{repo}' is skipped: {error}",
        hint="run fix again, or wait longer: --lock-timeout SECONDS" if held else "",
        action=Action.HELD,
    )


def of_race(finding: Finding, tries: int) -> Finding:
    """Give the item that stands beside a change of the hub which others were always faster than."""
    return Finding(
        code="C-34",
        severity=Severity.WARN,
        repo=finding.repo,
        path=finding.path,
        line=finding.line,
        task_id=finding.task_id,
        hub_id=finding.hub_id,
        title=finding.title,
        db_status=finding.db_status,
        file_status=finding.file_status,
        message=f"DB task '{finding.title}' was changed by others {tries} times meanwhile — left as it is",
        hint="run fix again",
        action=Action.HELD,
    )


def of_refused_edit(finding: Finding, why: str) -> Finding:
    """Give the item of a task whose status cannot be edited; the others of its file can."""
    return Finding(
        code="C-33",
        severity=Severity.WARN,
        repo=finding.repo,
        path=finding.path,
        line=finding.line,
        task_id=finding.task_id,
        hub_id=finding.hub_id,
        title=finding.title,
        db_status=finding.db_status,
        file_status=finding.file_status,
        reason="refused",
        message="writeback failed: the status cannot be changed without changing something else",
        hint=why,
        action=Action.HELD,
    )


def of_refused_path(pair: Pair, error: HubUsageError) -> Finding:
    """Give the item of a task of which the hub does not take the place where it was found."""
    hub, block = pair.hub, pair.block
    return Finding(
        code="C-34",
        severity=Severity.WARN,
        repo=hub.repo if hub is not None else "",
        path=block.path if block is not None else "",
        line=block.line if block is not None else 0,
        task_id=hub.task_id if hub is not None else "",
        hub_id=hub.id if hub is not None else "",
        reason="refused_by_hub",
        message="the hub does not take the path where the task was found",
        hint=str(error),
        action=Action.HELD,
    )
