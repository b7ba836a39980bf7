"""One run on several machines, in virtual time: whatever goes wrong, it comes to what it would on one machine.

The real queue, units, turns, membership and rules for tokens; tests/campaigns/fleet_histories.py plays more histories.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, Journey, Scope, Step, Token
from tests.support.fleet_controls import CONTROLS
from tests.support.fleet_simulation import AS_THEY_ARE, LEASE, History, Rules
from tests.support.fleet_stories import Fault, Story, random_story
from tests.support.strategies import ANYWHERE, Scene, new_journey

HISTORIES = int(os.environ.get("DOGFOOD_TEST_EXAMPLES", "600")) // 8
"""How many random histories are played here."""

NOTICED_BY = {
    "an end counts in any attempt": 4,
    "no fencing": 0,
    "wall clocks": 8,
    "nothing is taken back": 8,
    "a lost machine may take": 34,
    "the last to leave looks before it leaves": 83,
    "a late request holds a token": 59,
    "a dead worker gets a token": 30,
    "a lost machine keeps its tokens": 23,
    "a broken machine waits for others that are broken": 3,
    "what a lost answer gave is not held": 7,
}
"""For each rule, a seed from which on it shows soon if the rule is broken."""

SOON = 60


@pytest.mark.parametrize("first", range(0, HISTORIES, 15))
def test_whatever_goes_wrong_a_run_on_several_machines_comes_to_what_it_would_on_one(first: int) -> None:
    for seed in range(first, min(first + 15, HISTORIES)):
        assert History(random_story(seed), seed=seed).play().violations == [], seed


@pytest.mark.parametrize("rule", CONTROLS)
def test_each_rule_is_needed(rule: str) -> None:
    control = CONTROLS[rule]
    for seed in range(NOTICED_BY[rule], NOTICED_BY[rule] + SOON):
        if History(control.story(seed), seed=seed, rules=control.rules).play().violations:
            assert History(control.story(seed), seed=seed).play().violations == []
            return
    pytest.fail("nobody has noticed that the rule is broken")


# Figures


def played(
    journeys: int,
    *,
    token: Capability | None = None,
    after_first: bool = False,
    seconds: float = 1.0,
    rules: Rules = AS_THEY_ARE,
    **story: object,
) -> History:
    """Play journeys, of which all may need a token or the first one, each of a chain of its own."""
    shared = Capability(token=Token("first"), location=ANYWHERE, scope=Scope.MACHINE)
    made: list[Journey] = []
    for number in range(journeys):
        journey = new_journey(f"j{number}", line=number + 1)
        if after_first and number:
            journey = replace(journey, requires={shared.token: ANYWHERE})
        elif after_first:
            journey = replace(journey, establishes={shared.token: ANYWHERE})
        elif token is not None:
            journey = replace(journey, requires={token.token: ANYWHERE})
        made.append(journey)
    capabilities = (token,) if token is not None else (shared,)
    scene = Scene(journeys=tuple(made), capabilities=capabilities, failing=frozenset())
    whole = Story(scene=scene, selected=tuple(scene.ids))
    history = History(replace(whole, **story), seed=1, rules=rules)
    history.seconds = [seconds if after_first or token else one * 10 * seconds for one in uneven(journeys)]
    history.play()
    assert history.violations == []
    return history


def uneven(count: int) -> list[float]:
    """Return numbers between 0 and 1 that follow no order."""
    return [(number * 0.618034) % 1 for number in range(count)]


def provided(name: str, scope: Scope = Scope.MACHINE) -> Capability:
    step = Step(location=ANYWHERE, run="true")
    return Capability(token=Token(name), location=ANYWHERE, scope=scope, probe=step, provision=(step,))


def test_machines_are_busy_to_the_end_though_no_durations_are_known() -> None:
    history = played(150, workers=(2, 2, 2), begins=(0.0,) * 3, broken=(frozenset(),) * 3)
    busy: dict[str, float] = defaultdict(float)
    for nodeid, index in history.places.items():
        busy[history.begun_at[nodeid][0][1]] += history.seconds[index]
    assert max(busy.values()) / (sum(busy.values()) / 3) <= 1.10
    assert max(history.ended_at.values()) <= 1.10 * sum(history.seconds) / 6


def test_what_waits_for_an_item_begins_on_other_machines_soon_after_its_end() -> None:
    history = played(9, after_first=True, workers=(3, 3, 3), begins=(0.0,) * 3, broken=(frozenset(),) * 3)
    first, *others = history.ids
    waits = [history.begun_at[nodeid][0][0] - history.ended_at[first] for nodeid in others]
    assert {history.begun_at[nodeid][0][1] for nodeid in others} == {"m0", "m1", "m2"}
    assert max(waits) <= 0.75


def test_what_a_lost_machine_ran_is_taken_over_within_a_lease_and_six_seconds() -> None:
    killed = 3.0
    history = played(
        2,
        seconds=4.0,
        workers=(1, 1, 1),
        begins=(0.0,) * 3,
        broken=(frozenset(),) * 3,
        faults=(Fault("kill", 0, killed), Fault("kill", 1, killed)),
    )
    begun = [time for begins in history.begun_at.values() for time, machine in begins if machine == "m2"]
    assert begun
    assert max(begun) - killed <= LEASE + 6 + sum(history.seconds)
    assert min(time for time in begun if time > killed) - killed <= LEASE + 6


def test_a_broken_machine_does_not_empty_the_queue() -> None:
    image = provided("image-built")
    history = played(
        100,
        token=image,
        workers=(2,) * 4,
        begins=(0.0,) * 4,
        broken=(frozenset({image.token}), frozenset(), frozenset(), frozenset()),
    )
    outcomes = Counter((end.machine, end.outcome) for end in history.run.ends.values())
    assert outcomes["m0", "error"] <= 2
    assert sum(number for (_, outcome), number in outcomes.items() if outcome == "passed") >= 98


@pytest.mark.parametrize("under_the_hold", [False, True])
def test_a_probe_is_asked_by_all_at_the_same_time(*, under_the_hold: bool) -> None:
    staging = provided("staging-up")
    history = played(
        40,
        token=staging,
        seconds=0.2,
        workers=(4, 4),
        begins=(0.0, 0.0),
        broken=(frozenset(),) * 2,
        fleet_tokens=frozenset({staging.token}),
        there_before=frozenset({staging.token}),
        probe_seconds=0.2,
        rules=Rules(probes_under_the_hold=under_the_hold),
    )
    ideal = 5 * (0.2 + 0.2)
    ratio = max(history.ended_at.values()) / ideal
    assert ratio > 3 if under_the_hold else ratio <= 1.2, ratio
