"""Scripts that were there before are journeys: run as they are, in the order of what they need."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.run_results import Run
    from tests.support.scenes import Inner, Scene

LOG = 'echo "$DOGFOOD_JOURNEY $DOGFOOD_WORKER" >> "$DOGFOOD_ROOT/log"'
FIFTY = {number: [needed for needed in (number // 2, number // 3) if needed % 2] for number in range(10, 60)}
"""What each of fifty scripts needs, by number: trees below ten roots and more, whose order is not that of names."""


def sh(*lines: str) -> str:
    return "\n".join(["#!/bin/sh", *lines, ""])


def script_number(number: int) -> str:
    """Return a script that checks for itself that what it needs is there, and that it runs once."""
    needs = [f"n{needed}" for needed in FIFTY[number] if needed in FIFTY]
    return sh(
        f"# dogfood: establishes: n{number}",
        f"# dogfood: requires: {', '.join(needs)}" if needs else "",
        "set -e",
        LOG,
        *(f'test -f "$DOGFOOD_STATE/{needed}"' for needed in needs),
        f'mkdir "$DOGFOOD_STATE/once-{number}"',
        f'touch "$DOGFOOD_STATE/n{number}"',
    )


def executable(scene: Scene | Inner, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = scene.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


@pytest.fixture(scope="module")
def fifty(new_scene: Callable[[], Scene]) -> tuple[Run, list[str]]:
    scene = new_scene()
    executable(
        scene, {f"{'ab'[number % 2]}/s{90 - number}.journey.sh": script_number(number) for number in FIFTY}
    )
    return scene.run("-n", "2"), scene.lines("log")


def test_fifty_scripts_pass_each_once(fifty: tuple[Run, list[str]]) -> None:
    run, log = fifty
    assert run.closing_line.startswith("dogfood: 50 journeys = 50 passed; 50 tokens")
    assert sorted(line.split()[0] for line in log) == sorted(f"s{90 - number}" for number in FIFTY)


def test_fifty_scripts_come_in_the_order_of_what_they_need(fifty: tuple[Run, list[str]]) -> None:
    ran = [90 - int(line.split()[0][1:]) for line in fifty[1]]
    late = [
        (one, needed)
        for one, needs in FIFTY.items()
        for needed in needs
        if needed in FIFTY and ran.index(needed) > ran.index(one)
    ]
    assert late == []


def test_fifty_scripts_are_spread_over_the_workers(fifty: tuple[Run, list[str]]) -> None:
    assert {line.split()[1] for line in fifty[1]} == {"gw0", "gw1"}


MIXED = {
    "b/log-in.journey.sh": """#!/bin/sh
# dogfood: establishes: logged-in
# dogfood: save: {user: {stdout: "user=(.*)"}}
# dogfood: requires: app-installed
test -f "$DOGFOOD_STATE/installed" && touch "$DOGFOOD_STATE/session"
echo user=ada
""",
    "a/report.journey.sh": """#!/bin/sh
# dogfood: requires: order-placed
cat "$DOGFOOD_STATE/order"
""",
    "a/order.journey.yaml": """
journeys:
  - id: order
    requires: [logged-in]
    establishes: [order-noted]
    steps:
      - run: test -f "$DOGFOOD_STATE/session" && echo "$DOGFOOD_LOGGED_IN_USER" > "$DOGFOOD_STATE/note"
""",
    "dogfood.yaml": """
capabilities:
  order-placed: {probe: test -s "$DOGFOOD_STATE/order"}
  app-installed: {provision: [run: touch "$DOGFOOD_STATE/installed"]}
""",
    "test_order.py": """
import pytest

@pytest.mark.requires("order-noted", "logged-in")
@pytest.mark.establishes("order-placed")
def test_order(dogfood_state, capabilities):
    assert (dogfood_state / "note").read_text() == "ada\\n"
    (dogfood_state / "order").write_text("bread")
