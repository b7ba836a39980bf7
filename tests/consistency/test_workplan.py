from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from pytest_dogfood.consistency import task_block
from pytest_dogfood.consistency.hub.model import Block
from pytest_dogfood.consistency.task_findings import FindingSeverity
from pytest_dogfood.consistency.workplan import Document, parse
from tests.consistency.strategies import mutilated

WILD = Path(__file__).parent / "documents" / "ATLAS-WP-0007-import-pipeline.md"
HEAD = "---\ntype: workplan\n---\n"
TASK = "```task\nid: X-T1\nstatus: todo\n```\n"
UUID = "6f0a1c52-8f0e-4c57-9d2b-3f0c5f7a1b01"


def document(text: str) -> Document:
    return parse((HEAD + text).encode(), path="plan.md")


def only_block(text: str) -> Block:
    (block,) = document(text).blocks
    return block


def in_block(*lines: str) -> str:
    return "\n".join(["```task", *lines, "```", ""])


def problem(*lines: str) -> str:
    return only_block(in_block(*lines)).problem


def test_a_workplan_in_the_wild_is_read_whole() -> None:
    wild = parse(WILD.read_bytes(), path=WILD.name)
    assert [(block.task_id[-3:], block.status, block.line, block.title) for block in wild.blocks] == [
        ("T01", "done", 43, "Give the importer a queue"),
        ("T02", "in_progress", 63, "Read messages idempotently"),
        ("T03", "blocked", 88, "Backpressure"),
        ("T04", "todo", 126, "Run both for a week"),
        ("T05", "cancelled", 150, "atlasctl import → atlasctl stream"),
        ("T06", "todo", 168, "Retire the nightly job"),
        ("T07", "todo", 187, "Tell the partners"),
    ]
    assert [block.reopened for block in wild.blocks] == [0, 1, 0, 0, 0, 0, 0]
    assert [block.hub_id for block in wild.blocks[2:4]] == ["6f0a1c52-8f0e-4c57-9d2b-3f0c5f7a1b03", None]
    assert not any(block.problem for block in wild.blocks)
    assert [(found.code, found.severity, found.line) for found in wild.findings("atlas")] == [
        ("C-24", FindingSeverity.INFO, 107),
        ("C-24", FindingSeverity.INFO, 141),
    ]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_a_byte_order_mark_and_the_loader_make_no_difference(
    loader: type[yaml.SafeLoader], line_end: str, bom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = WILD.read_text(encoding="utf-8")
    content = (bom + text.replace("\n", line_end)).encode()
    expected = parse(text.encode(), path="p").blocks
    monkeypatch.setattr(task_block, "LOADER", loader)
    assert parse(content, path="p").blocks == expected


@settings(max_examples=150, deadline=None)
@given(mutilated())
def test_no_file_is_too_damaged_to_say_what_is_wrong_with_it(content: bytes) -> None:
    damaged = parse(content, path="plan.md")
    assert all(block.problem or block.task_id for block in damaged.blocks)
    assert not (damaged.unreadable and damaged.blocks)


@pytest.mark.parametrize(
    "text",
    [
        TASK,
        "~~~task\nid: X-T1\nstatus: todo\n~~~\n",
        "``````task\nid: X-T1\nstatus: todo\n```````  \n",
        "   ```task\nid: X-T1\n  status: todo\n  ```\n",
        "``` \ttask {.card}\nid: X-T1\nstatus: todo\n```",
        "```task\n\tid:\tX-T1\n\tstatus:\ttodo\t# yes\n```\n",
        "A paragraph.\n```task\nid: X-T1\nstatus: todo\n```\n",
        "- a list\n\n" + TASK,
        "```task\n---\nid: X-T1\nstatus: todo\n```\n",
    ],
)
def test_a_task_fence_at_the_top_level_is_a_block(text: str) -> None:
    block = only_block(text)
    assert (block.task_id, block.status, block.problem) == ("X-T1", "todo", "")


@pytest.mark.parametrize(
    "text",
    [
        "````markdown\n" + TASK + "````\n",
        "~~~\n" + TASK + "~~~\n",
        "<!--\n" + TASK + "-->\n",
        "Text\n\n    ```task\n    id: X-T1\n    ```\n",
        TASK.replace("task", "tasks"),
        TASK.replace("task", "Task"),
        TASK.replace("task", "yaml task"),
        "``task\nid: X-T1\n``\n",
        "```task` \nid: X-T1\n",
        "> " + TASK.replace("\n", "\n> "),
        "1. one\n\n   " + TASK.replace("\n", "\n   "),
    ],
)
def test_what_only_looks_like_a_block_is_none(text: str) -> None:
    assert document(text).blocks == ()


@pytest.mark.parametrize(
    "text", ["> " + TASK.replace("\n", "\n> "), "- x\n\n  " + TASK.replace("\n", "\n  ")]
)
def test_a_task_fence_in_a_list_or_a_quote_is_mentioned(text: str) -> None:
    (found,) = document(text).findings("atlas")
    assert (found.code, found.severity, found.reason, found.path) == (
        "C-24",
        FindingSeverity.INFO,
        "nested",
        "plan.md",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"---",
        b"# A plan\n",
        b"---\ntype: note\n---\n\n````\n" + TASK.encode() + b"````\n",
        b"caf\xe9\n---\ntype: workplan\n---\n",
    ],
)
def test_a_file_without_the_right_front_matter_is_no_workplan(content: bytes) -> None:
    read = parse(content, path="plan.md")
    assert (read.is_workplan, read.blocks, read.findings("atlas")) == (False, (), ())


