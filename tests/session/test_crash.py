"""A worker that is killed costs the journey it ran, and nothing else is lost, hung or green."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

DIE = "kill -9 $PPID; sleep 300"
LOG = 'echo "$DOGFOOD_JOURNEY $DOGFOOD_WORKER $DOGFOOD_STATE" >>"$DOGFOOD_ROOT/log"'

CHAINS = f"""
    capabilities:
      first: {{probe: test -f "$DOGFOOD_STATE/first"}}
      left: {{probe: test -f "$DOGFOOD_STATE/left"}}
      independent:
        requires: [left]
        probe: test -f "$DOGFOOD_STATE/independent"
        provision: [{{run: test -f "$DOGFOOD_STATE/left" && touch "$DOGFOOD_STATE/independent"}}]
      by-steps:
        probe: test -f "$DOGFOOD_STATE/by-steps"
        provision:
          - run: |
              echo tried >>"$DOGFOOD_ROOT/by-steps"
              [ "$(wc -l <"$DOGFOOD_ROOT/by-steps")" -gt 1 ] || {{ {DIE}; }}
              touch "$DOGFOOD_STATE/by-steps"
      asked:
        probe: |
          echo asked >>"$DOGFOOD_ROOT/asked"
          [ "$(wc -l <"$DOGFOOD_ROOT/asked")" -gt 1 ] || {{ {DIE}; }}
          test -f "$DOGFOOD_STATE/asked"
      served:
        scope: machine
        probe: test -f "$DOGFOOD_SHARED/served"
        service:
          run: |
            echo started >>"$DOGFOOD_ROOT/served"
            [ "$(wc -l <"$DOGFOOD_ROOT/served")" -gt 1 ] || {{ {DIE}; }}
            touch "$DOGFOOD_SHARED/served"
            exec sleep 300
      given-back:
        provision: [{{run: "true"}}]
        release:
          - run: echo released >>"$DOGFOOD_ROOT/released"; {DIE}
    journeys:
      - {{id: first-1, establishes: [first], steps: [{{run: '{LOG}; {DIE}'}}]}}
      - {{id: first-2, requires: [first], establishes: [second], steps: [{{run: '{LOG}'}}]}}
      - {{id: first-3, requires: [second], steps: [{{run: '{LOG}'}}]}}

      - {{id: middle-1, establishes: [left], steps: [{{run: '{LOG}; touch "$DOGFOOD_STATE/left"'}}]}}
      - {{id: middle-2, requires: [left], establishes: [lost], steps: [{{run: '{LOG}; {DIE}'}}]}}
      - {{id: middle-3, requires: [left], steps: [{{run: '{LOG}; test -f "$DOGFOOD_STATE/left"'}}]}}
      - {{id: middle-4, requires: [left, independent], steps: [{{run: '{LOG}; test -f "$DOGFOOD_STATE/independent"'}}]}}
      - {{id: middle-5, requires: [lost], steps: [{{run: '{LOG}'}}]}}

      - {{id: last-1, establishes: [begun], steps: [{{run: '{LOG}'}}]}}
      - {{id: last-2, requires: [begun], steps: [{{run: '{LOG}'}}, {{run: '{DIE}'}}]}}

      - {{id: provision-1, requires: [by-steps], steps: [{{run: '{LOG}'}}]}}
      - {{id: provision-2, requires: [by-steps], steps: [{{run: '{LOG}; test -f "$DOGFOOD_STATE/by-steps"'}}]}}

      - {{id: probe-1, establishes: [asked], steps: [{{run: '{LOG}; touch "$DOGFOOD_STATE/asked"'}}]}}
      - {{id: probe-2, requires: [asked], steps: [{{run: '{LOG}'}}]}}

      - id: replay-1
        establishes: [replayed]
        steps: [{{run: '{LOG}; [ "$(grep -c ^replay-1 "$DOGFOOD_ROOT/log")" -eq 1 ] || {{ {DIE}; }}'}}]
      - {{id: replay-2, requires: [replayed], steps: [{{run: '{LOG}; {DIE}'}}]}}
      - {{id: replay-3, requires: [replayed], steps: [{{run: '{LOG}'}}]}}
      - {{id: replay-4, requires: [replayed], steps: [{{run: '{LOG}'}}]}}
      - {{id: replay-5, requires: [replayed], steps: [{{run: '{LOG}'}}]}}

      - {{id: service-1, requires: [served], steps: [{{run: '{LOG}'}}]}}
      - {{id: service-2, requires: [served], steps: [{{run: '{LOG}; test -f "$DOGFOOD_SHARED/served"'}}]}}

      - {{id: cleanup-1, establishes: [untidy], steps: [{{run: '{LOG}'}}], cleanup: [{{run: '{DIE}'}}]}}
      - {{id: cleanup-2, requires: [untidy], steps: [{{run: '{LOG}'}}]}}

      - {{id: release-1, requires: [given-back], steps: [{{run: '{LOG}'}}]}}

      - {{id: bystander, steps: [{{run: '{LOG}'}}]}}
