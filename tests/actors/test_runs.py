"""Journeys without commands, run as a user runs them: with an actor, recorded, and again without it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.actor_project import ACTOR, FAILED, GIVEN, JOURNEYS, SAVED, project
from tests.support.live_projects import Live
from tests.support.run_results import Run

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def recorded(new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = project(new_live())
    run = live.run("-n2", "-v", "--dogfood-record", "recorded", API_TOKEN=GIVEN)
    return live, run


@pytest.fixture(scope="module")
def replayed(recorded: tuple[Live, Run]) -> Run:
    live = recorded[0]
    counted = (live.path / "counted").read_text()
    run = live.run("-n0", "-v", "-o", "dogfood_actor=exit 1", "--dogfood-replay", "recorded", API_TOKEN=GIVEN)
    (live.path / "counted").write_text(counted)
    return run


def trajectory(run: Run, journey: str) -> list[dict[str, Any]]:
    path = Path(run.cases[journey].properties["dogfood.trajectory"])
    return [json.loads(line) for line in path.read_text().splitlines()]


def graded(run: Run, journey: str, step: int) -> Mapping[str, Any]:
    return next(one for one in trajectory(run, journey) if one["kind"] == "grade" and one["step"] == step)


def test_all_come_to_what_they_should(recorded: tuple[Live, Run]) -> None:
    run = recorded[1]
    kinds = {name: case.kind for name, case in run.cases.items()}
    assert {name for name, kind in kinds.items() if kind == "failure"} == set(FAILED), run.text
    assert {kind for name, kind in kinds.items() if name not in FAILED} == {"passed"}, run.text


def test_a_failure_shows_the_command_that_counted_and_where_all_of_them_are(
    recorded: tuple[Live, Run],
) -> None:
    text = recorded[1].text.partition("_ decides-early _")[2].partition("\n____")[0]
    assert "step 1 of 2 (echo broken >&2; exit 4): exit 4, expected 0" in text
    assert "  command:  echo broken >&2; exit 4\n" in text
    assert "  actor:    1 action in this step; the actor said that it is done\n" in text
    assert "  --- stderr ---\n  broken\n" in text
    assert "reproduce: pytest --dogfood --dogfood-replay recorded 'a.journey.yaml::decides-early'\n" in text
    assert f"trajectory: {recorded[1].cases['decides-early'].properties['dogfood.trajectory']}" in text


def test_a_step_that_was_never_reached_says_so(recorded: tuple[Live, Run]) -> None:
    message = recorded[1].cases["never-gets-there"].message
    assert "step 2 of 2 (nothing): never reached: expected an action of the actor, got none" in message


def test_a_recording_with_what_no_shell_takes_is_an_error_and_no_failure(recorded: tuple[Live, Run]) -> None:
    live = recorded[0]
    (live.path / "spoilt").mkdir()
    content = json.loads((live.path / "recorded" / "is-hooked.json").read_text())
    content["steps"][0]["commands"] = ["echo \0"]
    live.write("spoilt/is-hooked.json", json.dumps(content))
    run = live.run("-n0", "--dogfood-replay", "spoilt", "a.journey.yaml::is-hooked", API_TOKEN=GIVEN)
    assert run.cases["is-hooked"].kind == "error", run.text
    assert "a recorded command cannot be run: a command has no NUL" in run.cases["is-hooked"].message


def test_where_a_recording_ends_with_a_failure_the_product_is_not_blamed_for_what_comes_after(
    live: Live,
) -> None:
    live.write("actor.py", ACTOR)
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - {id: a, steps: [{intent: 'test -e "$DOGFOOD_ROOT/mended"', core: true}, {intent: 'true', core: true}]}
        """,
    )
    options = ("-o", "dogfood_actor=python3 actor.py", "a.journey.yaml")
    failed = live.run(*options, "--dogfood-record", "recorded", API_TOKEN=GIVEN)
    live.write("mended", "")
    replayed = live.run(*options, "--dogfood-replay", "recorded", API_TOKEN=GIVEN)
    assert [run.cases["a"].kind for run in (failed, replayed)] == ["failure", "error"]
    assert (
        "step 2 of 2 was not recorded, because the journey had failed before" in replayed.cases["a"].message
    )


