"""Signals are answered from the first item to the end of the run, unless something else answers them or nothing may."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from threading import Thread
from types import FrameType

import pytest

from pytest_dogfood.execution.interruption import CLEANUP_SECONDS, Interrupted, Interruption, SignalHandlers


def answer(number: int, frame: FrameType | None) -> None:
    """Stand for an answer to a signal."""


def other(number: int, frame: FrameType | None) -> None:
    """Stand for the answer of a conftest file."""


@pytest.fixture
def handlers() -> Iterator[SignalHandlers]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield SignalHandlers(answer)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_answered_until_it_is_given_back(
    handlers: SignalHandlers, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    handlers.install()
    assert signal.getsignal(number) is answer
    handlers.restore()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("left", [signal.SIG_IGN, other])
def test_a_signal_that_is_ignored_or_answered_elsewhere_is_left_alone(
    handlers: SignalHandlers, left: signal.Handlers
) -> None:
    signal.signal(signal.SIGTERM, left)
    handlers.install()
    assert signal.getsignal(signal.SIGTERM) is left
    handlers.restore()
    assert signal.getsignal(signal.SIGTERM) is left


def test_nothing_is_answered_where_pytest_does_not_run_in_the_main_thread(handlers: SignalHandlers) -> None:
    thread = Thread(target=handlers.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_a_run_gives_the_signals_back(pytester: pytest.Pytester) -> None:
    pytester.makefile(".journey.yaml", a="steps: [{run: 'true'}]")
    pytester.runpytest_inprocess("--dogfood", "-p", "no:randomly").assert_outcomes(passed=1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_comes_while_another_is_answered_takes_nothing_away() -> None:
    interruption = Interruption()
    interruption.callbacks.append(lambda: interruption.note_signal(signal.SIGTERM))
    with interruption.operation("item"), interruption.interruptible(), pytest.raises(Interrupted):
        interruption.note_signal(signal.SIGINT)
    assert interruption.report.startswith("interrupted by SIGINT after 0.0 s: item: running")


def test_an_interruption_that_is_on_its_way_is_not_raised_a_second_time_and_one_that_was_swallowed_is() -> (
    None
):
    interruption = Interruption()
    with interruption.operation("item"), interruption.interruptible():
        try:
            interruption.note_signal(signal.SIGINT)
        except Interrupted:
            interruption.note_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            interruption.note_signal(signal.SIGINT)


def test_a_signal_ends_nothing_that_cannot_be_interrupted_and_leaves_it_little_time() -> None:
    interruption = Interruption()
    with (
        interruption.operation("item"),
        interruption.interruptible(),
        interruption.interruptible(by_first=False),
    ):
        interruption.note_signal(signal.SIGINT)
        left = interruption.seconds_left(began=0)
        assert left is not None
        assert 0 < left <= CLEANUP_SECONDS


def test_a_second_signal_leaves_no_time() -> None:
    interruption = Interruption()
    interruption.note_signal(signal.SIGINT)
    interruption.abandoned = True
    assert interruption.seconds_left(began=0) == 0
