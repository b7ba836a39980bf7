"""The exceptions that end an item, pytest's and ours."""

from __future__ import annotations

import re
import types
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:  # the barrier loads this in every worker, and it must stay light
    from pathlib import Path

    from pytest_dogfood.diagnostics import HarnessError
    from pytest_dogfood.journey import Token
    from pytest_dogfood.outcomes import Cause

OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception)
"""Failed and skipped: they derive from BaseException, so `except Exception` does not catch them."""


def has_failed_in_unittest(item: pytest.Item) -> bool:
    """Return whether the call of a unittest test has failed or was skipped: it raises nothing then.

    pytest keeps exceptions that unittest caught in a private attribute of the item; a test notices if that changes.
    """
    return bool(getattr(item, "_excinfo", None))


def was_stopped(session: pytest.Session) -> bool:
    """Return whether a session ended before everything had run, for instance by -x, Ctrl-C or another plugin."""
    interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
    return interrupted or bool(session.shouldstop or session.shouldfail)


def tear_down_to(session: pytest.Session, nextitem: pytest.Item | None) -> None:
    """Tear down every fixture and collector that `nextitem` does not need; None needs nothing."""
    # The one private call of this project. The public hook, pytest_runtest_teardown, has wrappers of plugins that need
    # state from the item's setup, which is gone: they would fail. The barrier's tests notice if the call changes.
    session._setupstate.teardown_exact(nextitem)  # noqa: SLF001


INTERRUPTION_MARK = "dogfood_interrupted"
"""Attribute of the report of an item that a signal ended."""


class Ending(NamedTuple):
    """The facts that an exception of this plugin carries on the item that it ends; empty for other exceptions."""

    cause: Cause | None = None
    """The root cause of a deferral."""
    reason: str = ""
    """The reason of a failure, in a few words for the short summary."""
    by_harness: bool = False
    by_signal: bool = False
    why: str = ""
    """The reason that dependents of the item report, after a harness error."""


_NOT_OURS = Ending()
_ENDING = "dogfood_ending"


def ending_of(error: object) -> Ending:
    ending: Ending = getattr(error, _ENDING, _NOT_OURS)
    return ending


def deferral(cause: Cause, token: Token | None = None) -> BaseException:
    """Make the exception that skips an item as deferred, naming the missing token if there is one.

    A fixture may raise it again for each item that uses it.
    """
    why = str(cause) if token in {None, cause.who} else f"{token!r} was not established, because {cause}"
    skipped = pytest.skip.Exception(f"deferred: {why}")
    setattr(skipped, _ENDING, Ending(cause=cause))
    return skipped


def failure(text: str, ending: Ending) -> BaseException:
    """Make the exception that ends an item as failed, without a traceback."""
    failed = pytest.fail.Exception(text, pytrace=False)
    setattr(failed, _ENDING, ending)
    return failed


def harness_failure(error: HarnessError, text: str = "") -> BaseException:
    """Make the exception that ends an item with an error of the harness; `text` may say more than the error."""
    first = str(error).partition("\n")[0]
    ending = Ending(reason=f"harness: {first}", by_harness=True, why=error.why)
    return failure(f"harness: {text or error}", ending)


def interruption_of(report: str) -> BaseException:
    """Make the exception that ends an item when a signal comes; `report` describes the interrupted operation."""
    reason = reason_of_interruption(report)
    return failure(report, Ending(reason=reason, by_harness=True, by_signal=True))


def reason_of_interruption(report: str) -> str:
    """Return on one line what a signal interrupted: the last command, or place in Python, that the report names."""
    first, _, described = report.partition("\n  --- ")[0].partition("\n")
    told = re.findall(r"^  (?:at|command|running): +(.*)", described, re.MULTILINE)
    return f"{first.partition(': ')[0]}: {told[-1]}" if told else first


def raised_at(
    error: BaseException, file: Path, line: int, name: str, *, workdir: Path | None, state: Path
) -> pytest.ExceptionInfo[BaseException]:
    """Return the error as if a line of the file had raised it: debuggers show that line and the two paths."""
    code = _raise.__code__.replace(
        co_filename=str(file), co_firstlineno=line - 1, co_name=name, co_qualname=name
    )
    with suppress(BaseException):
        types.FunctionType(code, {})(error.with_traceback(None), workdir, state)
    there = error.__traceback__
    return pytest.ExceptionInfo.from_exception(error.with_traceback(there and there.tb_next))


def _raise(error: BaseException, workdir: Path | None, state: Path) -> None:  # noqa: ARG001 - debuggers show them
    raise error
