from __future__ import annotations

import msgspec
import pytest

from pytest_dogfood.fleet.agreement import Agreement
from pytest_dogfood.fleet.board import End, Machine, RunContents
from pytest_dogfood.fleet.close import LARGEST_RECORD, merge_machines, packed_item_record
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.manifest import ItemRecord


def test_a_record_travels_as_it_is() -> None:
    record = ItemRecord(
        nodeid="a", outcome=Outcome.FAILED, seconds=2, text="long", message="m", properties=(("n", "v"),)
    )
    assert msgspec.json.decode(packed_item_record(record), type=ItemRecord) == record


@pytest.mark.parametrize("letter", ["x", "\0", "é", "😀"])
def test_of_a_large_record_the_end_of_the_text_and_the_beginning_of_the_rest_travel(letter: str) -> None:
    much = letter * LARGEST_RECORD
    record = ItemRecord(
        nodeid="a",
        outcome=Outcome.FAILED,
        text=f"{much}the failure",
        message=f"exit 7{much}",
        properties=(("first", "1"), *((f"p{number}", much) for number in range(100))),
    )
    packed = packed_item_record(record)
    assert len(packed) <= LARGEST_RECORD
    travelled = msgspec.json.decode(packed, type=ItemRecord)
    assert travelled.outcome is Outcome.FAILED
    assert travelled.text.startswith("...\n")
    assert travelled.text.endswith(f"{letter}the failure")
    assert travelled.message.startswith(f"exit 7{letter}")
    assert travelled.message.endswith(f"{letter}...")


def test_a_record_that_cannot_be_read_keeps_its_outcome() -> None:
    contents = RunContents(
        run="r",
        agreement=Agreement(items=("a",), graph="").packed(),
        machines=(Machine(name="red"),),
        ends=(End(nodeid="a", unit="a", attempt=1, outcome="failed", record=b"no JSON", machine="red"),),
    )
    ((_, item),) = merge_machines(contents).items
    assert (item.outcome, item.message) == (Outcome.FAILED, "what red wrote about this cannot be read")
