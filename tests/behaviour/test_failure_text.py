"""What a person reads of a failed journey."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC
from tests.support.scenes import Inner

FILES = {
    "shop/buy things.journey.yaml": """
        journeys:
          - id: open-the-shop
            establishes: [shop-open]
            steps: [run: "true"]
          - id: buy
            requires: [shop-open]
            matrix: {article: [bread]}
            steps:
              - {intent: look around, run: "echo on the shelf: $article"}
              - intent: pay
                run: |
                  seq 1 3000
                  echo no money left >&2
                  exit 3
                expect: {stdout: {contains: receipt}}
              - run: echo never
    """,
}


@pytest.fixture(scope="module")
def scene(inner: Callable[[Mapping[str, str]], Inner]) -> Inner:
    return inner(FILES)


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def result(request: pytest.FixtureRequest, scene: Inner) -> pytest.RunResult:
    return scene.dogfood(request.param)


@pytest.fixture(scope="module")
def verbose(scene: Inner) -> pytest.RunResult:
    return scene.dogfood("-v")


def test_it_says_where_and_which_step_and_what_for(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["shop/buy things.journey.yaml:11:*: step 2 of 3 (pay): exit 3, expected 0"])


def test_it_shows_the_command_as_it_was_written(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        ["  intent:   pay", "  command:  seq 1 3000", "*echo no money left >&2", "*exit 3"], consecutive=True
    )


def test_it_shows_everything_that_was_expected_and_came(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        [
            "  exit status:",
            "    expected: 0",
            "    actual:   3",
            "  stdout:",
            "    expected: to contain 'receipt'",
        ],
        consecutive=True,
    )


def test_it_shows_the_tail_of_the_output(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["  --- stdout ---", "  3000", "  --- stderr ---", "  no money left"])


def test_it_shows_no_frames_of_the_framework(result: pytest.RunResult) -> None:
    text = result.stdout.str()
    assert "pytest_dogfood/" not in text
    assert "Traceback" not in text


def test_the_summary_says_it_in_one_line(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(
        ["FAILED shop/buy things.journey.yaml::buy[[]bread] - exit 3, expected 0: seq 1 3000 …"]
    )


def test_earlier_steps_are_shown_only_if_asked_for(
    result: pytest.RunResult, verbose: pytest.RunResult
) -> None:
    assert "on the shelf" not in result.stdout.str().replace("echo on the shelf", "")
    verbose.stdout.fnmatch_lines(["*step 1 of 3 (look around): as expected", "  on the shelf: bread"])


def test_the_line_that_reproduces_it_does_when_it_is_pasted(scene: Inner, result: pytest.RunResult) -> None:
    (line,) = [line for line in result.outlines if line.startswith("reproduce: ")]
    words = shlex.split(line.removeprefix("reproduce: "))
    assert words[:2] == ["pytest", "--dogfood"]
    again = scene.dogfood(*words[2:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*step 2 of 3 (pay): exit 3, expected 0"])


def test_what_is_kept_is_named(result: pytest.RunResult) -> None:
    result.stdout.fnmatch_lines(["kept: * (working directory), * (state)", "dogfood: kept *"])


def test_node_ids_of_odd_names_can_be_pasted_too(inner: Callable[[Mapping[str, str]], Inner]) -> None:
    scene = inner({"it's.journey.yaml": "{journeys: [{id: a, steps: [run: 'false']}]}"})
    (line,) = [line for line in scene.dogfood().outlines if line.startswith("reproduce: ")]
    scene.dogfood(*shlex.split(line.removeprefix("reproduce: "))[2:]).assert_outcomes(failed=1)


def test_a_run_in_a_directory_below_reproduces_from_there(
    inner: Callable[[Mapping[str, str]], Inner],
) -> None:
    scene = inner({"sub/a.journey.yaml": "{journeys: [{id: a, steps: [run: 'false']}]}"})
    scene.path = scene.path / "sub"
    (line,) = [line for line in scene.dogfood().outlines if line.startswith("reproduce: ")]
    scene.dogfood(*shlex.split(line.removeprefix("reproduce: "))[2:]).assert_outcomes(failed=1)


STAGES = {
    "a.journey.yaml": r"""
        journeys:
          - id: colours
            steps:
              - run: |
                  printf '\033[31mred\033[0m\n'
                  for i in $(seq 1 100); do printf '\rprogress %d%%' $i; done; echo
                  printf '\033[2K\033[1G\033]0;title\007 bell\007\n'
                  exit 3
          - {id: downloads, steps: ["printf '10 %% [>  ]\\r99 %% [==>]' >&2; exit 1"]}
          - {id: asks, steps: ["printf 'Password: '; read -r word; echo welcome"]}
    """,
}


@pytest.fixture(scope="module")
def stages(inner: Callable[[Mapping[str, str]], Inner]) -> pytest.RunResult:
    return inner(STAGES).dogfood("-n0")


def test_it_shows_of_the_output_what_a_terminal_shows_in_the_end(stages: pytest.RunResult) -> None:
    stages.stdout.fnmatch_lines(
        ["  --- stdout ---", "  red", "  progress 100%", "   bell*"], consecutive=True
    )


def test_a_progress_bar_shows_its_last_state(stages: pytest.RunResult) -> None:
    stages.stdout.fnmatch_lines(["  --- stderr ---", "  99 % [[]==>]"], consecutive=True)
    stages.stdout.no_fnmatch_line("*10 % [[]>  ]*")


def test_a_step_that_asks_and_cannot_is_told_so_with_the_cure(stages: pytest.RunResult) -> None:
    note = "note: stdin is empty and there is no terminal; write the answers under `stdin:`, or *"
    stages.stdout.fnmatch_lines(["  Password: ", note], consecutive=True)
    assert sum(line.startswith("note: ") for line in stages.outlines) == 1


REASONS = {
    "reasons.journey.yaml": """\
    capabilities:
      tok: {probe: 'false', provision: [{run: 'exit 3'}]}
    journeys:
      - {id: second, steps: [{run: "true\\nls /nonexistent\\necho hi"}]}
      - {id: lines, steps: [{run: 'printf "a\\\\nb\\\\nc\\\\n"', expect: {stdout: {equals: "a\\nx\\nc\\n"}}}]}
      - {id: has, steps: [{run: 'echo nearly', expect: {stdout: {contains: ready}}}]}
      - {id: slow, steps: [{run: 'sleep 5', timeout: 0.2}]}
      - {id: needs, requires: [tok], steps: [{run: 'true'}]}
      - {id: dirty, steps: [{run: 'true'}], cleanup: [{run: 'exit 4'}]}
      - {id: own, env: {BASH_ENV: /dev/null}, steps: [{run: "true\\nfalse"}]}
      - id: same
        steps:
          - run: "echo $BASH_ENV.\\nbash -c 'echo $BASH_ENV.'"
            expect: {stdout: {equals: ".\\n.\\n"}}
    """
}


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def reasons(request: pytest.FixtureRequest, inner: Callable[..., Inner]) -> pytest.RunResult:
    return inner(REASONS).dogfood(request.param)


def test_the_short_summary_begins_with_the_reason_and_fits(reasons: pytest.RunResult) -> None:
    reasons.stdout.fnmatch_lines_random(
        [
            "FAILED reasons.journey.yaml::second - exit 2, expected 0: ls /nonexistent",
            "FAILED reasons.journey.yaml::lines - stdout differs: printf *",
            "FAILED reasons.journey.yaml::has - stdout: expected to contain 'ready', got *",
            "FAILED reasons.journey.yaml::slow - timed out after 0.2 s (killed): sleep 5",
            "ERROR reasons.journey.yaml::needs - harness: 'tok' could not be provisioned",
            "ERROR reasons.journey.yaml::dirty - cleanup step 1 of 1: exit 4, expected 0",
        ]
    )


def test_the_line_that_failed_is_named_where_bash_can_tell(reasons: pytest.RunResult) -> None:
    text = reasons.stdout.str()
    assert text.count("  failed:   line ") == 1  # not where the step sets BASH_ENV itself
    assert "  failed:   line 2: ls /nonexistent\n" in text


def test_telling_the_line_changes_nothing_of_a_step(reasons: pytest.RunResult) -> None:
    assert "reasons.journey.yaml::same" not in reasons.stdout.str()  # it has passed: see its expectation


def test_text_of_several_lines_is_shown_as_a_difference(reasons: pytest.RunResult) -> None:
    lines = ["    - expected, + actual", "    @@ -1,3 +1,3 @@", "     a", "    -x", "    +b", "     c"]
    reasons.stdout.fnmatch_lines(lines, consecutive=True)


def test_an_output_without_what_it_should_contain_is_shown_once(reasons: pytest.RunResult) -> None:
    (body,) = [one for one in reasons.stdout.str().split("reproduce: ") if "command:  echo nearly" in one]
    assert body.count("nearly") == 3  # in the first line, in the command, and where its output is shown
    reasons.stdout.fnmatch_lines(
        ["    expected: to contain 'ready'", "    actual:   see below"], consecutive=True
    )


@pytest.mark.parametrize("name", ["needs", "dirty"])
def test_errors_of_set_up_and_clean_up_say_how_to_see_them_again(
    reasons: pytest.RunResult, name: str
) -> None:
    reasons.stdout.fnmatch_lines(
        [f"reproduce: pytest --dogfood *'reasons.journey.yaml::{name}'", "kept: *(state)"]
    )


def test_what_an_error_of_a_clean_up_keeps_is_there(inner: Callable[..., Inner]) -> None:
    project = inner(REASONS)
    text = project.dogfood("-k", "dirty").stdout.str()
    directory = text.partition("kept:      ")[2].partition(" (working directory)")[0]
    assert Path(directory).is_dir()


def test_a_failure_is_in_colour_as_pytest_has_it(inner: Callable[..., Inner]) -> None:
    project = inner(REASONS)
    shown = project.dogfood("--color=yes", "-k", "second").stdout.str()
    assert "\x1b[32m    expected: 0\x1b[0m" in shown
    assert "\x1b[31m    actual:   2\x1b[0m" in shown
    assert "\x1b[31mdogfood: 1 journey = 1 failed" in shown
    assert "\x1b[" not in project.dogfood("--color=no", "-k", "second").stdout.str()


MISSED = {
    "a.journey.yaml": """
        journeys:
          - id: start
            establishes: [server-up]
            steps: [{run: echo 80, save: {port: {stdout: "[0-9]+"}}}]
          - {id: forgets, steps: ['test "$DOGFOOD_SERVER_UP_PORT" = 80']}
          - {id: sets-it, steps: ['DOGFOOD_SERVER_UP_PORT=1; test "$DOGFOOD_SERVER_UP_PORT" = 80']}
          - {id: may-do-without, steps: ['test "${DOGFOOD_SERVER_UP_PORT:-1}" = 80']}
          - {id: requires, requires: [server-up], steps: ['test "$DOGFOOD_SERVER_UP_PORT" = 81']}
    """,
}


def test_a_value_that_the_journey_does_not_require_is_noted_where_its_step_fails(
    inner: Callable[..., Inner],
) -> None:
    text = inner(MISSED).dogfood("-pno:randomly").stdout.str()
    owner = "it is a value of 'server-up', which this journey does not require"
    note, _, after = text.partition(f"note: $DOGFOOD_SERVER_UP_PORT is not set here; {owner}\n\n")
    assert "forgets" in note
    assert after.startswith("reproduce: pytest --dogfood 'a.journey.yaml::forgets'\n")
    assert text.count("note: ") == 1


MISSPELT = {
    "dogfood.yaml": "pools: {account: [ann, bob]}\n",
    "a.journey.yaml": """
        journeys:
          - id: start
            establishes: [server-up]
            steps: [{run: echo 80, save: {port: {stdout: "[0-9]+"}}}]
          - {id: token, steps: ['test "$DOGFOOD_SERVRE_UP_PORT" = 80']}
          - {id: pool, steps: ['test "$DOGFOOD_LOCK_ACCOUNTS" = ann']}
          - {id: value, requires: [server-up], steps: ['test "$DOGFOOD_SERVER_UP_PROT" = 80']}
          - {id: inherits, steps: ['test "$DOGFOOD_SERVED_UP_PORT" = 80']}
          - {id: sets, env: {DOGFOOD_SERVE_UP_PORT: 1}, steps: ['test "$DOGFOOD_SERVE_UP_PORT" = 80']}
          - {id: exports, steps: ['export DOGFOOD_LOCK_GPU=1; test "$DOGFOOD_LOCK_GPU" = 80']}
    """,
    "b.journey.sh": "#!/bin/sh\nset -e\nDOGFOOD_LOCK_GPU=1\ncd $DOGFOOD_STAT/$DOGFOOD_LOCK_GPU\n",
}


def test_a_slip_in_the_name_of_a_variable_is_noted_where_its_step_fails(
    inner: Callable[..., Inner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOGFOOD_SERVED_UP_PORT", "1")
    project = inner(MISSPELT)
    (project.path / "b.journey.sh").chmod(0o755)
    text = project.dogfood("-pno:randomly").stdout.str()
    assert [line.partition("? ")[0] for line in text.splitlines() if line.startswith("note: ")] == [
        "note: $DOGFOOD_SERVRE_UP_PORT is not set here; did you mean $DOGFOOD_SERVER_UP_PORT",
        "note: $DOGFOOD_LOCK_ACCOUNTS is not set here; did you mean $DOGFOOD_LOCK_ACCOUNT",
        "note: $DOGFOOD_SERVER_UP_PROT is not set here; did you mean $DOGFOOD_SERVER_UP_PORT?",
        "note: $DOGFOOD_STAT is not set here; did you mean $DOGFOOD_STATE?",
    ]


PLACES = {
    "places.journey.yaml": r"""
    journeys:
      - {id: inner, steps: [{run: "true\n(\n  cd /\n  false\n)\ntrue"}]}
      - {id: substituted, steps: [{run: "true\nx=$(\n  cd /\n  false\n)"}]}
      - {id: tolerated, steps: [{run: "set +e\nfalse\nset -e\nexit 3"}]}
      - {id: careful, steps: [{run: "set -C\nfalse"}]}
      - {id: lists-traps, steps: [{run: "trap 'true' EXIT\ntrap -p ERR\n(trap)\nt=$(trap)\necho \"$t\"\nfalse"}]}
      - {id: late, steps: [{run: "true\nn=61\nsleep $n | cat\ntrue", timeout: 0.7}]}
      - {id: late-sh, steps: [{run: "sleep 0.01\nsleep 62", shell: sh, timeout: 0.7}]}
      - {id: late-loop, steps: [{run: "true\nwhile :; do :; done", timeout: 0.7}]}
      - {id: late-list, steps: [{run: [sleep, "63"], timeout: 0.7}]}
      - id: late-secret
        steps: [{run: "key=64\nsleep $key", timeout: 0.7, save: {key: {stdout: "key=(.)", secret: true}}}]
    """,
    "wait.journey.sh": "#!/bin/sh\n# dogfood: timeout: 0.7\nsleep 65; true\n",
}


@pytest.fixture(scope="module")
def places(inner: Callable[..., Inner]) -> Mapping[str, str]:
    """Return the text of each failure by its journey, and the short summary as `summary`."""
    project = inner(PLACES)
    (project.path / "wait.journey.sh").chmod(0o755)
    root = project.state_root / 'it\'s "odd"'
    text = project.dogfood("-n2", "-o", f"dogfood_state_root={root}").stdout.str()
    parts = re.split(r"^_+ (\S+) _+$", text, flags=re.MULTILINE)
    return {
        **dict(zip(parts[1::2], parts[2::2], strict=True)),
        "summary": text.partition("short test summary")[2],
    }


@pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a shell is running")
@pytest.mark.parametrize(
    "name, told, brief",
    [
        ("inner", "failed:   the subshell that ends in line 5: ( cd /; false )", "( cd /; false )"),
        ("substituted", "failed:   the command that ends in line 5: x=$(cd /; false)", "x=$(cd /; false)"),
        ("careful", "failed:   line 2: false", "false"),
        ("late", "running:  sleep 61, cat", "sleep 61, cat"),
        ("late-sh", "running:  sleep 62", "sleep 62"),
        ("wait", "running:  sleep 65", "sleep 65"),
    ],
)
def test_the_command_that_failed_or_was_running_is_named(
    places: Mapping[str, str], name: str, told: str, brief: str
) -> None:
    assert f"\n  {told}\n" in places[name]
    assert re.search(rf"{re.escape(name)} - .*: {re.escape(brief)}$", places["summary"], re.MULTILINE)


@pytest.mark.parametrize("name", ["tolerated", "lists-traps", "late-loop", "late-list", "late-secret"])
def test_no_command_is_named_that_is_not_known_to_be_the_one(places: Mapping[str, str], name: str) -> None:
    assert "\n  failed: " not in places[name]
    assert "\n  running: " not in places[name]


def test_noting_the_command_that_failed_leaves_no_trace_in_the_step(places: Mapping[str, str]) -> None:
    assert "BASH_COMMAND" not in places["lists-traps"]
    assert "stderr" not in places["careful"]  # where files must not be overwritten
    assert "64" not in places["late-secret"].replace("key=64", "")
