"""Runs that follow a plan file in which journeys end half-way, or are looked at between their steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.storage.plan_record import PlanRecord, read_plan_record
from pytest_dogfood.storage.record import read_run
from tests.support.live_projects import Live

STOCK = """
    capabilities:
      stocked: {probe: 'test -d "$DOGFOOD_STATE/stock"'}
      counted: {probe: 'test -e "$DOGFOOD_STATE/stock/count"'}
    journeys:
      - id: stock
        establishes: [stocked, counted, told]
        steps:
          - run: echo one >>"$DOGFOOD_ROOT/log"
          - run: mkdir "$DOGFOOD_STATE/stock"
          - run: echo tea >"$DOGFOOD_STATE/stock/tea"
          - run: touch "$DOGFOOD_STATE/stock/count"
        cleanup:
          - run: echo cleaned >>"$DOGFOOD_ROOT/log"
      - {id: look, requires: [stocked], steps: [{run: 'ls "$DOGFOOD_STATE/stock"'}]}
      - {id: sell, requires: [stocked], steps: [{run: 'cat "$DOGFOOD_STATE/stock/tea"'}]}
"""


def follow(live: Live, plan: Mapping[str, Any], *arguments: str, status: int = 0) -> PlanRecord:
    plan = {"result": str(live.path / "result.json"), **plan}
    (live.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = live.run("--dogfood-plan", "plan.json", *arguments)
    assert done.status == status, done.text
    return read_plan_record(live.path / "result.json")


def outcomes(record: PlanRecord) -> dict[str, Outcome]:
    return {one: result.outcome for one, result in read_run(Path(record.run)).results.items()}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_journey_ends_where_the_plan_says_and_what_is_present_there_holds(live: Live, workers: str) -> None:
    live.write("stock.journey.yaml", STOCK)
    record = follow(
        live, {"orders": [["stock", "look", "sell"]], "stops": {"stock": 2}}, "-n", workers, status=1
    )
    assert outcomes(record) == {
        "stock": Outcome.PASSED,
        "look": Outcome.PASSED,
        "sell": Outcome.FAILED,
    }
    (line,) = record.lines
    assert (line.void, line.replayed) == ("", ())
    assert live.lines("log") == ["one", "cleaned"]


def test_what_is_not_present_half_way_is_set_up_for_who_requires_it(live: Live) -> None:
    text = STOCK.replace("id: look, requires: [stocked]", "id: look, requires: [told]")
    live.write("stock.journey.yaml", text.replace("mkdir", "mkdir -p"))
    record = follow(live, {"orders": [["stock", "look"]], "stops": {"stock": 2}})
    assert record.lines[0].replayed == ("stock",)


def test_the_probes_of_what_a_journey_establishes_are_asked_between_its_steps(live: Live) -> None:
    live.write("stock.journey.yaml", STOCK)
    record = follow(live, {"orders": [["stock", "look"]], "probes": True, "steps": True})
    within = [
        (one.entry, one.step, [(answer.token, answer.present) for answer in one.answers])
        for one in record.lines[0].observations
        if one.step
    ]
    assert within == [
        ("stock", 1, [("stocked", False), ("counted", False)]),
        ("stock", 2, [("stocked", True), ("counted", False)]),
        ("stock", 3, [("counted", False)]),
    ]


def test_a_slow_probe_is_asked_once_between_the_steps(live: Live) -> None:
    slow = 'sleep 1.1; echo >>"$DOGFOOD_ROOT/asked"; test -d'
    live.write("stock.journey.yaml", STOCK.replace("'test -d", f"'{slow}"))
    record = follow(live, {"orders": [["stock"]], "steps": True})
    asked = [[answer.token for answer in one.answers] for one in record.lines[0].observations if one.step]
    assert asked == [["stocked", "counted"], ["counted"], ["counted"]]


def test_a_value_saved_in_an_earlier_step_is_known_to_the_probe(live: Live) -> None:
    live.write(
        "made.journey.yaml",
        """
        capabilities:
          made: {probe: 'test -e "$DOGFOOD_MADE_NAME"'}
        journeys:
          - id: make
            establishes: [made]
            steps:
              - run: touch "$DOGFOOD_STATE/x"
              - {run: 'echo "$DOGFOOD_STATE/x"', save: {name: {stdout: .+}}}
              - run: 'true'
          - {id: use, requires: [made], steps: [{run: 'cat "$DOGFOOD_MADE_NAME"'}]}
        """,
    )
    record = follow(live, {"orders": [["make", "use"]], "steps": True})
    within = [(one.step, [answer.present for answer in one.answers]) for one in record.lines[0].observations]
    assert within == [(1, []), (2, [True])]
    stopped = follow(live, {"orders": [["make", "use"]], "stops": {"make": 2}})
    assert (stopped.lines[0].replayed, outcomes(stopped)["use"]) == ((), Outcome.PASSED)