@pytest.mark.parametrize(
    "head", ["", "---\ntype: note\n---\n", "---\ntype: [workplan]\n---\n", "\n---\ntype: workplan\n---\n"]
)
def test_a_task_in_a_file_that_is_no_workplan_is_mentioned_once(head: str) -> None:
    read = parse((head + TASK + TASK).encode(), path="plan.md")
    assert (read.is_workplan, read.blocks) == (False, ())
    (found,) = read.findings("atlas")
    assert (found.code, found.severity, found.reason) == ("C-24", FindingSeverity.INFO, "no_workplan")
    assert found.line == head.count("\n") + 1


@pytest.mark.parametrize(
    "head",
    [
        "---\ntype: workplan\n---\n",
        "---  \nstatus: x\ntype: 'workplan' # yes\n...\n",
        "---\ntype: workplan\nbroken: [\n---\n",
        '---\n"type": workplan\n---\n',
        "---\n```task\ntype: workplan\n---\n",
    ],
)
def test_front_matter_makes_a_workplan(head: str) -> None:
    read = parse((head + TASK).encode(), path="plan.md")
    assert (read.is_workplan, [block.task_id for block in read.blocks]) == (True, ["X-T1"])


@pytest.mark.parametrize(
    "content, why",
    [
        (HEAD.encode() + b"caf\xe9", "not UTF-8 (byte 26, line 4: 0xe9)"),
        (HEAD.encode() + b"\xed\xa0\x80", "not UTF-8"),
        ((HEAD + TASK).encode("utf-16"), "not UTF-8"),
        ((HEAD + TASK).encode("utf-16-le"), None),
        (b"---\ntype: workplan\n" + TASK.encode(), "front matter is not closed"),
    ],
)
def test_a_workplan_that_cannot_be_read_is_held_as_a_whole(content: bytes, why: str | None) -> None:
    read = parse(content, path="plan.md")
    assert read.blocks == ()
    assert [found.code for found in read.findings("atlas")] == (["C-27"] if why else [])
    assert (why or "") in read.unreadable


@pytest.mark.parametrize(
    "lines, why",
    [
        (["status: todo"], "it has no id"),
        (["id:", "status: todo"], "it has no id"),
        (["id: ~", "status: todo"], "it has no id"),
        (["id: null", "status: todo"], "it has no id"),
        ([], "it has no id"),
        (["# nothing"], "it has no id"),
        (["just words"], "not a mapping"),
        (["- id: X-T1"], "not a mapping"),
        (["id: X-T1", "id: X-T1"], "the key 'id' occurs twice"),
        (["id: X-T1", "a: 1", "a: [2]"], "the key 'a' occurs twice"),
        (["id: X-T1", "status: &s todo", "was: *s"], "alias"),
        (["id: X-T1", "a: &a {b: 1}", "<<: *a"], "alias"),
        (["id: X-T1", "status: [todo]"], "'status' is not a single value"),
        (["id: {a: 1}"], "'id' is not a single value"),
        (["id: X-T1", "? [a, b]", ": c"], "a key is not a plain text"),
        (["id: X-T1", "---", "id: X-T2"], "several YAML documents"),
        (["id: X-T1", "status: todo: done"], "line 6: mapping values are not allowed"),
        (["id: X-T1", "status: 'todo"], "line 6: while scanning a quoted scalar"),
        (["id: X-T1", "note: \x07"], "not allowed"),
        (["id: X-T1", "note: \x00"], "not allowed"),
        (["id: X-T1", "reopened: -1"], "reopened '-1' is not a number"),
        (["id: X-T1", "reopened: often"], "reopened 'often' is not a number"),
        (["id: X-T1", "state_hub_task_id: 42"], "state_hub_task_id '42' is not a UUID"),
        (["id: X-T1", "deep: " + "[" * 900], "did not find"),
        (["id: X-T1", "deep: " + "[" * 5000], "line 6: while "),  # libyaml gives up by itself since 0.2.6
        (["id: X-T1", "deep: " + "[" * 300_000], "longer than 32768 characters"),
    ],
)
def test_a_block_that_cannot_be_used_says_why(lines: list[str], why: str) -> None:
    assert why in problem(*lines)