""",
}


@pytest.fixture(scope="module")
def mixed(new_scene: Callable[[], Scene]) -> Scene:
    scene = new_scene()
    executable(scene, MIXED)
    return scene


def test_scripts_yaml_and_python_tests_need_each_other(mixed: Scene) -> None:
    run = mixed.run("-n", "2")
    assert run.status == 0
    assert "dogfood: 3 journeys and 1 test = 4 passed" in run.closing_line


def test_a_script_is_replayed_for_whoever_needs_it_and_its_values_arrive(mixed: Scene) -> None:
    run = mixed.run("-k", "order and not test_order and not report")
    assert run.status == 0
    assert "provisioned logged-in once by replaying log-in" in run.text
    assert "provisioned app-installed once by its provision steps" in run.text


def test_a_script_that_asks_for_a_value_is_not_served_by_a_provider_without_it(scene: Scene) -> None:
    executable(
        scene,
        {
            "log-in.journey.sh": MIXED["b/log-in.journey.sh"]
            .replace("# dogfood: requires: app-installed\n", "")
            .replace("test -f", "true ||"),
            "greet.journey.sh": '#!/bin/sh\n# dogfood: requires: logged-in\ntest "$DOGFOOD_LOGGED_IN_USER" = ada\n',
            "dogfood.yaml": "capabilities: {logged-in: {provision: [run: 'true']}}",
        },
    )
    assert "provisioned logged-in once by replaying log-in" in scene.run("-k", "greet").text


ODD = {
    "in/its.journey.sh": sh('test -f its.journey.sh && cd / && test -x "$0" && test $# = 0'),
    "in/here.journey.sh": sh(
        "# dogfood: cwd: .",
        'test "$PWD" = "$DOGFOOD_WORKDIR" && test "$(dirname "$0")" = "$DOGFOOD_DIR"',
    ),
    "in/spoken.journey.sh": "#!/usr/bin/env python3\n"
    "# dogfood: {stdin: a word, expect: {stdout: {equals: A WORD}}}\n"
    "print(input().upper(), end='')\n",
    "in/refused.journey.sh": sh(
        "# dogfood: expect_exit: 3", "# dogfood: expect: {stderr: no}", "echo no >&2; exit 3"
    ),
    "in/flags.journey.sh": "#!/bin/sh -e\nfalse\ntrue\n",
    "in/again.journey.sh": sh(
        "# dogfood: until: 20s",
        'echo >> "$DOGFOOD_WORKDIR/tries"',
        'test "$(wc -l < "$DOGFOOD_WORKDIR/tries")" = 2',
    ),
    "in/mine.journey.sh": sh('# dogfood: env: {MINE: "$SHARED/mine"}', 'test "$MINE" = of-the-project/mine'),
    "in/skipped.journey.sh": sh("# dogfood: marks: {skip: {reason: not today}}", "exit 1"),
    "in/an 'odd' $HOME \"name\".journey.sh": sh("# dogfood: id: odd"),
    "in/-dash.journey.sh": sh("# dogfood: id: dash"),
    "in/many.journey.sh": sh("# dogfood: matrix: {n: [one, two]}", 'test -n "$n"'),
    "in/with payload.journey.sh": sh("# dogfood: id: payload", "exit 0", "\x01\ufffd" * 10_000),
    "in/gone.journey.sh": "#!/nowhere/interpreter\n",
    "in/dogfood.yaml": "defaults: {env: {SHARED: of-the-project}}",
    "tool.sh": sh('test "${0##*/}" = linked.journey.sh'),
    "-x/-fails.journey.sh": sh(
        "# dogfood: id: fails", "# dogfood: intent: get lost", "seq 3000", "echo lost >&2", "exit 4"
    ),
}
AS_EXPECTED = (
    "its",
    "here",
    "spoken",
    "refused",
    "again",
    "mine",
    "odd",
    "dash",
    "many[one]",
    "many[two]",
    "payload",
    "linked",
)


@pytest.fixture(scope="module")
def odd(new_scene: Callable[[], Scene]) -> Scene:
    scene = new_scene()
    executable(scene, ODD)
    (scene.path / "in" / "linked.journey.sh").symlink_to("../tool.sh")
    return scene


@pytest.fixture(scope="module")
def odd_run(odd: Scene) -> Run:
    return odd.run("-o", "dogfood_min_measured=0")


@pytest.mark.parametrize("journey", AS_EXPECTED)
def test_a_script_runs_as_it_would_by_hand(odd_run: Run, journey: str) -> None:
    assert odd_run.cases[journey].kind == "passed", odd_run.text


def test_the_first_line_of_a_script_decides_about_its_flags(odd_run: Run) -> None:
    assert odd_run.cases["flags"].kind == "failure"


def test_marks_of_a_script_are_those_of_pytest(odd_run: Run) -> None:
    assert (odd_run.cases["skipped"].kind, odd_run.cases["skipped"].message) == ("skipped", "not today")


def test_a_missing_interpreter_is_an_error_of_the_harness_that_names_it(odd_run: Run) -> None:
    assert odd_run.cases["gone"].kind == "error"
    assert "the file exists, but the interpreter that its first line names does not" in odd_run.text


def test_a_failure_says_which_file_and_how_and_shows_the_tail(odd_run: Run) -> None:
    text = odd_run.text
    assert "-x/-fails.journey.sh:1:1: step 1 of 1 (get lost): exit 4, expected 0" in text
    assert "  command:  -x/-fails.journey.sh\n" in text
    assert "  3000\n  --- stderr ---\n  lost\n" in text


def test_the_line_that_reproduces_a_failure_can_be_pasted_whatever_the_file_is_called(
    odd: Scene, odd_run: Run
) -> None:
    lines = [line for line in odd_run.text.splitlines() if line.startswith("reproduce: ") and "fails" in line]
    words = shlex.split(lines[0].removeprefix("reproduce: "))
    assert words[:2] == ["pytest", "--dogfood"]
    again = odd.run(*words[2:])
    assert "exit 4, expected 0" in again.text
    assert list(again.cases) == ["fails"]


def test_a_script_of_any_name_can_be_named_and_patterns_can_name_others(scene: Scene) -> None:
    executable(scene, {"old/smoke.sh": sh(LOG), "old/t.bats": sh(LOG)})
    scene.run("old/smoke.sh")
    scene.run("-o", "dogfood_files=*.bats")
    assert scene.lines("log") == ["smoke main", "t main"]


BAD = {
    "a1.journey.sh": ("echo hi\n", "a1.journey.sh:1:1: *[[]bad-shebang]"),
    "a2.journey.sh": ("", "a2.journey.sh:1:1: the file is empty [[]empty-file]"),
    "a3.journey.sh": ("#!/bin/sh\r\n", "a3.journey.sh:1:10: *[[]bad-shebang]"),
    "a4.journey.sh": ("#!/bin/sh\n# dogfood: tiers: core\n", "a4.journey.sh:2:12: *[[]unknown-key]"),
    "a5.journey.sh": ("#!/bin/sh\n# dogfood: timeout: soon\n", "a5.journey.sh:2:21: *[[]bad-duration]"),
    "a6.journey.sh": ("#!/bin/sh\n#dogfood: tier: core\n", "a6.journey.sh:2:1: *[[]unread-header]"),
    "a 8.journey.sh": (sh(), "a 8.journey.sh:1:1: *[[]bad-id]"),
    "sub/a4.journey.sh": (
        "#!/bin/sh\n# dogfood: id: a1\n",
        "sub/a4.journey.sh:2:16: *'a1'*a1.journey.sh:1*[[]duplicate-id]",
    ),
    "b1 it's.journey.sh": ("#!/bin/sh\n# dogfood: id: b1\n", "b1 it's.journey.sh: *[[]not-executable]"),
    "b2.journey.sh": (sh(), "b2.journey.sh: the file has 100000000 bytes*[[]too-large]"),
    "b3.journey.sh": (sh(), "b3.journey.sh: cannot be read*[[]unreadable]"),
    "b4.journey.sh": (sh(), "b4.journey.sh: cannot be read: it is not a regular file*[[]unreadable]"),
}


@pytest.fixture(scope="module", params=["-n2", "--dogfood-check"])
def refusal(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Run, Path]:
    scene = new_scene()
    executable(scene, {"good.journey.sh": sh(LOG), **{name: text for name, (text, _) in BAD.items()}})
    (scene.path / "b1 it's.journey.sh").chmod(0o644)
    os.truncate(scene.path / "b2.journey.sh", 100_000_000)
    for name in ("b3.journey.sh", "b4.journey.sh"):
        (scene.path / name).unlink()
    (scene.path / "b3.journey.sh").symlink_to("nowhere")
    os.mkfifo(scene.path / "b4.journey.sh")
    return scene.run(request.param), scene.path


def test_bad_scripts_run_nothing(refusal: tuple[Run, Path]) -> None:
    run, path = refusal
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert not (path / "log").exists()
    assert "Traceback" not in run.text


@pytest.mark.parametrize("name", BAD)
def test_every_bad_script_is_named_with_its_place(refusal: tuple[Run, Path], name: str) -> None:
    pytest.LineMatcher(refusal[0].text.splitlines()).fnmatch_lines_random([BAD[name][1]])


def test_how_to_make_a_script_executable_can_be_pasted(refusal: tuple[Run, Path]) -> None:
    (line,) = [line for line in refusal[0].text.splitlines() if "chmod" in line]
    assert shlex.split(line.partition("hint: ")[2]) == ["chmod", "+x", "b1 it's.journey.sh"]
