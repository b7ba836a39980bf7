"""Annotations of a GitHub job: workflow commands, escaped, ten of a kind, at the line of the step that failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.formats import FORMATS
from pytest_dogfood.report.github import MOST, append_summary, workflow_commands
from pytest_dogfood.report.markdown import LONGEST, to_markdown
from pytest_dogfood.report.run_view import RunView
from pytest_dogfood.storage.record import Kind, WrongRecord
from tests.support.run_records import deferred, done, failed_step, result, step, viewed
from tests.support.small_graphs import HERE, STEP, journey

FAILED, ERROR = Outcome.FAILED, Outcome.ERROR


def a_red_run() -> RunView:
    return viewed(
        [
            journey("build", establishes="built"),
            journey("use", requires="built"),
            journey("tell", requires="mail-up"),
        ],
        [
            done("build", FAILED, steps=[replace(failed_step(2, 2), intent="build it", out="o", err="e")]),
            done("mail-up", FAILED, kind=Kind.PROVISION, by="tell", steps=[failed_step()]),
            done("tell", ERROR),
            done("test_a.py::test_b", FAILED, kind=Kind.TEST, place="test_a.py:7", text="E  assert 0"),
        ],
        [result("build", FAILED), deferred("use", "build"), result("tell", ERROR)],
        capabilities=[Capability(token=Token("mail-up"), location=HERE, provision=(STEP,))],
        texts={"o": "out\n", "e": "50% of err\n"},
        exit_status=1,
    )


def test_each_root_cause_is_an_error_and_each_that_kept_others_from_running_a_warning() -> None:
    assert list(workflow_commands(a_red_run())) == [
        (
            "::error file=made.journey.yaml,line=12,col=9,title=build failed in step 2 of 2::"
            "build it%0A$ do it%0Aexit status: expected 0, got 3%0A50%25 of err%0Aout"
        ),
        (
            "::error file=made.journey.yaml,line=11,col=9,title=mail-up could not be provisioned "
            "(harness%2C not the product)::$ do it%0Aexit status: expected 0, got 3"
        ),
        "::error file=test_a.py,line=7,title=test_a.py%3A%3Atest_b failed::E  assert 0",
        (
            "::warning file=made.journey.yaml,line=12,col=9,"
            "title=1 journey not run%2C because build failed in step 2 of 2::use"
        ),
        (
            "::warning file=made.journey.yaml,line=11,col=9,"
            "title=1 journey not run%2C because mail-up could not be provisioned::tell"
        ),
    ]


def test_a_declared_outage_is_a_warning_only() -> None:
    view = viewed(
        [journey("tell", requires="mail-up")],
        [],
        [deferred("tell", "mail-up", "is declared blocked (--dogfood-blocked)", blocked=True)],
        capabilities=[Capability(token=Token("mail-up"), location=HERE, provision=(STEP,))],
    )
    (command,) = workflow_commands(view)
    assert command == (
        "::warning title=1 journey not run%2C because mail-up is declared blocked (--dogfood-blocked)::tell"
    )


def test_a_green_run_says_nothing() -> None:
    assert list(workflow_commands(viewed([journey("a")], [done("a")]))) == []


def test_of_a_kind_there_are_ten_at_most() -> None:
    names = [f"j{number}" for number in range(30)]
    users = [journey(f"use-{name}", requires=f"{name}-made") for name in names]
    view = viewed(
        [*(journey(name, establishes=f"{name}-made") for name in names), *users],
        [done(name, FAILED, steps=[failed_step()]) for name in names],
        [*(result(name, FAILED) for name in names), *(deferred(f"use-{name}", name) for name in names)],
        exit_status=1,
    )
    kinds = [command.split(" ")[0] for command in workflow_commands(view)]
    assert kinds == ["::error"] * MOST + ["::warning"] * MOST


def test_what_is_foreign_cannot_end_a_command_or_begin_another() -> None:
    hostile = "a\n::error::b\r\n::add-mask::c,d:e%0A\u2028x"
    wrong = (WrongRecord(hostile, hostile, hostile),)
    bad = replace(
        failed_step(), intent=hostile, command=hostile, place=f"{hostile}:3:4", wrong=wrong, out="o"
    )
    (command,) = workflow_commands(
        viewed(
            [journey("x,y:z%")], [done("x,y:z%", FAILED, steps=[bad])], texts={"o": hostile}, exit_status=1
        )
    )
    assert not re.search("[\r\n]", command)
    properties = command.partition(" ")[2].partition("::")[0]
    assert re.fullmatch(r"file=[^:,]*,line=3,col=4,title=[^:,]*", properties)
    assert "x%2Cy%3Az%25 failed" in properties


def test_a_long_text_is_cut_in_its_middle() -> None:
    bad = replace(failed_step(), out="o")
    (command,) = workflow_commands(
        viewed([journey("a")], [done("a", FAILED, steps=[bad])], texts={"o": "x" * 50_000}, exit_status=1)
    )
    assert 4000 < len(command) < 4200
    assert "%0A…%0A" in command


@pytest.mark.parametrize(
    "place, prefix, where",
    [
        ("a.journey.yaml:3:5", "", "file=a.journey.yaml,line=3,col=5,"),
        ("a.journey.yaml:3:5", "services/shop", "file=services/shop/a.journey.yaml,line=3,col=5,"),
        ("../b.yaml:3", "services/shop", "file=services/b.yaml,line=3,"),
        ("a:b.yaml:3:5", "", "file=a%3Ab.yaml,line=3,col=5,"),
        ("a.journey.yaml", "", "file=a.journey.yaml,"),
        ("", "services/shop", ""),
    ],
)
def test_a_place_is_told_from_the_root_of_the_repository(place: str, prefix: str, where: str) -> None:
    view = viewed([journey("a")], [done("a", FAILED)], exit_status=1)
    view = replace(view, causes=(replace(view.causes[0], place=place),))
    (command,) = workflow_commands(view, prefix)
    assert command.startswith(f"::error {where}title=")


@pytest.mark.parametrize(
    "workspace, file",
    [
        ("{root}", "services/shop/made.journey.yaml"),
        ("{root}/services/shop", "made.journey.yaml"),
        ("{root}/elsewhere", "made.journey.yaml"),
        ("", "made.journey.yaml"),
    ],
)
def test_the_format_knows_where_in_the_checkout_the_project_lies(
    workspace: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "services" / "shop"
    project.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.setenv("GITHUB_WORKSPACE", workspace.format(root=tmp_path / "link"))
    run = viewed([journey("a")], [done("a", FAILED, steps=[failed_step()])], exit_status=1, root=str(project))
    assert f"::error file={file}," in FORMATS["github"](run, None)


def test_a_crash_without_a_place_of_its_step_is_shown_at_its_journey() -> None:
    cut = step(place="", out="o")
    (command,) = workflow_commands(
        viewed(
            [journey("a")],
            [done("a", Outcome.CRASHED, steps=[cut])],
            texts={"o": "last words"},
            exit_status=1,
        )
    )
    assert command.startswith("::error file=shop.journey.yaml,line=3,col=5,title=a crashed its worker::")
    assert command.endswith("last words")


def test_a_summary_is_appended_and_takes_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    summary.write_text("of another command\n")
    append_summary(summary, a_red_run())
    append_summary(summary, a_red_run())
    assert summary.read_text() == f"of another command\n{to_markdown(a_red_run()) * 2}"
    summary.write_bytes(b"x" * (LONGEST - 600))
    append_summary(summary, a_red_run())
    assert LONGEST - 600 < summary.stat().st_size <= LONGEST
    summary.write_bytes(b"x" * LONGEST)
    append_summary(summary, a_red_run())
    assert summary.stat().st_size == LONGEST
