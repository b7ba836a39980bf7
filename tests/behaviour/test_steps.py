"""A step runs as its author wrote it, costs the runner little, and harms nobody."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

ASKED = r"""
    defaults: {env: {FROM_FILE: "file $DOGFOOD_JOURNEY", OVERRIDDEN: file}}
    journeys:
      - id: environment
        env: {OVERRIDDEN: journey, PLACE: "$DOGFOOD_STATE/x", UNKNOWN: "$NO_SUCH_THING"}
        steps:
          - run: echo "$FROM_FILE/$OVERRIDDEN/$UNKNOWN"; test "$PLACE" = "$DOGFOOD_STATE/x"
            expect: {stdout: {equals: "file environment/journey/$$NO_SUCH_THING\n"}}
          - run: echo "$OVERRIDDEN $OWN"
            env: {OVERRIDDEN: step, OWN: "${PLACE}y"}
            expect: {stdout: {matches: "^step .*/xy$"}}
      - id: told
        steps:
          - run: test "$PWD" = "$DOGFOOD_WORKDIR" && test -d "$DOGFOOD_STATE" && test -d "$DOGFOOD_SHARED"
          - run: test -f "$DOGFOOD_DIR/asked.journey.yaml" && test -f "$DOGFOOD_ROOT/asked.journey.yaml"
          - run: echo "$DOGFOOD_JOURNEY $DOGFOOD_CHAIN $DOGFOOD_WORKER"; test -n "$DOGFOOD_RUN"
            expect: {stdout: {matches: "^told told (main|gw[0-9]+)$"}}
      - id: directories
        steps:
          - run: mkdir -p deep/er && pwd
          - run: basename "$PWD"
            cwd: deep/er
            expect: {stdout: {equals: "er\n"}}
          - run: test "$PWD" = "$DOGFOOD_STATE"
            cwd: $DOGFOOD_STATE
      - id: input
        steps:
          - run: cat
            expect: {stdout: {equals: ""}}
          - run: cat
            stdin: "two\nlines"
            expect: {stdout: {equals: "two\nlines"}}
          - run: exec <&- >/dev/null; sleep 0
          - run: exec <&- >&- 2>&-; true
      - id: seeded
        seed_files: {conf/app.ini: "a=1\n"}
        steps:
          - run: cat conf/app.ini more
            seed_files: {more: "b=2\n"}
            expect:
              stdout: {equals: "a=1\nb=2\n"}
              files: {more: {exists: true, equals: "b=2\n"}, conf/app.ini: {contains: a=1}, none: {exists: false}}
      - id: shells
        steps:
          - run: false | true
            expect_exit: 1
          - run: false | true
            shell: sh
          - run: print(6 * 7)
            shell: python3
            expect: {stdout: {equals: "42\n"}}
          - run: [printf, "%s|", "$HOME", "a b"]
            expect: {stdout: {equals: "$$HOME|a b|"}}
      - id: polls
        steps:
          - run: echo try >>tries; test "$(wc -l <tries)" -ge 4
            until: {timeout: 20, interval: 0.01}
          - run: wc -l <tries
            expect: {stdout: {matches: "4"}}
      - id: statuses
        steps:
          - {run: exit 7, expect_exit: 7}
          - {run: exit 9, expect_exit: nonzero}
          - {run: "kill -9 $$", expect_exit: nonzero}
      - id: values
        steps:
          - run: "echo '{\"user\": {\"name\": \"ada\", \"id\": 7}}'; echo version 1.2 >&2"
            save: {name: {json: user.name}, id: {json: user.id}, version: {stderr: "version (.*)"}}
            expect: {stdout: {json: {user.id: 7}}}
          - run: echo "$name $id $version"
            expect: {stdout: {equals: "ada 7 1.2\n"}}
      - id: large-and-unread
        steps: [{run: head -c 9000000 /dev/zero}]
      - id: clean-up-runs
        steps: [{run: touch "$DOGFOOD_ROOT/made"}]
        cleanup: [{run: rm "$DOGFOOD_ROOT/made"}]
