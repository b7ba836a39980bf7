"""Journeys are real pytest items: fixtures, marks, matrix instances and node ids, alone and under -n."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

FIXTURES = """
    import pytest

    def note(text):
        with open("notes", "a") as notes:
            print(text, file=notes)

    @pytest.fixture(scope="session")
    def one_per_session():
        note("session up")
        yield

    @pytest.fixture(scope="package")
    def one_per_package():
        note("package up")

    @pytest.fixture(scope="module")
    def one_per_file():
        note("module up")
        yield
        note("module down")

    @pytest.fixture
    def one_per_journey(monkeypatch):
        monkeypatch.setenv("FROM_FIXTURE", "hello")
        note("function up")

    @pytest.fixture(autouse=True)
    def always(request):
        note(f"around {request.node.name}")

    @pytest.fixture
    def broken():
        raise RuntimeError("fixture is broken")

    @pytest.fixture
    def not_here():
        pytest.skip("no such machine")
"""
JOURNEYS = """
    journeys:
      - id: first-with-fixtures
        use: [one_per_session, one_per_package, one_per_file, one_per_journey]
        steps:
          - run: test "$FROM_FIXTURE" = hello
      - id: second-with-fixtures
        use: [one_per_session, one_per_package, one_per_file, one_per_journey]
        steps:
          - run: test "$FROM_FIXTURE" = hello
      - id: skipped
        marks: [{skip: {reason: not today}}]
        steps: [run: touch "$DOGFOOD_ROOT/ran"]
      - id: skipped-if
        marks: [{skipif: {condition: true, reason: never here}}]
        steps: [run: touch "$DOGFOOD_ROOT/ran"]
      - id: known-bug
        marks: [{xfail: {reason: issue 17}}]
        steps: [run: "false"]
      - id: fixed-bug
        marks: [xfail]
        steps: [run: "true"]
      - id: strictly-fixed-bug
        marks: [{xfail: {strict: true}}]
        steps: [run: "true"]
      - id: uses-a-broken-fixture
        use: broken
        steps: [run: touch "$DOGFOOD_ROOT/ran"]
      - id: uses-a-skipping-fixture
        marks: [{usefixtures: not_here}]
        steps: [run: touch "$DOGFOOD_ROOT/ran"]
      - id: on
        marks: [slow]
        matrix: {os: [linux, mac], version: [1.20, "3"]}
        steps:
          - run: test "$DOGFOOD_JOURNEY" = "on[$os-$version]"
