"""Failures as items of the report: what goes wrong in one place is said there, and the run goes on."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_dogfood.consistency.task_findings import Case
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.hub.checkoutlock import CheckoutLockedError
from pytest_dogfood.hub.errors import HubUsageError, WrongHubError
from pytest_dogfood.hub.findings import Action, Finding, Severity
from pytest_dogfood.hub.projectfile import PROJECT_FILE

OF_ONE_CHECKOUT = (HarnessError, OSError)
"""What one checkout can fail with and another need not."""


class SettingsError(HarnessError):
    """The dogfood.yaml of a checkout is wrong, or names another hub; `cause` says which."""

    def __init__(self, cause: HubUsageError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def of_checkout(repo: str, error: Exception) -> Finding:
    if isinstance(error, SettingsError):
        return _of_settings(repo, error.cause)
    return Finding(
        code="C-31",
        severity=Severity.WARN,
        repo=repo,
        reason="failed",
        message=f"the checkout of '{repo}' could not be looked at to the end: {error}",
        action=Action.HELD,
    )


def _of_settings(repo: str, error: HubUsageError) -> Finding:
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
        action=Action.HELD,
    )


def of_race(finding: Finding, tries: int) -> Finding:
    """Give the item that stands beside a change of the hub which others were always faster than."""
    message = f"DB task '{finding.title}' was changed by others {tries} times meanwhile — left as it is"
    return _beside(finding, "C-34", message, hint="run fix again")


def of_refused_edit(finding: Finding, why: str) -> Finding:
    """Give the item of a task whose status cannot be edited; the others of its file can."""
    message = "writeback failed: the status cannot be changed without changing something else"
    return _beside(finding, "C-33", message, hint=why, reason="refused")


def of_refused_path(case: Case, error: HubUsageError) -> Finding:
    """Give the item of a task of which the hub does not take the place where it was found."""
    message = "the hub does not take the path where the task was found"
    return case.held("C-34", message, str(error), severity=Severity.WARN, reason="refused_by_hub")


def _beside(finding: Finding, code: str, message: str, *, hint: str, reason: str = "") -> Finding:
    """Give an item about the same task that says what came in the way of the other one."""
    return replace(
        finding,
        code=code,
        severity=Severity.WARN,
        reason=reason,
        message=message,
        hint=hint,
        action=Action.HELD,
        fixed=False,
        commit="",
    )
