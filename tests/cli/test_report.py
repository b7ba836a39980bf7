"""`dogfood report`: which run it shows, in which format, and what it says of runs that it cannot read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.storage.run_directory import RUN
from tests.support.command_line import dogfood
from tests.support.live_projects import Eventually, Live

JOURNEYS = """
    journeys:
      - id: build
        establishes: [built]
        steps: [{run: 'echo one; exit 3'}]
      - id: use
        requires: [built]
        steps: [{run: 'true'}]
"""
SLOW = """
    journeys:
      - id: good
        steps: [{run: echo fine}]
      - id: slow
        steps: [{run: 'echo begun; touch begun; sleep 60', cwd: "$DOGFOOD_ROOT"}]
"""


@pytest.fixture(scope="module")
def red(new_live: Callable[[], Live]) -> Live:
    """Return a project of which one run, with a failure, was kept."""
    live = new_live().write("a.journey.yaml", JOURNEYS)
    assert live.run().status == 1
    return live


def run_of(live: Live) -> Path:
    (found,) = (path.parent for path in live.state_root.glob(f"*/{RUN}"))
    return found


@pytest.fixture
def copied(red: Live, tmp_path: Path) -> Path:
    """Return a copy of its run, to be spoilt."""
    return Path(shutil.copytree(run_of(red), tmp_path / "run"))


def test_a_run_is_shown_as_markdown_unless_told_otherwise(red: Live) -> None:
    done = dogfood(red.path, "report", str(run_of(red)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# ❌ 1 failed")
    assert "--- stdout ---\none\n" in done.stdout


@pytest.mark.parametrize(
    "format_name, beginning",
    [
        ("markdown", "# ❌"),
        ("json", "{\n"),
        ("trace", '{"traceEvents"'),
        ("github", "::error file=a.journey.yaml"),
    ],
)
def test_each_format_can_be_printed_and_written(
    red: Live, tmp_path: Path, format_name: str, beginning: str
) -> None:
    run = str(run_of(red))
    printed = dogfood(red.path, "report", run, "--format", format_name)
    assert printed.stdout.startswith(beginning)
    file = tmp_path / "below" / "report"
    written = dogfood(red.path, "report", run, "--format", format_name, "-o", str(file))
    assert (written.returncode, written.stdout) == (0, f"wrote {file}\n")
    assert file.read_text(encoding="utf-8") == printed.stdout


def test_the_last_run_of_the_project_is_shown_where_none_is_named(tmp_path: Path, live: Live) -> None:
    live.write("a.journey.yaml", JOURNEYS)
    root = live.path / "tmp"
    root.mkdir()
    started = live.run("-o", "dogfood_state_root=", TMPDIR=str(root))
    assert started.status == 1
    done = dogfood(live.path, "report", "--format", "json", TMPDIR=str(root))
    shown = json.loads(done.stdout)["run"]
    assert (shown["root"], done.returncode) == (str(live.path), 0)
    by_id = dogfood(live.path, "report", shown["id"], "--format", "json", TMPDIR=str(root))
    assert by_id.stdout == done.stdout
    elsewhere = dogfood(tmp_path, "report", TMPDIR=str(root))
    assert elsewhere.returncode == 4
    assert "dogfood report: no run of this project is left in " in elsewhere.stderr


def test_a_run_that_is_unknown_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    done = dogfood(tmp_path, "report", "f00f00")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"dogfood report: there is no run f00f00: {tmp_path}/f00f00 and ")


@pytest.mark.parametrize("name", ["run.json", "records/graph.json"])
def test_a_record_of_a_newer_version_is_refused(copied: Path, name: str) -> None:
    document = json.loads((copied / name).read_text())
    (copied / name).write_text(json.dumps({**document, "version": 99}))
    done = dogfood(copied, "report", ".")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{name} was written by a newer version of pytest-dogfood: update here" in done.stderr


@pytest.mark.parametrize("name", ["run.json", "results.json", "records/graph.json", "records/activities"])
@pytest.mark.parametrize("text", ["{\n", '{"id": 3}\n', "\x00\n", "3\n", '"\ud800"\n', "[" * 100_000 + "\n"])
def test_a_broken_file_of_the_record_is_named(copied: Path, name: str, text: str) -> None:
    (copied / name).write_text(text, errors="surrogatepass")
    done = dogfood(copied, "report", ".")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("dogfood report: ")
    assert f"{name} cannot be read" in done.stderr


@pytest.mark.parametrize("name", ["results.json", "records/graph.json", "records/activities", "out"])
def test_what_is_missing_of_a_record_does_not_hide_the_rest(copied: Path, name: str) -> None:
    shutil.rmtree(copied / name) if (copied / name).is_dir() else (copied / name).unlink()
    done = dogfood(copied, "report", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# ❌")
    assert "`build`" in done.stdout


def test_the_last_line_of_the_log_may_be_cut_short(copied: Path) -> None:
    log = copied / "records" / "activities"
    log.write_bytes(log.read_bytes() + b'{"id": "us')
    done = dogfood(copied, "report", ".")
    assert (done.returncode, done.stdout.count("failed in step 1 of 1")) == (0, 1)


def test_a_run_that_was_killed_shows_what_had_ended_and_what_was_under_way(
    live: Live, eventually: Eventually
) -> None:
    live.write("a.journey.yaml", SLOW)
    started = live.start()
    assert eventually((live.path / "begun").exists)
    started.process.kill()
    started.end()
    done = dogfood(live.path, "report", str(run_of(live)))
    assert done.returncode == 0
    assert done.stdout.startswith("# ❌ This run did not come to its end, 1 under way\n")
    assert "### `slow` had not ended when the run was killed" in done.stdout
    assert "begun" in done.stdout
    assert "✓ good :" in done.stdout


def test_a_report_compares_with_the_run_or_the_report_that_is_named(
    red: Live, copied: Path, tmp_path: Path
) -> None:
    results = json.loads((copied / "results.json").read_text())
    (copied / "results.json").write_text(json.dumps([{**one, "outcome": "passed"} for one in results]))
    text = dogfood(red.path, "report", str(copied), "--format", "json").stdout
    (tmp_path / "main.json").write_text(text)
    for against in (str(copied), str(tmp_path / "main.json")):
        done = dogfood(red.path, "report", str(run_of(red)), "--against", against, "--format", "json")
        changes = [(one["what"], one["id"]) for one in json.loads(done.stdout)["changes"]]
        assert changes == [("failing", "build"), ("deferred", "use")]


@pytest.mark.parametrize("against", ["missing", "a.journey.yaml"])
def test_what_is_no_run_and_no_report_cannot_be_compared_with(red: Live, against: str) -> None:
    done = dogfood(red.path, "report", str(run_of(red)), "--against", against)
    assert (done.returncode, done.stdout) == (4, "")
    assert against in done.stderr


def test_a_file_that_cannot_be_written_is_a_usage_error(red: Live, tmp_path: Path) -> None:
    done = dogfood(red.path, "report", str(run_of(red)), "-o", str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"dogfood report: cannot write {tmp_path}: ")
