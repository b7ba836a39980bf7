"""The formats of a report: by ending, as JSON that can be read back, and as a reference for a later run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.formats import FORMATS, format_of, read_reference
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import (
    VERSION,
    ActivityView,
    BarView,
    CauseView,
    Change,
    JourneyView,
    LaneView,
    OutputText,
    RunView,
    Slow,
    StepView,
    TokenView,
)
from pytest_dogfood.storage.record import GraphRecord, RecordedRun, Reference, WrongRecord, reference_of
from tests.support.run_records import deferred, done, failed_step, recorded, result
from tests.support.small_graphs import journey

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "record.md"


def a_run() -> RecordedRun:
    return recorded(
        [journey("build", establishes="built"), journey("use", requires="built")],
        [done("build", Outcome.FAILED, steps=[failed_step()])],
        [result("build", Outcome.FAILED), deferred("use", "build")],
        digests={"build": "one", "use": "two"},
        exit_status=1,
        commit="c0ffee",
    )


def test_the_json_has_its_version_and_reads_back_as_the_same_view() -> None:
    run = a_run()
    text = FORMATS["json"](view_of(run), None)
    assert json.loads(text)["version"] == VERSION
    assert msgspec.json.decode(text, type=RunView) == view_of(run)
    assert text.endswith("}\n")


def test_the_graph_of_a_record_is_made_once() -> None:
    graph = a_run().graph
    assert graph is not None
    assert graph.graph is graph.graph
    assert msgspec.json.decode(msgspec.json.encode(graph), type=GraphRecord) == graph


def test_the_same_run_gives_the_same_bytes_in_every_format() -> None:
    one, other = a_run(), a_run()
    for render in FORMATS.values():
        assert render(view_of(one), one.graph) == render(view_of(other), other.graph)


@pytest.mark.parametrize(
    "part, kind",
    [
        ("the report", RunView),
        ("a cause: what failed at its root", CauseView),
        ("a journey", JourneyView),
        ("an activity: a try, or what was done for a journey", ActivityView),
        ("a step", StepView),
        ("what was wrong", WrongRecord),
        ("an output", OutputText),
        ("a lane: a worker", LaneView),
        ("a bar", BarView),
        ("a token", TokenView),
        ("a change", Change),
        ("a slow journey", Slow),
        ("the reference", Reference),
    ],
)
def test_the_fields_of_the_json_are_those_of_the_documentation(part: str, kind: type[Struct]) -> None:
    rows = re.findall(r"^\| ([^|]+?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    (fields,) = (fields for name, fields in rows if name == part)
    named = set(re.findall(r"`([a-z_]+)`", fields)) - {"null"}
    assert named == {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize(
    "name, format_name",
    [
        ("report.md", "markdown"),
        ("report.markdown", "markdown"),
        ("report.json", "json"),
        ("report.trace.json", "trace"),
        ("a.b/report", "markdown"),
    ],
)
def test_the_ending_of_a_file_says_its_format(name: str, format_name: str) -> None:
    assert format_of(Path(name)) == format_name


def test_a_report_as_json_is_as_good_a_reference_as_the_run_itself(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text(FORMATS["json"](view_of(a_run()), None))
    assert read_reference("main.json", tmp_path) == reference_of(a_run())


def test_a_report_of_a_newer_version_is_no_reference(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text('{"version": 99, "journeys": "of another kind"}')
    with pytest.raises(HarnessError, match="written by a newer version of pytest-dogfood: update here"):
        read_reference("main.json", tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "1"}', "\x00"])
def test_a_file_that_is_no_report_is_no_reference(text: str, tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text(text)
    with pytest.raises(HarnessError, match=r"main\.json cannot be read"):
        read_reference("main.json", tmp_path)
