"""A run as trace events: that they are what the format asks for, nest on each thread, and flow from what provides."""

from __future__ import annotations

import json
from collections import defaultdict
from random import Random
from typing import Any

import pytest

from pytest_dogfood.journey import Capability, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.run_view import RunView
from pytest_dogfood.report.trace import to_trace
from pytest_dogfood.storage.record import Kind
from tests.support.run_records import done, failed_step, step, viewed
from tests.support.small_graphs import HERE, STEP, journey

Event = dict[str, Any]
MADE = Capability(token=Token("made"), location=HERE, provision=(STEP,))


def events_of(view: RunView) -> list[Event]:
    events: list[Event] = json.loads(to_trace(view))["traceEvents"]
    return events


def slices_by_thread(events: list[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            found[event["tid"]].append(event)
    return found


def assert_sound(events: list[Event]) -> None:
    """Assert what viewers need: whole numbers, slices that nest, flows that begin and end within a slice."""
    by_thread = slices_by_thread(events)
    for slices in by_thread.values():
        around: list[Event] = []
        for one in sorted(slices, key=lambda one: (one["ts"], -one["dur"])):
            assert isinstance(one["ts"], int)
            assert isinstance(one["dur"], int)
            assert min(one["ts"], one["dur"]) >= 0
            while around and end(around[-1]) <= one["ts"]:
                around.pop()
            assert not around or end(one) <= end(around[-1]), (around[-1], one)
            around.append(one)
    flows: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "sf":
            flows[event["id"]].append(event)
            assert any(one["ts"] <= event["ts"] <= end(one) for one in by_thread[event["tid"]])
    for begin, finish in flows.values():
        assert (begin["ph"], finish["ph"], finish["bp"]) == ("s", "f", "e")
        assert begin["ts"] <= finish["ts"]
        assert (begin["name"], begin["cat"]) == (finish["name"], finish["cat"])


def end(one: Event) -> int:
    return int(one["ts"] + one["dur"])


def test_each_worker_is_a_thread_and_the_process_says_what_the_run_came_to() -> None:
    view = viewed([journey("a"), journey("b")], [done("a", lane="gw0"), done("b", lane="gw1")], workers=2)
    events = events_of(view)
    assert [one["args"]["name"] for one in events if one["ph"] == "M"] == ["shop: 2 passed", "gw0", "gw1"]
    assert {one["name"]: one["tid"] for one in events if one["ph"] == "X"} == {"a": 1, "b": 2}
    assert {one["pid"] for one in events} == {1}
    assert_sound(events)


def test_times_are_microseconds_from_the_start_of_the_run() -> None:
    activity = done("a", at=1.5, seconds=2.25, steps=[step(intent="look", at=1.75, seconds=1.5)], attempt=2)
    first, second = (one for one in events_of(viewed([journey("a")], [activity])) if one["ph"] == "X")
    assert (first["name"], first["cat"], first["ts"], first["dur"]) == ("a", "journey", 1_500_000, 2_250_000)
    assert first["args"] == {"outcome": "passed", "attempt": 2}
    assert (second["name"], second["ts"], second["dur"]) == ("step 1: look", 1_750_000, 1_500_000)
    assert second["args"] == {"command": "do it", "exit": 0, "place": "made.journey.yaml:11:9"}


def test_what_was_done_for_a_journey_is_within_it() -> None:
    view = viewed(
        [journey("use", requires="made")],
        [
            done("made", kind=Kind.PROBE, by="use", at=1.5, seconds=0.2),
            done("made", kind=Kind.PROVISION, by="use", at=1, seconds=1, steps=[step(at=1.1, seconds=0.3)]),
            done("use", at=1, seconds=3, steps=[step(at=2, seconds=1)]),
            done("made", kind=Kind.RELEASE, lane="gw1", by="use", at=5, seconds=1),
        ],
        capabilities=[MADE],
    )
    events = events_of(view)
    assert_sound(events)
    times = {one["name"]: (one["tid"], one["ts"], end(one)) for one in events if one["ph"] == "X"}
    assert times["use"] == (2, 1_000_000, 4_000_000)
    assert times["provision of made"] == (2, 1_000_000, 2_000_000)
    assert times["probe of made"] == (2, 1_500_000, 1_700_000)
    assert times["release of made"] == (1, 5_000_000, 6_000_000)


def test_a_token_flows_from_the_journey_that_established_it_to_those_that_need_it() -> None:
    view = viewed(
        [
            journey("build", establishes="built"),
            journey("use", requires="built"),
            journey("other", requires="built"),
        ],
        [
            done("build", lane="gw0", at=0, seconds=1),
            done("use", lane="gw0", at=1.5, seconds=1),
            done("other", lane="gw1", at=2, seconds=1),
        ],
        workers=2,
    )
    events = events_of(view)
    assert_sound(events)
    arrows = [(one["ph"], one["id"], one["tid"], one["ts"]) for one in events if one["ph"] in "sf"]
    assert arrows == [
        ("s", 1, 1, 999_999),
        ("f", 1, 1, 1_500_000),
        ("s", 2, 1, 999_999),
        ("f", 2, 2, 2_000_000),
    ]


def test_a_token_flows_from_where_it_was_provisioned_on_the_same_worker() -> None:
    view = viewed(
        [journey(name, requires="made") for name in ("first", "second", "third")],
        [
            done("made", kind=Kind.PROVISION, by="first", lane="gw0", at=0.1, seconds=0.5),
            done("first", lane="gw0", seconds=1),
            done("made", kind=Kind.PROVISION, by="second", lane="gw1", at=1.1, seconds=0.5),
            done("second", lane="gw1", at=1, seconds=1),
            done("third", lane="gw0", at=2, seconds=1),
        ],
        capabilities=[MADE],
        workers=2,
    )
    events = events_of(view)
    assert_sound(events)
    starts = [(one["tid"], one["ts"]) for one in events if one["ph"] == "s"]
    assert starts == [(1, 599_999), (2, 1_599_999), (1, 599_999)]


def test_what_failed_gives_no_token() -> None:
    view = viewed(
        [journey("build", establishes="built"), journey("use", requires="built")],
        [done("build", Outcome.FAILED, steps=[failed_step()]), done("use", Outcome.DEFERRED, at=1)],
        exit_status=1,
    )
    assert [one for one in events_of(view) if one["ph"] in "sf"] == []


def test_tests_and_what_was_done_for_no_journey_are_slices_as_well() -> None:
    view = viewed(
        [journey("a")],
        [
            done("a"),
            done("test_a.py::test_b", Outcome.FAILED, kind=Kind.TEST, at=2),
            done("web-up", kind=Kind.RELEASE, at=4),
        ],
        exit_status=1,
    )
    names = [one["name"] for one in events_of(view) if one["ph"] == "X"]
    assert names == ["a", "test_a.py::test_b", "release of web-up"]


@pytest.mark.parametrize("seed", range(40))
def test_rounded_times_still_nest(seed: int) -> None:
    """As recorded: one thing after the other on each worker, begun and ended within what is around it, then rounded."""
    dice = Random(seed)  # noqa: S311 - a die, no secret
    activities = []
    journeys = []
    for lane in ("gw0", "gw1"):
        clock = dice.random()
        for number in range(dice.randint(1, 6)):
            name, began = f"{lane}-{number}", clock
            journeys.append(journey(name, requires="made"))
            for kind in dice.choices([Kind.PROBE, Kind.PROVISION, Kind.REPLAY], k=3):
                start = clock = clock + dice.random() / 1000
                clock += dice.random() / 500
                steps = [step(at=round(start, 3), seconds=round(clock - start, 4))]
                seconds = round(clock - start, 4)
                activities.append(
                    done(
                        "made",
                        kind=kind,
                        by=name,
                        lane=lane,
                        at=round(start, 3),
                        seconds=seconds,
                        steps=steps,
                    )
                )
            several = []
            for one in range(1, 4):
                start = clock = clock + dice.random() / 10_000
                clock += dice.random() / 1000
                several.append(step(one, 3, at=round(start, 3), seconds=round(clock - start, 4)))
            took = round(clock - began, 4)
            activities.append(done(name, lane=lane, at=round(began, 3), seconds=took, steps=several))
    assert_sound(events_of(viewed(journeys, activities, capabilities=[MADE], workers=2)))


def test_each_of_ten_thousand_journeys_that_provision_one_token_has_its_flow() -> None:
    size = 10_000
    names = [f"j{number}" for number in range(size)]
    provisions = [
        done("made", kind=Kind.PROVISION, by=name, at=number, seconds=0.5)
        for number, name in enumerate(names)
    ]
    runs = [done(name, at=number, seconds=0.9) for number, name in enumerate(names)]
    view = viewed(
        [journey(name, requires="made") for name in names], [*provisions, *runs], capabilities=[MADE]
    )
    assert sum(one["ph"] == "s" for one in events_of(view)) == size
