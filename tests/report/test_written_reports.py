"""What a run writes when it ends: the report that was asked for, and what a GitHub job shows of it by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import pytest

from tests.support.disks import mounted, read_only
from tests.support.live_projects import Live
from tests.support.run_results import Run

RED = """
    journeys:
      - id: build
        establishes: [built]
        steps:
          - intent: build it
            run: |
              echo one
              touch "$DOGFOOD_ROOT/ran"; exit 3
      - id: use
        requires: [built]
        steps: [{run: 'true'}]
      - id: look
        steps: [{run: 'true'}]
"""

BUILD = "::error file=shop/a.journey.yaml,line=6,col=9,title=build failed in step 1 of 1::build it%0A"


@pytest.fixture
def red(live: Live) -> Live:
    return live.write("a.journey.yaml", RED)


def job(live: Live) -> Mapping[str, str]:
    """Return the variables of a GitHub job in whose checkout the project is a folder called `shop`."""
    (live.path / "shop").mkdir(exist_ok=True)
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(live.path / "summary"),
        "GITHUB_WORKSPACE": str(live.path),
    }


def commands_in(run: Run) -> list[str]:
    return [line for line in run.text.splitlines() if line.startswith("::")]


def summary_of(live: Live) -> str:
    path = live.path / "summary"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_a_github_job_has_a_summary_and_annotations_without_a_word_typed(live: Live) -> None:
    variables = job(live)
    live.write("shop/a.journey.yaml", RED)
    for runs, workers in enumerate(["-n0", "-n2"], start=1):
        run = live.run(workers, "--rootdir=shop", "shop", **variables)
        error, warning = commands_in(run)
        assert error.startswith(BUILD)
        assert warning.startswith("::warning file=shop/a.journey.yaml,line=6,")
        assert summary_of(live).count("# ❌ 1 failed") == runs
        assert run.status == 1


@pytest.mark.parametrize(
    "arguments, variables",
    [
        (["--collect-only"], {}),
        (["--dogfood-check"], {}),
        (["--setup-plan"], {}),
        (["--dogfood-github", "never"], {}),
        ([], {"GITHUB_ACTIONS": "false"}),
        ([], {"GITHUB_ACTIONS": ""}),
    ],
)
def test_nothing_is_written_where_it_is_no_job_or_nothing_runs(
    red: Live, arguments: list[str], variables: Mapping[str, str]
) -> None:
    run = red.run(*arguments, **{**job(red), **variables})
    assert (commands_in(run), summary_of(red)) == ([], "")


def test_a_run_within_a_journey_of_a_run_writes_nothing(live: Live) -> None:
    live.write("within.yaml", RED.replace("id: build", "id: inner-build"))
    live.write(
        "a.journey.yaml",
        f"""
        journeys:
          - id: outer
            steps:
              - run: >-
                  cd "$DOGFOOD_DIR" && {sys.executable} -m pytest --dogfood within.yaml -p no:cacheprovider
                  --dogfood-report inner.md
        """,
    )
    run = live.run("a.journey.yaml", **job(live))
    assert [line.partition("title=")[2][:12] for line in commands_in(run)] == ["outer failed"]
    assert summary_of(live).count("\n# ") + summary_of(live).startswith("# ") == 1
    assert "### `outer` failed" in summary_of(live)
    assert "### `inner-build` failed" in (live.path / "inner.md").read_text(encoding="utf-8")


def test_there_are_no_annotations_beside_a_plugin_that_writes_them(red: Live) -> None:
    red.write("pytest_github_actions_annotate_failures.py", "")
    run = red.run("-p", "pytest_github_actions_annotate_failures", **job(red))
    assert commands_in(run) == []
    assert "# ❌ 1 failed" in summary_of(red)


def test_a_summary_that_cannot_be_written_costs_the_run_nothing(live: Live) -> None:
    live.write("a.journey.yaml", "journeys: [{id: look, steps: [{run: 'true'}]}]")
    run = live.run(**{**job(live), "GITHUB_STEP_SUMMARY": str(live.path / "missing" / "summary")})
    assert run.status == 0
    assert "dogfood: a report could not be written: " in run.text


def test_tests_outside_of_the_graph_are_reported_where_nothing_else_runs(live: Live) -> None:
    live.write("test_a.py", "def test_good(): pass\ndef test_bad(): assert 1 == 2\n")
    run = live.run("--dogfood-report", "r.md", **job(live))
    assert [line[:57] for line in commands_in(run)] == [
        "::error file=test_a.py,line=2,title=test_a.py%3A%3Atest_b"
    ]
    assert run.status == 1
    text = (live.path / "r.md").read_text(encoding="utf-8")
    assert text.startswith("# ❌ 1 failed\n\n2 tests outside of the graph, on 1 worker")
    assert text == summary_of(live)


def test_a_test_whose_call_and_teardown_fail_is_one_cause(live: Live) -> None:
    live.write(
        "test_a.py",
        """
        import pytest

        @pytest.fixture
        def ends_badly():
            yield
            raise RuntimeError("of the teardown")

        def test_twice(ends_badly):
            assert "of the call" == ""
        """,
    )
    live.run("--dogfood-report", "r.json")
    (cause,) = json.loads((live.path / "r.json").read_text())["causes"]
    assert (cause["id"], cause["outcome"]) == ("test_a.py::test_twice", "failed")
    assert "of the call" in cause["text"]
    assert "of the teardown" in cause["text"]


@pytest.mark.parametrize(
    "workers, verdict, status",
    [("-n0", "1 could not be collected, 1 not run", 2), ("-n2", "1 could not be collected", 1)],
)
def test_a_file_that_cannot_be_collected_is_a_cause(
    live: Live, workers: str, verdict: str, status: int
) -> None:
    live.write("test_a.py", "raise RuntimeError('on import')").write("test_b.py", "def test_b(): pass")
    live.write("a.journey.yaml", "journeys: [{id: look, steps: [{run: 'true'}]}]")
    run = live.run(workers, "--dogfood-report", "r.md", **job(live))
    text = (live.path / "r.md").read_text(encoding="utf-8")
    assert text.startswith(f"# ❌ {verdict}\n")
    assert "### `test_a.py` could not be collected (not a failure of the product)\n" in text
    assert "RuntimeError: on import" in text
    assert [line[:50] for line in commands_in(run)] == ["::error file=test_a.py,title=test_a.py could not b"]
    assert run.status == status


@pytest.mark.parametrize(
    "name, ending",
    [("r.md", "# ❌ 1 failed"), ("r.json", "{\n"), ("r.trace.json", '{"traceEvents"'), ("r", "# ❌")],
)
def test_a_report_is_written_in_the_format_that_its_name_says(red: Live, name: str, ending: str) -> None:
    run = red.run("--dogfood-report", name)
    assert f"dogfood: wrote {red.path / name}" in run.text
    assert (red.path / name).read_text(encoding="utf-8").startswith(ending)
    assert run.status == 1


def test_a_report_has_the_outputs_of_steps_that_passed(live: Live) -> None:
    live.write("a.journey.yaml", "journeys: [{id: look, steps: [{run: echo seen}]}]")
    live.run("--dogfood-report", "r.json")
    (look,) = json.loads((live.path / "r.json").read_text())["journeys"]
    assert look["tries"][0]["steps"][0]["out"] == {"text": "seen\n", "size": 5}


@pytest.mark.parametrize(
    "name, why",
    [
        ("made", "it is a directory; name a file in it"),
        ("missing/r.md", "there is no directory {path}/missing; make it first"),
        ("a.journey.yaml/r.md", "there is no directory {path}/a.journey.yaml; make it first"),
    ],
)
def test_a_report_that_could_not_be_written_is_refused_before_anything_runs(
    red: Live, name: str, why: str
) -> None:
    (red.path / "made").mkdir()
    run = red.run("--dogfood-report", name)
    assert run.status == 4
    assert f"--dogfood-report {name}: {why.format(path=red.path)}" in run.text
    assert not (red.path / "ran").exists()


def test_a_report_on_a_disk_that_is_read_only_is_refused_before_anything_runs(red: Live) -> None:
    (red.path / "made").mkdir()
    with read_only(red.path / "made"):
        run = red.run("--dogfood-report", "made/r.md")
    assert (run.status, (red.path / "ran").exists()) == (4, False)
    assert f"--dogfood-report made/r.md: you may not write to {red.path}/made" in run.text


def test_a_disk_that_is_full_at_the_end_is_a_warning_and_the_exit_status_stays(live: Live) -> None:
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - id: fill
            steps: [{run: 'head -c 300k /dev/zero > "$DOGFOOD_ROOT/small/rest" || true'}]
        """,
    )
    (live.path / "small").mkdir()
    with mounted(live.path / "small", "size=64k"):
        run = live.run("--dogfood-report", "small/r.md")
        left = sorted(path.name for path in (live.path / "small").iterdir())
    assert run.status == 0
    assert (
        f"dogfood: a report could not be written: cannot write {live.path}/small/r.md: No space left"
        in run.text
    )
    assert left == ["rest"]