def test_nothing_is_done_after_a_decisive_step_that_failed(recorded: tuple[Live, Run]) -> None:
    assert len([one for one in trajectory(recorded[1], "decides-early") if one["kind"] == "action"]) == 1


def test_an_earlier_action_is_credited_and_that_is_recorded(recorded: tuple[Live, Run]) -> None:
    credit = graded(recorded[1], "is-credited", 2)
    assert (credit["credited_from"], credit["command"], credit["actions"]) == (1, "echo tagged", 0)


def test_a_repetition_is_not_run(recorded: tuple[Live, Run]) -> None:
    assert recorded[0].lines("counted") == ["x"]
    assert graded(recorded[1], "repeats", 1)["ended"] == "repeated"


def test_an_actor_has_so_many_turns_and_no_more(recorded: tuple[Live, Run]) -> None:
    grade = graded(recorded[1], "never-ends", 1)
    assert (grade["ended"], grade["actions"]) == ("turns", 6)


def test_an_action_has_its_time(recorded: tuple[Live, Run]) -> None:
    assert "timed out after 3 s (killed)" in recorded[1].cases["hangs"].message
    (action,) = (one for one in trajectory(recorded[1], "hangs") if one["kind"] == "action")
    assert action["timed_out"]


def test_a_trajectory_tells_every_action_and_what_was_graded(recorded: tuple[Live, Run]) -> None:
    first, *lines, last = trajectory(recorded[1], "goes-about")
    assert (first["kind"], first["version"], first["id"], first["why"]) == (
        "journey",
        1,
        "goes-about",
        "item",
    )
    assert (last["kind"], last["outcome"]) == ("end", "passed")
    actions = [one for one in lines if one["kind"] == "action"]
    assert [one["step"] for one in actions] == [1, 1, 1, 2, 2, 3, 4, 4, 5]
    assert [one["by"] for one in actions] == ["actor"] * 5 + ["journey"] + ["actor"] * 3
    assert (actions[2]["exit"], actions[2]["stdout"], actions[2]["note"]) == (0, "er\n", "because")
    assert all(isinstance(one["milliseconds"], int) for one in actions)
    assert [one["decisive"] for one in lines if one["kind"] == "grade"] == [True] * 4