"""

DIED = (
    "first-1",
    "middle-2",
    "last-2",
    "provision-1",
    "probe-1",
    "replay-2",
    "replay-3",
    "replay-4",
    "service-1",
    "cleanup-1",
    "release-1",
)
WENT_ON = (
    "middle-1",
    "middle-3",
    "middle-4",
    "last-1",
    "provision-2",
    "replay-1",
    "service-2",
    "bystander",
)


@pytest.fixture(scope="module")
def scene(new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("chains.journey.yaml", CHAINS)
    return live, live.run("-n2", "--max-worker-restart=30")


@pytest.fixture
def live(scene: tuple[Live, Run]) -> Live:
    return scene[0]


@pytest.fixture
def run(scene: tuple[Live, Run]) -> Run:
    return scene[1]


def ran(live: Live, journey: str) -> list[list[str]]:
    """Return worker and state of each time the journey's first step ran."""
    return [words[1:] for line in live.lines("log") if (words := line.split())[0] == journey]


@pytest.mark.parametrize("journey", DIED)
def test_the_journey_that_lost_its_worker_has_failed_once(run: Run, journey: str) -> None:
    assert run.cases[journey].kind == "error"
    # Older versions of pytest do not repeat the message in the summary.
    summed_up = rf"^FAILED chains\.journey\.yaml::{journey}(?: - worker 'gw.*)?$"
    assert len(re.findall(summed_up, run.text, re.MULTILINE)) == 1


@pytest.mark.parametrize("journey", WENT_ON)
def test_what_did_not_need_the_crashed_journey_has_passed(run: Run, journey: str) -> None:
    assert run.cases[journey].kind == "passed"


@pytest.mark.parametrize(
    "journey, root",
    [
        ("first-2", "first-1"),
        ("first-3", "first-1"),
        ("middle-5", "middle-2"),
        ("probe-2", "probe-1"),
        ("replay-5", "replay-1"),
        ("cleanup-2", "cleanup-1"),
    ],
)
def test_what_needed_the_crashed_journey_is_deferred_because_of_it(run: Run, journey: str, root: str) -> None:
    case = run.cases[journey]
    cause = f"{root} crashed its worker"
    assert case.kind == "skipped"
    assert re.fullmatch(rf"deferred: '\S+' was not established, because {cause}", case.message)
    assert case.properties["dogfood.root_cause"] == cause


@pytest.mark.parametrize("record", ["by-steps", "served"])
def test_a_provider_that_took_a_worker_down_is_tried_once_more(live: Live, run: Run, record: str) -> None:
    assert run.cases
    assert len(live.lines(record)) == 2


def test_the_rest_of_a_chain_runs_elsewhere_in_a_fresh_state_with_its_tokens_brought_about_again(
    live: Live, run: Run
) -> None:
    before, again = ran(live, "middle-1")
    assert before == ran(live, "middle-2")[0]
    assert again[0] != before[0]
    assert again[1] != before[1]
    assert [again] == ran(live, "middle-3") == ran(live, "middle-4")
    assert "provisioned left once by replaying middle-1" in run.text


