"""The report of all shards as one run, from the records that their manifests carry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.cli.main import main
from tests.support.live_projects import Live

JOURNEYS = """
    capabilities:
      mail-up: {scope: machine, provision: [{run: 'echo no mail; exit 7'}]}
    journeys:
      - id: build
        establishes: [built]
        steps: [{run: 'seq 2000; echo the end; exit 3'}]
      - {id: use, requires: [built], steps: [{run: 'true'}]}
      - {id: look, steps: [{run: 'echo looking'}]}
      - {id: announce, requires: [mail-up], steps: [{run: 'true'}]}
"""


@pytest.fixture(scope="module")
def shards(new_live: Callable[[], Live]) -> Live:
    """Return a project of which two shards have run, and left their manifests."""
    live = new_live().write("a.journey.yaml", JOURNEYS)
    live.write("test_a.py", "def test_good(): pass\ndef test_bad(): assert 0\n")
    for number in (1, 2):
        live.run(f"--dogfood-shard={number}/2")
    return live


def merged(shards: Live, name: str) -> str:
    file = shards.path / name
    manifests = [str(shards.path / f"dogfood-shard-{number}-of-2.json") for number in (1, 2)]
    assert main(["merge", *manifests, "--report", str(file)]) == 1
    return file.read_text(encoding="utf-8")


def test_it_tells_what_went_wrong_on_any_shard(shards: Live) -> None:
    text = merged(shards, "all.md")
    assert text.startswith(
        "# ❌ 2 failed, 1 could not be judged\n\n4 journeys, 2 tests outside of the graph, on 2 workers"
    )
    assert " · 2 of 2 shards · " in text
    for heading in (
        "`build` failed in step 1 of 1",
        "`mail-up` could not be",
        "`test_a.py::test_bad` failed",
    ):
        assert f"### {heading}" in text
    assert "Kept from running: `use`" in text
    assert "the end" in text
    assert "no mail" in text


def test_lanes_are_named_after_their_shards(shards: Live) -> None:
    view: dict[str, Any] = json.loads(merged(shards, "all.json"))
    assert [lane["name"] for lane in view["lanes"]] == ["shard 1, main", "shard 2, main"]
    assert {bar["id"] for lane in view["lanes"] for bar in lane["bars"]} >= {
        "build",
        "use",
        "look",
        "announce",
    }
    assert all(0 <= bar["start"] <= view["seconds"] for lane in view["lanes"] for bar in lane["bars"])


def test_outputs_are_cut_at_their_end_and_what_passed_has_no_steps(shards: Live) -> None:
    view: dict[str, Any] = json.loads(merged(shards, "all.json"))
    journeys = {one["id"]: one for one in view["journeys"]}
    (step,) = journeys["build"]["tries"][0]["steps"]
    assert step["out"]["text"].endswith("the end\n")
    assert 4000 < len(step["out"]["text"]) < 4200
    assert "steps" not in journeys["look"]["tries"][0]


def test_the_trace_has_a_thread_for_each_worker_of_each_shard(shards: Live) -> None:
    events = json.loads(merged(shards, "all.trace.json"))["traceEvents"]
    names = [one["args"]["name"] for one in events if one["name"] == "thread_name"]
    assert names == ["shard 1, main", "shard 2, main"]


def test_a_shard_without_a_record_adds_its_results(shards: Live, tmp_path: Path) -> None:
    for number in (1, 2):
        name = f"dogfood-shard-{number}-of-2.json"
        manifest = json.loads((shards.path / name).read_text())
        (tmp_path / name).write_text(json.dumps({**manifest, "record": None}))
    file = tmp_path / "all.json"
    assert main(["merge", *map(str, sorted(tmp_path.glob("dogfood-shard-*"))), "--report", str(file)]) == 1
    view = json.loads(file.read_text())
    assert view["counts"] == {"failed": 1, "deferred": 1, "error": 1, "passed": 1}
    assert view["lanes"] == []


def test_a_report_that_cannot_be_written_is_a_usage_error(
    shards: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shards.path, tmp_path / "all")
    manifests = [str(tmp_path / "all" / f"dogfood-shard-{number}-of-2.json") for number in (1, 2)]
    assert main(["merge", *manifests, "--report", str(tmp_path)]) == 4
    assert f"dogfood merge: cannot write {tmp_path}: " in capsys.readouterr().err