def test_trajectories_are_private_and_named_with_v(recorded: tuple[Live, Run]) -> None:
    path = Path(recorded[1].cases["needs-it"].properties["dogfood.trajectory"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"trajectory of needs-it: {path}\n" in recorded[1].text


def test_a_judge_decides_what_is_expected_in_words_and_what_nobody_judges_is_said(
    recorded: tuple[Live, Run],
) -> None:
    run = recorded[1]
    assert "judge: expected judge: no, got blue" in run.cases["is-disapproved"].message
    assert graded(run, "is-approved", 1)["judge"] == {"passed": True, "why": "red"}
    assert graded(run, "is-not-judged", 1)["unjudged"]
    assert run.cases["is-not-judged"].properties["dogfood.unjudged"] == "1"
    assert "unjudged: 1 expectation in free text, because there was no judge\n" in run.text


def test_no_secret_is_told_to_the_actor_or_to_be_read_anywhere(recorded: tuple[Live, Run]) -> None:
    live, run = recorded
    assert run.cases["keeps-a-secret"].kind == "passed"
    written = [path for path in live.state_root.rglob("*") if path.is_file()]
    written += [live.path / "questions", live.path / "junit1.xml", *(live.path / "recorded").iterdir()]
    assert len(written) > 40
    assert [path for path in written for text in (GIVEN, SAVED) if text.encode() in path.read_bytes()] == []
    assert not any(text in run.text for text in (GIVEN, SAVED))
    assert '"stdout": "key=***\\n***\\n"' in (live.path / "questions").read_text()


def test_a_recording_says_what_was_done_with_place_holders_for_what_changes(
    recorded: tuple[Live, Run],
) -> None:
    recording = json.loads((recorded[0].path / "recorded" / "goes-about.json").read_text())
    assert recording["journey"] == "goes-about"
    assert recording["steps"][0]["commands"][1:] == ["pwd", "basename {{DOGFOOD_WORKDIR}}/deep/er"]
    names = {path.stem for path in (recorded[0].path / "recorded").iterdir()}
    assert "clicks" not in names
    assert "needs-it-plainly" not in names


def test_a_replay_without_any_actor_comes_to_the_same(recorded: tuple[Live, Run], replayed: Run) -> None:
    before, after = recorded[1].cases, replayed.cases
    assert {name: case.kind for name, case in before.items()} == {
        name: case.kind for name, case in after.items()
    }
    assert first_lines(recorded[1]) == first_lines(replayed)


def first_lines(run: Run) -> dict[str, str]:
    """Return of each failure where and what, but for why an actor stopped: a recording has no reasons."""
    lines = {name: case.message.partition("\n")[0] for name, case in run.cases.items()}
    return {name: re.sub(r"none: .*", "none", line) for name, line in lines.items()}


def test_a_replay_does_the_same_commands_with_the_same_results(
    recorded: tuple[Live, Run], replayed: Run
) -> None:
    names = {name for name, case in recorded[1].cases.items() if "dogfood.trajectory" in case.properties}
    assert len(names) > 15
    for name in names:
        assert done_in(recorded[1], name) == done_in(replayed, name)


def done_in(run: Run, journey: str) -> list[tuple[object, ...]]:
    actions = [one for one in trajectory(run, journey) if one["kind"] == "action"]
    # By which signal a command ended whose time was over depends on how busy the machine is.
    text = [
        (one["step"], one["command"], one["timed_out"] or one["exit"], one["stdout"], one["stderr"])
        for one in actions
    ]
    return [tuple(re.sub(r"/\S*/\S*w\d+-\w+", "WORKDIR", str(part)) for part in one) for one in text]


@pytest.mark.parametrize("options", [(), ("-o", "dogfood_actor=exit 1", "--dogfood-replay", "recorded")])
def test_a_dependent_alone_has_what_it_needs_acted_again(
    recorded: tuple[Live, Run], live: Live, options: tuple[str, ...]
) -> None:
    (project(live).path / "recorded").symlink_to(recorded[0].path / "recorded")
    run = live.run("-n0", "-k", "needs-it-plainly", *options, API_TOKEN=GIVEN)
    assert run.cases["needs-it-plainly"].kind == "passed", run.text
    assert "provisioned made once by replaying goes-about" in run.text


def test_a_journey_that_has_changed_since_is_not_replayed_and_that_is_no_success(
    recorded: tuple[Live, Run], live: Live
) -> None:
    project(live).write("test_it.py", "")
    live.write("a.journey.yaml", JOURNEYS.replace("true ;; exit 9", "true ;; exit 8"))
    (live.path / "recorded").symlink_to(recorded[0].path / "recorded")
    (live.path / "new.journey.yaml").write_text("steps: [intent: look]")
    run = live.run(
        "-n2", "--dogfood-replay", "recorded", "-k", "expects-failure or new or is-approved", API_TOKEN=GIVEN
    )
    assert {name: case.kind for name, case in run.cases.items()} == {
        "expects-failure": "error",
        "new": "error",
        "is-approved": "passed",
    }
    assert run.status == 1
    assert "'expects-failure' has drifted: it says something else than when" in run.text
    assert "'new' was not recorded: there is no " in run.text
