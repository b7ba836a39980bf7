from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError, Location
from pytest_dogfood.journey import Journey, JourneyId
from pytest_dogfood.kept_runs.kept_state import KeptState
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.storage.record import Activity, GraphRecord, Kind, RecordedRun, RunRecord, StepRecord
from pytest_dogfood.storage.recorder import LONGEST_COMMAND

STEP = StepRecord(place="a.yaml:3:9", number=2, of=3, command="echo in")


def recorded(directory: Path, *, step: StepRecord = STEP, **fields: Any) -> RecordedRun:
    """Return a run in which `use` has failed, kept in a directory of another name than it was made in."""
    for name in ("c0-main", "use-w0-main", "use-w0-main/sub"):
        (directory / name).mkdir(exist_ok=True, parents=True)
    made: dict[str, Any] = {
        "id": "use",
        "kind": Kind.JOURNEY,
        "lane": "main",
        "started": 1.0,
        "seconds": 1.0,
        "outcome": Outcome.FAILED,
        "place": "c0-main",
        "workdir": "/run/df-7/abcdef/use-w0-main",
        "variables": {
            "DOGFOOD_STATE": "/run/df-7/abcdef/c0-main",
            "URL": "file:///run/df-7/abcdef/c0-main/x",
        },
        "steps": (step,),
    }
    journey = Journey(id=JourneyId("use"), location=Location("a.yaml"), nodeid="a.yaml::use", path="a.yaml")
    return RecordedRun(
        directory=directory,
        run=RunRecord(id="abcdef", project="p", root=str(directory), started=0.0),
        graph=GraphRecord(journeys=(journey,), capabilities=(), fixtures={}, digests={}, after={}),
        activities=(Activity(**{**made, **fields}),),
        results={journey.id: JourneyResult(id=journey.id, outcome=Outcome.FAILED)},
    )


def variables_in(run: RecordedRun, directory: Path) -> Mapping[str, str]:
    return KeptState(run, "use", here=run.directory).variables(directory)[0]


def test_the_paths_of_variables_are_those_of_the_copy_wherever_the_run_lies_now(tmp_path: Path) -> None:
    assert variables_in(recorded(tmp_path / "moved"), Path("/copy")) == {
        "DOGFOOD_STATE": "/copy/c0-main",
        "URL": "file:///copy/c0-main/x",
    }


def test_values_saved_by_steps_count_and_secret_ones_are_named(tmp_path: Path) -> None:
    run = recorded(tmp_path, step=replace(STEP, saved={"FOUND": "1", "KEY": None, "URL": "a***b"}))
    values, secret = KeptState(run, "use", here=tmp_path).variables(tmp_path)
    assert values["FOUND"] == "1"
    assert secret == ["URL", "KEY"]


def test_the_shell_begins_in_the_directory_of_the_step(tmp_path: Path) -> None:
    run = recorded(tmp_path, step=replace(STEP, cwd="/run/df-7/abcdef/use-w0-main/sub"))
    kept = KeptState(run, "use", here=tmp_path)
    assert kept.place_in(tmp_path, "MARK").cwd == tmp_path / "use-w0-main" / "sub"


def test_a_directory_that_is_gone_leaves_the_working_directory(tmp_path: Path) -> None:
    run = recorded(tmp_path, step=replace(STEP, cwd="/run/df-7/abcdef/use-w0-main/gone"))
    assert KeptState(run, "use", here=tmp_path).place_in(tmp_path, "MARK").cwd == tmp_path / "use-w0-main"


@pytest.mark.parametrize(
    "command, why",
    [
        ("curl -u me:*** host", "the command contains a secret, which is not in a record"),
        ("x" * LONGEST_COMMAND, "only the first 4096 characters of the command are in the record"),
        ("", "no step has run"),
    ],
)
def test_a_command_that_is_not_whole_in_the_record_is_not_run(command: str, why: str, tmp_path: Path) -> None:
    kept = KeptState(recorded(tmp_path, step=replace(STEP, command=command)), "use", here=tmp_path)
    place = kept.place_in(tmp_path, "MARK")
    assert (place.argv, place.why_not) == ((), why)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"variables": {}}, "use never ended in run"),
        ({"workdir": ""}, "use did not begin in run"),
        ({"kind": Kind.REPLAY}, "use did not begin in run"),
        ({"place": "../../etc"}, "names directories that are not below it"),
        ({"workdir": "/run/other"}, "names directories that are not below it"),
        ({"place": "c" * 300}, "has not kept the directories of use, which failed"),
        ({"place": "c7-main"}, "has not kept the directories of use, which failed"),
    ],
)
def test_a_record_without_what_is_needed_is_refused(
    fields: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match=said):
        KeptState(recorded(tmp_path, **fields), "use", here=tmp_path)


def test_what_a_record_says_moves_no_cursor(tmp_path: Path) -> None:
    kept = KeptState(recorded(tmp_path, step=replace(STEP, intent="\x1b[2Jgone\r")), "use", here=tmp_path)
    assert "\x1b" not in kept.banner(kept.place_in(tmp_path, "MARK"))