def test_the_blocks_around_an_unusable_one_are_read() -> None:
    text = in_block("id: X-T1", "status: todo") + in_block("id: [") + in_block("id: X-T3", "status: done")
    assert [bool(block.problem) for block in document(text).blocks] == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "```task\nid: X-T1\nstatus: todo\n",
        "```task\nid: X-T1\nstatus: todo",
        "```task",
        "````task\nid: X-T1\n```\n",
        "```task\nid: X-T1\n    ```\n",
        "~~~task\nid: X-T1\n```\n",
        "```task\nid: X-T1\n\t```\n",
    ],
)
def test_a_fence_that_is_never_closed_is_no_usable_block(text: str) -> None:
    assert "never closed" in only_block(text).problem


def test_a_block_that_swallows_the_next_one_says_where_it_should_have_ended() -> None:
    block = only_block("```task\nid: X-T1\nstatus: todo\n\nMore text.\n\n" + TASK)
    assert "not closed before the next block, in line 10" in block.problem
    assert block.task_id == "X-T1"


def test_an_unusable_block_is_named_as_well_as_possible() -> None:
    block = only_block(
        in_block(f"state_hub_task_id: '{UUID.upper()}'", '"id": "X-T1" # one', "status: [", "id: X-T2")
    )
    assert (block.task_id, block.hub_id, block.status) == ("X-T1", UUID, None)


@pytest.mark.parametrize(
    "value, status",
    [
        ("todo", "todo"),
        ("'done'", "done"),
        ('"to\\u0064o"', "todo"),
        ("Done", "Done"),
        ("yes", "yes"),
        ("3", "3"),
        ("in progress", "in progress"),
        ("", None),
        ("''", None),
        ("# todo", None),
    ],
)
def test_a_status_is_the_text_that_stands_there(value: str, status: str | None) -> None:
    assert only_block(in_block("id: X-T1", f"status: {value}")).status == status


def test_a_block_without_status_has_none() -> None:
    assert only_block(in_block("id: X-T1")).status is None


def test_other_fields_may_hold_anything() -> None:
    block = only_block(
        in_block("id: X-T1", "a: {b: [status, {id: 7}]}", "status: todo", "c:", "  - d: e", "reopened: 007")
    )
    assert (block.status, block.reopened, block.problem) == ("todo", 7, "")


@pytest.mark.parametrize(
    "value, hub_id", [(UUID.upper(), UUID), (f"'{UUID}'", UUID), ("", None), ("null", None)]
)
def test_the_id_of_the_hub_is_a_uuid_or_absent(value: str, hub_id: str | None) -> None:
    assert only_block(in_block("id: X-T1", f"state_hub_task_id: {value}")).hub_id == hub_id


@pytest.mark.parametrize(
    "heading, title",
    [
        ("## T1 — Do *it* `now`\n", "Do it now"),
        ("## T2 — Do it\n", "T2 — Do it"),
        ("## T1 - Do it\n", "T1 - Do it"),
        ("## X-T1 — Do it\n", "X-T1 — Do it"),
        ("## T1 —\n", "X-T1"),
        ("##\n", "X-T1"),
        ("", "X-T1"),
        ("# Old\n\n### T1—A &amp; B \\* [C](d)\n", "A & B * C"),
        ("Do\nthis\n====\n", "Do this"),
        ("# One\n\n> # Two\n\n", "One"),
        ("# One\n\n````\n# Two\n````\n", "One"),
    ],
)
def test_a_title_is_the_text_of_the_heading_before_the_block(heading: str, title: str) -> None:
    assert only_block(heading + "\n" + TASK).title == title


def test_unicode_line_separators_end_no_line() -> None:
    text = "A\u2028B\u0085C\x0bD\x0cE\n\n" + TASK
    assert only_block(text).line == 6
