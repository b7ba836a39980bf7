"""Who acts, if anybody: hooks of the project, a program, nobody; and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.actor_project import CONFTEST

if TYPE_CHECKING:
    from tests.support.live_projects import Live

BELOW = """
import pytest_dogfood

def pytest_dogfood_next_action(journey, step, observations):
    return pytest_dogfood.Done() if observations else pytest_dogfood.Command("true")
"""


def test_a_hook_that_raises_or_babbles_is_an_error_and_none_for_an_answer_is_no_actor(live: Live) -> None:
    live.write("conftest.py", CONFTEST)
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - {id: raises, steps: [intent: a hook that raises]}
          - {id: babbles, steps: [intent: a hook that babbles]}
          - {id: exits, steps: [intent: a hook that ends it all]}
          - {id: says-nothing, steps: [intent: say nothing]}
          - {id: judged, steps: [{intent: ask a hook, expect: "judge: in other words"}]}
          - {id: asks, steps: [{run: 'true'}, intent: ask nobody]}
          - {id: falls-silent, steps: [intent: answer once]}
          - {id: hooked, steps: [intent: ask a hook]}
          - {id: in-json, steps: [{intent: ask in JSON, expect: {text: "judge: yes", stdout: answered}}]}
          - {id: pictures, modality: gui, establishes: [painted], steps: [intent: paint]}
          - {id: hangs-it-up, requires: [painted], steps: [run: 'true']}
        """,
    )
    (live.path / "below").mkdir()
    (live.path / "below" / "conftest.py").write_text(BELOW)
    live.write("below/b.journey.yaml", "{journeys: [{id: below, steps: [intent: ask nobody]}]}")
    run = live.run("-n0")
    assert {name: case.kind for name, case in run.cases.items()} == {
        "raises": "error",
        "babbles": "error",
        "exits": "error",
        "says-nothing": "error",
        "judged": "error",
        "asks": "skipped",
        "falls-silent": "error",
        "hooked": "passed",
        "in-json": "passed",
        "pictures": "passed",
        "hangs-it-up": "passed",
        "below": "passed",
    }
    assert (
        "pytest_dogfood_next_action raised LookupError: nothing of the kind (" in run.cases["raises"].message
    )
    assert "gave 'ls', and not None or one of pytest_dogfood.Command" in run.cases["babbles"].message
    assert "raised SystemExit: 2 (" in run.cases["exits"].message
    assert "gave {'command': ''}: a command is text for a shell" in run.cases["says-nothing"].message
    assert f"is of type bool, not 'no' ({live.path / 'conftest.py'}:" in run.cases["judged"].message
    assert "no actor answers any more: every hook returned None" in run.cases["falls-silent"].message
    assert "no actor: step 2 of 2 has no command (a.journey.yaml:8:" in run.cases["asks"].message


def test_without_a_hook_for_it_a_graphical_interface_is_left_alone(live: Live) -> None:
    live.write("a.journey.yaml", "{journeys: [{id: a, modality: gui, steps: [intent: click]}]}")
    run = live.run("--dogfood-actor", "python3 actor.py")
    assert run.cases["a"].kind == "skipped"
    assert "and no plugin implements pytest_dogfood_gui_action for 'modality: gui'" in run.cases["a"].message
    assert run.status == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--dogfood-record", "a", "--dogfood-replay", "b"), "use only one"),
        (("--dogfood-replay", "nowhere"), "--dogfood-replay nowhere: there is no such directory"),
        (
            ("--dogfood-record", "a.journey.yaml"),
            "--dogfood-record a.journey.yaml: recordings cannot be written",
        ),
        (("-o", "dogfood_actor_turns=0"), "dogfood_actor_turns is a number above 0, not 0"),
        (
            ("-o", "dogfood_actor_answer_timeout=soon"),
            "dogfood_actor_answer_timeout is a number, such as 120.0",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(live: Live, arguments: tuple[str, ...], words: str) -> None:
    live.write("a.journey.yaml", "{journeys: [{id: a, steps: [intent: look]}]}")
    run = live.run(*arguments)
    assert run.status == 4
    assert words in run.text


def test_a_check_counts_on_the_actor(live: Live) -> None:
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - {id: acts, establishes: [done], steps: [intent: look]}
          - {id: needs, requires: [done], steps: [run: 'true']}
        """,
    )
    assert "cannot-run-alone" in live.run("--dogfood-check").text
    checked = live.run("--dogfood-check", "--dogfood-actor", "python3 actor.py", "-k", "needs").text
    assert "cannot-run-alone" not in checked
    assert "by replaying acts" in checked


def test_what_was_seen_without_a_command_is_kept_as_the_outputs_of_one(live: Live) -> None:
    live.write(
        "conftest.py",
        """
        import pytest_dogfood


        def pytest_dogfood_gui_action(observations):
            if observations:
                return pytest_dogfood.Done()
            return pytest_dogfood.Performed(what="click", stdout="saved\\n", stderr="slow\\n")
        """,
    )
    step = "{intent: click, expect: {stdout: {equals: saved}}}"
    live.write("a.journey.yaml", f"{{journeys: [{{id: a, modality: gui, steps: [{step}]}}]}}")
    run = live.run("-n0", "--dogfood-keep")
    kept = Path(run.text.partition("dogfood: kept ")[2].partition("\n")[0])
    outputs = {path.suffix: path.read_text() for path in (kept / "out").glob("*-action-1.*")}
    assert outputs == {".out": "saved\n", ".err": "slow\n"}, run.text