"""
OUTCOMES = {
    "first-with-fixtures": "passed",
    "second-with-fixtures": "passed",
    "skipped": "skipped",
    "skipped-if": "skipped",
    "known-bug": "skipped",
    "fixed-bug": "passed",
    "strictly-fixed-bug": "failure",
    "uses-a-broken-fixture": "error",
    "uses-a-skipping-fixture": "skipped",
    "on[linux-1.20]": "passed",
    "on[linux-3]": "passed",
    "on[mac-1.20]": "passed",
    "on[mac-3]": "passed",
}


@dataclass(frozen=True)
class Ran:
    inner: Inner
    result: pytest.RunResult

    @property
    def text(self) -> str:
        return self.result.stdout.str()

    def notes(self) -> list[str]:
        return (self.inner.path / "notes").read_text(encoding="utf-8").splitlines()

    def outcomes(self) -> dict[str, str]:
        """Return the name of each test case of the JUnit file with what became of it."""
        cases = ET.parse(self.inner.path / "junit.xml").iter("testcase")  # noqa: S314 - our own file
        return {
            case.attrib["name"]: next((child.tag for child in case if child.tag != "properties"), "passed")
            for case in cases
        }


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def ran(request: pytest.FixtureRequest, inner: Callable[[Mapping[str, str]], Inner]) -> Ran:
    files = {
        "pytest.ini": "[pytest]\nmarkers =\n    slow: takes long\naddopts = --strict-markers\n",
        "conftest.py": FIXTURES,
        "shop.journey.yaml": JOURNEYS,
    }
    scene = inner(files)
    return Ran(scene, scene.dogfood(request.param, "-v", "-rA", "--durations=3", "--junitxml=junit.xml"))


def test_marks_and_fixtures_mean_what_they_mean_to_pytest(ran: Ran) -> None:
    assert ran.outcomes() == OUTCOMES


def test_node_ids_are_the_same_with_and_without_workers(ran: Ran) -> None:
    summary = {line.partition(" - ")[0] for line in ran.result.outlines if "::" in line}
    assert summary >= {
        "PASSED shop.journey.yaml::first-with-fixtures",
        "PASSED shop.journey.yaml::on[mac-1.20]",
        "XPASS shop.journey.yaml::fixed-bug",
        "XFAIL shop.journey.yaml::known-bug",
        "FAILED shop.journey.yaml::strictly-fixed-bug",
        "ERROR shop.journey.yaml::uses-a-broken-fixture",
    }


def test_a_fixture_of_the_session_is_set_up_once_per_process(ran: Ran) -> None:
    assert 1 <= ran.notes().count("session up") <= 2
    assert 1 <= ran.notes().count("package up") <= 2


def test_a_fixture_of_the_module_is_set_up_once_per_file_and_process(ran: Ran) -> None:
    assert ran.notes().count("module up") == ran.notes().count("module down") <= 2


def test_a_fixture_of_the_function_is_set_up_for_each_journey(ran: Ran) -> None:
    assert ran.notes().count("function up") == 2


def test_autouse_fixtures_of_the_conftest_surround_journeys(ran: Ran) -> None:
    assert {"around first-with-fixtures", "around on[mac-3]", "around known-bug"} <= set(ran.notes())


def test_what_is_skipped_runs_nothing(ran: Ran) -> None:
    assert not (ran.inner.path / "ran").exists()


def test_reasons_of_marks_are_shown(ran: Ran) -> None:
    for reason in ("not today", "never here", "issue 17", "no such machine"):
        assert reason in ran.text


def test_durations_count_the_steps(ran: Ran) -> None:
    assert "slowest 3 durations" in ran.text


def test_a_skip_says_where_the_journey_stands(ran: Ran) -> None:
    line = 1 + [text.strip() for text in JOURNEYS.splitlines()].index("- id: skipped")
    skips = [text for text in ran.result.outlines if "not today" in text and text.startswith("SKIPPED")]
    assert [text for text in skips if f"shop.journey.yaml:{line}" in text], (line, skips)


UNKNOWN_MARK = "journeys: [{id: a, marks: [slwo], steps: [run: touch ran]}]"


@pytest.fixture(scope="module")
def small(inner: Callable[[Mapping[str, str]], Inner]) -> Inner:
    return inner(
        {
            "a.journey.yaml": """
                journeys:
                  - {id: build, establishes: [built], steps: [run: touch "$DOGFOOD_STATE/built"]}
                  - {id: use, requires: [built], steps: [run: test -f "$DOGFOOD_STATE/built"]}
                  - {id: on, matrix: {os: [linux, mac]}, steps: [run: echo "$os"]}
            """,
            "sub/single.journey.json": '{"steps": [{"run": "true"}]}',
            "sub/b.journey.yml": "{journeys: [{id: b, steps: [run: 'true']}]}",
            "sub/journeys.yaml": "{journeys: [{id: c, steps: [run: 'true']}]}",
            "sub/deep/journeys.json": '{"journeys": [{"id": "d", "steps": [{"run": "true"}]}]}',
            "plain.yaml": "{journeys: [{id: plain, steps: [run: 'true']}]}",
        }
    )


def passed(result: pytest.RunResult) -> list[str]:
    return sorted(line.split()[1] for line in result.outlines if line.startswith("PASSED "))


def test_every_name_a_journey_file_may_have_is_collected(small: Inner) -> None:
    result = small.dogfood("--co", "-q")
    assert sorted(line for line in result.outlines if "::" in line) == [
        "a.journey.yaml::build",
        "a.journey.yaml::on[linux]",
        "a.journey.yaml::on[mac]",
        "a.journey.yaml::use",
        "sub/b.journey.yml::b",
        "sub/deep/journeys.json::d",
        "sub/journeys.yaml::c",
        "sub/single.journey.json::single",
    ]


def test_collected_journeys_are_shown_as_journeys(small: Inner) -> None:
    shown = small.dogfood("--co", "a.journey.yaml").stdout.str()
    for name in ("build", "on[linux]", "use"):
        assert f"    <Journey {name}>\n" in shown
    assert "<JourneyFile a.journey.yaml>" in shown


def test_a_node_id_selects_a_journey(small: Inner) -> None:
    result = small.dogfood("-n0", "-rA", "a.journey.yaml::use", "sub/journeys.yaml::c")
    assert passed(result) == ["a.journey.yaml::use", "sub/journeys.yaml::c"]
    result.stdout.fnmatch_lines(["provisioned built once by replaying build*"])


def test_a_node_id_selects_an_instance_of_a_matrix(small: Inner) -> None:
    result = small.dogfood("-rA", "a.journey.yaml::on[mac]")
    assert passed(result) == ["a.journey.yaml::on[mac]"]


def test_a_name_selects_instances_of_a_matrix(small: Inner) -> None:
    result = small.dogfood("-rA", "-k", "on and linux")
    assert passed(result) == ["a.journey.yaml::on[linux]"]


def test_a_file_of_any_name_is_a_journey_file_if_it_is_named(small: Inner) -> None:
    assert passed(small.dogfood("-rA", "plain.yaml")) == ["plain.yaml::plain"]


def test_other_names_can_be_given_in_the_ini_file(small: Inner) -> None:
    result = small.dogfood("--co", "-q", "-o", "dogfood_files=p*.yaml")
    assert [line for line in result.outlines if "::" in line] == ["plain.yaml::plain"]


def test_a_node_id_that_does_not_exist_is_a_usage_error(small: Inner) -> None:
    result = small.dogfood("a.journey.yaml::nobody")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *a.journey.yaml::nobody"])


ASKING = """
    import pytest

    @pytest.fixture
    def asked(capabilities):
        return capabilities.require("bad")

    @pytest.mark.requires("bad")
    def test_marked():
        pass

    def test_with_a_fixture_that_asks(asked):
        pass

    def test_that_asks(capabilities):
        capabilities.require("bad")

    def test_that_asks_for_too_much(capabilities):
        capabilities.require("unheard-of")
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_is_skipped_or_fails_stands_where_the_item_stands(
    inner: Callable[[Mapping[str, str]], Inner], workers: str
) -> None:
    failing = "journeys: [{id: fails, establishes: [bad], steps: [{run: exit 3}]}]"
    scene = inner({"a.journey.yaml": failing, "test_a.py": ASKING})
    result = scene.dogfood(workers, "-rsE", "--junitxml=junit.xml")
    skipped = sorted(line for line in result.outlines if line.startswith("SKIPPED"))
    deferred = "deferred: 'bad' was not established, because fails failed"
    assert skipped == [f"SKIPPED [1] test_a.py:{line}: {deferred}" for line in (12, 15, 8)]
    unheard_of = "harness: 'unheard-of' is unknown: nothing establishes, provides or defines it"
    assert f"ERROR test_a.py::test_that_asks_for_too_much - {unheard_of}" in result.outlines
    junit = (scene.path / "junit.xml").read_text(encoding="utf-8")
    assert all(f"{scene.path}/test_a.py:{line}: {deferred}<" in junit for line in (8, 12, 15))
    assert "contextlib" not in "\n".join([junit, *result.outlines])


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
@pytest.mark.parametrize(
    "name, hint",
    [
        ("plain", "the file has build, use, on[[]linux], on[[]mac]"),
        ("on[mca]", "did you mean './a.journey.yaml::on[[]mac]'?"),
        ("onn", "did you mean './a.journey.yaml::on'?"),
    ],
)
def test_a_node_id_that_is_a_slip_is_answered_with_the_one_that_is_meant(
    small: Inner, workers: str, name: str, hint: str
) -> None:
    result = small.dogfood(workers, f"./a.journey.yaml::{name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *a.journey.yaml::*", f"    hint: {hint}"])


def test_a_test_that_a_worker_does_not_find_is_named(inner: Callable[[Mapping[str, str]], Inner]) -> None:
    result = inner({"test_here.py": "def test_here(): pass"}).dogfood("-n1", "test_here.py::test_ther")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *test_here.py::test_ther"])
