from __future__ import annotations

import pytest

from pytest_dogfood.fleet.board import Machine, MachineState
from pytest_dogfood.fleet.membership import HUNG_AFTER, Membership, pause_before_retry


def machines(red: int, green: int, state: MachineState = MachineState.HERE) -> tuple[Machine, ...]:
    return (Machine(name="red", beats=red), Machine(name="green", beats=green, state=state))


def test_a_machine_is_lost_that_was_seen_unchanged_for_a_whole_lease() -> None:
    here = Membership("red", 30, joined=0)
    assert here.beat(machines(1, 7), sent=0, now=1) == ()
    for second in range(5, 31, 5):
        assert here.beat(machines(2, 7), sent=second, now=second + 0.1) == ()
    assert here.beat(machines(3, 7), sent=31, now=31.1) == (Machine(name="green", beats=7),)
    assert here.beat(machines(3, 8), sent=36, now=36.1) == ()


def test_a_slow_answer_does_not_count_as_time_that_the_other_was_silent() -> None:
    here = Membership("red", 30, joined=0)
    assert here.beat(machines(1, 7), sent=0, now=9) == ()
    for second in range(10, 36, 5):
        assert here.beat(machines(1, 7), sent=second, now=second) == ()
    # Asked at 38, answered at 45: the counter may have been read at 38, which is 29 seconds after 9.
    assert here.beat(machines(1, 7), sent=38, now=45) == ()


def test_after_a_gap_of_its_own_a_machine_watches_the_others_anew() -> None:
    here = Membership("red", 30, joined=0)
    here.beat(machines(1, 7), sent=0, now=0)
    assert here.beat(machines(2, 7), sent=40, now=40) == ()
    for second in range(45, 70, 5):
        assert here.beat(machines(2, 7), sent=second, now=second) == ()
    assert [one.name for one in here.beat(machines(2, 7), sent=70, now=70)] == ["green"]


@pytest.mark.parametrize("state", [MachineState.LEFT, MachineState.LOST])
def test_a_machine_that_is_not_part_of_the_run_is_not_declared_lost(state: MachineState) -> None:
    here = Membership("red", 30, joined=0)
    for second in range(0, 65, 5):
        assert here.beat(machines(second, 7, state), sent=second, now=second) == ()
    assert here.live_others == ()


def test_a_machine_fences_itself_two_thirds_of_a_lease_after_it_sent_its_last_beat() -> None:
    here = Membership("red", 30, joined=100)
    assert not here.is_fenced(119.9)
    here.beat(machines(1, 7), sent=110, now=118)
    assert here.fence_at == 130
    assert not here.is_fenced(129.9)
    assert here.why_fenced == ""
    assert here.is_fenced(130)
    here.beat(machines(1, 7), sent=131, now=131)
    assert here.is_fenced(131)
    assert here.why_fenced == "lost touch with the fleet for 20 s; what ended here since is not counted"


def test_a_machine_that_the_board_counts_as_lost_is_fenced() -> None:
    here = Membership("red", 30, joined=0)
    here.lose()
    assert here.is_fenced(1)
    assert here.why_fenced.startswith("the fleet counts this machine as lost")


def test_a_machine_is_fenced_before_another_one_may_declare_it_lost() -> None:
    """Whatever the others see, and whenever its last beat was written."""
    lost, other = Membership("red", 30, joined=0), Membership("green", 30, joined=0)
    lost.beat(machines(1, 1), sent=10, now=19)
    declared = None
    for second in range(10, 60, 5):  # the beat is written at once, and seen by the other at once
        if other.beat(machines(1, second), sent=second, now=second) and declared is None:
            declared = second
    assert declared == 40
    assert lost.is_fenced(declared - lost.lease / 3)


def test_a_controller_that_hangs_gives_no_sign_of_life() -> None:
    here = Membership("red", 30, joined=0)
    assert here.may_beat(59, loop_answered=0)
    assert not here.may_beat(HUNG_AFTER, loop_answered=0)
    assert here.beat_every == 5


def test_calls_are_repeated_at_growing_intervals() -> None:
    assert [pause_before_retry(failures) for failures in range(1, 7)] == [0.2, 0.5, 1, 2, 2, 2]
