"""What a first signal meets is named and cleaned up, wherever it was, and what the machine shares is released last."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC
from tests.support.interruptions import Ended, Interruptions
from tests.support.live_projects import Live

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")


class Case(NamedTuple):
    """One interruption, what of it is to be named, and what is to be cleaned up before the machine's release."""

    place: str
    workers: str
    number: signal.Signals
    group: bool
    named: str
    said: str
    cleaned: tuple[str, ...]


CASES = (
    Case(
        "in-step",
        "-n0",
        signal.SIGTERM,
        False,
        "in-step: step 2 (walk)",
        "walking",
        ("cleaned in-step 9", "released chain-wide"),
    ),
    Case(
        "in-step",
        "-n2",
        signal.SIGINT,
        True,
        "in-step: step 2 (walk)",
        "walking",
        ("cleaned in-step 9", "released chain-wide", "cleaned beside"),
    ),
    Case(
        "in-provision",
        "-n0",
        signal.SIGINT,
        True,
        "in-provision: provision of built, step 2 (build slowly)",
        "building",
        ("released incomplete built 7",),
    ),
    Case(
        "in-provision",
        "-n2",
        signal.SIGHUP,
        False,
        "in-provision: provision of built, step 2 (build slowly)",
        "building",
        ("released incomplete built 7", "cleaned beside"),
    ),
    Case(
        "in-replay",
        "-n2",
        signal.SIGTERM,
        True,
        "in-replay: replay of makes, step 1",
        "making",
        ("cleaned makes", "cleaned beside"),
    ),
    Case(
        "in-fixture",
        "-n2",
        signal.SIGINT,
        False,
        "in-fixture: running",
        "conftest.py:",
        ("cleaned slow", "cleaned in-fixture", "cleaned beside"),
    ),
    Case("test_sleeps", "-n0", signal.SIGHUP, True, "test_sleeps: running", "test_it.py:", ()),
)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.place}{case.workers}")
def interrupted(
    request: pytest.FixtureRequest, new_live: Callable[[], Live]
) -> tuple[Case, Ended, Interruptions]:
    case: Case = request.param
    runs = Interruptions(new_live())
    ended = runs.interrupt(case.place, case.workers, number=case.number, group=case.group)
    return case, ended, runs


def test_the_exit_status_is_that_of_an_interruption(interrupted: tuple[Case, Ended, Interruptions]) -> None:
    _, ended, _ = interrupted
    assert ended.status == pytest.ExitCode.INTERRUPTED, ended.text


def test_what_was_running_is_an_error_that_names_item_step_seconds_and_last_output(
    interrupted: tuple[Case, Ended, Interruptions],
) -> None:
    case, ended, _ = interrupted
    assert f"interrupted by {case.number.name} after " in ended.told[case.place]
    assert f" s: {case.named}" in ended.told[case.place]
    assert case.said in ended.told[case.place]


def test_what_was_saved_is_known_and_everything_is_cleaned_up_before_what_the_machine_shares_is_released_once(
    interrupted: tuple[Case, Ended, Interruptions],
) -> None:
    case, ended, _ = interrupted
    *before, last = ended.log
    assert sorted(before) == sorted(case.cleaned), ended.text
    assert last == "released machine-wide"


def test_what_was_interrupted_is_run_again_by_lf(interrupted: tuple[Case, Ended, Interruptions]) -> None:
    case, ended, _ = interrupted
    assert case.place in [nodeid.partition("::")[2] for nodeid in ended.last_failed]


def test_nothing_of_an_interrupted_run_goes_on_or_stays_on_disk(
    interrupted: tuple[Case, Ended, Interruptions],
) -> None:
    _, _, runs = interrupted
    assert (runs.live.running(), runs.live.run_directories()) == ([], [])


def test_what_was_interrupted_is_shown_under_what_it_was_in_and_summed_up_by_what_was_running(
    interrupted: tuple[Case, Ended, Interruptions],
) -> None:
    case, ended, _ = interrupted
    phase = "call" if case.place in {"in-step", "test_sleeps"} else "setup"
    assert f" ERROR at {phase} of {case.place} " in ended.text
    running = re.escape(case.said) if case.said.endswith(":") else ".*sleep 60"
    reason = rf"^ERROR \S+::{case.place} - interrupted by {case.number.name} after [0-9.]+ s: {running}"
    assert re.search(reason, ended.text, re.MULTILINE), ended.text


def test_what_did_not_run_is_counted_as_that_and_listed_once(
    interrupted: tuple[Case, Ended, Interruptions],
) -> None:
    _, ended, _ = interrupted
    assert "unaccounted" not in ended.text
    assert "did not run to the end" not in ended.text


def test_an_interruption_is_no_error_of_the_harness(interrupted: tuple[Case, Ended, Interruptions]) -> None:
    case, ended, _ = interrupted
    assert "harness errors" not in ended.text
    assert f"\ninterrupted by {case.number.name}: " in ended.text
