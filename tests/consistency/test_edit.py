from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.consistency.edit import with_reopening, with_statuses
from pytest_dogfood.consistency.hub.model import Status, parse_status
from pytest_dogfood.consistency.workplan import Document, parse
from pytest_dogfood.git.commit import EditRefusedError
from tests.consistency.strategies import STATUSES, Written, mutilated, workplans

WILD = Path(__file__).parent / "documents" / "ATLAS-WP-0007-import-pipeline.md"
HEAD = "---\ntype: workplan\n---\n"

many = settings(max_examples=150, deadline=None)


def document(text: str) -> Document:
    return parse((HEAD + text).encode(), path="plan.md")


def statuses(content: bytes) -> dict[str, str | None]:
    return {block.task_id: block.status for block in parse(content, path="plan.md").blocks}


def single_replacements(content: bytes, old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield all that one exchange of `old` for `new` can make of the content."""
    at = content.find(old)
    while at >= 0:
        yield content[:at] + new + content[at + len(old) :]
        at = content.find(old, at + 1)


@many
@given(workplans())
def test_every_task_of_a_workplan_is_read_and_nothing_else(written: Written) -> None:
    assert statuses(written.content) == written.statuses


@many
@given(workplans(), st.data())
def test_an_edit_changes_the_bytes_of_one_status(written: Written, data: st.DataObject) -> None:
    task_id, old = data.draw(st.sampled_from(sorted(written.statuses.items())))
    new = data.draw(STATUSES)
    edited = with_statuses(parse(written.content, path="plan.md"), {task_id: new})
    assert edited in single_replacements(written.content, old.encode(), new.encode())
    assert statuses(edited) == {**written.statuses, task_id: new}


@many
@given(workplans(), st.data())
def test_a_second_edit_changes_nothing_and_editing_back_restores_the_bytes(
    written: Written, data: st.DataObject
) -> None:
    wanted = {task_id: data.draw(STATUSES) for task_id in written.statuses}
    edited = with_statuses(parse(written.content, path="plan.md"), wanted)
    again = parse(edited, path="plan.md")
    assert with_statuses(again, wanted) == edited
    assert with_statuses(again, written.statuses) == written.content


@many
@given(mutilated(), st.data())
def test_a_damaged_file_is_edited_in_one_status_or_not_at_all(content: bytes, data: st.DataObject) -> None:
    damaged = parse(content, path="plan.md")
    usable = [block for block in damaged.blocks if not block.problem]
    if not usable:
        return
    block = data.draw(st.sampled_from(usable))
    new = data.draw(STATUSES)
    try:
        edited = with_statuses(damaged, {block.task_id: new})
    except EditRefusedError:
        return
    assert edited in single_replacements(content, (block.status or "").encode(), new.encode())


@many
@given(workplans(), st.data(), st.integers(1, 12))
def test_a_reopening_adds_one_line_or_exchanges_one_number(
    written: Written, data: st.DataObject, count: int
) -> None:
    task_id = data.draw(st.sampled_from(sorted(written.statuses)))
    edited = with_reopening(parse(written.content, path="plan.md"), task_id, Status.TODO, count)
    (block,) = [block for block in parse(edited, path="plan.md").blocks if block.task_id == task_id]
    assert (block.status, block.reopened) == ("todo", count)
    others = {key: value for key, value in written.statuses.items() if key != task_id}
    assert {key: value for key, value in statuses(edited).items() if key != task_id} == others


def test_a_reopening_takes_the_line_end_and_the_indentation_of_the_status() -> None:
    before = document("  ```task\r\n\tid: X-T1\n\tstatus: done # x\r\n  ```\n")
    edited = with_reopening(before, "X-T1", Status.TODO, 1)
    assert edited.decode().removeprefix(HEAD) == (
        "  ```task\r\n\tid: X-T1\n\tstatus: todo # x\r\n\treopened: 1\r\n  ```\n"
    )


def test_a_reopening_exchanges_the_number_of_an_earlier_one() -> None:
    before = document('```task\nreopened: "9" # times\nid: X-T1\nstatus: done\n```')
    edited = with_reopening(before, "X-T1", Status.IN_PROGRESS, 10)
    assert edited.decode().removeprefix(HEAD) == (
        '```task\nreopened: "10" # times\nid: X-T1\nstatus: in_progress\n```'
    )


def test_a_reopening_of_fields_in_braces_is_refused() -> None:
    with pytest.raises(EditRefusedError, match="separate lines"):
        with_reopening(document("```task\n{id: X-T1, status: done}\n```\n"), "X-T1", Status.TODO, 1)


def test_fields_in_braces_are_edited_in_place() -> None:
    edited = with_statuses(document("```task\n{id: X-T1, status: todo}\n```\n"), {"X-T1": Status.DONE})
    assert edited.decode().removeprefix(HEAD) == "```task\n{id: X-T1, status: done}\n```\n"


@pytest.mark.parametrize(
    "status",
    [
        r'"to\u0064o"',
        "!!str todo",
        "&anchor todo",
        "|-\n  todo",
        ">-\n  todo",
        "",
        "''",
    ],
)
def test_a_status_that_is_not_a_word_in_one_piece_is_left_alone(status: str) -> None:
    before = document(f"```task\nid: X-T1\nstatus: {status}\n```\n")
    with pytest.raises(EditRefusedError, match="not a plain or quoted word"):
        with_statuses(before, {"X-T1": Status.DONE})


def test_one_refusal_leaves_the_whole_file_alone() -> None:
    before = document("```task\nid: X-T1\nstatus: todo\n```\n```task\nid: X-T2\nstatus: |\n  todo\n```\n")
    with pytest.raises(EditRefusedError) as refused:
        with_statuses(before, {"X-T1": Status.DONE, "X-T2": Status.DONE})
    assert refused.value.task_id == "X-T2"


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "0 blocks have this id"),
        ("```task\nid: X-T1\nstatus: todo\n```\n" * 2, "2 blocks have this id"),
        ("```task\nid: X-T1\nstatus: todo\nstatus: todo\n```\n", "occurs twice"),
    ],
)
def test_an_edit_needs_exactly_one_usable_block(text: str, why: str) -> None:
    with pytest.raises(EditRefusedError, match=why):
        with_statuses(document(text), {"X-T1": Status.DONE})


@pytest.mark.parametrize(
    "changes, why",
    [
        (
            {"content": (HEAD + "# é\n" + 2 * "```task\nid: X-T1\nstatus: todo\n```\n").encode()},
            "would change",
        ),
        (
            {"entries": document("```task\nid: X-T1\nstatus: todo\n```\n").entries},
            "not read back as intended",
        ),
        ({"nested": (9,)}, "other parts"),
    ],
)
def test_an_edit_that_does_not_read_back_as_intended_is_refused(changes: dict[str, Any], why: str) -> None:
    before = document("```task\nid: X-T1\nstatus: todo\n```\n```task\nid: X-T2\nstatus: todo\n```\n")
    with pytest.raises(EditRefusedError, match=why):
        with_statuses(replace(before, **changes), {"X-T1": Status.DONE})


def test_a_workplan_in_the_wild_keeps_every_other_byte() -> None:
    content = WILD.read_bytes()
    wild = parse(content, path=WILD.name)
    spans = {entry.block.task_id: entry.fields.scalars["status"] for entry in wild.entries}
    edited = with_statuses(wild, dict.fromkeys(spans, Status.CANCELLED)).decode()
    expected, after = "", 0
    for span in spans.values():
        expected += wild.text[after : span.start] + "cancelled"
        after = span.end
    assert edited == expected + wild.text[after:]
    back = {block.task_id: status for block in wild.blocks if (status := parse_status(block.status))}
    assert with_statuses(parse(edited.encode(), path=WILD.name), back) == content
