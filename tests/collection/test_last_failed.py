"""--lf, --ff and --sw: the real failure stays, what was deferred is reached, and no prerequisite takes its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]
both = pytest.mark.parametrize("workers", ["-n0", "-n2"])

CHAIN = {
    "dogfood.yaml": "capabilities: {a: {}, b: {}}",
    "test_1.py": """
        import pytest

        @pytest.mark.establishes("a")
        def test_first(): pass

        def test_beside(): pass
    """,
    "test_2.py": """
        import pytest

        @pytest.mark.requires("a")
        @pytest.mark.establishes("b")
        def test_second(): pass

        @pytest.mark.requires("b")
        def test_third(): assert False
    """,
}
CAUSE = {
    "a.journey.yaml": """
        journeys:
          - {id: makes, establishes: [made], steps: ['test -f "$DOGFOOD_ROOT/mended"']}
          - {id: uses, requires: [made], steps: ["true"]}
          - {id: alone, steps: ["true"]}
    """,
}


def remembered(project: Inner) -> set[str]:
    """Return the node ids that --lf would run."""
    file = project.path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    found: dict[str, bool] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return set(found)


def told(result: pytest.RunResult) -> dict[str, str]:
    """Return the last part of each node id in the short summary with the word said of it."""
    words = ("PASSED", "FAILED", "ERROR")
    found = (line.split(" ", 1) for line in result.outlines if line.startswith(words) and "::" in line)
    return {rest.partition(" - ")[0].rpartition("::")[2]: word for word, rest in found}


@both
def test_a_failure_that_rests_on_other_files_fails_again_until_it_is_mended(
    inner: Make, workers: str
) -> None:
    project = inner(CHAIN)
    project.dogfood(workers)
    expected = {"test_first": "PASSED", "test_second": "PASSED", "test_third": "FAILED"}
    assert told(project.dogfood(workers, "--lf", "-rA")) == expected
    assert told(project.dogfood(workers, "--lf", "-rA")) == expected
    assert remembered(project) == {"test_2.py::test_third"}
    project.write({"test_2.py": CHAIN["test_2.py"].replace("assert False", "assert True")})
    assert told(project.dogfood(workers, "--lf", "-rA")) == {**expected, "test_third": "PASSED"}
    assert remembered(project) == set()


@both
def test_what_was_deferred_runs_again_with_its_cause(inner: Make, workers: str) -> None:
    project = inner(CAUSE)
    project.dogfood(workers)
    assert remembered(project) == {"a.journey.yaml::makes", "a.journey.yaml::uses"}
    project.write({"mended": ""})
    assert told(project.dogfood(workers, "--lf", "-rA")) == {"makes": "PASSED", "uses": "PASSED"}
    assert remembered(project) == set()


def test_a_failure_stays_where_a_prerequisite_fails(inner: Make) -> None:
    project = inner(CHAIN)
    project.dogfood("-n0")
    project.write({"test_1.py": CHAIN["test_1.py"].replace("test_first(): pass", "test_first(): assert 0")})
    assert told(project.dogfood("-n0", "--lf", "-rA")) == {"test_first": "FAILED"}
    assert remembered(project) == {"test_1.py::test_first", "test_2.py::test_second", "test_2.py::test_third"}


def test_a_blocked_token_adds_nothing_and_takes_nothing_away(inner: Make) -> None:
    project = inner(CAUSE)
    project.dogfood("-n0", "--dogfood-blocked", "made", "-k", "uses or alone")
    assert remembered(project) == set()
    project.dogfood("-n0")
    project.dogfood("-n0", "--dogfood-blocked", "made", "-k", "uses or alone")
    assert remembered(project) == {"a.journey.yaml::makes", "a.journey.yaml::uses"}


def test_without_a_cache_a_deferral_is_reported_all_the_same(inner: Make) -> None:
    result = inner(CAUSE).dogfood("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, skipped=1, passed=1)
    result.stdout.fnmatch_lines(["dogfood: 3 journeys = *"])


def test_a_test_that_depends_on_nothing_known_is_not_run_again_and_again(inner: Make) -> None:
    project = inner(
        {
            "pytest.ini": "[pytest]\ndogfood_dependency_markers = true\n",
            "test_it.py": """
                import pytest

                @pytest.mark.dependency(depends=["nothing"])
                def test_it(): pass

                def test_other(): pass
            """,
        }
    )
    project.dogfood()
    assert remembered(project) == set()


def test_a_file_that_could_not_be_collected_stays_among_the_failures(inner: Make) -> None:
    project = inner(
        {**CHAIN, "test_1.py": f"import no_such_module\n{CHAIN['test_1.py']}".replace("    ", "")}
    )
    project.dogfood()
    assert remembered(project) == {"test_1.py"}
    project.dogfood("test_2.py")
    assert "test_1.py" in remembered(project)


def test_failed_first_keeps_the_real_failure(inner: Make) -> None:
    project = inner(CHAIN)
    project.dogfood()
    assert told(project.dogfood("--ff", "-rA"))["test_third"] == "FAILED"
    assert remembered(project) == {"test_2.py::test_third"}


STEPS = {
    "a.journey.yaml": """
        journeys:
          - {id: last, requires: [ready], steps: ['echo last >> "$DOGFOOD_ROOT/log"']}
          - {id: first, steps: ['echo first >> "$DOGFOOD_ROOT/log"']}
          - {id: second, steps: ['echo second >> "$DOGFOOD_ROOT/log"; test -f "$DOGFOOD_ROOT/mended"']}
    """,
    "b.journey.yaml": """
        journeys: [{id: makes, establishes: [ready], steps: ['echo makes >> "$DOGFOOD_ROOT/log"']}]
    """,
}


def test_stepwise_leaves_out_only_what_has_run(inner: Make) -> None:
    project = inner(STEPS)
    project.dogfood("--sw")
    before = (project.path / "log").read_text(encoding="utf-8").split()
    project.write({"mended": "", "log": ""})
    project.dogfood("--sw")
    after = (project.path / "log").read_text(encoding="utf-8").split()
    assert {*before, *after} == {"first", "second", "makes", "last"}
    assert "first" not in after


def test_stepwise_does_not_count_what_was_added(inner: Make) -> None:
    project = inner(CHAIN)
    project.dogfood("--sw", "test_2.py")
    project.write({"test_1.py": CHAIN["test_1.py"].replace("def test_beside(): pass", "")})
    result = project.dogfood("--sw", "test_2.py")
    result.stdout.fnmatch_lines(["stepwise: skipping 1 already passed items*"])
    result.stdout.no_fnmatch_line("*test count changed*")


@both
def test_stepwise_goes_on_from_a_failure_that_rests_on_other_files(inner: Make, workers: str) -> None:
    project = inner(CHAIN)
    project.dogfood(workers, "--sw")
    assert told(project.dogfood(workers, "--sw", "-rA"))["test_third"] == "FAILED"
    project.write({"test_2.py": CHAIN["test_2.py"].replace("assert False", "assert True")})
    assert told(project.dogfood(workers, "--sw", "-rA"))["test_third"] == "PASSED"


MATRIX = {
    "a.journey.yaml": """
        journeys:
          - {id: make, establishes: [made], steps: ['test -f "$DOGFOOD_ROOT/mended"']}
          - {id: use, matrix: {k: [x, y]}, requires: [made], steps: ['true']}
          - {id: other, matrix: {k: [x, y]}, steps: ['test $k = y -o -f "$DOGFOOD_ROOT/mended"']}
    """
}


def test_items_of_a_matrix_that_failed_or_were_deferred_are_run_again(inner: Make) -> None:
    project = inner(MATRIX)
    project.dogfood("-n0")
    again = project.dogfood("--lf", "-rA", "-n0")
    project.write({"mended": ""})
    mended = project.dogfood("--lf", "-rA", "-n0")
    assert told(again) == {"make": "FAILED", "other[x]": "FAILED"}
    assert told(mended) == {"make": "PASSED", "use[x]": "PASSED", "use[y]": "PASSED", "other[x]": "PASSED"}
    assert remembered(project) == set()
