"""`dogfood doubt` on real projects: what it finds, prints, writes and leaves alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_dogfood.doubt.record import read_record
from pytest_dogfood.execution.watcher import alive
from tests.documentation.test_pages import DOCS, assert_shown_in_order, blocks_of
from tests.support.doubted_shops import CLEAN, SHOP, Doubted
from tests.support.waiting import pid_in, until


@pytest.fixture
def project(tmp_path: Path, short_root: Path) -> Doubted:
    return Doubted(tmp_path, short_root)


def test_the_story_of_the_page_from_an_undeclared_need_to_the_applied_patch(project: Doubted) -> None:
    page = DOCS / "howto" / "doubt.md"
    blocks = list(blocks_of(page))
    files = {block.name: block.text for block in blocks if block.name == "shop.journey.yaml"}
    (shown,) = [block.text for block in blocks if block.text.startswith("$ dogfood doubt\n")]
    status, out, err = project.write(files).doubt("--junit", "doubt.xml", GITHUB_ACTIONS="true")
    assert status == 1, out + err
    # A whole number of seconds is written without a decimal, so it looks different now and then.
    shown, told = (re.sub(r"(?<=experiments) in .*", "", text) for text in (shown, out))
    assert_shown_in_order(shown.partition("\n")[2], told)
    assert "::error file=shop.journey.yaml,line=13,title=undeclared-requires::pay needs what fill-the" in out
    (suite,) = ET.parse(project.path / "doubt.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("tests")) == ("1", "2")
    subprocess.run(["git", "apply", "doubt.patch"], cwd=project.path, check=True)
    status, out, err = project.doubt()
    assert status == 0, out + err
    assert "0 findings, 0 unclear, 0 not tested" in out


def test_scripts_and_tests_are_tried_too_and_marks_are_printed(project: Doubted) -> None:
    project.write(
        {
            "dogfood.yaml": 'capabilities:\n  logged-in:\n    probe: test -e "$DOGFOOD_STATE/session"\n',
            "a.journey.sh": """
                #!/bin/sh
                # dogfood: establishes: logged-in
                touch "$DOGFOOD_STATE/session"
                """,
            "b.journey.sh": """
                #!/bin/sh
                # dogfood: requires: logged-in
                # dogfood: establishes: filled
                echo tea >"$DOGFOOD_STATE/cart"
                """,
            "test_pay.py": """
                import pytest

                @pytest.mark.requires("logged-in")
                def test_pay(dogfood_state):
                    assert (dogfood_state / "cart").read_text() == "tea\\n"

                def test_plain():
                    raise AssertionError("a test outside of the graph does not take part")
                """,
        }
    )
    status, out, err = project.doubt("-n", "2")
    assert status == 1, out + err
    assert 'add to test_pay.py::test_pay: @pytest.mark.requires("filled")' in out
    assert not (project.path / "doubt.patch").exists()


def test_tokens_of_the_machine_are_set_up_and_released_once(project: Doubted) -> None:
    machine = """
      up:
        scope: machine
        probe: test -e "$DOGFOOD_ROOT/up"
        provision: ['touch "$DOGFOOD_ROOT/up"; echo up >>"$DOGFOOD_ROOT/machine"']
        release: ['rm "$DOGFOOD_ROOT/up"; echo down >>"$DOGFOOD_ROOT/machine"']
    journeys:"""
    text = CLEAN.replace("\n    journeys:", machine).replace(
        "requires: [logged-in]", "requires: [logged-in, up]"
    )
    status, out, err = project.write({"shop.journey.yaml": text}).doubt()
    assert status == 0, out + err
    assert project.lines("machine") == ["up", "down"]


def test_a_provider_and_a_probe_that_do_not_hold(project: Doubted) -> None:
    status, out, err = project.write(
        {
            "shop.journey.yaml": """
                capabilities:
                  logged-in:
                    probe: "true"
                  stocked:
                    probe: test -d "$DOGFOOD_STATE/stock"
                    provision: ['mkdir "$DOGFOOD_STATE/stock"']
                journeys:
                  - {id: log-in, establishes: [logged-in], steps: ['true']}
                  - {id: look, requires: [logged-in], steps: ['true']}
                  - {id: stock, establishes: [stocked], steps: ['mkdir "$DOGFOOD_STATE/stock"']}
                  - {id: sell, requires: [stocked], steps: ['true']}
                """
        }
    ).doubt()
    assert status == 1, out + err
    assert (
        "shop.journey.yaml:2: the probe of logged-in says yes in an empty state, in which nothing has run"
        in out
    )
    assert "shop.journey.yaml:4: the provision steps of stocked must not run twice" in out
    assert "2 findings" in out
    assert not (project.path / "doubt.patch").exists()


def test_a_chain_with_a_red_journey_is_not_tested_and_the_others_are(project: Doubted) -> None:
    red = """
    journeys:
      - {id: one, establishes: [a], steps: ['true']}
      - {id: two, requires: [a], steps: ['false']}
    """
    status, out, err = project.write({"shop.journey.yaml": CLEAN, "red.journey.yaml": red}).doubt()
    assert status == 1, out + err
    assert "not tested: the chain of one: two failed in the ordinary run" in out
    assert "5 journeys, 2 tokens: 0 findings, 0 unclear, 2 not tested" in out


def test_a_mark_exempts_a_journey_and_one_that_exempts_nothing_is_told(project: Doubted) -> None:
    text = SHOP.replace("- id: pay", "- id: pay\n        marks: [{no_doubt: {reason: it is meant so}}]")
    text = text.replace(
        "- id: log-in", "- id: log-in\n        marks: [{no_doubt: {reason: a shop, codes: [probe-true]}}]"
    )
    status, out, err = project.write({"shop.journey.yaml": text}).doubt()
    assert status == 0, out + err
    assert (
        "ignored: pay needs what fill leaves, and does not require it [undeclared-requires]: it is meant so"
        in out
    )
    assert "no_doubt of log-in exempts nothing that was found (probe-true)" in out
    assert not (project.path / "doubt.patch").exists()


@pytest.mark.parametrize(
    "arguments,told",
    [
        (["--budget", "x"], "expected a duration such as 90s, 10m or 2h, not 'x'"),
        (["-n", "many"], "expected a number of workers, or auto, not 'many'"),
        (["--junit", "/nowhere/at-all/x.xml"], "cannot write /nowhere/at-all/x.xml"),
        (["--record", "."], "cannot write ."),
        (["--", "--dogfood-provision", "never"], "tokens are never provisioned in this project"),
        (["--", "--dogfood-report=x.md"], "--dogfood-report=x.md cannot be combined with this command"),
        (["--", "--help"], "--help cannot be combined with this command"),
        (["--", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_input_ends_before_anything_runs(project: Doubted, arguments: list[str], told: str) -> None:
    log = CLEAN.replace("'touch", '\'touch "$DOGFOOD_ROOT/ran"; touch')
    status, out, err = project.write({"shop.journey.yaml": log}).doubt(*arguments)
    assert (status, told in err) == (4, True), out + err
    assert not (project.path / "ran").exists()


def test_a_project_without_chain_tokens_has_nothing_to_test(project: Doubted) -> None:
    status, _, err = project.write({"look.journey.yaml": "steps: ['true']\n"}).doubt()
    assert (status, "no chain tokens" in err) == (5, True)


def test_a_half_written_record_is_begun_anew_with_a_warning(project: Doubted) -> None:
    project.write({"shop.journey.yaml": CLEAN, "record.json": '{"version": 1, "chai'})
    status, out, err = project.doubt("--record", "record.json")
    assert (status, "record.json is no whole record, so everything begins anew" in err) == (0, True), (
        out + err
    )
    assert read_record(project.path / "record.json")[1] == ""


def test_without_time_nothing_is_begun_and_what_is_left_is_counted(project: Doubted) -> None:
    project.write({"shop.journey.yaml": SHOP})
    status, out, _ = project.doubt("--budget", "0")
    assert status == 0
    assert "0 findings, 0 unclear, 3 not tested; 0 experiments" in out
    assert "not tested: the chain of log-in: the time was not enough" in out


def test_an_interrupted_command_tells_what_is_proved_and_the_next_one_goes_on(
    project: Doubted, eventually: Callable[[Callable[[], bool]], bool]
) -> None:
    waiting = """
      up:
        scope: machine
        probe: test -e "$DOGFOOD_ROOT/up"
        provision: ['touch "$DOGFOOD_ROOT/up"; echo up >>"$DOGFOOD_ROOT/machine"']
        release: ['rm "$DOGFOOD_ROOT/up"; echo down >>"$DOGFOOD_ROOT/machine"']
    journeys:"""
    text = CLEAN.replace("\n    journeys:", waiting).replace(
        "requires: [logged-in]", "requires: [logged-in, up]"
    )
    # From the second run on, this one waits until a file appears.
    slow = '\'echo >>"$DOGFOOD_ROOT/tries"; test "$(wc -l <"$DOGFOOD_ROOT/tries")" -lt 2 || '
    slow += 'until test -e "$DOGFOOD_ROOT/go"; do sleep 0.05; done; echo tea >'
    project.write({"shop.journey.yaml": text.replace("'echo tea >", slow)})
    process = project.start()
    assert eventually(lambda: len(project.lines("tries")) >= 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "interrupted; this is what was proved so far" in err
    assert project.lines("machine")[-1] == "down"
    assert not (project.path / "up").exists()
    assert [len(one.done) for one in project.record.chains.values()] == [1]
    (project.path / "go").touch()
    status, out, err = project.doubt()
    assert status == 0, out + err
    assert "not repeated: 1 experiment of the record" in out


SERVED = """
    capabilities:
      served:
        scope: machine
        service:
          run: |
            trap 'rm "$DOGFOOD_ROOT/alive"; exit' TERM
            echo $$ >"$DOGFOOD_ROOT/alive"
            while :; do sleep 0.1; done
        probe: test -s "$DOGFOOD_ROOT/alive"
      migrated:
        scope: machine
        requires: [served]
        probe: test -e "$DOGFOOD_SHARED/migrated"
        provision: ['touch "$DOGFOOD_SHARED/migrated"']
        release: ['test -s "$DOGFOOD_ROOT/alive"; echo undone >>"$DOGFOOD_ROOT/machine"']
      ready: {probe: 'test -e "$DOGFOOD_STATE/ready"'}
    journeys:
      - {id: begin, establishes: [ready], steps: [{run: 'touch "$DOGFOOD_STATE/ready"'}]}
      - id: wait
        requires: [migrated, ready]
        steps: [{run: 'echo $$ >"$DOGFOOD_ROOT/waiting"; exec sleep 1000'}]
    """


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_an_interrupted_or_killed_command(project: Doubted, number: signal.Signals) -> None:
    process = project.write({"shop.journey.yaml": SERVED}).start()
    pids = [pid_in(project.path / name) for name in ("waiting", "alive")]
    process.send_signal(number)
    process.communicate(timeout=120)
    assert until(lambda: not any(alive(pid, None) for pid in pids))
    if number == signal.SIGINT:  # what rests on a service was released before it was ended
        assert project.lines("machine") == ["undone"]


def test_only_the_declarations_of_a_selection_are_tested(project: Doubted) -> None:
    project.write({"shop.journey.yaml": SHOP})
    status, out, err = project.doubt("--", "-k", "fill")
    assert (status, "1 journey, 1 token: 0 findings" in out) == (0, True), out + err
    status, out, err = project.doubt("--", "shop.journey.yaml::pay", "shop.journey.yaml::fill")
    assert (status, "2 journeys, 1 token: 1 finding" in out) == (1, True), out + err


def test_reports_of_the_user_are_not_written_over(project: Doubted) -> None:
    project.write({"shop.journey.yaml": CLEAN, "report.xml": "mine"})
    options = "-x --maxfail=1 --junitxml=report.xml"
    status, out, err = project.doubt(PYTEST_ADDOPTS=options, HOME=os.devnull)
    assert status == 0, out + err
    assert project.lines("report.xml") == ["mine"]