"""
PASSING = (
    "environment",
    "told",
    "directories",
    "input",
    "seeded",
    "shells",
    "polls",
    "statuses",
    "values",
    "large-and-unread",
    "clean-up-runs",
)
REFUSED = r"""
    journeys:
      - id: weird
        steps:
          - run: |
              printf 'bytes \377\376 nul \000 bell \007 red \033[31mred\033[0m title \033]0;gotcha\007 done\r\n'
              printf ']]> & <tag> \xef\xbf\xbf \xed\xa0\x80\n' >&2
              exit 1
            expect: {stdout: {contains: other}}
      - id: large-and-read
        steps: [{run: head -c 9000000 /dev/zero, expect: {stdout: {contains: x}}}]
      - id: long-line
        steps: [{run: "head -c 100000 /dev/zero | tr '\\0' x; exit 1"}]
      - id: too-slow
        steps: [{run: 'setsid sh -c "sleep 300" & sleep 300', timeout: 0.5}]
      - id: too-slow-together
        timeout: 0.8
        steps: [{run: "true"}, {run: sleep 0.1}, {run: sleep 300}, {run: touch "$DOGFOOD_ROOT/too-far"}]
      - id: polls-in-vain
        steps: [{run: "echo never; exit 3", until: {timeout: 0.3, interval: 0.05}}]
      - id: polls-a-hanging-one
        steps: [{run: sleep 300, until: {timeout: 0.3}}]
      - id: seeds-outside
        steps:
          - run: ln -s "$DOGFOOD_ROOT" way-out
          - {run: "true", seed_files: {way-out/evil: x}}
      - id: no-such-program
        steps: [{run: [no-such-program]}]
      - id: no-such-directory
        steps: [{run: "true", cwd: nowhere}]
      - id: leaves-a-daemon
        steps: [{run: 'setsid sleep 300 & true'}]
      - id: second-of-three
        steps:
          - run: echo first
          - {intent: look closely, run: "echo second; echo why >&2; exit 4"}
          - run: touch "$DOGFOOD_ROOT/too-far"
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def asked(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("asked.journey.yaml", ASKED)
    return live, live.run(request.param)


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def refused(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("refused.journey.yaml", REFUSED)
    return live, live.run("-v", request.param)


@pytest.mark.parametrize("journey", PASSING)
def test_a_step_runs_as_it_was_written(asked: tuple[Live, Run], journey: str) -> None:
    assert asked[1].cases[journey].kind == "passed", asked[1].text


def test_clean_up_has_run(asked: tuple[Live, Run]) -> None:
    assert asked[1].status == 0
    assert not (asked[0].path / "made").exists()


@pytest.mark.parametrize(
    "journey, kind, words",
    [
        ("weird", "failure", "exit 1, expected 0"),
        ("large-and-read", "failure", "output: expected at most 8388608 bytes to search"),
        ("long-line", "failure", "exit 1, expected 0"),
        ("too-slow", "failure", "timed out after 0.5 s (killed)"),
        ("too-slow-together", "failure", "step 3 of 4: timed out after"),
        ("polls-in-vain", "failure", "exit 3, expected 0"),
        ("polls-a-hanging-one", "failure", "timed out after 0.3 s (killed)"),
        ("second-of-three", "failure", "step 2 of 3 (look closely): exit 4, expected 0"),
        ("seeds-outside", "error", "would leave the working directory through a symbolic link"),
        ("no-such-program", "error", "cannot start 'no-such-program'"),
        ("no-such-directory", "error", "does not exist; create it, or correct `cwd:`"),
        ("leaves-a-daemon", "passed", ""),
    ],
)
def test_what_goes_wrong_is_said(refused: tuple[Live, Run], journey: str, kind: str, words: str) -> None:
    case = refused[1].cases[journey]
    assert case.kind == kind, refused[1].text
    assert words in case.message


@pytest.mark.parametrize("journey", ["no-such-program", "no-such-directory", "seeds-outside"])
def test_what_the_harness_could_not_do_is_said_with_the_place_and_the_command(
    refused: tuple[Live, Run], journey: str
) -> None:
    text = refused[1].text.partition(f" {journey} ___")[2].lstrip("_").partition("____")[0]
    assert re.search(r"^[\w./-]+\.journey\.yaml:\d+:\d+: \S+", text, re.MULTILINE), text


def test_odd_output_is_shown_as_harmless_text_and_leaves_junit_readable(refused: tuple[Live, Run]) -> None:
    live, run = refused
    assert r"bytes �� nul \x00 bell \x07 red red title  done" in run.text
    assert "\x1b" not in run.text
    assert "\0" not in run.text
    text = "".join(ET.parse(live.path / "junit1.xml").getroot().itertext())  # noqa: S314 - pytest has just written it
    assert "]]> & <tag>" in text


def test_no_step_after_a_failed_one_is_run_and_nothing_is_written_outside(refused: tuple[Live, Run]) -> None:
    live = refused[0]
    assert not (live.path / "too-far").exists()
    assert not (live.path / "evil").exists()


def test_a_long_line_is_cut(refused: tuple[Live, Run]) -> None:
    assert "x" * 100 in refused[1].text
    assert "x" * 20_000 not in refused[1].text


@pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")
def test_no_process_of_any_step_outlives_the_run(refused: tuple[Live, Run]) -> None:
    assert refused[0].running() == []


LOUD = """
    journeys:
      - {id: quiet, steps: [{run: "true"}]}
      - {id: loud, establishes: [said], steps: [{run: "head -c 300000000 /dev/zero; exit 1"}]}
"""
MEASURES = """
    import resource

    def pytest_runtest_logreport(report):
        if report.when == "teardown":
            with open("memory", "a") as file:
                file.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


@pytest.mark.skipif(not HAS_PROC, reason="elsewhere memory is counted in other units")
def test_three_hundred_megabytes_of_output_cost_the_runner_less_than_fifty(live: Live) -> None:
    live.write("loud.journey.yaml", LOUD).write("conftest.py", MEASURES)
    run = live.run()
    assert run.cases["loud"].kind == "failure"
    before, after = map(int, live.lines("memory"))
    assert after - before < 50 * 1024
    assert len(run.text) < 100_000
