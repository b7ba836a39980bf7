"""Whatever an actor does wrong is an error of the harness: never a pass, never a failure of the product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

ACTOR = r"""
    import json, os, sys, time

    def say(text):
        print(text, flush=True)

    for line in sys.stdin:
        asked = json.loads(line)
        intent = asked["step"]["intent"]
        done = [one for one in asked["observations"] if one["step"] == asked["step"]["number"]]
        print("asked to", intent, file=sys.stderr, flush=True)
        if intent == "die":
            os._exit(7)
        elif intent in ("hang", "answer too late"):
            time.sleep(300 if intent == "hang" else 7)
            say('{"command": "touch $DOGFOOD_ROOT/late"}')
        elif intent == "talk nonsense":
            say("Sure! Here is your command: rm -rf /")
        elif intent == "report an error":
            say(json.dumps({"error": "no more tokens for " + os.environ["API_TOKEN"]}))
        elif intent == "flood":
            while True:
                sys.stdout.write("x" * 65536)
        elif intent == "say it twice":
            say('{"command": "true"}\n{"command": "touch $DOGFOOD_ROOT/twice"}')
        else:
            say('{"done": true}' if done else '{"command": "echo well"}')
"""
KILLER = """
    import sys, time

    sys.stdin.readline()
    print('{"command": "kill -9 $PPID; sleep 300"}', flush=True)
    time.sleep(300)
"""
FAULTS = {
    "dies": ("die", "the actor died with exit status 7"),
    "hangs": ("hang", "the actor did not answer within 5 s"),
    "is-late": ("answer too late", "the actor did not answer within 5 s"),
    "babbles": ("talk nonsense", "the actor answered with nonsense"),
    "reports": ("report an error", "the actor reports an error: no more tokens for ***"),
    "floods": ("flood", "the actor said more than 1048576 bytes in one answer"),
    "repeats": ("say it twice", "the actor said more than one line in answer to one"),
}
SCENE = "journeys:\n" + "".join(
    f"""
  - id: {name}
    establishes: [{name}-over]
    steps: [{{intent: begin well}}, {{intent: {intent}, expect_exit: nonzero}}]
    cleanup: [{{run: echo {name} >>"$DOGFOOD_ROOT/cleaned"}}]
  - {{id: good-after-{name}, steps: [{{intent: begin well}}]}}
"""
    for name, (intent, _) in FAULTS.items()
)
DEPENDENT = '  - {id: rests-on-dies, requires: [dies-over], steps: [{run: touch "$DOGFOOD_ROOT/rested"}]}\n'


def faulty(new_live: Callable[[], Live]) -> Live:
    """Make a project whose actor does everything wrong that it is asked to."""
    live = new_live().write("actor.py", ACTOR).write("faults.journey.yaml", SCENE + DEPENDENT)
    live.write(
        "pytest.ini",
        """
        [pytest]
        dogfood_actor = python3 actor.py
        dogfood_actor_answer_timeout = 5
        dogfood_secrets = API_TOKEN
        """,
    )
    return live


@pytest.fixture(scope="module")
def faults(new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = faulty(new_live)
    return live, live.run("-n2", API_TOKEN="s3cr3t-token")  # noqa: S106 - an invented one


@pytest.mark.parametrize("journey", FAULTS)
def test_it_is_an_error_that_says_what_became_of_the_actor_and_where(
    faults: tuple[Live, Run], journey: str
) -> None:
    case = faults[1].cases[journey]
    assert case.kind == "error", faults[1].text
    assert FAULTS[journey][1] in case.message
    assert "faults.journey.yaml:" in case.message


def text_about(journey: str, run: Run) -> str:
    return run.text.partition(f"ERROR at call of {journey} __")[2].partition("\n____")[0]


@pytest.mark.parametrize("journey", [name for name in FAULTS if name != "reports"])
def test_the_log_of_the_actor_is_kept_named_and_its_end_shown(faults: tuple[Live, Run], journey: str) -> None:
    text = text_about(journey, faults[1])
    log = Path(text.partition("  log:")[2].split()[0])
    assert f"asked to {FAULTS[journey][0]}\n" in log.read_text()
    assert f"    asked to {FAULTS[journey][0]}\n" in text
    assert f"  try it:    cd {faults[0].path} && python3 actor.py < {log.with_suffix('.request')}\n" in text


@pytest.mark.parametrize("journey", FAULTS)
def test_the_trajectory_is_named_and_tells_how_far_it_came(faults: tuple[Live, Run], journey: str) -> None:
    text = text_about(journey, faults[1])
    path = text.partition("  trajectory:")[2].split()[0]
    lines = Path(path).read_text().splitlines()
    assert path == faults[1].cases[journey].properties["dogfood.trajectory"]
    assert '"command": "echo well"' in lines[1]
    assert '"outcome": "error"' in lines[-1]


def test_others_are_not_harmed_and_who_rests_on_it_is_deferred(faults: tuple[Live, Run]) -> None:
    live, run = faults
    good = [name for name in run.cases if name.startswith("good")]
    assert {run.cases[name].kind for name in good} == {"passed"}
    assert run.cases["rests-on-dies"].kind == "skipped"
    assert (
        run.cases["rests-on-dies"].message
        == "deferred: 'dies-over' was not established, because dies could not be run by the harness"
    )
    assert not (live.path / "rested").exists()
    assert run.closing_line.startswith(
        f"dogfood: 15 journeys = {len(good)} passed + 7 errors + 1 deferred (1 cause)"
    )
    assert run.status == 1


def test_what_was_said_too_late_or_twice_is_never_run(faults: tuple[Live, Run]) -> None:
    assert not (faults[0].path / "late").exists()
    assert not (faults[0].path / "twice").exists()


def test_clean_up_runs_all_the_same(faults: tuple[Live, Run]) -> None:
    assert sorted(faults[0].lines("cleaned")) == sorted(FAULTS)


def test_no_actor_is_left_behind(faults: tuple[Live, Run]) -> None:
    assert faults[0].running() == []


def test_a_replay_in_which_the_actor_dies_is_cleaned_up_defers_its_dependent_and_reddens_the_run(
    new_live: Callable[[], Live],
) -> None:
    live = faulty(new_live)
    run = live.run("-n0", "-k", "rests-on-dies")
    assert (run.status, live.lines("cleaned")) == (1, ["dies"])
    assert (
        run.cases["rests-on-dies"].message
        == "deferred: 'dies-over' was not established, because dies could not be run by the harness"
    )
    assert "the actor died with exit status 7" in run.text


def test_nothing_of_an_actor_outlives_a_worker_that_is_killed(live: Live) -> None:
    live.write("actor.py", KILLER)
    live.write(
        "a.journey.yaml",
        "{journeys: [{id: kills, steps: [intent: kill]}, {id: other, steps: [run: 'true']}]}",
    )
    run = live.run("-n2", "--dogfood-actor", "python3 actor.py")
    assert {name: case.kind for name, case in run.cases.items()} == {"kills": "error", "other": "passed"}
    assert live.running() == []
