from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.consistency.hub.model import (
    RANK,
    Position,
    Status,
    is_closed,
    nearest_status,
    parse_status,
    position,
)
from pytest_dogfood.consistency.task_findings import Action, Finding, FindingSeverity

FINDINGS = st.builds(
    Finding,
    code=st.sampled_from(["C-11", "C-38"]),
    severity=st.sampled_from(FindingSeverity),
    repo=st.text(),
    line=st.integers(0),
    title=st.text(),
    message=st.text(),
    action=st.sampled_from(Action),
    fixed=st.booleans(),
)


def test_open_is_before_active_is_before_closed() -> None:
    assert [(status.value, rank) for status, rank in RANK.items()] == [
        ("todo", 0),
        ("in_progress", 1),
        ("blocked", 1),
        ("done", 2),
        ("cancelled", 2),
    ]


def test_only_done_and_cancelled_are_closed() -> None:
    assert [status for status in Status if is_closed(status)] == [Status.DONE, Status.CANCELLED]


def test_a_reopen_counts_for_more_than_every_rank() -> None:
    assert position(Status.TODO, 1) > position(Status.DONE, 0)
    assert position(Status.BLOCKED, 1) == position(Status.IN_PROGRESS, 1) == Position(1, 1)


@pytest.mark.parametrize("status", Status)
def test_a_status_is_known_by_exactly_its_name(status: Status) -> None:
    assert parse_status(status.value) is status


@pytest.mark.parametrize(
    "text", [None, "", "Done", "DONE", " done", "done\n", "in-progress", "finished", "TODO"]
)
def test_there_are_no_other_names(text: str | None) -> None:
    assert parse_status(text) is None


@pytest.mark.parametrize(
    "text, meant",
    [
        ("Done", "done"),
        ("in-progress", "in_progress"),
        ("In Progress", "in_progress"),
        ("canceled", "cancelled"),
        ("dnoe", "done"),
        ("closed", "done"),
        ("wip", "in_progress"),
        ("to do", "todo"),
        ("42", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_name_that_was_probably_meant_is_found(text: str | None, meant: str) -> None:
    assert nearest_status(text) == meant


@given(FINDINGS)
def test_a_finding_survives_json(finding: Finding) -> None:
    assert msgspec.convert(json.loads(json.dumps(finding.to_json())), Finding) == finding


def test_the_fields_of_a_finding_keep_their_order() -> None:
    finding = Finding(code="C-11", severity=FindingSeverity.FAIL, repo="atlas", message="m")
    assert " ".join(finding.to_json()) == (
        "code name severity repo path line task_id hub_id title db_status file_status "
        "reason message hint action fixed commit"
    )


@pytest.mark.parametrize(
    "severity, fixed, left",
    [
        (FindingSeverity.FAIL, False, True),
        (FindingSeverity.FAIL, True, False),
        (FindingSeverity.WARN, False, False),
        (FindingSeverity.INFO, False, False),
    ],
)
def test_only_a_failure_that_is_not_fixed_is_left(severity: FindingSeverity, fixed: bool, left: bool) -> None:  # noqa: FBT001
    assert Finding(code="C-11", severity=severity, repo="a", message="m", fixed=fixed).is_left is left