def test_a_journey_whose_replay_took_two_workers_down_is_not_replayed_again(live: Live, run: Run) -> None:
    assert len(ran(live, "replay-1")) == 3
    assert ran(live, "replay-3") == ran(live, "replay-4") == []
    assert "deferred: 1 journey, because replay-1 crashed its worker" in run.text


def test_no_journey_ran_twice_but_those_that_were_replayed(live: Live, run: Run) -> None:
    assert run.cases
    journeys = [line.split()[0] for line in live.lines("log")]
    assert sorted(name for name in set(journeys) if journeys.count(name) > 1) == ["middle-1", "replay-1"]


def test_every_journey_is_accounted_for_and_the_run_is_red(live: Live, run: Run) -> None:
    assert run.status == 1
    assert run.closing_line.startswith("dogfood: 25 journeys = 8 passed + 11 failed + 6 deferred (5 causes);")
    assert live.running() == []


ONE_CHAIN = f"""
    journeys:
      - {{id: one, establishes: [begun], steps: [{{run: '{LOG}'}}]}}
      - id: two
        requires: [begun]
        steps: [{{run: '{LOG}; [ -e "$DOGFOOD_ROOT/dead" ] || {{ touch "$DOGFOOD_ROOT/dead"; {DIE}; }}'}}]
      - {{id: three, requires: [begun], steps: [{{run: '{LOG}'}}]}}
"""


def test_an_only_worker_that_is_not_replaced_leaves_a_red_run_that_says_what_is_missing(
    new_live: Callable[[], Live],
) -> None:
    live = new_live().write("one.journey.yaml", ONE_CHAIN)
    run = live.run("-n1", "--max-worker-restart=0")
    assert run.status != 0
    assert run.cases["two"].kind == "error"
    assert "1 item did not run to the end:\n    one.journey.yaml::three\n" in run.text
    assert run.text.count("three") == 1
    assert "; 1 unaccounted; " in run.closing_line


def test_a_run_that_xdist_ends_because_a_worker_is_not_replaced_says_what_is_missing(
    new_live: Callable[[], Live],
) -> None:
    live = new_live().write("one.journey.yaml", ONE_CHAIN)
    run = live.run("-n2", "--max-worker-restart=0")
    # xdist ends the whole run at the first crash it may not replace, so the rest is named, never lost.
    assert run.status != 0
    assert run.cases["two"].kind == "error"
    assert "1 item did not run to the end:\n    one.journey.yaml::three\n" in run.text


def test_a_crash_stops_the_run_if_the_first_failure_shall(new_live: Callable[[], Live]) -> None:
    live = new_live().write("one.journey.yaml", ONE_CHAIN)
    run = live.run("-n1", "-x")
    assert run.status not in {0, 5}
    assert run.cases["two"].kind == "error"
    assert ran(live, "three") == []
    assert "did not run: three" in run.text


def test_a_crashed_journey_is_run_again_if_reruns_were_asked_for(new_live: Callable[[], Live]) -> None:
    live = new_live().write("one.journey.yaml", ONE_CHAIN)
    run = live.run("-n1", "--reruns=1")
    assert [run.cases[name].kind for name in ("one", "three")] == ["passed"] * 2
    assert len(ran(live, "two")) == 2
    assert run.status == 0, run.text
    assert "3 passed" in run.closing_line


def test_a_python_test_that_takes_its_worker_down_defers_its_dependents(
    new_live: Callable[[], Live],
) -> None:
    live = new_live().write("dogfood.yaml", "capabilities: {logged-in: {probe: 'false'}}\n")
    live.write(
        "test_login.py",
        """
        import os
        import pytest

        @pytest.mark.establishes("logged-in")
        def test_login():
            os.kill(os.getpid(), 9)

        @pytest.mark.requires("logged-in")
        def test_buy():
            raise AssertionError("must not run")

        def test_plain():
            pass
        """,
    )
    run = live.run("-n2")
    assert {name: case.kind for name, case in run.cases.items()} == {
        "test_login": "error",
        "test_buy": "skipped",
        "test_plain": "passed",
    }
    assert "test_login.py::test_login crashed its worker" in run.cases["test_buy"].message
