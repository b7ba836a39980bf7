"""Commands of the hub whose output nobody takes: what is to be done is done, and none says that all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.cli.console import BROKEN_PIPE
from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.hub.store import Hub
from tests.cli.test_streams import needs_full, typed, without_reader
from tests.consistency.machines import plan
from tests.support.checkouts import Farm


@pytest.fixture
def two(data_directory: Path, plain_git: Farm) -> Path:
    """Two repositories whose tasks the hub does not know yet; gives the hub's file."""
    assert main(["hub", "init", "--local"]) == 0
    for name in ("one", "two"):
        made = plain_git.checkout(name)
        made.commit(plan({f"{name}-T1": "done"}))
        assert main(["hub", "register", str(made.path)]) == 0
    return data_directory / "hub.sqlite"


def known(file: Path) -> set[str]:
    with Hub.open(str(file)) as hub:
        return {task.task_id for task in hub.tasks()}


@pytest.mark.parametrize("verb", ["fix", "sync"])
def test_a_fix_that_nobody_listens_to_is_not_stopped_halfway(verb: str, two: Path, tmp_path: Path) -> None:
    assert without_reader(tmp_path, "consistency", verb, "--all") == (BROKEN_PIPE, b"")
    assert known(two) == {"one-T1", "two-T1"}


@needs_full
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_fix_whose_report_cannot_be_written_fails_and_has_fixed(
    output: str, two: Path, tmp_path: Path
) -> None:
    status, _, complaint = typed(tmp_path, ">/dev/full", "consistency", "fix", "--all", "--format", output)
    assert (status, complaint.count("\n"), "No space left on device" in complaint) == (2, 1, True)
    assert known(two) == {"one-T1", "two-T1"}


@pytest.mark.usefixtures("two")
def test_a_check_that_broken_pipe_to_the_end_does_not_say_that_all_is_well(tmp_path: Path) -> None:
    assert without_reader(tmp_path, "consistency", "check", "--all") == (BROKEN_PIPE, b"")


def test_an_import_that_nobody_listens_to_takes_in_the_whole_file(two: Path, tmp_path: Path) -> None:
    assert main(["consistency", "fix", "--all"]) == 0
    (tmp_path / "more.csv").write_text(
        "repo,task_id,status,title\none,one-T1,todo,Kept\none,one-T2,todo,New\n"
    )
    assert without_reader(tmp_path, "hub", "import", "more.csv") == (BROKEN_PIPE, b"")
    assert known(two) == {"one-T1", "two-T1", "one-T2"}


@needs_full
def test_a_registration_that_cannot_be_reported_is_complete(
    two: Path, plain_git: Farm, tmp_path: Path
) -> None:
    del two
    place = plain_git.at("one").path
    assert typed(tmp_path, ">/dev/full", "hub", "register", "--protocol", str(place))[0] == 2
    assert (place / "docs/session-close.md").exists()


@needs_full
def test_a_counter_that_cannot_be_shown_stands_in_no_way(two: Path, tmp_path: Path) -> None:
    assert typed(tmp_path, "2>&-", "consistency", "fix", "--all")[0] == 0
    assert known(two) == {"one-T1", "two-T1"}


@needs_full
def test_a_hub_that_cannot_be_had_is_said_also_where_the_report_cannot_be_written(tmp_path: Path) -> None:
    words = ("consistency", "check", "--format", "json", "--hub", "postgresql://me@127.0.0.1:1/x")
    status, _, complaint = typed(tmp_path, ">/dev/full", *words)
    assert "the hub postgresql://me@127.0.0.1:1/x cannot be used" in complaint
    assert (status, "No space left on device" in complaint) == (2, True)
